"""What is known before and between trials: the survey of prices, and what is expected of architectures."""

import dataclasses
import math

import numpy as np
import pytest
from tpe_cases import ACCURACY, LATENCY, NET, drawn, figures, random_trials, told

from nas.pareto import non_dominated, ranks
from nas.samplers import TPE, Observation, Price
from nas.samplers.tpe.columns import Columns
from nas.samplers.tpe.features import Features
from nas.samplers.tpe.gain import Gain
from nas.samplers.tpe.history import History
from nas.samplers.tpe.outlook import MOST_TRIALS, Memory, Outlook
from nas.samplers.tpe.survey import survey

COLUMNS = Columns(NET)
FEATURES = Features(COLUMNS)
CHEAP = np.array([False, True])
LIMIT_MS = 3.0


def price(arch):
    excess = math.log(figures(arch)[1] / LIMIT_MS)
    return Price((None, figures(arch)[1]), max(excess, 0.0), (excess,))


def surveyed(n=40, n_design=10, ask=price, seed=0):
    archs = [o.arch for o in random_trials(n, seed)]
    return survey(archs, FEATURES.of(COLUMNS.of(archs)), ask, n_design, np.random.default_rng(0))


def outlook(seen, *, pending=(), cheap=CHEAP, look=None, memory=None, n_startup=10, **options):
    history = History(COLUMNS, FEATURES, len(cheap))
    history.update(seen)
    return Outlook(history, FEATURES, cheap, look, memory or Memory(), pending, n_startup=n_startup, **options)


# --- survey


def test_a_survey_prices_each_once_and_keeps_what_it_was_told():
    asked = []
    look = surveyed(ask=lambda arch: asked.append(arch) or price(arch))
    assert asked == look.archs
    np.testing.assert_array_equal(look.losses, [[np.nan, figures(arch)[1]] for arch in look.archs])
    np.testing.assert_allclose(look.excess[:, 0], np.log(look.losses[:, 1] / LIMIT_MS))


@pytest.mark.parametrize("n_design", [1, 5, 10, 100])
def test_the_design_is_spread_over_the_prices_that_keep_the_budgets(n_design):
    def no_ties(arch):
        return Price((None, figures(arch)[1] + 1e-6 * arch.values["lr"]), price(arch).violation)

    look = surveyed(n_design=n_design, ask=no_ties)
    latency = look.losses[:, 1]
    kept = np.sort(latency[[no_ties(arch).violation == 0 for arch in look.archs]])
    n = min(n_design, len(kept))
    assert len(look.design) == n
    place = np.sort(np.searchsorted(kept, latency[look.design]))
    strata = np.linspace(0, len(kept), n + 1)
    assert (kept[place] == np.sort(latency[look.design])).all()
    assert ((strata[:-1] <= place + 0.5) & (place + 0.5 <= strata[1:])).all()  # one in each, near its middle
    assert surveyed(n_design=n_design, ask=no_ties).design == look.design


def test_a_survey_of_what_cannot_be_kept_or_tells_nothing():
    assert surveyed(ask=lambda arch: Price((None, None), math.inf)).design == []
    assert len(surveyed(ask=lambda arch: Price((None, None), 0.0)).design) == 10
    mixed = surveyed(ask=lambda arch: Price((None, None), math.inf) if len(arch.values) < 6 else price(arch))
    assert mixed.excess.shape == (40, 1)  # what cannot be built has no excess
    assert np.isnan(mixed.excess).any()


# --- outlook


def test_the_reference_comes_from_trials_whose_loss_is_a_number():
    """An infinite loss is a usual penalty; ten of them first, and the regression was never fitted."""
    seen = [dataclasses.replace(o, losses=(math.inf, o.losses[1])) for o in random_trials(12)]
    seen += random_trials(30, seed=1)
    found = outlook(seen).expect(COLUMNS.of([o.arch for o in seen[12:]]))
    assert np.ptp(found.gain[:, 0]) > 0.1
    true = [o.losses[0] for o in seen[12:]]
    assert np.corrcoef(found.gain[:, 0], true)[0, 1] < -0.5


def test_budgets_of_the_survey_count_before_any_trial_told_of_one():
    found = outlook(random_trials(5), look=surveyed()).expect(COLUMNS.of([o.arch for o in random_trials(60, seed=3)]))
    within = np.array([figures(o.arch)[1] <= LIMIT_MS for o in random_trials(60, seed=3)])
    assert found.keeps[within].mean() > found.keeps[~within].mean() + 0.3


def test_a_trained_loss_is_guessed_and_a_price_is_predicted():
    seen = random_trials(120)
    rows = drawn(NET, 300, seed=5)[2]
    found = outlook(seen)
    expected = found.expect(rows)
    true = np.array([figures(COLUMNS.architecture(row, np.random.default_rng(0))) for row in rows])
    assert np.corrcoef(expected.gain[:, 0], true[:, 0])[0, 1] < -0.8
    price = found.known([(None, y) for y in true[:, 1]], np.zeros((len(true), 2)))[:, 1]
    assert np.var(expected.gain[:, 1] - price) < 0.1 * np.var(price)
    np.testing.assert_array_equal(found.known([(0.5, None)], np.array([[0.2, 0.3]])), [[0.2, 0.3]])
    assert (expected.deviation[:, 0] > 0).all()
    assert not expected.deviation[:, 1].any()
    np.testing.assert_array_equal(expected.keeps, 1.0)
    assert not expected.log_seconds.any()


def test_a_budget_is_learned_from_what_broke_it():
    seen = []
    for o in random_trials(80):
        excess = price(o.arch).excess
        if excess[0] > 0:
            o = Observation(o.arch, "over_budget", (None, o.losses[1]), excess[0], excess=excess)
        seen.append(dataclasses.replace(o, excess=excess))
    archs = [o.arch for o in random_trials(300, seed=9)]
    latency = np.array([figures(arch)[1] for arch in archs])
    keeps = outlook(seen).expect(COLUMNS.of(archs)).keeps
    assert keeps[latency < 0.5 * LIMIT_MS].mean() > 0.8
    assert keeps[latency > 2 * LIMIT_MS].mean() < 0.1


def test_training_time_is_predicted_from_what_it_took():
    def seconds(arch):
        return 10.0 ** sum(value == "conv" for value in arch.values.values())

    seen = [dataclasses.replace(o, cost=seconds(o.arch)) for o in random_trials(60)]
    seen[3] = dataclasses.replace(seen[3], cost=0.0)  # a clock that stood still
    seen[4] = dataclasses.replace(seen[4], cost=None)
    archs = [o.arch for o in random_trials(100, seed=9)]
    true = np.log([seconds(arch) for arch in archs])
    found = outlook(seen).expect(COLUMNS.of(archs)).log_seconds
    assert np.corrcoef(found, true)[0, 1] > 0.9


def test_the_front_is_what_no_other_dominates():
    found = outlook(random_trials(60))
    assert len(found.front)
    assert len(non_dominated(-found.front)) == len(found.front)
    known = found.known([o.losses for o in random_trials(60)], np.zeros((60, 2)))[:, 1]
    assert set(np.round(found.front[:, 1], 9)) <= set(np.round(known, 9))  # prices are taken as they are
    assert np.abs(found.front).max() < 5  # in units of the largest gain


def test_prices_are_compared_by_their_logarithm_where_they_are_positive():
    trials = random_trials(20)
    assert outlook(trials).scaled(np.array([[0.5, math.e]])).tolist() == [[0.5, 1.0]]
    trials[3] = dataclasses.replace(trials[3], losses=(0.5, 0.0))
    assert outlook(trials).scaled(np.array([[0.5, math.e]])).tolist() == [[0.5, math.e]]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_pending_gains_little_again(seed):
    seen, rows = random_trials(30, seed), drawn(NET, 100, seed + 50)[2]
    archs = [COLUMNS.architecture(row, np.random.default_rng(0)) for row in rows]

    def worth(found):
        expected = found.expect(rows)
        return Gain(found.front).expected(expected.gain, expected.deviation)

    alone = worth(outlook(seen))
    best = alone.argmax()
    beside = worth(outlook(seen, pending=[archs[best]]))
    assert beside[best] < 0.5 * alone[best]
    assert beside.max() > beside[best]


def test_a_failure_is_a_warning():
    seen = random_trials(40)
    bad = [o for o in random_trials(60, seed=3) if o.arch.values["body.0"] == "pool"]
    failures = [Observation(o.arch, "failed", (None, o.losses[1])) for o in bad]
    rows = COLUMNS.of([o.arch for o in random_trials(200, seed=4) if o.arch.values["body.0"] == "pool"])
    before, after = (outlook(told).expect(rows).gain[:, 0].mean() for told in (seen, [*seen, *failures]))
    assert after < before


def test_the_trials_looked_at_are_few_the_best_among_them():
    seen = random_trials(3 * MOST_TRIALS)
    seen[5] = dataclasses.replace(seen[5], state="over_budget")
    seen[6] = dataclasses.replace(seen[6], source="elsewhere")
    memory = Memory()
    found = outlook(seen, memory=memory)
    assert len(set(found.chosen)) == len(found.chosen) == MOST_TRIALS
    assert not {5, 6} & set(found.chosen)
    rank = ranks(np.array([o.losses for o in seen]))
    own = np.setdiff1d(np.arange(len(seen)), [5, 6])
    best = own[rank[own] == 0]
    assert set(best) <= set(found.chosen)
    assert rank[found.chosen].mean() < rank.mean()
    np.testing.assert_array_equal(outlook(seen, memory=memory).chosen, found.chosen)
    few = outlook(seen[:20]).chosen
    assert few.tolist() == [i for i in range(20) if i not in (5, 6)]


def test_without_trials_there_are_prices():
    rows = drawn(NET, 100, seed=2)[2]
    found = outlook([], look=surveyed())
    expected = found.expect(rows)
    latency = np.array([figures(COLUMNS.architecture(row, np.random.default_rng(0)))[1] for row in rows])
    assert np.corrcoef(expected.gain[:, 1], np.log(latency))[0, 1] < -0.9
    assert np.ptp(expected.gain[:, 0]) == 0
    assert len(found.front) == 0


def test_nothing_known_is_nothing_said():
    rows = drawn(NET, 10)[2]
    expected = outlook([]).expect(rows)
    assert (expected.deviation[:, 0] > 0).all()
    assert np.ptp(expected.gain) == 0


def test_evidence_alone_ranks_as_its_source_did():
    evidence = [
        dataclasses.replace(o, losses=(40 * o.losses[0] + 7, None), source="run old") for o in random_trials(80)
    ]
    archs = [o.arch for o in random_trials(100, seed=9)]
    error = np.array([figures(arch)[0] for arch in archs])
    found = outlook(evidence, by_evidence=True).expect(COLUMNS.of(archs)).gain[:, 0]
    assert np.corrcoef(found, error)[0, 1] < -0.7
    contrary = [dataclasses.replace(o, losses=(-o.losses[0], None)) for o in evidence]
    assert np.corrcoef(outlook(contrary, by_evidence=True).expect(COLUMNS.of(archs)).gain[:, 0], error)[0, 1] > 0.7


def test_trials_overrule_evidence():
    trials = random_trials(60)
    contrary = [
        dataclasses.replace(o, losses=(-o.losses[0], None), source="run old") for o in random_trials(60, seed=1)
    ]
    archs = [o.arch for o in random_trials(100, seed=9)]
    error = np.array([figures(arch)[0] for arch in archs])
    alone, beside = (outlook(seen).expect(COLUMNS.of(archs)).gain[:, 0] for seen in (trials, [*contrary, *trials]))
    assert np.corrcoef(beside, error)[0, 1] < 0.8 * np.corrcoef(alone, error)[0, 1] < 0


def test_what_was_learned_at_a_milestone_is_kept_until_the_next():
    memory, trials = Memory(), random_trials(40)
    outlook(trials[:30], memory=memory)
    first = dict(memory.kernels)
    assert set(first) == {"loss 0", "log loss 1"}
    history = History(COLUMNS, FEATURES, 2)
    for n in range(31, 41):
        history.update(trials[:n])
        same = history.milestone() == memory.milestone[1]
        outlook(trials[:n], memory=memory)
        assert (memory.kernels["loss 0"] is first["loss 0"]) == same
        first = dict(memory.kernels)


def failing(n, good):
    """Return trials of which all but a few fail, the first to succeed late."""
    return [
        o if i in good else Observation(o.arch, "failed", (None, o.losses[1]))
        for i, o in enumerate(random_trials(n, seed=2))
    ]


def ties(n, until):
    return [
        dataclasses.replace(o, losses=(1.0, o.losses[1])) if i < until else o
        for i, o in enumerate(random_trials(n, seed=3))
    ]


HISTORIES = {
    "plain": random_trials(60),
    "ties, then others": ties(60, until=55),
    "few successes": failing(60, {5, 18, 22, 30, 41, 53, 56, 57, 58, 59}),
    "more than are looked at": random_trials(2 * MOST_TRIALS, seed=4),
}


@pytest.mark.parametrize("seen", HISTORIES.values(), ids=HISTORIES)
def test_what_was_learned_at_a_milestone_saw_no_later_trial(seen):
    history = History(COLUMNS, FEATURES, 2)
    history.update(seen)
    milestone = history.milestone()
    assert milestone < len(seen)
    through, resumed = Memory(), Memory()
    for n in range(milestone, len(seen) + 1):
        outlook(seen[:n], memory=through)
    outlook(seen, memory=resumed)
    assert set(through.kernels) == set(resumed.kernels)
    for name, kernel in through.kernels.items():
        np.testing.assert_array_equal(resumed.kernels[name].weights, kernel.weights, err_msg=name)
        assert dataclasses.replace(resumed.kernels[name], weights=kernel.weights) == kernel
    np.testing.assert_array_equal(resumed.elite, through.elite)


def test_a_sampler_looks_around_once_within_the_space():
    asked = []
    sampler = TPE(NET, (ACCURACY, LATENCY), gated=True, seed=3)
    first = sampler.propose([], [], lambda arch: asked.append(arch) or price(arch), np.random.default_rng(0))
    assert all(NET.contains(arch) for arch in asked)
    n = len(asked)
    sampler.propose([told(first)], [], lambda arch: asked.append(arch) or price(arch), np.random.default_rng(1))
    assert n > 10 >= len(asked) - n
