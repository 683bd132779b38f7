"""Architectures worth a look: drawn from what is good, and from the neighbourhood of the best."""

from __future__ import annotations

import numpy as np

from nas.samplers.tpe.activity import Activity


def candidates(
    activity: Activity,
    good: list[np.ndarray],
    prior: list[np.ndarray],
    parents: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return different architectures: half from the density of the good, half mutations of the best.

    A mutation redraws one to three choices on average, from the good's density or from the prior; what that
    activates is drawn with it. Mutations find what is left to gain near the front, whole draws what is far from it.

    Args:
        good: of each column, the distribution function of the density of the good.
        prior: of each column, that of the prior.
        parents: (n_parents, n_parameters), at least one.
    Returns:
        (at most n, n_parameters) cells; some may have been tried, or be forbidden.

    Reference: White, Neiswanger & Savani, AAAI 2021 (an acquisition is best optimised by mutating the best).
    """
    drawn = activity.draw(good, n // 2, rng)
    chosen = parents[rng.integers(len(parents), size=n - n // 2)]
    active = np.maximum((chosen >= 0).sum(axis=1, keepdims=True), 1)
    redraw = rng.random(chosen.shape) < rng.choice([0.75, 1.5, 2.25], size=(len(chosen), 1)) / active
    half = len(chosen) // 2
    found = np.concatenate(
        [
            drawn,
            activity.draw(good, half, rng, chosen[:half], redraw[:half]),
            activity.draw(prior, len(chosen) - half, rng, chosen[half:], redraw[half:]),
        ]
    )
    return rng.permutation(np.unique(found, axis=0))
