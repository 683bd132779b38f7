"""Splits, the door to the test set, and the named data sets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.data import load_task
from nas.errors import DataError

REAL = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def real(path: str) -> Path:
    if not (REAL / path).exists():
        pytest.skip(f"no {path} in {REAL.resolve()}; NAS_TEST_DATA names the folder of real data")
    return REAL / path


def rows(x):
    return {tuple(row) for row in x.flatten(1).tolist()}


def test_digits_are_split_into_three():
    task = load_task("digits")
    assert task.in_shape == (1, 8, 8)
    assert task.n_outputs == 10
    assert (len(task.y_train), len(task.y_val), len(task.test()[1])) == (1150, 288, 359)
    assert torch.equal(task.full()[0], torch.cat([task.x_train, task.x_val]))
    assert torch.bincount(task.test()[1]).min() >= 34
    # No two digits of this set are alike, so that a sample on two sides would show.
    assert len(rows(task.full()[0]) | rows(task.test()[0])) == 1797


def test_the_seed_moves_validation_and_never_the_test_set():
    one, same, other = load_task("digits", seed=1), load_task("digits", seed=1), load_task("digits", seed=2)
    assert torch.equal(one.x_val, same.x_val)
    assert not torch.equal(one.y_val, other.y_val) or not torch.equal(one.x_val, other.x_val)
    assert torch.equal(one.test()[1], other.test()[1])
    undone = [t.test()[0] * t.std[0] + t.mean[0] for t in (one, other)]
    assert torch.allclose(*undone, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 20])
def test_val_share_is_a_share(share):
    with pytest.raises(DataError, match=r"val_share must be in \(0, 1\), got"):
        load_task("digits", val_share=share)


def test_no_test_set_says_what_to_do(write):
    task = load_task(write(x_test=None, y_test=None))
    with pytest.raises(DataError, match=r"mine: the data have no test set.*add x_test and y_test"):
        task.test()


def test_the_test_set_cannot_be_spoilt_from_outside(write):
    task = load_task(write())
    x, y = task.test()
    x.zero_(), y.zero_()
    assert task.test()[0].abs().sum() > 0
    assert task.test()[1].sum() == 5


def test_a_missing_fashion_mnist_says_where_and_how(tmp_path):
    with pytest.raises(DataError) as caught:
        load_task("fashion_mnist", data_root=tmp_path)
    for word in (str(tmp_path / "FashionMNIST" / "raw"), "--data-root DIR", "--download"):
        assert word in str(caught.value)


def test_a_broken_fashion_mnist_is_no_traceback(tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"not it")
    with pytest.raises(DataError, match=r"fashion_mnist: cannot be read from .*delete it and fetch it again"):
        load_task("fashion_mnist", data_root=tmp_path)


def test_fashion_mnist():
    root = real("FashionMNIST/raw").parents[1]
    task = load_task("fashion_mnist", data_root=root)
    assert task.in_shape == (1, 28, 28)
    assert (len(task.y_train), len(task.y_val), len(task.test()[1])) == (48_000, 12_000, 10_000)
    assert task.mean[0] == pytest.approx(0.2860, abs=1e-3)  # the known figures are of all 60,000
    assert task.std[0] == pytest.approx(0.3530, abs=1e-3)
    assert torch.bincount(task.y_val).tolist() == [1200] * 10
    assert task.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("name", "in_shape", "n_outputs", "n_full", "n_test"),
    [
        ("SpokenDigits", (64, 40), 10, 2700, 300),
        ("JapaneseVowels", (25, 12), 9, 270, 370),
        ("BasicMotions", (100, 6), 4, 40, 40),
        ("ArrowHead", (251, 1), 3, 36, 175),
    ],
)
def test_real_sequences(name, in_shape, n_outputs, n_full, n_test):
    task = load_task(str(real(f"sequences/{name}.npz")), input="sequence")
    assert (task.name, task.in_shape, task.n_outputs) == (name, in_shape, n_outputs)
    assert (len(task.full()[1]), len(task.test()[1])) == (n_full, n_test)
    assert torch.bincount(task.y_val, minlength=n_outputs).min() >= 1


def test_names_are_known_without_torch():
    code = "import nas.data, sys; assert list(nas.data.DATASETS); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
