"""How promising an architecture is: how much more often its choices are seen among the good than among the bad."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from nas.samplers.tpe.columns import Columns
from nas.samplers.tpe.density import density
from nas.space import Architecture, Slot
from nas.space.parameters import Scalar


class Acquisition:
    """The densities l of the good and g of the bad trials over architectures, and their ratio.

        score(x) = sum over the active parameters p of x of  log l_p(x_p) - log g_p(x_p)

    l(x) is the product over the active parameters: the tree makes that a density, since which parameters are
    active follows from the values above them. Expected improvement grows with l / g (Bergstra et al., NeurIPS
    2011, eq. 6).

    A parameter inside a repeat has few trials of its own at a late position, so it also counts the trials of its
    role at the other positions, at weight `other` each: kernel 5 good in block 0 says something of block 3.

    Args:
        columns: the space.
        good: (n_good, n_parameters) cells, -1 where not active.
        bad: (n_bad, n_parameters).
        other: weight of a trial at another position of the role, 0 (alone) to 1 (positions are all the same).
    """

    def __init__(self, columns: Columns, good: np.ndarray, bad: np.ndarray, other: float = 0.25) -> None:
        self.columns, self.good, self.bad, self.other = columns, good, bad, other
        self._cumulative: dict[str, list[float]] = {}
        self._ratio: dict[str, list[float]] = {}

    def score(self, arch: Architecture) -> float:
        """Return log l - log g of an architecture of the space; more is better."""
        total = 0.0
        for path, value in arch.items:
            if path not in self._ratio:
                self._estimate(path)
            total += self._ratio[path][self.columns.cells[self.columns.paths[path]].cell(value)]
        return total

    def draw(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture from l, from the root of the tree down; it may be a forbidden combination."""

        def choose(slot: Slot) -> Scalar:
            if slot.path not in self._cumulative:
                self._estimate(slot.path)
            cells = self.columns.cells[self.columns.paths[slot.path]]
            cell = min(bisect_right(self._cumulative[slot.path], rng.random()), len(cells) - 1)
            return cells.value(cell, rng.random() if cells.listed is None else 0.0)

        return self.columns.space.walk(choose)

    def densities(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Return l and g of a parameter and of its role's other positions, in the order of the tree.

        Returns:
            Two arrays of (n_positions, n_cells).
        """
        column = self.columns.paths[path]
        cells, alike = self.columns.cells[column], self.columns.alike[column]
        good, bad = (
            density(cells, pooled(counts(rows[:, alike], len(cells)), self.other)) for rows in (self.good, self.bad)
        )
        return good, bad

    def _estimate(self, path: str) -> None:
        """Estimate the densities at a path; those of its role come with it."""
        good, bad = self.densities(path)
        ratio, cumulative = np.log(good) - np.log(bad), np.cumsum(good, axis=1)
        for i, column in enumerate(self.columns.alike[self.columns.paths[path]]):
            self._ratio[self.columns.names[column]] = ratio[i].tolist()
            self._cumulative[self.columns.names[column]] = cumulative[i].tolist()


def counts(rows: np.ndarray, n_cells: int) -> np.ndarray:
    """Count how often each cell occurs in each column.

    Args:
        rows: (n_trials, n_columns) cells; -1 is not counted.
    Returns:
        (n_columns, n_cells) of float.

    >>> counts(np.array([[0, 2], [0, -1]]), 3)
    array([[2., 0., 0.],
           [0., 0., 1.]])
    """
    n = rows.shape[1]
    shifted = rows.astype(np.intp) + 1 + np.arange(n) * (n_cells + 1)  # cell 0 of each column collects the inactive
    return np.bincount(shifted.ravel(), minlength=n * (n_cells + 1)).reshape(n, -1)[:, 1:].astype(float)


def pooled(own: np.ndarray, other: float) -> np.ndarray:
    """Add to each position's counts those of the other positions, at weight `other`.

    >>> pooled(np.array([[2.0, 0.0], [0.0, 4.0]]), 0.25)
    array([[2. , 1. ],
           [0.5, 4. ]])
    """
    return own + other * (own.sum(axis=0) - own)
