"""Dominance against its definition, and against moocore where NaN is not in the way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.pareto import non_dominated, ranks

VALUES = st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, math.inf, math.nan])  # few: ties and duplicates


@st.composite
def tables(draw, values=VALUES, most=12):
    n_losses = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(values, min_size=n_losses, max_size=n_losses), max_size=most))
    return np.array(rows, dtype=float).reshape(len(rows), n_losses)


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def peeled(losses):
    """Ranks by the definition: take the front away, again and again."""
    points = np.where(np.isnan(losses), np.inf, losses)
    rank, left, now = np.full(len(points), -1), list(range(len(points))), 0
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        rank[front] = now
        left = [i for i in left if i not in front]
        now += 1
    return rank


@given(tables())
def test_ranks_follow_the_definition(losses):
    before = losses.copy()
    assert ranks(losses).tolist() == peeled(losses).tolist()
    np.testing.assert_array_equal(losses, before)


@given(tables())
def test_the_front_is_rank_zero(losses):
    assert non_dominated(losses).tolist() == (peeled(losses) == 0).tolist()


@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_count(losses, random):
    order = list(range(len(losses)))
    random.shuffle(order)
    assert ranks(losses[order]).tolist() == ranks(losses)[order].tolist()


def test_many_points_are_ranked_quickly_and_rightly():
    losses = np.random.default_rng(0).integers(0, 30, size=(400, 3)).astype(float)
    assert ranks(losses).tolist() == peeled(losses).tolist()


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((3, 0)), np.zeros((2, 2, 2))])
def test_what_is_no_table_is_refused(wrong):
    with pytest.raises(ValueError, match="n_points, n_losses"):
        ranks(wrong)
