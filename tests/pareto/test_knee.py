"""The knee, by hand and by its symmetries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.pareto import knee, non_dominated


@st.composite
def tables(draw):
    n_losses = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(st.integers(0, 8), min_size=n_losses, max_size=n_losses), min_size=1, max_size=10))
    return np.array(rows, dtype=float)


def distance_to_the_line(front):
    """The two-loss oracle: signed distance to the line through the two ends of the normalised front."""
    z = (front - front.min(axis=0)) / np.ptp(front, axis=0)
    (ax, ay), (bx, by) = z[z[:, 0].argmin()], z[z[:, 1].argmin()]
    return ((bx - ax) * (ay - z[:, 1]) - (ax - z[:, 0]) * (by - ay)) / np.hypot(bx - ax, by - ay)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=15))
def test_two_losses_is_the_distance_to_the_line(points):
    losses = np.array(points)
    front = losses[non_dominated(losses)]
    if (np.ptp(front, axis=0) > 1e-6).all():
        far = distance_to_the_line(front)
        at = np.flatnonzero((front == losses[knee(losses)]).all(axis=1))[0]
        assert far[at] >= far.max() - 1e-9


@given(tables(), st.randoms(use_true_random=False))
def test_neither_order_nor_scale_nor_dominated_points_count(losses, random):
    point = losses[knee(losses)]
    assert non_dominated(losses)[knee(losses)]
    order = list(range(len(losses)))
    random.shuffle(order)
    assert (losses[order][knee(losses[order])] == point).all()
    assert (losses[knee(losses * 4 - 3)] == point).all()
    more = np.concatenate([losses, losses.max(axis=0, keepdims=True) + 1])
    assert (more[knee(more)] == point).all()


@pytest.mark.parametrize(
    ("losses", "row"),
    [
        ([[3.0], [1.0], [2.0]], 1),  # one loss: the best
        ([[5.0, 7.0]], 0),  # a front of one
        ([[1.0, 2.0], [0.0, 3.0]], 1),  # a front of two: the better one in the first loss
        ([[0.0, 1.0], [0.3, 0.7], [0.9, 0.1], [1.0, 0.0]], 0),  # a straight front has no knee
        ([[0.0, 1.0, 5.0], [0.2, 0.2, 5.0], [1.0, 0.0, 5.0]], 1),  # a constant loss says nothing
        ([[0.0, 4.0, 4.0], [4.0, 0.0, 4.0], [4.0, 4.0, 0.0], [1.0, 1.0, 1.0]], 3),
        ([[0.0, np.inf], [0.0, 1.0], [np.nan, 0.0]], 1),
    ],
)
def test_by_hand(losses, row):
    assert knee(np.array(losses)) == row


@pytest.mark.parametrize("losses", [np.zeros((0, 2)), np.array([[np.nan, 1.0]])])
def test_nothing_to_choose_from(losses):
    with pytest.raises(ValueError, match="at least one finite point"):
        knee(losses)
