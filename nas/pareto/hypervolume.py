"""How much of the space of losses a set of points dominates, and which few points dominate most of it."""

from __future__ import annotations

import heapq
import math

import moocore
import numpy as np

from nas.pareto.dominance import as_points


def hypervolume(losses: np.ndarray, reference: np.ndarray) -> float:
    """Volume dominated by `losses` and bounded by `reference`; every loss is minimised.

    Args:
        losses: (n_points, n_losses). Points not strictly better than `reference` in every loss add nothing;
            NaN counts as +inf.
        reference: (n_losses,), in the units of the losses, finite.
    Returns:
        The volume, in the product of the losses' units; 0.0 for no points.
    Raises:
        ValueError: the two arrays disagree on the number of losses.

    Cost: O(n log n) for up to three losses; exponential in the number of losses beyond four.

    Reference: Zitzler & Thiele, PPSN 1998; computed by moocore.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    3.0
    """
    points, bound = _bounded(losses, reference)
    inside = points[(points < bound).all(axis=1)]
    if np.isneginf(inside).any():
        return math.inf  # moocore is not safe with infinities
    return float(moocore.hypervolume(inside, ref=bound)) if len(inside) else 0.0


def subset(losses: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    """Choose `k` points that together dominate much: each time the one that adds most hypervolume.

    Args:
        losses: (n_points, n_losses), minimised; above -inf. NaN counts as +inf.
        reference: (n_losses,), finite. Points beyond it add nothing and come last.
        k: how many; all points where there are fewer.
    Returns:
        (min(k, n_points),) of int: rows of `losses` in the order chosen; ties go to the lower row.
    Raises:
        ValueError: the two arrays disagree on the number of losses, or a loss is -inf.

    The volume is at least 1 - 1/e = 63 % of what the best `k` points have (it is submodular), in practice
    nearly all of it. What a point adds only shrinks as others are chosen, so an outdated figure is a bound
    and few have to be computed again. Cost: about n + 3k hypervolumes of at most k points.

    Reference: Guerreiro, Fonseca & Paquete, Evolutionary Computation 24(3), 2016; the lazy evaluation:
    Minoux, 1978.

    >>> subset(np.array([[0.0, 0.9], [0.4, 0.4], [0.9, 0.0]]), np.array([1.0, 1.0]), 2)
    array([1, 0])
    """
    points, bound = _bounded(losses, reference)
    if np.isneginf(points).any():
        raise ValueError("a loss of -inf dominates an infinite volume; replace losses by ranks first")
    k = min(k, len(points))
    alone = np.prod(np.maximum(bound - points, 0.0), axis=1)
    heap = [(-volume, row, 0) for row, volume in enumerate(alone)]  # (-gain, row, chosen when it was computed)
    heapq.heapify(heap)
    chosen: list[int] = []
    while len(chosen) < k:
        gain, row, when = heapq.heappop(heap)
        if when < len(chosen) and gain < 0:
            # What the chosen ones dominate of the box between this point and the reference.
            taken = hypervolume(np.maximum(points[chosen], points[row]), bound)
            heapq.heappush(heap, (-max(alone[row] - taken, 0.0), row, len(chosen)))
        else:
            chosen.append(row)
    return np.array(chosen, dtype=int)


def _bounded(losses: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, bound = as_points(losses), np.asarray(reference, dtype=float)
    if bound.shape != (points.shape[1],):
        raise ValueError(f"reference must have one value per loss, got shape {bound.shape} for {points.shape[1]}")
    if not np.isfinite(bound).all():
        raise ValueError(f"reference must be finite, got {bound.tolist()}")
    return points, bound
