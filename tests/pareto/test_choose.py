"""The rule language: what it reads, whom it chooses, and what it says when it cannot."""

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import BudgetError, NasError, RunError
from nas.objectives import OBJECTIVES
from nas.pareto import choose, hypervolume, parse_rule, remarks, spread

ACC_LAT = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]


@dataclass(frozen=True)
class Trial:
    number: int
    on_front: bool
    metrics: dict[str, float] = field(default_factory=dict)
    state: str = "complete"


def trial(number, accuracy, latency, n_params=1000.0, on_front=True):
    return Trial(number, on_front, {"accuracy": accuracy, "latency_ms": latency, "n_params": n_params})


ROWS = [
    trial(0, 0.95, 4.0, 9e4),
    trial(1, 0.93, 1.0, 5e4),
    trial(2, 0.70, 0.5, 1e4),
    trial(3, 0.60, 3.0, 1e3, on_front=False),
    Trial(4, False, {"latency_ms": 9.0}, "over_budget"),  # priced and never trained
    Trial(5, False, {"accuracy": 0.4, "latency_ms": 1.0}, "stopped_early"),
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("knee", 1),
        ("best:accuracy", 0),
        (" best : latency_ms ", 2),
        ("best:accuracy where latency_ms<=2", 1),
        ("best:accuracy where latency_ms <= 2 and n_params < 20k", 2),
        ("best:accuracy where latency_ms<=2, n_params<=50k", 1),
        ("best:n_params where accuracy>=0.9", 1),
        ("knee where latency_ms<1", 2),
        ("closest", 1),
        ("closest:accuracy=0.95", 0),
        ("closest:accuracy=0.94,latency_ms=1.2", 1),
        (" closest : latency_ms = 0.6 , accuracy = 0.6 ", 2),  # both are met by one alone
        ("closest:n_params=1", 2),
        ("closest where latency_ms>=2", 0),
        ("closest:accuracy=0.95,latency_ms=0.5 where n_params<=20k", 2),
        ("trial:3", 3),  # on the front or not
        ("trial:5", 5),  # to the end of its training or not
    ],
)
def test_who_is_chosen(text, number):
    assert choose(parse_rule(text), ROWS, ACC_LAT).number == number


def test_a_wish_outside_of_the_front_is_remarked_on():
    front = [row for row in ROWS if row.on_front]
    best = max(front, key=lambda row: row.metrics["accuracy"])
    slowest = max(front, key=lambda row: row.metrics["latency_ms"])
    accuracy, latency = best.metrics["accuracy"], slowest.metrics["latency_ms"]
    wish, no_wish = remarks(parse_rule("closest:accuracy=1,latency_ms=1e9"), ROWS)
    assert f"accuracy=1 is better than all of the front; the best is {accuracy:.4g}, of trial {best.number}" in wish
    assert "latency_ms=1e+09 decides nothing" in no_wish
    assert f"the worst is {latency:.4g}, of trial {slowest.number}" in no_wish
    for text in (f"closest:accuracy={accuracy},latency_ms={latency}", "closest", "knee", "trial:3"):
        assert remarks(parse_rule(text), ROWS) == []
    assert remarks(parse_rule("closest:accuracy=1"), []) == []


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", NasError, "cannot be read: write knee, best:OBJECTIVE, closest"),
        ("kne", NasError, "Did you mean 'knee'"),
        ("closets:accuracy=1", NasError, "Did you mean 'closest'"),
        ("17", NasError, "for trial 17 write trial:17"),
        ("accuracy", NasError, "accuracy is an objective; write best:accuracy"),
        ("knee:accuracy", NasError, "knee takes nothing behind it"),
        ("best", NasError, "best of what"),
        ("best:", NasError, "best of what"),
        ("closest:", NasError, "closest to what"),
        ("closest:accuracy", NasError, "write e.g. closest:accuracy=0.95"),
        ("closest:acuracy=0.9", NasError, "Did you mean 'accuracy'"),
        ("closest:accuracy=good", NasError, "is no value to be close to; write a number, e.g. accuracy=0.95"),
        ("closest:latency_ms=0", NasError, "write one above 0"),
        ("closest:latency_ms=-1", NasError, "latency_ms is never below 0"),
        ("closest:accuracy=95", NasError, "for 95 % write 0.95"),
        ("closest:n_params=1e400", NasError, "write a number, e.g. n_params=10k"),
        ("knee where loss<=-1", BudgetError, "loss is at least 0"),
        ("closest:accuracy=0.9,accuracy=0.8", NasError, "accuracy is named twice"),
        ("closest:accuracy=0.9,,latency_ms=1", NasError, "write e.g. closest:accuracy=0.95"),
        ("best:acuracy", NasError, "Did you mean 'accuracy'"),
        ("best:accuracy where", BudgetError, "cannot be read"),
        ("best:accuracy where latency<=1", BudgetError, "Did you mean 'latency_ms'"),
        ("best:accuracy where latency_ms<=1 and", BudgetError, "cannot be read"),
        ("trial:x", NasError, "trial takes the number of a trial"),
        ("trial", NasError, "trial takes the number of a trial"),
        ("trial:3 where latency_ms<=1", NasError, "write trial:3"),
    ],
)
def test_what_cannot_be_read(text, error, words):
    with pytest.raises(error, match=f"(?i){words}"):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("best:accuracy where latency_ms<=0.1", BudgetError, "nearest is trial 2 with latency_ms=0.5"),
        ("best:size_bytes", NasError, "no figure of this run called 'size_bytes'.*n_params"),
        ("knee where macs<=1", NasError, "no figure of this run called 'macs'"),
        ("closest:macs=1", NasError, "no figure of this run called 'macs'"),
        ("closest where latency_ms<=0.1", BudgetError, "nearest is trial 2 with latency_ms=0.5"),
        (
            "trial:4",
            RunError,
            "trial 4 is not complete but over budget: its accuracy is not known; complete trials: 0, 1, 2, 3$",
        ),
        ("trial:99", RunError, "no trial 99 to choose; complete trials: 0, 1, 2, 3$"),
    ],
)
def test_what_cannot_be_chosen(text, error, words):
    with pytest.raises(error, match=f"(?i){words}"):
        choose(parse_rule(text), ROWS, ACC_LAT)


def test_an_empty_front_says_so():
    with pytest.raises(RunError, match="no trial is on the front yet"):
        choose(parse_rule("knee"), ROWS[3:], ACC_LAT)


def test_a_tie_goes_to_the_other_objectives_and_then_to_the_older_trial():
    rows = [trial(7, 0.9, 2.0), trial(5, 0.9, 1.0), trial(6, 0.9, 1.0)]
    assert choose(parse_rule("best:accuracy"), rows, ACC_LAT).number == 5


BUDGETS = st.lists(st.sampled_from(["latency_ms<=1.5", "n_params<1000", "accuracy>=0.9"]), max_size=3)


HEADS = ["knee", "best:accuracy", "best:macs", "closest", "closest:accuracy=0.9,macs=2k"]
HEADS += ["closest:latency_ms@openvino:threads=2,batch=8=0.5,accuracy=0.9,latency_ms=1"]


@given(st.sampled_from(HEADS), BUDGETS)
def test_a_rule_is_written_as_it_is_read(head, budgets):
    rule = parse_rule(head + (" where " + " , ".join(budgets) if budgets else ""))
    assert parse_rule(str(rule)) == rule


def test_a_target_and_its_settings_are_one_name():
    wished = parse_rule("closest:latency_ms@openvino:threads=2,batch=8=0.5,accuracy=0.9").ideal
    assert wished == (("latency_ms@openvino:threads=2,batch=8", 0.5), ("accuracy", 0.9))


def test_names_are_put_as_a_run_has_them():
    rule = parse_rule("closest:latency_ms=1,accuracy=0.9 where macs<=5").renamed(str.upper)
    assert [name for name, _ in rule.ideal] == ["LATENCY_MS", "ACCURACY"]
    assert [b.objective for b in rule.budgets] == ["MACS"]
    assert parse_rule("knee").renamed(str.upper) == parse_rule("knee")


# --- closest --------------------------------------------------------------------------------------------------------


def test_closest_by_hand():
    """Ranges: .25 in accuracy, log10(8) in latency. From (.95, 1 ms): 2/25, two octaves, and 1 for the third."""
    rule = parse_rule("closest:accuracy=0.95,latency_ms=1")
    distances = {1: 0.02 / 0.25, 0: math.log(4) / math.log(8), 2: 1.0}
    assert choose(rule, ROWS, ACC_LAT).number == min(distances, key=distances.__getitem__)
    assert choose(parse_rule("closest:accuracy=0.95,latency_ms=0.5 where accuracy<0.9"), ROWS, ACC_LAT).number == 2


def test_what_is_better_than_wished_for_costs_nothing():
    """An ordinary distance would take trial 2: .005 and 1 ms off, where trial 1 is better in both by more than that."""
    rows = [trial(0, 0.99, 16.0), trial(1, 0.96, 2.0), trial(2, 0.905, 1.9), trial(3, 0.5, 0.1)]
    assert choose(parse_rule("closest:accuracy=0.91,latency_ms=2.1"), rows, ACC_LAT).number == 1


FRONTS = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.floats(1e-3, 1e3)).map(lambda p: (round(p[0], 3), float(f"{p[1]:.3g}"))),
    min_size=1,
    max_size=8,
    unique=True,
)


def on_front(points):
    def beaten(p):
        return any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)

    return [trial(i, *p, on_front=not beaten(p)) for i, p in enumerate(points)]


@given(FRONTS)
def test_a_wish_that_can_be_had_is_met(points):
    rows = on_front(points)
    for row in (row for row in rows if row.on_front):
        accuracy, latency = row.metrics["accuracy"], row.metrics["latency_ms"]
        chosen = choose(parse_rule(f"closest:accuracy={accuracy!r},latency_ms={latency!r}"), rows, ACC_LAT)
        assert chosen.metrics["accuracy"] >= accuracy
        assert chosen.metrics["latency_ms"] <= latency


@given(FRONTS, st.floats(0.0, 1.0), st.floats(1e-3, 1e3))
def test_closest_agrees_with_its_formula(points, accuracy, latency):
    rows = [row for row in on_front(points) if row.on_front]
    text = f"closest:accuracy={accuracy:.4f},latency_ms={latency:.4g}"
    (_, a), (_, b) = parse_rule(text).ideal
    spans = []
    for values in ([-r.metrics["accuracy"] for r in rows], [math.log10(r.metrics["latency_ms"]) for r in rows]):
        spans.append(max(values) - min(values) or 1.0)

    def distance(row):
        worse = max(0.0, a - row.metrics["accuracy"]) / spans[0]
        slower = max(0.0, math.log10(row.metrics["latency_ms"]) - math.log10(b)) / spans[1]
        return math.hypot(worse, slower)

    found = choose(parse_rule(text), rows, ACC_LAT)
    assert distance(found) <= min(map(distance, rows)) + 1e-9


@given(FRONTS, st.sampled_from([1e-3, 7.0, 1e6]))
def test_another_unit_of_a_price_chooses_the_same(points, factor):
    rows = on_front(points)
    other = [replace(r, metrics={**r.metrics, "latency_ms": r.metrics["latency_ms"] * factor}) for r in rows]
    metrics = [choose(parse_rule("closest"), some, ACC_LAT).metrics["accuracy"] for some in (rows, other)]
    assert metrics[0] == metrics[1]


def test_infinities_and_unknown_figures_are_survived():
    rows = [trial(0, math.nan, 1.0), trial(1, 0.9, math.inf), trial(2, 0.8, 0.0), trial(3, 0.7, 1.0)]
    assert choose(parse_rule("closest"), rows, ACC_LAT).number == 2
    assert choose(parse_rule("closest"), rows[:1], ACC_LAT).number == 0
    assert {row.number for row in spread(rows, ACC_LAT, 2)} <= {0, 1, 2, 3}


# --- a few that stand for the front ---------------------------------------------------------------------------------


def test_a_spread_by_hand():
    """The middle one dominates most alone; then the two ends are left."""
    rows = [trial(0, 0.5, 1.0), trial(1, 0.8, 10.0), trial(2, 0.9, 100.0), trial(3, 0.1, 50.0, on_front=False)]
    assert [row.number for row in spread(rows, ACC_LAT, 1)] == [1]
    assert {row.number for row in spread(rows, ACC_LAT, 9)} == {0, 1, 2}
    assert spread(rows[3:], ACC_LAT, 2) == []


def test_a_spread_keeps_the_most_accurate_beside_one_that_is_no_better_than_chance():
    rows = [trial(0, 0.16, 4.2), trial(1, 0.43, 4.5), trial(2, 0.89, 5.4), trial(3, 0.98, 6.2)]
    assert {row.number for row in spread(rows, ACC_LAT, 3)} == {1, 2, 3}


@given(FRONTS)
def test_a_spread_dominates_nearly_as_much_as_any_other_choice(points):
    rows = [row for row in on_front(points) if row.on_front]
    chosen = spread(rows, ACC_LAT, 2)
    assert len(chosen) == min(2, len(rows))
    errors = [math.log(max(1 - r.metrics["accuracy"], 1e-3)) for r in rows]
    losses = np.array([[error, math.log10(r.metrics["latency_ms"])] for error, r in zip(errors, rows, strict=True)])
    span = losses.max(axis=0) - losses.min(axis=0)
    unit = (losses - losses.min(axis=0)) / np.where(span > 0, span, 1.0)

    def volume(some):
        return hypervolume(unit[[rows.index(row) for row in some]], np.full(2, 1.1))

    best = max(map(volume, itertools.combinations(rows, len(chosen))))
    assert volume(chosen) >= (1 - 1 / math.e) * best - 1e-9
