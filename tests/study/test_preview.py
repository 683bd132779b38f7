"""What random samples cost, and how many keep a budget, before any search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from nas.build import build
from nas.errors import NasError, SpaceError
from nas.objectives import Budget, Measurement
from nas.rng import generator
from nas.space import Architecture
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.evaluate import Candidate
from nas.study.preview import QUANTILES, Preview, preview, stand_in

PRICES = ("latency_ms", "macs", "n_params", "size_bytes", "peak_bytes")


def config(space, *budgets: str, **others) -> StudyConfig:
    return StudyConfig(space=space, objectives=("latency_ms",), budgets=budgets, **others)


@pytest.fixture(scope="module")
def seen(tiny) -> Preview:
    return preview(config(tiny, "n_params<=2k", "latency_ms<=100"), stand_in((1, 8, 8), 10), samples=25)


def test_samples_are_the_spaces_own(seen, tiny):
    rng = generator(0, "samples")
    assert [c.arch for c in seen.candidates] == [tiny.sample(rng) for _ in range(25)]


def test_every_price_is_that_of_the_network(seen, tiny):
    for c in seen.candidates:
        network = build(tiny, c.arch, (1, 8, 8), 10)
        assert c.prices["n_params"].value == sum(p.numel() for p in network.parameters())
        assert set(c.prices) == set(PRICES)
    assert seen.n_networks < len(seen.candidates), "what differs in training alone is measured once"


def test_shares_count_what_keeps_a_budget(seen):
    small, fast = seen.budgets
    n = sum(c.prices["n_params"].value <= 2000 for c in seen.candidates)
    assert 0 < seen.keeping([small]).n == n < 25
    assert seen.keeping([fast]).n == 25
    assert seen.keeping(seen.budgets).n == n
    assert seen.keeping([]).n == 25


def test_quantiles_are_those_of_the_samples(seen):
    found = seen.quantiles()
    assert tuple(found) == PRICES
    for name, values in found.items():
        assert values == pytest.approx(np.quantile([c.prices[name].value for c in seen.candidates], QUANTILES))


def fake(n_keeping: int, n_others: int, n_unbuilt: int = 0) -> Preview:
    """Return samples of 1 ms, of 3 ms, and of none."""
    arch = Architecture.of({"x": 1})
    made = [Candidate(arch, "k", {"latency_ms": Measurement(1, 0.99, 1.01)})] * n_keeping
    made += [Candidate(arch, "l", {"latency_ms": Measurement(3, 2.9, 3.1)})] * n_others
    made += [Candidate(arch, problem=f"cannot be built: body.{i}: conv on ({i}, 1)") for i in range(n_unbuilt)]
    return Preview(tuple(made), (Budget.parse("latency_ms<=2"),), len(made), 1.0, ())


@pytest.mark.parametrize(("n", "k"), [(60, 0), (60, 1), (60, 30), (60, 60), (1, 1)])
def test_the_interval_is_exact(n, k):
    """At either end of it, what was seen or more extreme has a probability of 2.5 %."""
    share = fake(k, n - k).keeping([Budget.parse("latency_ms<=2")])
    assert share.n == k
    assert share.low == 0 if k == 0 else binom.sf(k - 1, n, share.low) == pytest.approx(0.025)
    assert share.high == 1 if k == n else binom.cdf(k, n, share.high) == pytest.approx(0.025)


def test_what_cannot_be_built_keeps_nothing_and_is_counted_by_its_reason():
    found = fake(2, 1, 3)
    assert found.keeping(found.budgets).n == 2
    assert found.problems() == [(3, "cannot be built: body.0: conv on (0, 1)")]
    assert len(found.priced) == 3


def test_where_nothing_fits_the_nearest_is_told():
    near, times = fake(0, 2).nearest([Budget.parse("latency_ms<=2")])
    assert near.prices["latency_ms"].value == 3
    assert times == pytest.approx(3.1 * 1.03 / 2), "as a search judges: the far end of the interval and 3 %"
    assert fake(0, 0, 2).nearest([Budget.parse("latency_ms<=2")]) is None


HALF_BUILT = """\
input: image
body: {choice: {maxpool: {kernel: 2}, transformer: {dim: 10, heads: [2, 4]}}}
head: {pool: {}}
"""


def test_what_cannot_be_built_says_why():
    found = preview(config(parse(HALF_BUILT, name="half")), stand_in((1, 8, 8), 4), samples=20)
    ((times, problem),) = found.problems()
    assert times + len(found.priced) == 20
    assert "heads=4 must divide dim=10" in problem
    assert found.keeping([]).n == len(found.priced) > 0


def test_where_nothing_can_be_built_the_reasons_are_the_error():
    space = parse(HALF_BUILT.replace("[2, 4]", "4").replace("maxpool: {kernel: 2}, ", ""), name="none")
    with pytest.raises(SpaceError, match=r"none of 50 random architectures can be built.*\n.*heads=4 must divide"):
        preview(config(space), stand_in((1, 8, 8), 4))
    with pytest.raises(SpaceError, match=r"input: image, and the data have shape \(8,\)"):
        preview(config(parse(HALF_BUILT, name="half")), stand_in((8,), 4))


def test_time_ends_it_after_one_sample_at_least(tiny):
    found = preview(config(tiny), stand_in((1, 8, 8), 10), samples=50, seconds=1e-9)
    assert (len(found.candidates), found.wanted) == (1, 50)


def test_budgets_on_several_targets(tiny):
    budgets = ("latency_ms@eager<=100", "latency_ms<=100")
    found = preview(config(tiny, *budgets), stand_in((1, 8, 8), 10), samples=1)
    assert found.keeping(found.budgets).n == 1
    assert {"latency_ms", "latency_ms@eager"} < set(found.quantiles())


def test_a_budget_on_what_only_training_tells_is_refused(tiny):
    with pytest.raises(NasError, match="known only after training"):
        config(tiny, "accuracy>=0.9")
