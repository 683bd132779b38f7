"""Hypervolume against counting cells and against moocore; the greedy subset against trying everything."""

from itertools import combinations, product

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.pareto import hypervolume, subset


@st.composite
def grids(draw, most=8):
    n_losses = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(st.integers(0, 5), min_size=n_losses, max_size=n_losses), max_size=most))
    return np.array(rows, dtype=float).reshape(len(rows), n_losses)


def counted(losses, reference):
    """The volume of points with integer losses: the number of unit cells that some point dominates."""
    cells = product(*(range(int(r)) for r in reference))
    return sum(any((point <= np.array(cell)).all() for point in losses) for cell in cells)


@given(grids())
def test_volume_is_the_number_of_dominated_cells(losses):
    reference = np.full(losses.shape[1], 4.0)  # some points lie on it and beyond
    assert hypervolume(losses, reference) == counted(losses, reference)


@given(grids())
def test_volume_agrees_with_moocore(losses):
    reference = np.full(losses.shape[1], 6.0)
    expected = moocore.hypervolume(losses, ref=reference) if len(losses) else 0.0
    assert hypervolume(losses, reference) == expected


def test_nan_and_infinite_points_add_nothing():
    losses = np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf]])
    assert hypervolume(losses, np.array([3.0, 3.0])) == 2.0


@given(grids(), st.integers(0, 5))
def test_each_choice_adds_most(losses, k):
    reference = np.full(losses.shape[1], 5.0)
    chosen = subset(losses, reference, k).tolist()
    assert len(chosen) == len(set(chosen)) == min(k, len(losses))
    for i, row in enumerate(chosen):
        volumes = {
            r: hypervolume(losses[[*chosen[:i], r]], reference) for r in range(len(losses)) if r not in chosen[:i]
        }
        assert row == max(volumes, key=lambda r: (volumes[r], -r))  # ties go to the lower row


@settings(max_examples=30)
@given(grids(most=7), st.integers(1, 4))
def test_greedy_has_its_share_of_the_best(losses, k):
    reference = np.full(losses.shape[1], 6.0)
    best = max(hypervolume(losses[list(c)], reference) for c in combinations(range(len(losses)), min(k, len(losses))))
    assert hypervolume(losses[subset(losses, reference, k)], reference) >= (1 - 1 / np.e) * best


@pytest.mark.parametrize("function", [hypervolume, lambda losses, reference: subset(losses, reference, 1)])
def test_a_wrong_reference_is_refused(function):
    with pytest.raises(ValueError, match="one value per loss"):
        function(np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        function(np.zeros((2, 2)), np.array([1.0, np.inf]))


def test_minus_infinity():
    losses, reference = np.array([[-np.inf, 0.0, 0.0], [0.0, 0.0, 0.0]]), np.ones(3)
    assert hypervolume(losses, reference) == np.inf
    with pytest.raises(ValueError, match="infinite volume"):
        subset(losses, reference, 1)
