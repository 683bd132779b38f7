"""Which trials of a study are on its front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.objectives import Objective
from nas.pareto import non_dominated
from nas.records import TrialRecord


def front_numbers(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[int]:
    """Return the numbers of the complete trials that no other dominates."""
    complete = [r for r in records if r.state == "complete"]
    if not complete:
        return []
    losses = np.array([[o.loss(r.metrics[o.name]) for o in objectives] for r in complete])
    return [r.number for r, keep in zip(complete, non_dominated(losses), strict=True) if keep]
