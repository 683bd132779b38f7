"""Multiply-adds of networks that are not built: of hundreds of candidates, where a count takes a millisecond each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nas.blocks.operations import Operation
from nas.errors import NasError
from nas.measure.predict import Unbuilt
from nas.measure.terms import Term
from nas.shapes import Shape
from nas.space import Architecture, Space


class PlannedMacs:
    """Counts from what parts plan (`Block.plan`): the numbers of `count_macs`, for shipped parts exactly.

    A part of one's own without a plan is built once for each shape it meets and counted by itself.

    Args:
        in_shape: of one sample, without the batch axis.

    Cost: 0.2 ms for each architecture.
    """

    def __init__(self, space: Space, in_shape: Shape, n_outputs: int) -> None:
        self.space, self._unbuilt = space, Unbuilt(in_shape, n_outputs, _macs)

    def __call__(self, archs: Sequence[Architecture]) -> np.ndarray:
        """Return the multiply-adds of one sample, (n,); NaN where an architecture cannot be built."""
        return np.array([self._count(arch) for arch in archs], dtype=float)

    def _count(self, arch: Architecture) -> float:
        try:
            total = self._unbuilt.total(self.space.resolve(arch))
        except NasError:
            return math.nan
        return sum(amount for (_, work), amount in total.items() if work == "macs")


def _macs(operations: Sequence[Operation], _: Any) -> Iterator[dict[Term, float]]:
    return ({(operation.kind, "macs"): float(operation.macs)} for operation in operations)
