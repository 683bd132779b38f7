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
    """Draw different architectures: half from the density of the good, a quarter each mutations and `alternatives`.

    A mutation redraws 0.75, 1.5 or 2.25 choices on average, from the good's density (some come out as they were); what
    that activates is drawn with it. Mutations find what is left to gain near the front, whole draws what is far off.

    Args:
        good: the density of the good, see `Columns.steps`.
        prior: that of the prior.
        parents: (n_parents, n_parameters), at least one.
    Returns:
        (at most n, n_parameters) cells; some may have been tried, or be forbidden.

    Reference: White, Neiswanger & Savani, AAAI 2021 (an acquisition is best optimised by mutating the best).
    """
    most = n - (n // 4 if len(varied(activity, parents)) else 0)
    chosen = parents[rng.integers(len(parents), size=most)]
    active = np.maximum((chosen >= 0).sum(axis=1, keepdims=True), 1)
    redraw = rng.random(chosen.shape) < rng.choice([0.75, 1.5, 2.25], size=(most, 1)) / active
    redraw[: n // 2] = True  # a whole draw
    drawn = activity.cells(good, most, rng)
    found = activity.settle(np.where(redraw | (chosen < 0), drawn, chosen))
    return distinct(np.concatenate([found, alternatives(activity, prior, parents, n - most, rng)]))


def alternatives(
    activity: Activity, prior: Steps, parents: np.ndarray, n: int, rng: np.random.Generator, role: int | None = None
) -> np.ndarray:
    """Draw from the front with one choice made otherwise: another block, another optimiser, another activation.

    The prior draws what the other option brings along. A mutation changes such a choice once in as many as there are
    parameters, and the density of the good forgets what was unlucky at first: without these, a search trains with the
    optimiser of its first good networks for ever.

    Args:
        role: index of the role whose choice is made otherwise; None: one of those active. A role of a repeat is as
            likely as any other where all its positions are active, else by their share.
    Returns:
        (at most n, n_parameters) cells; none where there is no such choice.
    """
    weight = _choices(activity, role)
    chance = np.where(parents >= 0, weight, 0.0)
    able = np.flatnonzero(chance.any(axis=1))
    if not len(able):
        return parents[:0]
    picked = able[rng.integers(len(able), size=n)]
    chosen, chance = parents[picked], chance[picked] / chance[picked].sum(axis=1, keepdims=True)
    columns = (np.cumsum(chance, axis=1) > rng.random((len(chosen), 1))).argmax(axis=1)
    rows = np.arange(len(chosen))
    before = chosen[rows, columns]
    found = np.where(chosen < 0, activity.cells(prior, len(chosen), rng), chosen)
    options = np.array([len(cells) for cells in activity.columns.cells])[columns]
    found[rows, columns] = (before + rng.integers(1, options)) % options
    return distinct(activity.settle(found))


def varied(activity: Activity, parents: np.ndarray) -> np.ndarray:
    """Return the indices of the roles that `alternatives` has a choice in, with these parents."""
    there = (parents >= 0).any(axis=0) & (_choices(activity) > 0)
    return np.array([i for i, alike in enumerate(activity.columns.roles) if there[alike].any()], dtype=int)


def distinct(rows: np.ndarray) -> np.ndarray:
    """Return each row once, in the order in which they come first."""
    first = {row.tobytes(): i for i, row in enumerate(rows)}
    return rows[list(first.values())]


def _choices(activity: Activity, role: int | None = None) -> np.ndarray:
    """Return the weight of each column as the choice to be made otherwise, (n_parameters,); 0 for ranges."""
    weight = np.zeros(len(activity.columns.names))
    for i, alike in enumerate(activity.columns.roles):
        cells = activity.columns.cells[alike[0]]
        if not cells.smooth and len(cells) > 1 and role in (None, i):
            weight[alike] = 1 / len(alike)
    return weight
