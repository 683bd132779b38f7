"""The knee of a front: the point where a little less of one thing begins to cost a lot of another."""

from __future__ import annotations

import numpy as np

from nas.pareto.dominance import as_points, non_dominated


def knee(losses: np.ndarray) -> int:
    """Return the row furthest on the good side of the hyperplane through the ends of the front.

    Each loss is first mapped to [0, 1] over the front (no log scale: give logarithms for one). For two losses
    the plane is the line between the two extreme points, (0, 1) and (1, 0); for more it is the plane through
    (1, 0, ..), (0, 1, ..), .., so the distance is (1 - sum of the mapped losses) / sqrt(n_losses) and no
    arrangement of points is degenerate. A loss that is the same all over the front says nothing and is left
    out. With one loss the knee is the best point, and of a front of one it is that point. Ties go to the
    point that is better in the first loss, then in the second, and so on: the order of the rows does not count.

    Args:
        losses: (n_points, n_losses), minimised. Dominated points and points that are not finite are ignored.
    Returns:
        The row of `losses`.
    Raises:
        ValueError: there is no finite point.

    Reference: Das, On characterizing the "knee" of the Pareto curve, Structural Optimization 18, 1999.

    >>> knee(np.array([[0.0, 10.0], [1.0, 2.0], [4.0, 0.0]]))
    1
    """
    points = as_points(losses)
    rows = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(rows) == 0:
        raise ValueError(f"a knee needs at least one finite point, got {len(points)} points")
    rows = rows[non_dominated(points[rows])]
    front = points[rows]
    low = front.min(axis=0)
    with np.errstate(over="ignore"):
        span = front.max(axis=0) - low
    # Rounded: 0.1 + 0.9 and 0.3 + 0.7 lie on the same line although their sums differ in the last bit.
    total = np.round(((front - low) / np.where(span > 0, span, 1.0)).sum(axis=1), 12)
    return int(rows[np.lexsort((*front.T[::-1], total))[0]])
