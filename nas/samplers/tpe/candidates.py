"""Architectures worth a look: drawn from what is good, and from the neighbourhood of the best."""

from __future__ import annotations

import numpy as np

from nas.samplers.tpe.activity import Activity
from nas.samplers.tpe.columns import Steps


def candidates(
    activity: Activity,
    good: Steps,
    prior: Steps,
    parents: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return different architectures: half from the density of the good, half mutations of the best.

    A mutation redraws one to three choices on average, from the good's density or from the prior; what that
    activates is drawn with it. Mutations find what is left to gain near the front, whole draws what is far from it.

    Args:
        good: the density of the good, see `Columns.steps`.
        prior: that of the prior.
        parents: (n_parents, n_parameters), at least one.
    Returns:
        (at most n, n_parameters) cells; some may have been tried, or be forbidden.

    Reference: White, Neiswanger & Savani, AAAI 2021 (an acquisition is best optimised by mutating the best).
    """
    chosen = parents[rng.integers(len(parents), size=n)]
    active = np.maximum((chosen >= 0).sum(axis=1, keepdims=True), 1)
    redraw = rng.random(chosen.shape) < rng.choice([0.75, 1.5, 2.25], size=(n, 1)) / active
    redraw[: n // 2] = True  # a whole draw
    most = n - n // 4
    drawn = np.concatenate([activity.cells(good, most, rng), activity.cells(prior, n - most, rng)])
    found = activity.settle(np.where(redraw | (chosen < 0), drawn, chosen))
    first = {row.tobytes(): i for i, row in enumerate(found)}
    return found[list(first.values())]
