"""Parameters: ranges, scales, the unit interval, and draws that follow the range."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from space_strategies import integer, parameters, real

from nas.errors import SpaceError
from nas.rng import generator
from nas.space import Categorical, Float, Integer
from nas.space.parameters import grid

calm = settings(deadline=None, max_examples=150)
units = st.floats(0, 1) | st.sampled_from([-0.5, -1e300, 1.5, 1e300, -math.inf, math.inf])


@given(parameters, st.integers(0, 2**32))
@calm
def test_a_draw_is_contained_and_already_canonical(parameter, seed):
    value = parameter.sample(np.random.default_rng(seed))
    assert parameter.contains(value)
    assert parameter.canonical(value) == value
    assert type(parameter.canonical(value)) is type(value)


@given(integer | real, units)
@calm
def test_any_unit_gives_a_contained_value(parameter, unit):
    value = parameter.from_unit(unit)
    assert parameter.contains(value)
    assert parameter.low <= value <= parameter.high
    assert 0 <= parameter.to_unit(value) <= 1
    assert type(value) is (int if isinstance(parameter, Integer) else float)


@given(integer | real, st.floats(0, 1), st.floats(0, 1))
@calm
def test_from_unit_never_falls(parameter, a, b):
    a, b = sorted((a, b))
    assert parameter.from_unit(a) <= parameter.from_unit(b)


@given(integer)
@calm
def test_integers_of_every_scale_come_back_and_cover_the_range(parameter):
    values = range(parameter.low, parameter.high + 1, parameter.step)
    units = [parameter.to_unit(value) for value in values]
    assert [parameter.from_unit(unit) for unit in units] == list(values)
    assert units == sorted(set(units))
    assert len(values) == parameter.cardinality()


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.floats(0, 1))
@calm
def test_wide_log_integers_come_back(low, width, where):
    assume(low + width <= 10**12)
    parameter = Integer(low, low + width, log=True)
    value = low + round(where * width)
    assert parameter.from_unit(parameter.to_unit(value)) == value


@given(real, st.floats(0, 1))
@calm
def test_floats_come_back(parameter, unit):
    value = parameter.from_unit(unit)
    again = parameter.from_unit(parameter.to_unit(value))
    if parameter.step is not None:
        assert again == value
    else:
        assert again == pytest.approx(value, rel=1e-9, abs=1e-12 * (parameter.high - parameter.low))


@given(parameters, st.integers(2, 40))
@calm
def test_a_grid_rises_from_end_to_end_without_repeats(parameter, most):
    values = list(grid(parameter, most))
    assert all(parameter.contains(value) for value in values)
    if isinstance(parameter, Categorical):
        assert values == list(parameter.options)
        return
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (parameter.low, parameter.high)
    assert len(values) <= most
    if parameter.cardinality() <= most:
        assert len(values) == parameter.cardinality()


def test_a_log_range_of_neighbouring_floats():
    parameter = Float(1e6, math.nextafter(1e6, 2e6), log=True)
    assert math.log(parameter.low) == math.log(parameter.high)
    assert parameter.to_unit(parameter.high) == 0.5
    assert parameter.contains(parameter.from_unit(0.5))


def test_log_integers_by_hand():
    parameter = Integer(1, 10, log=True)
    assert list(grid(parameter)) == list(range(1, 11))
    assert {parameter.from_unit(unit) for unit in np.linspace(0, 1, 200)} == set(range(1, 11))
    # The cell of 1 is [0.5, 1.5], that of 10 is [9.5, 10.5], all of it [0.5, 10.5], on a log scale.
    assert parameter.to_unit(1) == pytest.approx(math.log(1 / 0.5) / math.log(10.5 / 0.5))


def test_grid_points_are_what_one_would_write():
    assert list(grid(Float(0.1, 0.7, step=0.1))) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert [str(value) for value in grid(Float(-0.3, 0.0, step=0.1))] == ["-0.3", "-0.2", "-0.1", "0.0"]
    assert Float(0.1, 0.7, step=0.1).canonical(0.1 + 0.2) == 0.3


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Categorical((1, 3)), [1, 3, 3.0], [2, True, "1", 1.5, math.nan, None]),
        (Categorical((True, False)), [True, False], [1, 0, "true"]),
        (Categorical(("a", "1")), ["a", "1"], [1, "b", "A"]),
        (Integer(8, 32, step=8), [8, 16, 32], [7, 9, 33, 40, 0, True, 8.0, "8", math.inf]),
        (Integer(1, 1), [1], [True, 0, 2]),
        (Float(0, 1), [0, 1, 0.5, np.float64(0.25)], [-1e-9, 1.1, True, "0", math.nan, math.inf, 10**400]),
        (Float(0.1, 0.5, step=0.1), [0.1, 0.30000000000000004, 0.3, 0.5], [0.15, 0.0, 0.6]),
        (Float(2, 2), [2, 2.0], [2.1]),
    ],
    ids=str,
)
def test_what_a_parameter_contains(parameter, inside, outside):
    assert [value for value in inside if not parameter.contains(value)] == []
    assert [value for value in outside if parameter.contains(value)] == []


@pytest.mark.parametrize(
    ("parameter", "n", "ordered"),
    [
        (Categorical((3, 5, 7)), 3, True),
        (Categorical((1.5, 3)), 2, True),
        (Categorical((5, 3)), 2, False),
        (Categorical((3,)), 1, False),
        (Categorical((False, True)), 2, False),
        (Categorical((1, "a")), 2, False),
    ],
)
def test_order_of_categories(parameter, n, ordered):
    assert parameter.cardinality() == n
    assert parameter.ordered is ordered


@pytest.mark.parametrize(
    ("parameter", "n"),
    [
        (Integer(1, 4), 4),
        (Integer(8, 32, step=8), 4),
        (Integer(-3, -3), 1),
        (Integer(1, 100, log=True), 100),
        (Float(0, 1), math.inf),
        (Float(1, 1), 1),
        (Float(0.1, 0.7, step=0.1), 7),
        (Float(0, 0.3, step=0.1), 4),
    ],
    ids=str,
)
def test_cardinality_by_hand(parameter, n):
    assert parameter.cardinality() == n


def test_numpy_values_become_plain():
    options = Categorical(tuple(np.linspace(0.0, 1.0, 3))).options
    assert repr(options) == "(0.0, 0.5, 1.0)"
    assert repr(Float(np.float64(0.5), 1)) == "Float(low=0.5, high=1.0, log=False, step=None)"


@pytest.mark.parametrize(
    ("make", "needles"),
    [
        (lambda: Categorical(()), ["at least one option", "[]"]),
        (lambda: Categorical((1, 2, 1)), ["1", "listed twice"]),
        (lambda: Categorical((1, 1.0)), ["1.0", "listed twice"]),
        (lambda: Categorical((None,)), ["None"]),
        (lambda: Categorical((math.inf,)), ["inf", "finite"]),
        (lambda: Categorical((10**13,)), ["10,000,000,000,000", "10^12"]),
        (lambda: Integer(4, 1), ["[4, 1]", "low <= high", "[1, 4]"]),
        (lambda: Integer(1.0, 4), ["low", "1.0", "integer"]),
        (lambda: Integer(True, 4), ["low", "True"]),
        (lambda: Integer(1, 4, step=0), ["step", "0"]),
        (lambda: Integer(1, 4, step=2), ["[1, 4]", "step: 2", "write 3 or 5"]),
        (lambda: Integer(0, 4, log=True), ["[0, 4]", "log"]),
        (lambda: Integer(1, 5, step=2, log=True), ["log", "step: 2"]),
        (lambda: Integer(1, 10**400), ["high", "10^12"]),
        (lambda: Float(1, 0), ["[1, 0]", "low <= high"]),
        (lambda: Float(0, math.nan), ["high", "nan"]),
        (lambda: Float(-math.inf, 0), ["low", "inf"]),
        (lambda: Float("0", 1), ["low", "'0'"]),
        (lambda: Float(0, 1, log=True), ["[0, 1]", "log", "above 0"]),
        (lambda: Float(0, 1, step=0), ["step", "0"]),
        (lambda: Float(0, 1, step=-0.1), ["step", "-0.1"]),
        (lambda: Float(0, 1, step=0.3), ["step: 0.3", "write 0.9 or 1.2"]),
        (lambda: Float(1, 2, step=0.5, log=True), ["log", "step"]),
        (lambda: Float(0, 1, step=1e-300), ["1e-300", "steps"]),
        (lambda: Float(-1e308, 1e308), ["too wide"]),
        (lambda: Float(0, 10**400), ["high", "10^12"]),
    ],
)
def test_bounds_that_cannot_be_meant(make, needles):
    with pytest.raises(SpaceError) as caught:
        make()
    for needle in needles:
        assert needle in str(caught.value)


N = 5000


@pytest.mark.parametrize(
    ("parameter", "shares"),
    [
        (Categorical(("a", "b", 3)), {"a": 1, "b": 1, 3: 1}),
        (Integer(8, 40, step=8), {8: 1, 16: 1, 24: 1, 32: 1, 40: 1}),
        (Integer(-1, 1), {-1: 1, 0: 1, 1: 1}),
        (Integer(1, 12, log=True), {v: math.log((v + 0.5) / (v - 0.5)) for v in range(1, 13)}),
        (Float(0.1, 0.5, step=0.1), {0.1: 1, 0.2: 1, 0.3: 1, 0.4: 1, 0.5: 1}),
    ],
    ids=str,
)
def test_discrete_draws_follow_the_range(parameter, shares):
    rng = generator(0, "draws")
    draws = [parameter.sample(rng) for _ in range(N)]
    expected = np.array(list(shares.values())) / sum(shares.values()) * N
    assert set(draws) <= set(shares)
    assert chisquare([draws.count(value) for value in shares], expected).pvalue > 1e-4  # 1 fair seed in 10,000 fails


@pytest.mark.parametrize(
    ("parameter", "share_below"),
    [
        (Float(-2, 3), lambda x: (x + 2) / 5),
        (Float(1e-4, 1, log=True), lambda x: np.log(x / 1e-4) / np.log(1e4)),
    ],
    ids=["linear", "log"],
)
def test_continuous_draws_follow_the_scale(parameter, share_below):
    rng = generator(0, "draws")
    draws = [parameter.sample(rng) for _ in range(N)]
    assert kstest(draws, share_below).pvalue > 1e-4  # 1 fair seed in 10,000 fails
