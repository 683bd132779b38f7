"""Which trials are good: the few whose like we want to see more of."""

from __future__ import annotations

import math

import numpy as np

from nas.pareto import ranks, subset


def gamma(n: int) -> int:
    """Return how many of `n` complete trials are good: a tenth, rounded up, 25 at most.

    Reference: Bergstra et al., NeurIPS 2011, took 15 %; the cap, which keeps a long search greedy, is Optuna's.

    >>> [gamma(n) for n in (0, 1, 11, 1000)]
    [0, 1, 2, 25]
    """
    return min(math.ceil(0.1 * n), 25)


def best(losses: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the `k` best points, best rank first; equal points in the order of their rows.

    The last non-domination rank that does not fit whole is cut by greedy hypervolume, on losses replaced by the share
    of the points that they exceed: so a heavy-tailed loss (milliseconds) weighs no more than another, and no scale has
    to be known. With one loss all this is sorting.

    Args:
        losses: (n_points, n_losses), minimised; NaN counts as +inf.

    Reference: Ozaki et al., JAIR 73, 2022, sec. 4 (MOTPE), with raw losses.
    """
    rank = ranks(losses)
    order = np.argsort(rank, kind="stable")
    if k >= len(order):
        return order
    if losses.shape[1] == 1:
        return order[:k]
    last = rank[order[k]]  # the first rank that does not fit whole
    whole, cut = order[rank[order] < last], np.flatnonzero(rank == last)
    scaled = np.stack([_share(column) for column in np.where(np.isnan(losses), np.inf, losses).T], axis=1)
    return np.concatenate([whole, cut[subset(scaled[cut], np.full(losses.shape[1], 1.1), k - len(whole))]])


def standardised(losses: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return losses with mean 0 and standard deviation 1 in each source, as far as they are finite.

    What several sources say can be ranked together then: their scales may have nothing in common.

    Args:
        losses: (n, n_losses).
        source: (n,) of int.
    """
    found = losses.copy()
    for s in np.unique(source):
        for column in range(losses.shape[1]):
            here = (source == s) & np.isfinite(losses[:, column])
            if here.any():
                told = losses[here, column]
                found[here, column] = (told - told.mean()) / (told.std() or 1.0)
    return found


def _share(column: np.ndarray) -> np.ndarray:
    """Return the share of the values that each value exceeds, ties by half: ranks without a scale, in (0, 1)."""
    ordered = np.sort(column)
    return (np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")) / (2 * len(column))
