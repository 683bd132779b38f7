"""A parameter as a row of cells: every density is then a vector of probabilities, one per cell."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from nas.space import Categorical, Integer, Parameter
from nas.space.parameters import Scalar, grid, prior_mass

MOST_CELLS = 128


class Cells:
    """The unit interval of one parameter, cut into cells.

    A value of a discrete parameter owns a cell; a range with more than `MOST_CELLS` values, or a continuous one, has
    `MOST_CELLS` of equal width on its own scale (log or not); options have no scale, and a cell each, however many
    there are. So the cost of a density depends on the cells and not on the number of trials.

    Attributes:
        parameter: what was cut.
        edges: (n_cells + 1,) from 0 to 1.
        centres: (n_cells,) where a value in that cell lies.
        prior: (n_cells,) probabilities before anything was seen: an expert's, or without one the widths of the
            cells, which is what `parameter.sample` draws.
        smooth: whether neighbouring cells are alike (numbers are, words are not).
        listed: the value of each cell, where it holds one.
        kernels: filled by `nas.samplers.tpe.density.kernel`.

    >>> cells = Cells(Categorical((3, 5, 7)))
    >>> cells.cell(5), cells.smooth, cells.prior
    (1, True, array([0.33333333, 0.33333333, 0.33333333]))
    """

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.smooth = not isinstance(parameter, Categorical) or parameter.ordered
        n = parameter.cardinality()
        listed = n <= MOST_CELLS or isinstance(parameter, Categorical)
        self.listed: list[Scalar] | None = list(grid(parameter, most=int(n))) if listed else None
        self.edges = np.linspace(0.0, 1.0, (MOST_CELLS if self.listed is None else int(n)) + 1)
        self.centres = (self.edges[:-1] + self.edges[1:]) / 2
        if isinstance(parameter, Integer) and parameter.log and self.listed is not None:
            # On a log scale the cells get narrower; `from_unit` rounds at the halves.
            scale = np.log(np.arange(parameter.low, parameter.high + 2) - 0.5)
            self.edges = (scale - scale[0]) / (scale[-1] - scale[0])
            self.centres = np.array([parameter.to_unit(int(value)) for value in self.listed])
        self.prior = prior_mass(parameter, self.edges)
        self.kernels: dict[float, np.ndarray] = {}
        self._index = {(value, isinstance(value, bool)): i for i, value in enumerate(self.listed or ())}

    @cached_property
    def values(self) -> list[Scalar]:
        """A value of each cell."""
        return [self.value(cell, 0.5) for cell in range(len(self))]

    def __len__(self) -> int:
        return len(self.edges) - 1

    def cell(self, value: Scalar) -> int:
        """Return the cell of `value`; -1 for what the parameter cannot be."""
        found = self._index.get((value, isinstance(value, bool)), -1)
        if found >= 0 or isinstance(self.parameter, Categorical) or not self.parameter.contains(value):
            return found
        unit = self.parameter.to_unit(value)  # type: ignore[arg-type]  # contained: a number
        return min(int(unit * len(self)), len(self) - 1)

    def value(self, cell: int, unit: float) -> Scalar:
        """Return the value of a cell; where a cell holds many, the one at `unit` in [0, 1) of its width."""
        if self.listed is not None:
            return self.listed[cell]
        assert not isinstance(self.parameter, Categorical)
        return self.parameter.from_unit((cell + unit) / len(self))
