"""What follows from the trials of a study: kept up with each, as if it were computed anew."""

import math
import random
from dataclasses import replace

import pytest

from nas.objectives import Measurement, parse_objective
from nas.pareto import worst_of_interest
from nas.records import TrialRecord
from nas.space import Architecture
from nas.study.front import front_numbers
from nas.study.ledger import Ledger, full_seconds, was_trained
from nas.study.promote import next_to_promote

OBJECTIVES = [parse_objective("accuracy"), parse_objective("n_params")]
SHARES = (1 / 9, 1 / 3, 1.0)
EPOCHS = 9


def trial(number, accuracies, n_params=100.0, **more) -> TrialRecord:
    """A trial that finished a rung for each accuracy."""
    rung = len(accuracies)
    share = SHARES[rung - 1]
    scores = tuple({"accuracy": a, "loss": 2 * (1 - a)} for a in accuracies)
    return TrialRecord(
        number=number,
        arch=Architecture.of({"a": number}),
        state="complete" if rung == len(SHARES) else "stopped_early",
        prices={"n_params": Measurement.exact(n_params)},
        **{
            "scores": scores[-1],
            "rung": rung,
            "rung_scores": scores,
            "share": share,
            "epochs": share * EPOCHS,
            "curve": tuple((s * EPOCHS, a) for s, a in zip(SHARES, accuracies, strict=False)),
            "paused": rung < len(SHARES),
            "train_seconds": 5 + share * 20,
            "epoch_seconds": 2.0,
            "key": f"key {number}",
            **more,
        },
    )


def duplicate(number, of) -> TrialRecord:
    prices = {"n_params": Measurement.exact(100.0)}
    return TrialRecord(number, Architecture.of({"a": number}), "duplicate", prices, key=f"key {of}", duplicate_of=of)


def ledger(objectives=OBJECTIVES, **options) -> Ledger:
    return Ledger(objectives, [], shares=SHARES, **options)


def test_a_trial_that_came_further_takes_the_place_of_what_it_was():
    book = ledger()
    for record in (trial(3, [0.5]), trial(1, [0.6]), trial(3, [0.5, 0.7]), trial(3, [0.5, 0.7, 0.8])):
        book.take(record)
    assert [r.number for r in book.records] == [1, 3]
    assert book.get(3).state == "complete"
    assert book.get(2) is None
    assert book.trained == 2
    assert [r.number for r in book.front] == [3]
    assert [o.number for o in book.seen()] == [1, 3]


def test_the_front_is_that_of_the_complete_ones_in_whatever_order_they_came():
    chance = random.Random(0)
    records = [trial(n, [0.1, 0.2, chance.random()], chance.choice([10.0, 20.0, 30.0])) for n in range(30)]
    for _ in range(5):
        chance.shuffle(records)
        book = ledger()
        book.take_all(records)
        assert [r.number for r in book.front] == front_numbers(book.records, OBJECTIVES)
        assert [r.number for r in book.completed] == [r.number for r in records], "as they came"


def test_where_trials_stand_is_what_they_had_at_each_rung():
    book = ledger()
    book.take_all([trial(0, [0.5, 0.7, 0.8]), trial(1, [0.6]), trial(2, [0.4, 0.85])])
    found = {(s.number, s.rung): (s.losses[0], s.open, s.complete) for s in book.standings(at_work=[2])}
    assert found == {
        (0, 0): (-0.5, False, False),
        (0, 1): (-0.7, False, False),
        (0, 2): (-0.8, False, True),
        (1, 0): (-0.6, True, False),
        (2, 0): (-0.4, False, False),
        (2, 1): (-0.85, False, False),
    }


def test_what_is_barred_stands_at_infinity_and_takes_no_place():
    book = ledger()
    book.take_all([trial(n, [0.9 - 0.1 * n]) for n in range(3)])
    assert next_to_promote(book.standings()) == 0
    assert next_to_promote(book.standings(at_work=[0])) is None, "its place is taken"
    assert next_to_promote(book.standings(barred=[0])) == 1
    assert {s.losses for s in book.standings(barred=[0]) if s.number == 0} == {(math.inf, math.inf)}


def test_what_was_stopped_is_told_as_it_is_expected_to_end():
    book = ledger()
    book.take_all([trial(n, [0.4 + 0.01 * n, 0.6 + 0.01 * n, 0.8 + 0.01 * n]) for n in range(10)])
    book.take(trial(20, [0.45]))
    told = {o.number: o for o in book.seen()}
    assert told[3].losses == (pytest.approx(math.log(0.17)), 100.0), "of errors a sampler is told the logarithm"
    assert book.expected()[3] == (pytest.approx(-0.83), 100.0)
    assert told[20].state == "complete"
    assert book.expected()[20] == (pytest.approx(-0.85, abs=0.03), 100.0)
    assert told[20].losses == (pytest.approx(math.log(1 + book.expected()[20][0])), 100.0)


def test_a_loss_is_expected_by_losses_and_not_by_errors():
    book = ledger([parse_objective("loss"), parse_objective("n_params")])
    chance = random.Random(1)
    for n in range(30):  # losses fall to a fiftieth, errors to a half
        falls = [2.0 + chance.random(), 0.5, 0.04 + 0.02 * chance.random()]
        scores = tuple({"accuracy": a, "loss": x} for a, x in zip([0.2, 0.4, 0.6], falls, strict=True))
        book.take(trial(n, [0.2, 0.4, 0.6], rung_scores=scores, scores=scores[-1]))
    book.take(trial(40, [0.2], scores={"accuracy": 0.2, "loss": 2.5}, rung_scores=({"accuracy": 0.2, "loss": 2.5},)))
    assert 0.02 < book.expected()[40][0] < 0.12


def test_a_duplicate_says_what_its_twin_says_by_now():
    book = ledger()
    book.take(duplicate(5, of=2))
    assert {o.state for o in book.seen()} == {"failed"}, "its twin is at work, and nothing is known"
    book.take(trial(2, [0.5]))
    for further in ([0.5], [0.5, 0.7], [0.5, 0.7, 0.8]):
        book.take(trial(2, further))
        told = {o.number: o.losses for o in book.seen()}
        assert told[5] == told[2]
        assert book.get(5).scores == book.get(2).scores
        assert book.get(5).state == "duplicate"
    book.take(duplicate(6, of=2))
    assert book.get(6).scores == {"accuracy": 0.8, "loss": pytest.approx(0.4)}
    assert book.trained == 1


def test_what_failed_after_a_rung_is_told_as_failed_and_so_is_what_equals_it():
    """What its rungs told is no result: told as one, it would be the end of a training that diverged."""
    book = ledger()
    for record in (replace(trial(0, [0.9]), state="failed", paused=False), duplicate(1, of=0), trial(2, [0.8])):
        book.take(record)
    first, twin, other = book.seen()
    assert (first.state, twin.state, other.state) == ("failed", "failed", "complete")
    assert first.losses[0] is twin.losses[0] is None
    assert first.losses[1] == 100.0


def test_what_died_before_its_first_epoch_was_trained_and_what_has_no_price_was_not():
    prices = {"n_params": Measurement.exact(1.0)}
    died = TrialRecord(0, Architecture.of({"a": 0}), "failed", prices, reason="killed")
    unbuilt = TrialRecord(1, Architecture.of({"a": 1}), "failed", reason="cannot be built")
    assert (was_trained(died), was_trained(unbuilt)) == (True, False)


def test_how_long_a_training_takes_is_not_how_long_its_process_took_to_start():
    slow_start = trial(0, [0.5], train_seconds=40.0, epoch_seconds=0.1)
    assert full_seconds(slow_start) == pytest.approx(0.1 * EPOCHS * 1.15)
    assert full_seconds(trial(0, [0.5], train_seconds=4.0, epoch_seconds=0.0)) == pytest.approx(36.0)
    assert full_seconds(trial(0, [0.5, 0.6, 0.7], train_seconds=33.0)) == 33.0


def test_seconds_are_told_where_time_counts():
    for timed in (False, True):
        book = ledger(timed=timed)
        book.take(trial(0, [0.5, 0.7, 0.8]))
        assert [o.cost for o in book.seen()] == [25.0 if timed else None]


def test_what_is_far_worse_than_the_best_looks_alike_and_is_not_promoted():
    book = ledger()
    book.take_all([trial(0, [0.5, 0.6, 0.9]), trial(1, [0.3, 0.4, 0.6], 1.0), trial(2, [0.2, 0.3, 0.65], 2.0)])
    told = [one.losses[0] for one in book.seen()]
    assert told == pytest.approx([math.log(0.1), math.log(0.3), math.log(0.3)])
    book.take_all([trial(3, [0.2]), trial(4, [0.9])])
    first = {s.number: s.losses for s in book.standings() if s.rung == 0}
    assert first[3] == (math.inf, math.inf)  # 80 % wrong where the best is at 10 %
    assert first[4] == (-0.9, 100.0)


@pytest.mark.parametrize(("seen", "worst"), [([], math.inf), ([math.nan], math.inf), ([0.8, 0.1], 0.3), ([0.0], 0.1)])
def test_the_worst_error_of_interest(seen, worst):
    assert worst_of_interest(seen) == pytest.approx(worst)
