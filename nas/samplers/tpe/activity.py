"""Which parameters are active, for many architectures at once."""

from __future__ import annotations

import numpy as np

from nas.samplers.tpe.cells import Cells
from nas.space import Categorical, Chain, Choice, Fixed, Float, Group, Integer, Repeat, Space, When
from nas.space.conditions import Test
from nas.space.tree import Node, join

Need = tuple[int, np.ndarray]
"""A column, and for each of its cells whether it allows the parameter; the last entry is for "not active"."""


class Activity:
    """The conditions of a space as tables, so that whole matrices of candidates are drawn column by column.

    Attributes:
        needs: of each column, what has to hold in earlier columns for it to be active.
    """

    def __init__(self, space: Space, paths: dict[str, int], cells: list[Cells]) -> None:
        self._paths, self._cells = paths, cells
        self.needs: list[tuple[Need, ...]] = [()] * len(paths)
        self._fixed: dict[str, tuple[Need, ...]] = {}
        self._visit(space.root, "", "", ())

    def active(self, rows: np.ndarray, column: int) -> np.ndarray:
        """Return in which rows a column is active, given the columns before it.

        Args:
            rows: (n, n_parameters) cells, -1 where not active.
        Returns:
            (n,) of bool.
        """
        active: np.ndarray | None = None
        for parent, allows in self.needs[column]:
            here = allows[rows[:, parent]]
            active = here if active is None else active & here
        return np.ones(len(rows), dtype=bool) if active is None else active

    def draw(
        self,
        cumulative: list[np.ndarray],
        n: int,
        rng: np.random.Generator,
        parents: np.ndarray | None = None,
        redraw: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw architectures, from the root of the tree down.

        Args:
            cumulative: of each column, the distribution over its cells.
            parents: (n, n_parameters): what is kept of them where `redraw` is False and they are active.
        Returns:
            (n, n_parameters) cells, -1 where not active.
        """
        rows = np.full((n, len(cumulative)), -1, dtype=np.int16)
        chance = rng.random((len(cumulative), n))
        for column, steps in enumerate(cumulative):
            cell = np.minimum(np.searchsorted(steps, chance[column], "right"), len(steps) - 1)
            if parents is not None and redraw is not None:
                old = parents[:, column]
                cell = np.where(redraw[:, column] | (old < 0), cell, old)
            rows[:, column] = np.where(self.active(rows, column), cell, -1) if self.needs[column] else cell
        return rows

    def _visit(self, here: Node, path: str, group: str, needs: tuple[Need, ...]) -> None:
        if isinstance(here, When):
            for condition in here.conditions:
                needs = (*needs, *self._need(condition.absolute(group), condition.test))
            self._visit(here.node, path, group, needs)
        elif isinstance(here, Fixed):
            self._fixed[path] = needs
        elif isinstance(here, Group):
            for name, child in here.fields.items():
                self._visit(child, join(path, name), path, needs)
        elif isinstance(here, Choice):
            column = self._paths[path]
            self.needs[column] = needs
            for i, (name, option) in enumerate(here.options.items()):
                only = np.zeros(len(here.options) + 1, dtype=bool)
                only[i] = True
                self._visit(option, join(path, name), path, (*needs, (column, only)))
        elif isinstance(here, Chain):
            for i, child in enumerate(here.items):
                self._visit(child, join(path, i), path, needs)
        elif isinstance(here, Repeat):
            times = join(path, "repeat")
            self._visit(here.count, times, path, needs)
            for i in range(here.most):
                more: tuple[Need, ...] = ()
                if times in self._paths:
                    counts = self._cells[self._paths[times]].values
                    more = ((self._paths[times], np.array([*(int(c) > i for c in counts), False])),)
                self._visit(here.block, join(path, i), path, (*needs, *more))
        else:
            assert isinstance(here, Categorical | Integer | Float)
            self.needs[self._paths[path]] = needs

    def _need(self, path: str, test: Test) -> tuple[Need, ...]:
        if path not in self._paths:
            return self._fixed[path]  # a constant passes its tests, or the space would have been refused
        column = self._paths[path]
        return ((column, np.array([*(test.holds(value) for value in self._cells[column].values), False])),)
