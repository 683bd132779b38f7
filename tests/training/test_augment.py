"""Augmentations keep what they should and move what they should, each sample apart."""

import pytest
import torch

from nas.errors import SpaceError
from nas.training import AUGMENTATIONS
from nas.training.augment import augment, check_augment
from nas.training.config import Crop, Cutout, Jitter, TimeShift

SHAPES = {"map": (16, 3, 9, 7), "tokens": (16, 12, 5), "vector": (16, 6)}
FITTING = [(name, layout) for name in AUGMENTATIONS for layout in AUGMENTATIONS[name].layouts if layout in SHAPES]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "layout"), FITTING)
def test_shape_type_and_input_are_kept_and_the_seed_decides(name, layout):
    x = torch.randn(SHAPES[layout], generator=rng(1))
    before, config = x.clone(), AUGMENTATIONS[name]()
    check_augment(config, x)
    y = augment(x, config, rng())
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)
    assert torch.equal(y, augment(x, config, rng()))
    assert name == "none" or not torch.equal(y, augment(x, config, rng(5)))


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("layout", SHAPES)
def test_the_wrong_kind_of_data_is_refused(name, layout):
    if layout not in AUGMENTATIONS[name].layouts:
        with pytest.raises(SpaceError, match=r"^training\.augment: .* is for .*; choose from .*none"):
            check_augment(AUGMENTATIONS[name](), torch.zeros(SHAPES[layout]))


@pytest.mark.parametrize(
    ("config", "layout"),
    [(Crop(pad=0), "map"), (Cutout(size=0), "map"), (Jitter(std=0.0), "vector"), (TimeShift(max=0), "tokens")],
)
def test_nothing_asked_nothing_changed(config, layout):
    x = torch.randn(SHAPES[layout])
    assert torch.equal(augment(x, config, rng()), x)


@pytest.mark.parametrize("flip", [False, True])
def test_crop_is_one_of_the_shifts_worked_out_by_hand(flip):
    x = torch.randn(64, 3, 9, 7)
    y = augment(x, Crop(pad=2, flip=flip), rng())
    seen = set()
    for before, after in zip(x, y, strict=True):
        padded = torch.zeros(3, 13, 11)
        padded[:, 2:11, 2:9] = before
        options = {
            (dy, dx, m): padded[:, dy : dy + 9, dx : dx + 7] for dy in range(5) for dx in range(5) for m in (0, 1)
        }
        found = [k for k, v in options.items() if torch.equal(v.flip(2) if k[2] else v, after)]
        assert len(found) == 1
        seen.add(found[0])
    assert {m for _, _, m in seen} == ({0, 1} if flip else {0})
    assert len({(dy, dx) for dy, dx, _ in seen}) > 15  # of 25, in 64 draws: 23 are expected


def test_crop_leaves_the_channels_last():
    assert augment(torch.randn(4, 3, 9, 7), Crop(), rng()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 4, 7, 20])
def test_cutout_is_one_square_through_all_channels(size):
    y = augment(torch.ones(64, 3, 9, 7), Cutout(size=size), rng())
    zeros = y == 0
    height, width = min(size, 9), min(size, 7)
    assert zeros.sum((1, 2, 3)).tolist() == [3 * height * width] * 64
    assert zeros.any(3).sum(2).unique().tolist() == [height]
    assert zeros.any(2).sum(2).unique().tolist() == [width]
    assert size >= 9 or len({tuple(z.flatten().tolist()) for z in zeros}) > 2


def test_time_shift_is_one_of_the_shifts_worked_out_by_hand():
    x = torch.randn(64, 12, 5)
    y = augment(x, TimeShift(max=3), rng())
    seen = set()
    for before, after in zip(x, y, strict=True):
        padded = torch.zeros(18, 5)
        padded[3:15] = before
        seen.update(d for d in range(7) if torch.equal(padded[d : d + 12], after))
    assert seen == set(range(7))  # chance that 64 fair draws miss one of them: 4e-4


def test_jitter_has_its_width():
    noise = augment(torch.zeros(200, 50), Jitter(std=0.3), rng())
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)  # the standard error is 0.7 %
