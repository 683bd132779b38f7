"""Seconds of trainings that were not seen: answers from the first on, what a known rule takes is recovered, doubt is
honest."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, kendalltau
from torch import nn

from nas.blocks import BLOCKS
from nas.blocks.operations import Operation, over
from nas.build import build
from nas.catalog import find_space, shipped
from nas.errors import BuildError, SpaceError
from nas.measure.train_terms import TRAINING, train_terms, usual_ns
from nas.measure.train_time import MOST, TrainTimePredictor
from nas.rng import generator
from nas.space import Architecture, Space
from nas.space.yaml import parse
from nas.training import AUGMENTATIONS, OPTIMIZERS

SHAPES = {
    **{"digits": (1, 8, 8), "image": (1, 28, 28), "image_conv": (3, 32, 32), "sequence": (25, 12), "mlp": (20,)},
    "text": (20,),
}
SAMPLES = 10**6


def samples(space: Space, n: int, *purpose: str | int) -> list[Architecture]:
    rng = generator(0, "train time", *purpose)
    return [space.sample(rng) for _ in range(n)]


def sizes(space: Space, archs: list[Architecture]) -> list[int]:
    return [space.resolve(arch)["training"]["batch_size"] for arch in archs]


def taught(space: Space, in_shape: tuple[int, ...], archs: list[Architecture], log_s: np.ndarray) -> TrainTimePredictor:
    predictor = TrainTimePredictor(space, in_shape, 10)
    for arch, batch_size, s in zip(archs, sizes(space, archs), np.exp(log_s), strict=True):
        predictor.learn(arch, batch_size, SAMPLES, SAMPLES * float(s))
    return predictor


def told(predictor: TrainTimePredictor, archs: list[Architecture]) -> tuple[np.ndarray, np.ndarray]:
    return predictor.predict(archs, sizes(predictor.space, archs))


def ruled(
    space: Space, in_shape: tuple[int, ...], archs: list[Architecture], seed: int, apart: float = 0.4
) -> np.ndarray:
    """Log seconds per sample by a rule of the predictor's own kind: each term takes its own time, on a slow machine."""
    describe = TrainTimePredictor(space, in_shape, 10).describe
    works = [describe(arch, size) for arch, size in zip(archs, sizes(space, archs), strict=True)]
    rng = generator(seed, "rule")
    times = {
        term: 2 * usual_ns(term) * math.exp(rng.normal(0, apart))
        for term in sorted({t for work in works for t in work})
    }
    return np.log([sum(amount * times[term] for term, amount in work.items()) / 1e9 for work in works])


def test_every_shipped_space_is_here():
    assert set(shipped()) == set(SHAPES)


# Before anything was seen.


@pytest.mark.parametrize("name", SHAPES)
def test_the_first_call_answers_and_doubts(name):
    space = find_space(name)
    archs = samples(space, 60, name)
    mean, deviation = told(TrainTimePredictor(space, SHAPES[name], 10), archs)
    known = np.isfinite(mean)
    assert known.mean() > 0.5  # groups that divide no width, and a head for tokens behind a map, cannot be built
    assert (deviation[known] >= TRAINING.speed).all()  # nobody knows the machine
    assert (deviation[known] < 1.5).all()
    assert (np.exp(mean[known]) > 1e-7).all()
    assert (np.exp(mean[known]) < 0.1).all()


MAP = "input: image\nstem: {conv: {width: 16, stride: 2}}\n"

TIMED: dict[str, tuple[str, tuple[int, ...], int, float]] = {
    "conv": (MAP + "body: {repeat: 2, block: {conv: {width: 48}}}\nhead: {pool: {}}", (1, 28, 28), 128, 57.7),
    "mbconv": (
        MAP + "body: {repeat: 2, block: {mbconv: {width: 32, kernel: 5, se: true}}}\nhead: {flatten: {dropout: 0.2}}",
        (1, 28, 28),
        128,
        151.0,
    ),
    "separable": (
        MAP + "body: {repeat: 2, block: {separable: {width: 64, act: silu}}}\nhead: {flatten: {hidden: 64}}",
        (3, 32, 32),
        64,
        44.2,
    ),
    "maxpool": (MAP + "body: {maxpool: {}}\nhead: {pool: {}}", (3, 64, 64), 64, 11.6),
    "lstm": ("input: sequence\nbody: {repeat: 2, block: {lstm: {hidden: 48}}}\nhead: {last: {}}", (100, 12), 32, 12.7),
    "gru": ("input: sequence\nbody: {gru: {hidden: 64, bidirectional: true}}\nhead: {pool: {}}", (100, 12), 32, 43.7),
    "rnn": ("input: sequence\nbody: {rnn: {hidden: 64}}\nhead: {attention: {}}", (100, 12), 32, 8.37),
    "transformer": (
        "input: sequence\nbody: {repeat: 2, block: {transformer: {dim: 64, heads: 4, dropout: 0.1}}}\nhead: {pool: {}}",
        (100, 12),
        32,
        89.5,
    ),
    "conv1d": (
        "input: sequence\nbody: {repeat: 3, block: {conv1d: {width: 64, kernel: 5}}}\nhead: {pool: {}}",
        (100, 12),
        32,
        18.2,
    ),
    "dense": ("input: vector\nbody: {repeat: 3, block: {dense: {width: 256}}}\nhead: {pool: {}}", (54,), 128, 3.18),
}
"""Networks by hand, with the ms of a step on one core of a server of 2023."""


@pytest.mark.parametrize("name", TIMED)
def test_usual_times_are_near_those_of_a_machine(name):
    text, in_shape, batch_size, ms = TIMED[name]
    mean, _ = TrainTimePredictor(parse(text), in_shape, 10).predict([Architecture(())], [batch_size])
    assert abs(mean[0] - math.log(ms / 1e3 / batch_size)) < math.log(1.75)


# What is recovered.


@pytest.mark.parametrize("name", SHAPES)
def test_times_that_add_up_are_recovered(name):
    space = find_space(name)
    archs = samples(space, 200, "recovered", name)
    log_s = ruled(space, SHAPES[name], archs, seed=1)
    mean, deviation = told(taught(space, SHAPES[name], archs[:120], log_s[:120]), archs[120:])
    error = np.abs(mean - log_s[120:])
    assert np.mean(error < 0.15) >= 0.9
    assert kendalltau(mean, log_s[120:])[0] > 0.93
    assert np.mean(error < 1.96 * deviation) >= 0.9


def test_one_training_tells_the_speed_of_the_machine():
    space = find_space("image")
    archs = samples(space, 60, "few")
    log_s = ruled(space, SHAPES["image"], archs, seed=0, apart=0.0) + math.log(3)
    before, vague = told(TrainTimePredictor(space, SHAPES["image"], 10), archs)
    mean, deviation = told(taught(space, SHAPES["image"], archs[:1], log_s[:1]), archs[1:])
    np.testing.assert_allclose(before, log_s - math.log(6), atol=1e-9)
    assert np.abs(mean - log_s[1:]).max() < 0.4
    assert deviation.max() < vague.min()


def test_more_trainings_tell_more():
    space = find_space("image")
    archs = samples(space, 260, "more")
    log_s = ruled(space, SHAPES["image"], archs, seed=2)
    missed, doubt = [], []
    for n in (0, 8, 30, 160):
        mean, deviation = told(taught(space, SHAPES["image"], archs[:n], log_s[:n]), archs[160:])
        missed.append(np.abs(mean - log_s[160:]).mean())
        doubt.append(deviation.mean())
    assert missed == sorted(missed, reverse=True)
    assert doubt == sorted(doubt, reverse=True)


def test_stated_intervals_cover_what_they_say():
    """With errors of the kind that is assumed, 1,200 predictions of 12 predictors. A predictor's errors go together, so
    the count is judged as if one in ten were independent: a fair one would fail once in 1,000."""
    space, within = find_space("image"), {0.5: 0, 0.95: 0}
    archs = samples(space, 160, "cover")
    for seed in range(12):
        log_s = ruled(space, SHAPES["image"], archs, seed) + generator(seed, "noise").normal(0, 0.1, len(archs))
        mean, deviation = told(taught(space, SHAPES["image"], archs[:60], log_s[:60]), archs[60:])
        for level, z in ((0.5, 0.674), (0.95, 1.96)):
            within[level] += int((np.abs(mean - log_s[60:]) < z * deviation).sum())
    low, high = binom.interval(0.999, 120, 0.95)
    assert low <= within[0.95] / 10 <= high
    assert within[0.5] / 1200 > binom.ppf(0.001, 120, 0.5) / 120  # errors may have heavier tails, not lighter ones


def test_what_was_never_trained_is_doubted_more():
    space = parse(
        "input: image\nbody: {choice: {conv: {width: [8, 64]}, resblock: {width: [8, 64]}, gru: {}}}\n"
        "head: {pool: {}}\ntraining: {batch_size: 64}"
    )
    archs = samples(space, 60, "doubt")
    convs = [arch for arch in archs if arch.values["body"] != "gru"]
    grus = [arch for arch in archs if arch.values["body"] == "gru"]
    predictor = taught(space, (1, 8, 8), convs, ruled(space, (1, 8, 8), convs, seed=3))
    assert told(predictor, grus)[1].min() > 1.5 * told(predictor, convs)[1].max()


# What matters besides the network.


def test_a_sample_is_cheaper_in_a_large_batch():
    space = find_space("image")
    arch = samples(space, 1, "batch")[0]
    mean, _ = TrainTimePredictor(space, SHAPES["image"], 10).predict([arch] * 5, [1, 8, 64, 512, 4096])
    assert (np.diff(mean) < 0).all()
    assert mean[0] - mean[-1] > math.log(5)  # a step alone is mostly Python


CHOICES = """
input: image
body: {conv: {width: {int: [8, 64]}}}
head: {pool: {}}
training: {optimizer: [sgd, rmsprop], augment: [none, crop], batch_size: 32}
"""


@pytest.mark.parametrize(("field", "dear"), [("training.optimizer", "rmsprop"), ("training.augment", "crop")])
def test_optimizer_and_augmentation_have_times_of_their_own(field, dear):
    space = parse(CHOICES)
    archs = samples(space, 120, field)
    slow = np.array([arch.values[field] == dear for arch in archs])
    log_s = ruled(space, (3, 16, 16), archs, seed=4) + np.where(slow, 0.5, 0.0)
    error = told(taught(space, (3, 16, 16), archs[:80], log_s[:80]), archs[80:])[0] - log_s[80:]
    assert abs(error[slow[80:]].mean() - error[~slow[80:]].mean()) < 0.1


@pytest.mark.parametrize(("rate", "times"), [(0.0, 0), (0.2, 20 + 3 * 64 + 128)])
def test_dropout_goes_over_what_comes_into_linear_layers(rate, times):
    space = parse(
        f"input: vector\nbody: {{repeat: 4, block: {{dense: {{width: 64, dropout: {rate}}}}}}}\n"
        f"head: {{flatten: {{hidden: 64, dropout: {rate}}}}}"
    )
    work = TrainTimePredictor(space, (20,), 10).describe(Architecture(()), 32)
    assert work.get(("dropout", "moved"), 0) == times


def test_every_optimizer_and_augmentation_can_be_described():
    for table, field in ((OPTIMIZERS, "optimizer"), (AUGMENTATIONS, "augment")):
        for name in table:
            space = parse(f"input: vector\nbody: {{dense: {{}}}}\nhead: {{pool: {{}}}}\ntraining: {{{field}: {name}}}")
            predictor = TrainTimePredictor(space, (20,), 10)
            work = predictor.describe(space.sample(np.random.default_rng(0)), 32)
            assert name == "none" or any(family.endswith(f"/{name}") for family, _ in work)
            assert all(usual_ns(term) > 0 for term in work)


def test_a_space_without_training_is_trained_by_default():
    bare = parse("input: vector\nbody: {dense: {}}\nhead: {pool: {}}")
    named = parse("input: vector\nbody: {dense: {}}\nhead: {pool: {}}\ntraining: {optimizer: adamw, augment: none}")
    a, b = (TrainTimePredictor(space, (20,), 10).describe(Architecture(()), 32) for space in (bare, named))
    assert a == b


# What changes nothing.


def test_the_order_of_learning_changes_nothing():
    space = find_space("image")
    archs = samples(space, 60, "order")
    log_s = ruled(space, SHAPES["image"], archs, seed=5)
    order = np.random.default_rng(0).permutation(40)
    a = told(taught(space, SHAPES["image"], archs[:40], log_s[:40]), archs)
    b = told(taught(space, SHAPES["image"], [archs[i] for i in order], log_s[order]), archs)
    again = told(taught(space, SHAPES["image"], archs[:40], log_s[:40]), archs)
    np.testing.assert_array_equal(a, again)
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_what_is_predicted_does_not_depend_on_what_is_asked_beside_or_before_it():
    space = find_space("sequence")
    archs = samples(space, 50, "beside")
    predictor = taught(space, SHAPES["sequence"], archs[:20], ruled(space, SHAPES["sequence"], archs[:20], seed=6))
    together = np.array(told(predictor, archs))
    alone = np.concatenate([np.array(told(predictor, [arch])) for arch in reversed(archs)], axis=1)[:, ::-1]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


@settings(deadline=None, max_examples=20)
@given(stretch=st.floats(0.01, 100), batch_size=st.integers(1, 512))
def test_seconds_and_samples_count_by_their_ratio(stretch, batch_size):
    arch = samples(find_space("mlp"), 1, "ratio")[0]
    means = []
    for factor in (1, stretch):
        predictor = TrainTimePredictor(find_space("mlp"), (20,), 10)
        predictor.learn(arch, batch_size, SAMPLES, 7.0)
        predictor.learn(arch, batch_size, SAMPLES * factor, 7.0 * factor)
        means.append(predictor.predict([arch], [batch_size])[0][0])
    assert means[1] == pytest.approx(means[0], abs=0.02)  # but for how sure they are


def test_a_long_training_counts_more_than_a_few_steps():
    space = parse(
        "input: vector\nbody: {dense: {width: {int: [8, 512]}}}\nhead: {pool: {}}\ntraining: {batch_size: 32}"
    )
    archs = samples(space, 20, "long")
    log_s = ruled(space, (20,), archs, seed=7)
    predictor = taught(space, (20,), archs, log_s)
    for arch, s in zip(archs, np.exp(log_s), strict=True):
        predictor.learn(arch, 32, 32, 32 * 2 * float(s))  # one step, warming up
    assert np.median(told(predictor, archs)[0] - log_s) < 0.1


def test_a_disturbed_training_does_not_bend_the_rest():
    space = find_space("image")
    archs = samples(space, 160, "disturbed")
    log_s = ruled(space, SHAPES["image"], archs, seed=8)
    disturbed = log_s[:80] + math.log(3) * (np.arange(80) % 20 == 7)
    mean, _ = told(taught(space, SHAPES["image"], archs[:80], disturbed), archs[80:])
    assert np.mean(np.abs(mean - log_s[80:]) < 0.2) > 0.9


def test_the_latest_trainings_are_looked_at():
    space = find_space("mlp")
    archs = samples(space, MOST, "latest")
    log_s = ruled(space, (20,), archs, seed=9)
    slow = taught(space, (20,), archs[::-1], log_s[::-1] + 2)
    for arch, size, s in zip(archs, sizes(space, archs), np.exp(log_s), strict=True):
        slow.learn(arch, size, SAMPLES, SAMPLES * float(s))
    assert len(slow) == 2 * MOST
    np.testing.assert_array_equal(told(slow, archs), told(taught(space, (20,), archs, log_s), archs))


# Edges.


@pytest.mark.parametrize(
    ("n", "seconds"), [(0, 1.0), (-5, 1.0), (math.nan, 1.0), (10, 0.0), (10, -1.0), (10, math.inf)]
)
def test_a_training_that_was_none_teaches_nothing(n, seconds):
    space = find_space("digits")
    predictor = TrainTimePredictor(space, (1, 8, 8), 10)
    predictor.learn(samples(space, 1)[0], 32, n, seconds)
    assert len(predictor) == 0


def test_batch_sizes_are_checked():
    space = find_space("mlp")
    arch = samples(space, 1)[0]
    predictor = TrainTimePredictor(space, (20,), 10)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        predictor.learn(arch, 0, 100, 1.0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got -1"):
        predictor.predict([arch], [-1])
    with pytest.raises(ValueError, match="shorter"):
        predictor.predict([arch, arch], [32])
    assert [part.shape for part in predictor.predict([], [])] == [(0,), (0,)]


MIXED = parse(
    "input: image\nbody: {choice: {conv: {width: 9, groups: [1, 3]}, dense: {width: [8, 9]}}}\n"
    "head: {choice: {pool: {}, last: {}}}\ntraining: {batch_size: 32}"
)


def test_what_cannot_be_built_is_nan_and_is_refused_as_a_training():
    archs = samples(MIXED, 60, "unbuildable")
    buildable = []
    for arch in archs:
        try:
            build(MIXED, arch, (1, 4, 4), 10)
            buildable.append(arch)
        except BuildError:
            with pytest.raises(BuildError):
                TrainTimePredictor(MIXED, (1, 4, 4), 10).learn(arch, 32, 100, 1.0)
    assert 0 < len(buildable) < len(archs)
    for n in (0, len(buildable)):
        mean, deviation = told(taught(MIXED, (1, 4, 4), buildable[:n], np.zeros(n)), archs)
        np.testing.assert_array_equal(np.isfinite(mean), [arch in buildable for arch in archs])
        np.testing.assert_array_equal(np.isnan(mean), np.isnan(deviation))


def test_another_space_is_refused():
    predictor = TrainTimePredictor(find_space("digits"), (1, 8, 8), 10)
    with pytest.raises(SpaceError):
        predictor.learn(samples(find_space("mlp"), 1)[0], 32, 100, 1.0)


# A block of one's own.


@dataclasses.dataclass(frozen=True)
class OwnConfig:
    width: int = 8


class Own(nn.Module):
    takes: ClassVar[str] = "map"
    Config = OwnConfig
    built: ClassVar[int] = 0

    def __init__(self, in_shape, config):
        super().__init__()
        Own.built += 1
        self.out_shape = (config.width, *in_shape[1:])
        self.conv = nn.Conv2d(in_shape[0], config.width, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def test_blocks_without_a_plan_are_built_once_and_predicted(monkeypatch):
    monkeypatch.setitem(BLOCKS._parts, "own", Own)
    space = parse(
        "input: image\nbody: {repeat: {int: [1, 3]}, block: {own: {width: {int: [8, 64]}}}}\nhead: {pool: {}}\n"
        "training: {batch_size: [32, 64], optimizer: [adam, sgd]}"
    )
    archs = samples(space, 120, "own")
    log_s = ruled(space, (3, 8, 8), archs, seed=10)
    before = torch.get_rng_state()
    predictor = taught(space, (3, 8, 8), archs[:80], log_s[:80])
    mean, _ = told(predictor, archs[80:])
    assert torch.equal(torch.get_rng_state(), before)  # weights of networks to come are as without it
    assert np.mean(np.abs(mean - log_s[80:]) < 0.1) > 0.9
    built = Own.built
    told(predictor, archs)
    assert Own.built == built
    names = {name for family, name in predictor.describe(archs[0], 32) if family.endswith("Own")}
    assert names == {"node", "macs", "moved", "weights"}


# Every architecture of every shipped space.


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(sorted(SHAPES)), seed=st.integers(0, 2**32 - 1), batch_size=st.integers(1, 512))
def test_whatever_can_be_built_is_described_as_it_is_built(name, seed, batch_size):
    space, in_shape = find_space(name), SHAPES[name]
    arch = space.sample(np.random.default_rng(seed))
    predictor = TrainTimePredictor(space, in_shape, 7)
    try:
        network = build(space, arch, in_shape, 7)
    except BuildError:
        with pytest.raises(BuildError):
            predictor.describe(arch, batch_size)
        return
    work = predictor.describe(arch, batch_size)
    assert all(math.isfinite(amount) and amount > 0 for amount in work.values())
    parameters = list(network.parameters())
    weights, tensors = (
        batch_size
        * sum(amount for (family, name), amount in work.items() if family.startswith("update/") and name == of)
        for of in ("weights", "tensors")
    )
    # Learned positions and the norm of a dense layer are no operation of a plan; a bias may stand for a norm's two.
    assert weights == pytest.approx(sum(p.numel() for p in parameters), rel=0.15, abs=900)
    assert tensors == pytest.approx(len(parameters), rel=0.35, abs=4)
    mean, deviation = predictor.predict([arch], [batch_size])
    assert math.isfinite(mean[0])
    assert 0 < deviation[0] < 2


@pytest.mark.parametrize(
    ("operation", "cheaper"),
    [
        (Operation("conv", 16, 20, (8, 8), (8, 8), 3), Operation("conv", 16, 16, (8, 8), (8, 8), 3)),
        (Operation("conv", 48, 48, (8, 8), (8, 8), 3), Operation("conv", 48, 48, (8, 8), (8, 8), 3, 48)),
        (Operation("conv", 16, 16, (64,), (64,), 3), Operation("conv", 16, 16, (32,), (32,), 3)),
        (Operation("lstm", 8, 8, (50,), (50,)), Operation("lstm", 8, 8, (25,), (25,))),
        (Operation("gru", 8, 8, (50,), (50,), groups=2), Operation("gru", 8, 8, (50,), (50,))),
        (
            Operation("attention", 32, 32, (60,), (60,), groups=2),
            Operation("attention", 32, 32, (30,), (30,), groups=2),
        ),
        (over("silu", (20, 8, 8)), over("silu", (12, 8, 8))),
        (over("silu", (20, 8, 8)), over("relu", (20, 8, 8))),
    ],
    ids=lambda operation: operation.kind,
)
def test_more_work_takes_longer(operation, cheaper):
    spent = [
        sum(n * usual_ns(term) for term, n in train_terms(o).items() if term[0] != "update")
        for o in (operation, cheaper)
    ]
    assert spent[0] > spent[1]
