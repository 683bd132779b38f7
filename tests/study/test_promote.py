"""Who goes on: against successive halving written down plainly, against trying every loss, and by hand."""

import itertools
import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.pareto import ranks
from nas.records import read_json
from nas.study.promote import Standing, bar, next_to_promote, to_finish, waiting

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_promotion as bench

ETA = 3


def at(number, *losses, rung=0, open=True, complete=False):
    return Standing(number, rung, tuple(map(float, losses)), open, complete)


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


@st.composite
def studies(draw, n_losses=None):
    """Standings of up to 14 trials over three rungs, with ties, as a search leaves them: a few got further."""
    m = n_losses or draw(st.integers(1, 3))
    figures = st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0])
    found = []
    for number in draw(st.permutations(range(draw(st.integers(0, 14))))):
        top = draw(st.sampled_from([0, 0, 0, 1, 1, 2]))
        prices = draw(st.tuples(*[figures] * (m - 1)))
        status = draw(st.sampled_from(["open", "open", "busy"]))
        for rung in range(top + 1):
            last = rung == 2
            found.append(Standing(number, rung, (draw(figures), *prices), status == "open" and not last, last))
    return found


def asha(standings):
    """Li et al. 2020, algorithm 2, for one loss; with the delays of Li et al. 2022."""
    highest = {s.number: max(t.rung for t in standings if t.number == s.number) for s in standings}
    for rung in (2, 1, 0):
        here = sorted((s.losses, s.number, s.open and highest[s.number] == rung) for s in standings if s.rung == rung)
        if sum(not is_open for *_, is_open in here) >= len(here) // ETA:
            continue
        for _, number, is_open in here[: len(here) // ETA]:
            if is_open and highest[number] == rung:
                return number
    return None


@settings(max_examples=120)
@given(studies(n_losses=1))
def test_with_one_objective_it_is_successive_halving(standings):
    assert next_to_promote(standings, ETA) == asha(standings)


@settings(max_examples=60)
@given(studies(), st.randoms())
def test_the_order_of_the_standings_does_not_count(standings, chance):
    other = standings.copy()
    chance.shuffle(other)
    prices = (None, *[2.0] * (len(standings[0].losses) - 1)) if standings else (None,)
    assert next_to_promote(other) == next_to_promote(standings)
    assert to_finish(other) == to_finish(standings)
    assert [bar(other, rung, prices) for rung in range(3)] == [bar(standings, rung, prices) for rung in range(3)]


@settings(max_examples=120)
@given(studies())
def test_who_is_dominated_waits_for_the_one_that_dominates(standings):
    number = next_to_promote(standings)
    if number is None:
        return
    chosen = max((s for s in standings if s.number == number), key=lambda s: s.rung)
    highest = {n: max(s.rung for s in standings if s.number == n) for n in {s.number for s in standings}}
    rivals = [s for s in standings if s.rung == chosen.rung == highest[s.number] and s.open]
    assert chosen in rivals
    assert not any(dominates(s.losses, chosen.losses) for s in rivals)


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=25), st.integers(1, 2))
def test_a_search_promotes_ever_more_and_never_anybody_twice(losses, n_prices):
    """One trial after the other ends the lowest rung; whoever is promoted ends the next one a little changed."""
    standings, gone = [], [set(), set()]
    for number, (error, *prices) in enumerate(losses):
        standings.append(at(number, error, *prices[:n_prices]))
        before = [set(numbers) for numbers in gone]
        while (chosen := next_to_promote(standings)) is not None:
            rung = max(s.rung for s in standings if s.number == chosen)
            assert chosen not in gone[rung]
            gone[rung].add(chosen)
            changed = losses[chosen][0] - 0.1 * (chosen % 5 + 1)
            standings.append(
                at(
                    chosen,
                    changed,
                    *losses[chosen][1 : 1 + n_prices],
                    rung=rung + 1,
                    open=rung == 0,
                    complete=rung == 1,
                )
            )
        assert all(was <= now for was, now in zip(before, gone, strict=True))
        for rung in (0, 1):
            n = sum(s.rung == rung for s in standings)
            assert len(gone[rung]) == n // ETA, "as many as there are places have gone on"


@given(studies())
def test_all_that_could_go_on_wait_and_who_has_earned_it_comes_first(standings):
    highest = {s.number: max(t.rung for t in standings if t.number == s.number) for s in standings}
    found = waiting(standings)
    assert sorted(found) == sorted(s.number for s in standings if s.open and s.rung == highest[s.number])
    assert [highest[n] for n in found] == sorted((highest[n] for n in found), reverse=True)
    earned = next_to_promote(standings, ETA)
    if earned is not None:
        assert earned == next(n for n in found if highest[n] == highest[earned])
    left_out = at(99, math.nan, *[1.0] * (len(standings[0].losses) - 1 if standings else 0))
    assert waiting([*standings, left_out]) == found


def test_the_highest_rung_comes_first():
    low = [at(n, 0.1 * n + 0.1, 1.0) for n in range(9)]
    high = [at(n, 0.5 + 0.1 * n, 1.0, rung=1) for n in range(3)]
    assert next_to_promote(low + high) == 0
    assert next_to_promote([*low, *high, at(0, 0.3, 1.0, rung=2, complete=True)]) is None, "1 and 2 of 9 are there too"
    more = [at(n, 0.01 * n, 1.0) for n in range(9, 12)]
    assert next_to_promote([*low, *high, at(0, 0.3, 1.0, rung=2, complete=True), *more]) == 9


def test_better_ones_that_come_later_wait_for_places():
    """Each comes better than all before: by its rank alone every one would have earned the next rung."""
    standings, gone = [], []
    for number in range(30):
        standings.append(at(number, 1.0 - 0.01 * number, 1.0))
        while (chosen := next_to_promote(standings)) is not None:
            gone.append(chosen)
            standings[chosen] = at(chosen, 1.0 - 0.01 * chosen, 1.0, open=False)
    assert gone == [*range(2, 30, 3)], "one of three, the best of those there are"


def test_two_of_five_are_no_third_of_six():
    assert next_to_promote([at(0, 1.0), at(1, 2.0)]) is None
    assert next_to_promote([at(0, 1.0, open=False), *(at(n, 2.0) for n in range(1, 5))]) is None
    assert next_to_promote([at(0, 1.0, open=False), *(at(n, 2.0) for n in range(1, 6))]) == 1
    assert next_to_promote([at(0, 1.0), at(1, 2.0)], eta=2) == 0
    assert next_to_promote([]) is None


def test_within_a_rank_hypervolume_decides():
    """On the log scale of the price 0, 1 and 4 are a straight front with a bulge at 1, at every factor of the price."""
    front = [(0.9, 1.0), (0.2, 3.0), (0.15, 30.0), (0.95, 40.0)]
    for factor in (1e-6, 1.0, 1e6):
        standings = [at(n, error, ms * factor) for n, (error, ms) in enumerate(front)]
        assert next_to_promote(standings) == 1
    twice = [
        at(0, 0.2, 3.0, open=False),
        at(1, 0.2, 3.0),
        at(2, 0.15, 30.0),
        at(3, 0.9, 1.0),
        *(at(n, 1, 50) for n in (4, 5)),
    ]
    assert next_to_promote(twice) in (2, 3), "the like of what went on adds nothing"


def test_prices_count_by_their_ratios():
    """Trial 0 has half the error at fifty times the price: on a plain scale up to 1,000 that is next to nothing."""
    assert next_to_promote([at(0, 0.1, 100.0), at(1, 0.2, 2.0), *(at(n, 0.9, 1000.0 + n) for n in range(2, 5))]) == 1


@pytest.mark.parametrize("seed", range(10))
def test_units_do_not_count(seed):
    chance = random.Random(seed)
    points = [(-chance.random(), math.exp(chance.gauss(0, 2))) for _ in range(chance.randint(3, 20))]
    plain = [at(n, loss, price) for n, (loss, price) in enumerate(points)]
    other = [at(n, loss * 4 - 5, price * 1024) for n, (loss, price) in enumerate(points)]
    assert next_to_promote(other, eta=1.5) == next_to_promote(plain, eta=1.5)


def test_one_loss_that_exploded_does_not_make_all_others_alike():
    """On a scale up to 1e9 trials 0 and 1 would have the same error, and 1 the lower price."""
    signed = [at(0, -0.9, 10.0), at(1, -0.5, 9.5), *(at(n, -0.3 + 0.02 * n, 10.0 + n) for n in range(2, 11))]
    assert next_to_promote(signed) == 0
    assert next_to_promote([*signed, at(11, 1e9, 9.0)]) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_counts_and_is_never_promoted(bad):
    assert next_to_promote([at(0, bad, 0.1), at(1, 2, 2), at(2, 3, 3)]) == 1
    assert next_to_promote([at(n, bad, 0.1) for n in range(6)]) is None
    assert to_finish([at(n, bad, 0.1) for n in range(6)]) == []
    assert bar([at(n, bad, 0.1) for n in range(6)], 0, (None, 1.0)) is None


# ---------------------------------------------------------------- the end of a search


def test_what_nothing_dominates_is_finished_from_the_highest_rung_down():
    low = [at(0, 0.5, 1.0), at(1, 0.3, 2.0), at(2, 0.2, 9.0), *(at(n, 0.6, 5.0 + n) for n in range(3, 12))]
    assert set(to_finish(low)) == {0, 1, 2}
    assert to_finish(low)[0] == 1, "the bulge of the front"
    middle = [*low, at(2, 0.1, 9.0, rung=1), at(3, 0.4, 8.0, rung=1)]
    assert sorted(to_finish(middle)[:2]) == [2, 3]
    assert sorted(to_finish(middle)[2:]) == [0, 1]
    done = [*middle, at(2, 0.05, 9.0, rung=2, complete=True)]
    assert to_finish(done)[0] == 3
    assert sorted(to_finish(done)) == [0, 1, 3]


def test_who_went_on_still_dominates_at_the_rung_it_left():
    left = [at(0, 0.1, 1.0, open=False), *(at(n, 0.2 + 0.1 * n, 2.0) for n in range(1, 6))]
    assert to_finish([*left, at(0, 0.05, 1.0, rung=1, complete=True)]) == []


def test_what_a_complete_one_will_dominate_is_not_finished():
    seen = [at(0, 0.1, 3.0, open=False), at(1, 0.2, 2.0), at(2, 0.3, 1.0), *(at(n, 0.5, 9.0) for n in range(3, 9))]
    seen.append(at(0, 0.05, 1.5, rung=1, complete=True))
    assert sorted(to_finish(seen)) == [1, 2]
    assert to_finish(seen, {1: (0.06, 2.0), 2: (0.2, 1.0), 77: (9.0, 9.0)}) == [2]
    assert sorted(to_finish(seen, {1: (0.04, 2.0)})) == [1, 2]
    assert to_finish(seen, {1: (math.nan, 2.0)}) == [2]


@settings(max_examples=60)
@given(studies(), st.randoms(use_true_random=False))
def test_finishing_ends_and_takes_all_that_nothing_dominates(standings, chance):
    seen = list(standings)
    for _ in range(len({s.number for s in standings}) + 1):
        numbers = to_finish(seen)
        assert len(set(numbers)) == len(numbers)
        highest = {n: max(s.rung for s in seen if s.number == n) for n in {s.number for s in seen}}
        for rung in range(3):
            here = [s for s in seen if s.rung == rung]
            chosen = [n for n in numbers if highest[n] == rung]
            for s in here:
                worth = s.open and highest[s.number] == rung and not any(dominates(o.losses, s.losses) for o in here)
                assert (s.number in chosen) == worth
        if not numbers:
            return
        n = chance.choice(numbers)
        own = next(s for s in seen if s.number == n)
        for rung in range(highest[n] + 1, 3):
            losses = (chance.choice([0.5, 1.0, 2.0]), *own.losses[1:])
            seen.append(Standing(n, rung, losses, False, rung == 2))
    pytest.fail("there is no end to it")


# ---------------------------------------------------------------- the loss that is needed


def would_go_on(standings, rung, losses):
    """Whether one more trial has a rank in which there is a place, counted from all ranks anew."""
    here = [s.losses for s in standings if s.rung == rung]
    rank = ranks(np.array([*here, losses]))
    if any(s.complete for s in standings if s.rung == rung):
        return rank[-1] == 0
    return int((rank < rank[-1]).sum()) < (len(here) + 1) // ETA


@settings(max_examples=120)
@given(studies(), st.integers(0, 2), st.tuples(*[st.sampled_from([0.4, 0.5, 2.0, 2.5, 9.0])] * 2))
def test_the_bar_is_where_a_trial_stops_going_on(standings, rung, prices):
    if not any(s.rung == rung for s in standings):
        assert bar(standings, rung, (None, *prices)) is None
        return
    prices = prices[: len(standings[0].losses) - 1]
    needed = bar(standings, rung, (None, *prices))
    tried = [0.1, *itertools.chain.from_iterable((x - 1e-6, x + 1e-6) for x in (0.5, 1.0, 2.0, 3.0, 4.0)), 99.0]
    passing = [would_go_on(standings, rung, (loss, *prices)) for loss in tried]
    if needed is None:
        assert all(passing) or not any(passing)
    else:
        assert passing == [loss < needed for loss in tried]


def test_the_bar_of_one_objective_by_hand():
    seen = [at(n, loss) for n, loss in enumerate((0.5, 0.1, 0.4, 0.2, 0.3))]
    assert bar(seen, 0, (None,)) == 0.2  # of six two go on
    assert bar(seen[:1], 0, (None,)) is None  # of two none
    assert bar(seen, 1, (None,)) is None
    assert bar(seen, 0, (None,), eta=2) == 0.3


def test_at_the_end_the_front_is_the_bar():
    seen = [at(0, -0.9, 5.0, rung=1, open=False, complete=True), at(1, -0.8, 1.0, rung=1, open=False, complete=True)]
    assert bar(seen, 1, (None, 7.0)) == -0.9
    assert bar(seen, 1, (None, 4.0)) == -0.8
    assert bar(seen, 1, (None, 0.5)) is None
    assert bar([at(n, 5.0 - p, p) for n, p in enumerate((3.0, 1.0, 2.0))], 0, (2.0, None)) == 3.0  # in any place


def test_no_single_loss_decides_where_two_are_unknown():
    seen = [at(n, n, n, 1.0) for n in range(9)]
    assert bar(seen, 0, (None, None, 1.0)) is None
    assert bar(seen, 0, (1.0, 1.0, 1.0)) is None


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("function", [next_to_promote, to_finish, lambda s, **kw: bar(s, 0, (None, 1.0), **kw)])
def test_nonsense_is_refused(function):
    with pytest.raises(ValueError, match="trial 4 stands twice at rung 0"):
        function([at(4, 1, 1), at(3, 1, 1), at(4, 2, 2)])
    with pytest.raises(ValueError, match="how many losses"):
        function([at(1, 1, 1), at(2, 1)])
    if function is not to_finish:
        with pytest.raises(ValueError, match="eta must be above 1, got 1"):
            function([at(1, 1, 1)], eta=1)


def test_a_bar_is_for_as_many_losses_as_there_are():
    with pytest.raises(ValueError, match="has 2 losses, got 3"):
        bar([at(n, n, n) for n in range(9)], 0, (None, 1.0, 1.0))


def test_a_shuffled_search_of_two_objectives_keeps_most_of_its_front():
    """Errors at the rung have a correlation of 0.9 with the true ones; by chance a third of the front would go on."""
    chance = random.Random(0)
    kept = total = 0
    for _ in range(5):
        true = [(chance.random(), chance.random()) for _ in range(120)]
        seen = [at(n, error + chance.gauss(0, 0.15), price) for n, (error, price) in enumerate(true)]
        gone = set()
        while (number := next_to_promote(seen)) is not None:
            gone.add(number)
            seen[number] = at(number, *seen[number].losses, open=False)
        assert len(gone) == 40
        front = {n for n, rank in enumerate(ranks(np.array(true))) if rank == 0}
        kept, total = kept + len(front & gone), total + len(front)
    assert kept / total > 0.8  # 0.9 and more in 20 of 20 runs with other seeds


# ---------------------------------------------------------------- the benchmark


@pytest.mark.skipif(not (bench.DATA / "nasbench201").exists(), reason=f"no table in {bench.DATA}")
def test_the_benchmark_says_what_is_kept(tmp_path):
    bench.main(["--cells", "30", "--seeds", "1", "--out", str(tmp_path / "promotion.json")])
    found = read_json(tmp_path / "promotion.json")
    assert len(found["tasks"]) == 12
    for task in found["tasks"].values():
        ours, alone, as_many = (task[way] for way in bench.WAYS)
        assert ours["promoted"] == as_many["promoted"]
        assert 1 / 3 - 0.001 <= alone["promoted"]["mean"] <= 1
        for way in (ours, alone, as_many):
            assert all(0 <= way[name]["mean"] <= 1 for name in ("front_kept", "hypervolume_kept"))


def test_what_the_benchmark_promotes_is_counted_by_hand():
    """Of three, six, nine that came one, two, three go on: 2, then 3 (5 has no place yet), then 6, which is better."""
    losses = np.array([5.0, 4.0, 1.0, 0.5, 6.0, 0.7, 0.1, 7.0, 8.0])[:, None]
    assert np.flatnonzero(bench.promoted(losses)).tolist() == [2, 3, 6]
    true = np.stack([losses[:, 0] / 10, np.zeros(9)], axis=1)
    found = bench.one_search(np.tile(losses, 2), true, np.array([1.0, 1.0]))
    assert [found[way]["front_kept"] for way in bench.WAYS] == [1.0, 1.0, 1.0]
