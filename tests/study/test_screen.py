"""What a study predicts of candidates that were not measured: its latencies, and how far they are from a budget."""

import math

import numpy as np
import pytest

from nas.build import build
from nas.measure import count_macs
from nas.objectives import LATENCY, Budget, Measurement, parse_objective
from nas.rng import generator
from nas.space.yaml import parse
from nas.study.screen import Screener

SPACE = parse(
    """\
input: image
body: {repeat: {int: [1, 3]}, block: {conv: {width: {int: [8, 64], step: 8}, kernel: [3, 5]}}}
head: {pool: {}}
deploy: {precision: [fp32, int8_static]}
"""
)
AT = f"{LATENCY}@eager"
OBJECTIVES = tuple(map(parse_objective, ("accuracy", LATENCY, "macs")))
BUDGETS = (Budget(LATENCY, "<=", 0.5), Budget("n_params", "<=", 1e4), Budget(AT, ">=", 0.1))


def latency(arch, of):
    """Return a latency that is a sum over layers; int8 takes half of it, eager torch twice."""
    layers = range(int(arch.values["body.repeat"]))
    widths, kernels = ([int(arch.values[f"body.{i}.conv.{name}"]) for i in layers] for name in ("width", "kernel"))
    macs = sum(28 * 28 * c * w * k**2 for c, w, k in zip([1, *widths], widths, kernels, strict=False))
    ms = 0.005 + 5e-8 * macs
    return ms * (0.5 if arch.values["deploy.precision"] == "int8_static" else 1.0) * (2.0 if of == AT else 1.0)


def archs(n, seed=0):
    rng = generator(seed, "screen")
    return list(dict.fromkeys(SPACE.sample(rng) for _ in range(n)))


@pytest.fixture(scope="module")
def learned():
    screener = Screener(SPACE, (1, 28, 28), 10, OBJECTIVES, BUDGETS)
    for arch in archs(120):
        screener.learn(arch, {n: Measurement.exact(latency(arch, n)) for n in (LATENCY, AT)})
    return screener


def test_a_prediction_is_of_what_was_asked_for_and_nothing_else(learned):
    some = archs(50, seed=1)
    found = learned(some)
    assert found.losses.shape == (len(some), 3)
    assert np.isnan(found.losses[:, 0]).all(), "an accuracy is nothing that is predicted here"
    assert np.isnan(found.excess[:, 1]).all()
    true = np.array([latency(arch, LATENCY) for arch in some])
    assert np.median(np.abs(found.losses[:, 1] / true - 1)) < 0.2
    kept = np.array([[b.excess(b.worst(Measurement(m, m * 0.999, m * 1.001))) for m in true] for b in BUDGETS[:1]])[0]
    assert np.median(np.abs(found.excess[:, 0] - kept)) < 0.2
    assert (found.unsure[:, 0] > 0).all()


def test_each_target_and_each_precision_has_its_own_times(learned):
    some = archs(50, seed=1)
    there = np.array([latency(arch, AT) for arch in some])
    predicted = 0.1 / (1 - 0.03) * np.exp(-learned(some).excess[:, 2])  # at least 0.1 ms: the excess is the other way
    assert np.median(np.abs(predicted / there - 1)) < 0.2


def test_before_anything_was_measured_nothing_is_said():
    screener = Screener(SPACE, (1, 28, 28), 10, OBJECTIVES, BUDGETS)
    found = screener(archs(5))
    assert np.isnan(found.losses[:, :2]).all()
    assert np.isnan(found.excess).all()
    assert screener.names == [LATENCY, AT]
    assert not Screener(SPACE, (1, 28, 28), 10, OBJECTIVES[:1], BUDGETS[1:2]).tells


def test_multiply_adds_are_counted_from_the_first_candidate_on():
    few = Budget("macs", "<=", 1e6)
    screener = Screener(SPACE, (1, 28, 28), 10, OBJECTIVES, (few,))
    some = archs(5)
    counted = [count_macs(build(SPACE, arch, (1, 28, 28), 10), (1, 28, 28)) for arch in some]
    found = screener(some)
    assert found.losses[:, 2].tolist() == counted
    assert found.excess[:, 0].tolist() == [few.excess(count) for count in counted]
    assert not found.unsure.any()


def test_what_is_measured_twice_counts_once(learned):
    before = learned(archs(5, seed=2)).losses
    for arch in archs(120):
        learned.learn(arch, {LATENCY: Measurement.exact(math.e)})
    np.testing.assert_array_equal(learned(archs(5, seed=2)).losses, before)
