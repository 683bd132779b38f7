"""Budgets: how far a value is from its limit, and on which side."""

import math
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import BudgetError, NasError
from nas.objectives import OBJECTIVES, PRICES, Budget, Measurement, is_latency, parse_number, parse_objective

numbers = st.floats(allow_nan=False, allow_infinity=False)
values = numbers | st.sampled_from([math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324])
limits = numbers | st.sampled_from([0.0, 1.0, 5e-324, 1.7e308])
budgets = st.builds(Budget, st.sampled_from(PRICES), st.sampled_from(["<=", ">=", "<", ">"]), limits)


def near(limit: float) -> st.SearchStrategy[float]:
    """The limit, its neighbours, and anything else."""
    return values | st.sampled_from([limit, math.nextafter(limit, math.inf), math.nextafter(limit, -math.inf)])


@given(st.data(), budgets)
def test_excess_and_violation_tell_the_side_as_kept_does(data, budget):
    value = data.draw(near(budget.limit))
    excess, violation = budget.excess(value), budget.violation(value)
    assert (excess <= 0) == (violation <= 0) == budget.kept(value)
    assert excess == math.inf or math.isfinite(excess)
    assert violation >= 0


positive = st.floats(1e-300, 1e300)


@given(positive, positive, positive)
def test_excess_is_a_ratio_of_one_sign_for_each_sense(value, limit, other):
    at_most, at_least = Budget("latency_ms", "<=", limit), Budget("latency_ms", ">=", limit)
    assert at_most.excess(value) == pytest.approx(math.log(value) - math.log(limit), abs=1e-12)
    assert at_least.excess(value) == pytest.approx(-at_most.excess(value), abs=1e-12)
    if value <= other:
        assert at_most.excess(value) <= at_most.excess(other)
        assert at_least.excess(value) >= at_least.excess(other)


def test_a_limit_to_be_beaten_is_not_kept_by_meeting_it():
    for text in ("macs<100", "macs>100"):
        assert 0 < Budget.parse(text).excess(100.0) <= sys.float_info.epsilon
        assert 0 < Budget.parse(text).violation(100.0) <= sys.float_info.epsilon


@pytest.mark.parametrize(
    ("sense", "limit", "value", "excess"),
    [
        ("<=", 0.0, 3.0, 3.0),
        ("<=", 0.0, -3.0, -3.0),
        ("<=", -2.0, 1.0, 1.5),
        (">=", -2.0, 1.0, -1.5),
        ("<=", 4.0, 0.0, -1),
    ],
)
def test_where_there_is_no_ratio_it_is_a_share(sense, limit, value, excess):
    assert Budget("macs", sense, limit).excess(value) == excess


@pytest.mark.parametrize("text", ["latency_ms<=0", "latency_ms@eager<0", "n_params < -1k"])
def test_a_limit_that_nothing_keeps_is_refused(text):
    with pytest.raises(BudgetError, match=f"budget '{text}': no network keeps it; write a limit above 0"):
        Budget.parse(text)
    Budget.parse(text.replace("<", ">"))


@pytest.mark.parametrize("text", ["gain_db<=0", "gain_db<-3", "gain_db>=-3"])
def test_a_price_of_ones_own_may_have_any_limit(own_parts, text):
    OBJECTIVES.add("gain_db", unit="dB")(lambda module, in_shape: -5.0)
    budget = Budget.parse(text)
    assert str(budget) == text
    assert budget.kept(-5.0) == ("<" in text)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("accuracy", 95, "accuracy is a share from 0 to 1; for 95 % write 0.95"),
        ("macro_f1", -0.1, "macro_f1 is a share from 0 to 1"),
        ("loss", -1, "loss is at least 0"),
        ("r2", 1.5, "r2 is at most 1"),
        ("latency_ms@eager", -1, "latency_ms@eager is never below 0"),
        ("accuracy", 1, ""),
        ("r2", -3, ""),
        ("rmse", 1e9, ""),
        ("macs", 0, ""),
    ],
)
def test_what_no_network_can_have(name, value, why):
    assert parse_objective(name).impossible(value) == why
    if why and not parse_objective(name).cheap:
        with pytest.raises(BudgetError, match=why):
            Budget.parse(f"{name}>={value}")


@given(st.floats(allow_nan=False), st.sampled_from(["", "k", "M", "G", "x", "%"]))
def test_a_number_is_finite_or_none(value, suffix):
    scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}.get(suffix)
    if scale is None or math.isinf(value * scale):
        with pytest.raises(ValueError, match=r"not finite|could not convert"):
            parse_number(f"{value!r}{suffix}")
    else:
        assert parse_number(f" {value!r}{suffix} ") == value * scale


def test_a_latency_can_name_its_target_and_nothing_else_can():
    there = parse_objective("latency_ms@openvino:threads=2,batch=8")
    assert (there.unit, there.direction, there.cheap) == ("ms", "minimize", True)
    assert is_latency(there.name)
    budget = Budget.parse("latency_ms@openvino:threads=2,batch=8 <= 1.5")
    assert (budget.objective, budget.limit) == (there.name, 1.5)
    assert Budget.parse(str(budget)) == budget
    for text in ("macs@openvino", "latency_ms@", "accuracy@eager"):
        with pytest.raises(NasError, match="only a latency has a target"):
            parse_objective(text)
    with pytest.raises(BudgetError, match="Did you mean 'latency_ms'"):
        Budget.parse("latenc_ms@eager<=1")


@given(st.floats(1e-6, 1e6), st.sampled_from(["<=", ">=", "<", ">"]), st.floats(0.5, 1.5))
def test_the_threshold_is_where_the_worst_figure_meets_the_limit(limit, sense, share):
    budget = Budget("latency_ms", sense, limit)
    end = budget.threshold() * share
    measured = Measurement(end * 0.9, end * 0.8, end) if sense.startswith("<") else Measurement(end * 2, end, end * 3)
    if abs(share - 1) > 1e-6:
        assert budget.kept(budget.worst(measured)) == ((share < 1) == sense.startswith("<"))


def test_what_is_better_than_enough_is_still_sorted_by():
    latency = replace(OBJECTIVES["latency_ms"], enough=0.5)
    assert latency.loss(0.1) == latency.loss(0.4) == 0.5
    assert latency.plain_loss(0.1) < latency.plain_loss(0.4)
