"""Losses of different units on one scale: the ranges of a front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.objectives import Objective


def on_scale(objective: Objective, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return values of an objective as losses that can be subtracted: prices as their log10, all else as it is.

    Twice the latency is as far from it as half of it. A price that is not above 0 has no logarithm: it is -inf.

    Args:
        values: (n,), as the user reads them.
    Returns:
        (n,), less is better; +inf for NaN.

    >>> from nas.objectives import OBJECTIVES
    >>> on_scale(OBJECTIVES["macs"], [1.0, 100.0]), on_scale(OBJECTIVES["accuracy"], [0.9])
    (array([0., 2.]), array([-0.9]))
    """
    losses = np.array([objective.loss(value) for value in values], dtype=float)
    if objective.cheap and objective.direction == "minimize":
        with np.errstate(divide="ignore", invalid="ignore"):
            losses = np.where(losses > 0, np.log10(losses), np.where(np.isnan(losses), np.nan, -np.inf))
    return np.where(np.isnan(losses), np.inf, losses)


def front_ranges(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best value of each loss over a front, and how far the worst is from it.

    Args:
        losses: (n_points, n_losses), see `on_scale`. What is not finite is left out.
    Returns:
        low: (n_losses,), 0 where no point is finite. span: (n_losses,), 1 where all are alike.
    """
    finite = np.isfinite(losses)
    low = np.where(finite.any(axis=0), np.where(finite, losses, np.inf).min(axis=0), 0.0)
    high = np.where(finite.any(axis=0), np.where(finite, losses, -np.inf).max(axis=0), 0.0)
    return low, np.where(high > low, high - low, 1.0)
