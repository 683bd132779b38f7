"""Zero-cost proxies: asked for sparingly, believed as far as they explain what was trained."""

import math

import numpy as np
import pytest
from tpe_cases import ACCURACY, LATENCY, NET, free, random_trials, search, told

from nas.rng import generator
from nas.samplers.proposer import MOST_DESCRIBED, MOST_PRICED, N_SURVEYED
from nas.samplers.tpe import TPE
from nas.samplers.tpe.outlook import MOST_TRIALS
from nas.samplers.tpe.proxies import Proxies

OBJECTIVES = (ACCURACY, LATENCY)


def loss_of(arch):
    """Return what a training of `arch` tells of the first objective."""
    return told(arch, 0).losses[0]


def lot_of(arch):
    """Return a number that has nothing to do with the network."""
    return float(int(arch.fingerprint()[:8], 16))


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    return list({arch.fingerprint(): arch for arch in (NET.sample(rng) for _ in range(n))}.values())


# --- the scale


def test_proxies_come_on_one_scale_and_what_is_far_out_is_drawn_in():
    archs = drawn(60)
    worth = {arch: float(i) for i, arch in enumerate(archs)} | {archs[0]: -math.inf, archs[-1]: 1e9}
    proxies = Proxies(lambda arch: (worth[arch], 7.0, math.nan))
    assert len(proxies) == 0
    proxies.scale(archs)
    assert len(proxies) == 3
    told_ = proxies.of(archs)
    first = told_[:, 0]
    assert first[1:].mean() == pytest.approx(0.0, abs=1e-9)
    assert first[1:].std() == pytest.approx(1.0)
    assert (np.diff(first) >= 0).all()
    assert first[0] == first[1]
    assert first[-1] == first[-2]
    assert not told_[:, 1].any()  # always the same says nothing
    assert np.isnan(told_[:, 2]).all()
    assert proxies.scaled


def test_no_architecture_is_asked_twice():
    asked = []
    proxies = Proxies(lambda arch: (asked.append(arch), float(len(asked)))[1:])
    archs = drawn(20)
    proxies.scale(archs)
    np.testing.assert_array_equal(proxies.of(archs), proxies.of(archs))
    assert len(asked) == len(archs)
    assert proxies.of([]).shape == (0, 1)


def test_only_what_is_wanted_is_asked_for():
    asked = []

    def describe(arch, wanted=None):
        asked.append(None if wanted is None else list(wanted))
        return (1.0, 2.0, 3.0) if wanted is None else tuple(float(k + 1) if k in wanted else math.nan for k in range(3))

    first, second = drawn(20)[:10], drawn(20)[10:]
    proxies = Proxies(describe)
    proxies.scale(first)
    assert asked == [None] * 10
    assert np.isnan(proxies.of(second, [1])).tolist() == [[True, False, True]] * 10
    assert asked[10:] == [[1]] * 10
    proxies.of(second, [1])
    assert len(asked) == 20, "known"
    assert not np.isnan(proxies.of(second)).any()
    assert asked[20:] == [None] * 10


def test_each_belief_trusts_one_proxy_or_none():
    proxies = Proxies(lambda arch: (lot_of(arch), -lot_of(arch)))
    proxies.scale(drawn(10))
    start = np.array([1.0, 0.05])
    beliefs = proxies.beliefs(start)
    assert [belief.shape for belief in beliefs] == [(4,)] * 3
    for belief in beliefs:
        np.testing.assert_array_equal(belief[:2], start)
    trusted = [np.flatnonzero(belief[2:] > 0.01).tolist() for belief in beliefs]
    assert trusted == [[], [0], [1]]
    assert all((belief > 0).all() for belief in beliefs)


def test_proxies_of_different_lengths_are_refused():
    archs = drawn(10)
    proxies = Proxies(lambda arch: (1.0,) * (1 + (arch is archs[3])))
    with pytest.raises(ValueError, match=r"always as many proxies, got \[1, 2\]"):
        proxies.scale(archs)


# --- in a search


@pytest.mark.parametrize("gated", [True, False])
def test_few_are_asked_for(gated):
    asked = []

    def describe(arch, wanted=None):
        asked.append(arch)
        return (lot_of(arch),)

    n = 30
    search(n, objectives=OBJECTIVES, gated=gated, describe=describe)
    assert len(asked) == len(set(asked))
    assert 0 < len(asked) <= N_SURVEYED + n * (MOST_DESCRIBED + MOST_PRICED)


def test_proxies_that_say_nothing_change_nothing():
    plain = search(25, objectives=OBJECTIVES, gated=True)
    for nothing in (math.nan, 3.0):
        same = search(25, objectives=OBJECTIVES, gated=True, describe=lambda arch, _=None, x=nothing: (x, x))
        assert [o.arch for o in same] == [o.arch for o in plain]


def test_without_proxies_none_is_asked_for():
    def never(arch, wanted=None):
        raise AssertionError(arch)

    found = search(15, objectives=OBJECTIVES, gated=True, describe=never, without="proxies")
    assert [o.arch for o in found] == [o.arch for o in search(15, objectives=OBJECTIVES, gated=True)]


def test_a_proxy_that_tells_the_loss_helps_and_a_lot_does_little_harm():
    """The mean of the trained losses over six seeds: what a proxy is for is to spend trainings better."""

    def mean_loss(describe):
        runs = [search(30, objectives=OBJECTIVES, gated=True, seed=s, describe=describe) for s in range(6)]
        return np.array([np.mean([o.losses[0] for o in run[10:]]) for run in runs])

    plain, right, wrong = (
        mean_loss(describe) for describe in (None, lambda a, *_: (loss_of(a), lot_of(a)), lambda a, *_: (lot_of(a),))
    )
    spread = max(plain.std(), 1e-9)
    assert right.mean() < plain.mean()
    assert wrong.mean() < plain.mean() + spread


@pytest.mark.parametrize("gated", [True, False])
def test_the_same_history_and_proxies_the_same_proposal(gated):
    describe = lambda arch, *_: (lot_of(arch), loss_of(arch))  # noqa: E731
    first = search(20, objectives=OBJECTIVES, gated=gated, describe=describe)
    assert [o.arch for o in search(20, objectives=OBJECTIVES, gated=gated, describe=describe)] == [
        o.arch for o in first
    ]
    # An interrupted search goes on as it would have: another sampler, told what the first one was.
    again = TPE(NET, OBJECTIVES, gated=gated, describe=describe)
    for number in range(12, 20):
        rng = generator(0, "sampler", number)
        assert again.propose(first[:number], [], free(), rng) == first[number].arch


def test_a_resumed_search_of_more_trials_than_are_looked_at_learns_the_same_of_its_proxies():
    def describe(arch, *_):
        return (loss_of(arch), math.nan if int(arch.fingerprint(), 16) % 5 == 0 else lot_of(arch))

    start = random_trials(MOST_TRIALS + 20, seed=8)
    seen = search(30, start=start, objectives=OBJECTIVES, gated=True, describe=describe)
    for number in range(0, 30, 3):
        again = TPE(NET, OBJECTIVES, gated=True, describe=describe)
        arch = again.propose([*start, *seen[:number]], [], free(), generator(0, "sampler", number))
        assert arch == seen[number].arch, f"the {number}th proposal is another"
