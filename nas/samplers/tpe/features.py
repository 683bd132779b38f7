"""An architecture as a vector, so that what is alike lies near."""

from __future__ import annotations

import numpy as np

from nas.samplers.tpe.cells import Cells
from nas.samplers.tpe.columns import Columns

_BUMPS = np.linspace(0.0, 1.0, 6)
_WIDTH = 0.2
_POSITION = 0.05
"""How much the choice at one position of a repeat is thought to matter, against the same choice anywhere."""

_SLOPE = 0.1
"""How much it is thought to matter whether the choice is made early or late."""


class Features:
    """The vector of an architecture: one block of numbers per parameter, one per role.

    A category is a 1 among zeros; a number (or an ordered category) is a row of Gaussian bumps, so that a curve over
    it is a weighted sum; what is not active is all zeros. The blocks of the positions of a repeat are also added up,
    in two blocks of their role: "two convolutions of kernel 5" is said whichever positions they stand at, and so is
    "early" or "late", as a sum with weights from -1 at the first position to 1 at the last.

    Args:
        roles: whether there are blocks of roles; else positions share nothing.

    Attributes:
        group: (n_features,) the block each feature belongs to.
        start: (n_groups,) how much a block is thought to matter before anything was seen.
    """

    def __init__(self, columns: Columns, *, roles: bool = True) -> None:
        self.columns = columns
        tables = {id(cells): encoded(cells) for cells in columns.cells}
        self._tables = [tables[id(cells)] for cells in columns.cells]
        self._roles: dict[int, tuple[int, float]] = {}  # column -> its role's first group, and where it stands
        widths = [table.shape[1] for table in self._tables]
        start = [1.0] * len(widths)
        for alike in columns.roles:
            if roles and len(alike) > 1:
                for column, place in zip(alike.tolist(), np.linspace(-1.0, 1.0, len(alike)), strict=True):
                    self._roles[column] = len(widths), float(place)
                    start[column] = _POSITION
                widths += [widths[alike[0]]] * 2
                start += [1.0, _SLOPE]
        self.start = np.array(start)
        self.group = np.repeat(np.arange(len(widths)), widths)
        self._at = np.concatenate([[0], np.cumsum(widths)])

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of architectures.

        Args:
            rows: (n, n_parameters) cells, -1 where not active.
        Returns:
            (n, n_features) of float32.

        Cost: 4 ms for 400 rows of 115 parameters.
        """
        vectors = np.zeros((len(rows), len(self.group)), dtype=np.float32)
        for column, table in enumerate(self._tables):
            cells = rows[:, column]
            if not (cells >= 0).any():
                continue
            block = table[cells]
            vectors[:, self._at[column] : self._at[column + 1]] = block
            if column in self._roles:
                role, place = self._roles[column]
                vectors[:, self._at[role] : self._at[role + 1]] += block
                vectors[:, self._at[role + 1] : self._at[role + 2]] += np.float32(place) * block
        return vectors


def encoded(cells: Cells) -> np.ndarray:
    """Return the block of each cell, of length 1, and a last row of zeros for "not active".

    Returns:
        (n_cells + 1, n_features) of float32.
    """
    if cells.smooth and len(cells) > 2:
        table = np.exp(-((cells.centres[:, None] - _BUMPS) ** 2) / (2 * _WIDTH**2))
        table /= np.linalg.norm(table, axis=1, keepdims=True)
    else:
        table = np.eye(len(cells))
    return np.concatenate([table, np.zeros((1, table.shape[1]))]).astype(np.float32)
