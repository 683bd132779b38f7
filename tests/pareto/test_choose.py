"""The rule language: what it reads, whom it chooses, and what it says when it cannot."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import BudgetError, NasError, RunError
from nas.objectives import OBJECTIVES
from nas.pareto import choose, parse_rule

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
        ("trial:3", 3),  # on the front or not
        ("trial:5", 5),  # to the end of its training or not
    ],
)
def test_who_is_chosen(text, number):
    assert choose(parse_rule(text), ROWS, ACC_LAT).number == number


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", NasError, "write knee, best:accuracy"),
        ("kne", NasError, "cannot be read"),
        ("knee:accuracy", NasError, "cannot be read"),
        ("best:", NasError, "cannot be read"),
        ("best:acuracy", NasError, "Did you mean 'accuracy'"),
        ("best:accuracy where", BudgetError, "cannot be read"),
        ("best:accuracy where latency<=1", BudgetError, "Did you mean 'latency_ms'"),
        ("best:accuracy where latency_ms<=1 and", BudgetError, "cannot be read"),
        ("trial:x", NasError, "cannot be read"),
        ("trial:3 where latency_ms<=1", NasError, "write trial:3"),
    ],
)
def test_what_cannot_be_read(text, error, words):
    with pytest.raises(error, match=words):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("best:accuracy where latency_ms<=0.1", BudgetError, "nearest is trial 2 with latency_ms=0.5"),
        ("best:size_bytes", NasError, "no figure of this run called 'size_bytes'.*n_params"),
        ("knee where macs<=1", NasError, "no figure of this run called 'macs'"),
        ("trial:4", RunError, "trial 4 is not complete: its accuracy is not known; complete trials: 0, 1, 2, 3$"),
        ("trial:99", RunError, "no trial 99 to choose; complete trials: 0, 1, 2, 3$"),
    ],
)
def test_what_cannot_be_chosen(text, error, words):
    with pytest.raises(error, match=words):
        choose(parse_rule(text), ROWS, ACC_LAT)


def test_an_empty_front_says_so():
    with pytest.raises(RunError, match="no trial is on the front yet"):
        choose(parse_rule("knee"), ROWS[3:], ACC_LAT)


def test_a_tie_goes_to_the_other_objectives_and_then_to_the_older_trial():
    rows = [trial(7, 0.9, 2.0), trial(5, 0.9, 1.0), trial(6, 0.9, 1.0)]
    assert choose(parse_rule("best:accuracy"), rows, ACC_LAT).number == 5


BUDGETS = st.lists(st.sampled_from(["latency_ms<=1.5", "n_params<1000", "accuracy>=0.9"]), max_size=3)


@given(st.sampled_from(["knee", "best:accuracy", "best:macs"]), BUDGETS)
def test_a_rule_is_written_as_it_is_read(head, budgets):
    rule = parse_rule(head + (" where " + " , ".join(budgets) if budgets else ""))
    assert parse_rule(str(rule)) == rule
