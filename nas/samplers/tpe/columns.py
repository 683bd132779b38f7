"""Architectures as rows of small integers, one column per parameter of the space, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nas.samplers.tpe.cells import Cells
from nas.space import Architecture, Slot, Space
from nas.space.parameters import Scalar

Steps = list[np.ndarray]
"""Distributions of all columns: by role, (n_positions, n_cells - 1) of the distribution function without its last 1."""


class Columns:
    """Which cell every parameter of an architecture lies in.

    Attributes:
        names: the path of each column, in the order of the tree.
        paths: column number by path.
        cells: of each column; the positions of a repeat share them.
        roles: of each role, its columns: the positions of a repeat.
        exact: whether a row says everything of an architecture; not so where a parameter has more values than cells.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.names = list(space.slots)
        self.paths = {path: column for column, path in enumerate(space.slots)}
        self.roles = [np.array([self.paths[slot.path] for slot in slots]) for slots in space.roles.values()]
        by_role = {role: Cells(slots[0].parameter) for role, slots in space.roles.items()}
        self.cells = [by_role[slot.role] for slot in space.slots.values()]
        self.exact = all(cells.listed is not None for cells in self.cells)

    def of(self, archs: Iterable[Architecture]) -> np.ndarray:
        """Return the cells of some architectures.

        Returns:
            (n_archs, n_parameters) of int; -1 where a parameter is not active.

        Cost: about 1 microsecond per active parameter.
        """
        archs = list(archs)
        rows = np.full((len(archs), len(self.names)), -1, dtype=np.int16)
        for row, arch in zip(rows, archs, strict=True):
            for path, value in arch.items:
                if (column := self.paths.get(path)) is not None:
                    row[column] = self.cells[column].cell(value)
        return rows

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Count how often each cell of each column occurs.

        Args:
            rows: (n, n_parameters) cells; -1 is not counted.
        Returns:
            (n_parameters, most cells of any parameter) of float.

        Cost: 1 millisecond for 1,000 rows of 115 parameters.
        """
        n, width = len(self.names), max(map(len, self.cells), default=0)
        if n == 0:
            return np.zeros((0, 0))
        shifted = rows.astype(np.intp) + 1 + np.arange(n) * (width + 1)  # cell 0 of each column: not active
        return np.bincount(shifted.ravel(), minlength=n * (width + 1)).reshape(n, -1)[:, 1:].astype(float)

    def steps(self, chances: Sequence[np.ndarray]) -> Steps:
        """Return distributions as they are drawn from.

        Args:
            chances: of each role, (n_cells,) or (n_positions, n_cells) probabilities.
        """
        return [
            np.broadcast_to(np.cumsum(chance, axis=-1)[..., :-1], (len(alike), len(self.cells[alike[0]]) - 1))
            for alike, chance in zip(self.roles, chances, strict=True)
        ]

    def architecture(self, row: np.ndarray, rng: np.random.Generator) -> Architecture:
        """Return an architecture whose parameters lie in the cells of a row.

        Args:
            row: (n_parameters,). Where a parameter turns out active and its cell is -1, the prior draws one.
            rng: where in its cell a value lies that shares it with others.
        """

        def choose(slot: Slot) -> Scalar:
            column = self.paths[slot.path]
            cells, cell = self.cells[column], int(row[column])
            if cell < 0:
                cell = int(rng.choice(len(cells), p=cells.prior))
            return cells.value(cell, rng.random() if cells.listed is None else 0.0)

        return self.space.walk(choose)
