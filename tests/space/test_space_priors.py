"""Priors: probabilities against SciPy and by hand, what is refused, and what a prior leaves as it was."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm
from space_strategies import parameters, spaces

from nas.errors import SpaceError
from nas.space import Categorical, Centre, Choice, Float, Group, Integer, Repeat, Space, When
from nas.space.parameters import grid, prior_mass
from nas.space.priors import FLOOR, SIGMA

calm = settings(deadline=None, max_examples=150)
UNIT = np.linspace(0.0, 1.0, 11)
cuts = st.lists(st.floats(1e-6, 1 - 1e-6), max_size=20, unique_by=lambda x: round(x, 6)).map(
    lambda inner: np.array(sorted({0.0, *inner, 1.0}))
)


@given(parameters, cuts)
@calm
def test_every_cell_is_possible_and_all_sum_to_one(parameter, edges):
    mass = prior_mass(parameter, edges)
    assert mass.shape == (len(parameter.options) if isinstance(parameter, Categorical) else len(edges) - 1,)
    assert mass.sum() == pytest.approx(1.0)
    assert (mass > 0).all()


@given(parameters, cuts)
@calm
def test_without_a_prior_it_is_what_the_parameter_draws(parameter, edges):
    mass = prior_mass(dataclasses.replace(parameter, prior=None), edges)
    alike = np.full(len(mass), 1 / len(mass))
    np.testing.assert_allclose(mass, alike if isinstance(parameter, Categorical) else np.diff(edges))


@pytest.mark.parametrize(
    "parameter",
    [
        Float(0, 1, prior=Centre(0.9, 0.8)),
        Float(0, 1, prior=Centre(0)),
        Float(1e-4, 1, log=True, prior=Centre(0.01)),
        Float(0, 1, step=0.1, prior=Centre(0.3)),
        Integer(8, 80, step=8, prior=Centre(20, 0.99)),
        Integer(1, 500, log=True, prior=Centre(500)),
        Integer(4, 4, prior=Centre(4)),
    ],
    ids=str,
)
def test_a_centre_is_a_truncated_gaussian_over_an_even_spread(parameter):
    at, confidence = parameter.to_unit(parameter.prior.value), parameter.prior.confidence
    gaussian = truncnorm(-at / SIGMA, (1 - at) / SIGMA, loc=at, scale=SIGMA)
    expected = confidence * np.diff(gaussian.cdf(UNIT)) + (1 - confidence) * np.diff(UNIT)
    np.testing.assert_allclose(prior_mass(parameter, UNIT), expected, atol=1e-12)


def test_a_centre_lies_on_the_scale_of_its_range():
    mass = prior_mass(Float(1e-4, 1, log=True, prior=Centre(0.01, 0.9)), UNIT)  # the middle of four decades
    np.testing.assert_allclose(mass, mass[::-1])
    assert set(np.argsort(mass)[-2:]) == {4, 5}
    assert prior_mass(Integer(1, 10, prior=Centre(7)), UNIT).argmax() == 6


@given(st.floats(0, 1), st.floats(0.001, 0.999), cuts)
@calm
def test_merging_cells_adds_their_mass(at, confidence, edges):
    parameter = Float(0, 1, prior=Centre(at, confidence))
    fine = np.union1d(edges, UNIT)
    summed = np.add.reduceat(prior_mass(parameter, fine), np.searchsorted(fine, edges[:-1]))
    np.testing.assert_allclose(prior_mass(parameter, edges), summed, atol=1e-12)


@pytest.mark.parametrize(
    ("prior", "shares"),
    [
        ((1, 2, 1), [0.25, 0.5, 0.25]),
        ({5: 2}, [0.25, 0.5, 0.25]),
        ({7: 0, 3: 0.5}, [1 / 3, 2 / 3, 0]),
        ([0, 0, 1e-320], [0, 0, 1]),
        ((1e308, 1e308, 0), [0.5, 0.5, 0]),
        ((1, 1, 1), [1 / 3, 1 / 3, 1 / 3]),
        ((np.float64(1), 0, 0), [1, 0, 0]),
    ],
)
def test_weights_are_shares_over_a_floor(prior, shares):
    mass = prior_mass(Categorical((3, 5, 7), prior=prior), UNIT)
    np.testing.assert_allclose(mass, (1 - FLOOR) * np.array(shares) + FLOOR / 3)


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_a_prior_changes_nothing_of_what_a_space_contains_or_draws(space, seed):
    plain = Space(space.input, without(space.root), space.forbid)
    assert plain.count() == space.count()
    assert [(slot.path, slot.role, slot.at) for slot in plain.slots.values()] == [
        (slot.path, slot.role, slot.at) for slot in space.slots.values()
    ]
    for path, slot in space.slots.items():
        ours, theirs = (list(grid(here, most=9)) for here in (slot.parameter, plain.slots[path].parameter))
        assert repr(ours) == repr(theirs)
    drawn = []
    for here in (space, plain):
        try:
            drawn.append(repr(here.sample(np.random.default_rng(seed))))
        except SpaceError as error:  # random clauses may forbid everything
            drawn.append(str(error))
    assert drawn[0] == drawn[1]


def without(here):
    """Return a tree without its priors."""
    if isinstance(here, Group):
        return Group({name: without(child) for name, child in here.fields.items()})
    if isinstance(here, Choice):
        return Choice({name: without(child) for name, child in here.options.items()})
    if isinstance(here, When):
        return When(here.conditions, without(here.node))
    if isinstance(here, Repeat):
        return Repeat(without(here.count), without(here.block))
    if hasattr(here, "items"):
        return type(here)(tuple(without(child) for child in here.items))
    return dataclasses.replace(here, prior=None) if hasattr(here, "prior") else here


def test_a_choice_hands_its_prior_on():
    space = Space("vector", {"body": Repeat(2, Choice({"conv": {}, "lstm": {}}, prior={"lstm": 3})), "head": {}})
    assert [slot.parameter for slot in space.slots.values()] == [Categorical(("conv", "lstm"), prior=(1, 3))] * 2
    asked = []
    space.walk(lambda slot: asked.append(slot.parameter) or "conv")
    assert asked == [slot.parameter for slot in space.slots.values()]


def test_a_repr_names_a_prior_only_where_there_is_one():
    assert repr(Categorical((3, 5))) == "Categorical(options=(3, 5))"
    assert repr(Choice(["a"])) == "Choice(options={'a': Group(fields={})})"
    assert repr(Integer(1, 4)) == "Integer(low=1, high=4, step=1, log=False)"
    here = Integer(1, 4, prior=Centre(2))
    assert repr(here) == "Integer(low=1, high=4, step=1, log=False, prior=Centre(value=2.0, confidence=0.5))"


@pytest.mark.parametrize(
    ("make", "needles"),
    [
        (lambda: Categorical((3, 5), prior=(1,)), ["got 1 for 2", "write 2"]),
        (lambda: Categorical((3, 5), prior=(1, 2, 3)), ["got 3 for 2"]),
        (lambda: Categorical((3, 5), prior=()), ["got 0 for 2"]),
        (lambda: Categorical((3, 5), prior={}), ["got {}", "{3: 2}"]),
        (lambda: Categorical((3, 5), prior="35"), ["'35'"]),
        (lambda: Categorical((3, 5), prior=Centre(3)), ["Centre(value=3.0", "weights"]),
        (lambda: Categorical((3, 5), prior={4: 1}), ["4 is not", "[3, 5]"]),
        (lambda: Categorical((1, 2), prior={True: 1}), ["True is not", "[1, 2]"]),
        (lambda: Categorical((3, 5), prior=(0, 0)), ["above 0", "all are 0"]),
        (lambda: Categorical((3,), prior={3: 0}), ["above 0", "all are 0"]),
        (lambda: Categorical((3, 5), prior=(1, -1e-9)), ["-1e-09 for 5"]),
        (lambda: Categorical((3, 5), prior=(1, math.nan)), ["weight of 5", "nan"]),
        (lambda: Categorical((3, 5), prior=(math.inf, 1)), ["weight of 3", "inf"]),
        (lambda: Categorical((3, 5), prior=(10**5000, 1)), ["weight of 3", "10^12"]),
        (lambda: Categorical((3, 5), prior=("1", 1)), ["weight of 3", "'1'"]),
        (lambda: Choice(["conv"], prior={"lstm": 1}), ["'lstm'", "Known: conv"]),
        (lambda: Integer(2, 8, prior=4), ["Centre", "got 4"]),
        (lambda: Integer(2, 8, prior=(1, 2)), ["Centre", "(1, 2)"]),
        (lambda: Integer(2, 8, prior=Centre(1.9)), ["int: [2, 8]", "got 1.9"]),
        (lambda: Float(0, 1, prior=Centre(1.1)), ["float: [0, 1]", "got 1.1"]),
        (lambda: Centre("4"), ["centre", "'4'"]),
        (lambda: Centre(True), ["centre", "True"]),
        (lambda: Centre(math.inf), ["centre", "inf"]),
        (lambda: Centre(4, 0), ["confidence", "got 0"]),
        (lambda: Centre(4, 1), ["confidence", "got 1"]),
        (lambda: Centre(4, 50), ["confidence", "got 50"]),
        (lambda: Centre(4, math.nan), ["confidence", "nan"]),
        (lambda: Centre(4, None), ["confidence", "nothing"]),
    ],
)
def test_priors_that_cannot_be_meant(make, needles):
    with pytest.raises(SpaceError) as caught:
        make()
    for needle in needles:
        assert needle in str(caught.value)
