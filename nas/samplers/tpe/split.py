"""Which trials were good: the few whose like we want to see more of, and the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import ranks, subset
from nas.samplers.proposer import Observation

_STATES = ("complete", "over_budget", "failed")


@dataclass(frozen=True, slots=True)
class Split:
    """Indices into the trials: `good` best first; `bad` from the best of the rest to the worst."""

    good: np.ndarray
    bad: np.ndarray


def gamma(n: int) -> int:
    """Return how many of `n` complete trials are good: a tenth, rounded up, 25 at most.

    Reference: Bergstra et al., NeurIPS 2011, took 15 %; the cap, which keeps a long search greedy, is Optuna's.

    >>> [gamma(n) for n in (0, 1, 11, 1000)]
    [0, 1, 2, 25]
    """
    return min(math.ceil(0.1 * n), 25)


def split(seen: Sequence[Observation], n_good: int) -> Split:
    """Split trials into good and bad.

    Good are the `n_good` complete trials of lowest non-domination rank. The last rank that does not fit whole is
    cut by greedy hypervolume, on losses replaced by the share of the complete trials that they exceed: so a
    heavy-tailed loss (milliseconds) weighs no more than another, and no scale has to be known. With one objective
    all this is sorting. A loss that is missing or NaN counts as +inf.

    Bad are, in this order: the other complete ones, those over budget by their violation, the failed ones.

    Reference: Ozaki et al., JAIR 73, 2022, sec. 4 (MOTPE), with raw losses.

    Cost: about 4 ms for 1,000 trials and two or three losses.
    """
    if not seen:
        return Split(np.zeros(0, dtype=int), np.zeros(0, dtype=int))
    state = np.array([_STATES.index(observation.state) for observation in seen])
    complete = np.flatnonzero(state == 0)
    good = complete[best(_losses([seen[i] for i in complete.tolist()]), n_good)] if len(complete) else complete
    is_good = np.zeros(len(seen), dtype=bool)
    is_good[good] = True

    order = np.zeros(len(seen))
    order[complete] = ranks(_losses([seen[i] for i in complete.tolist()])) if len(complete) else 0
    over = state == 1
    order[over] = [math.inf if math.isnan(o.violation) else o.violation for o in seen if o.state == "over_budget"]
    bad = np.lexsort((order, state))
    return Split(good, bad[~is_good[bad]])


def best(losses: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the `k` best points, best rank first; equal points in the order of their rows.

    Args:
        losses: (n_points, n_losses), minimised; NaN counts as +inf.
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


def _losses(seen: Sequence[Observation]) -> np.ndarray:
    return np.array([[math.nan if loss is None else loss for loss in o.losses] for o in seen], dtype=float)


def _share(column: np.ndarray) -> np.ndarray:
    """Return the share of the values that each value exceeds, ties by half: ranks without a scale, in (0, 1)."""
    ordered = np.sort(column)
    return (np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")) / (2 * len(column))
