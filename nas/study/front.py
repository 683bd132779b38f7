"""Which trials of a study are on its front, and which of these cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.objectives import Objective, is_latency
from nas.pareto import hypervolume, non_dominated
from nas.records import TrialRecord

_BOX = 10
"""Trials that say how large the box is in which a hypervolume is told."""


def front_numbers(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[int]:
    """Return the numbers of the complete trials that no other dominates."""
    complete = [r for r in records if r.state == "complete"]
    if not complete:
        return []
    losses = np.array([[o.loss(r.metrics[o.name]) for o in objectives] for r in complete])
    return [r.number for r, keep in zip(complete, non_dominated(losses), strict=True) if keep]


def close(record: TrialRecord, front: Sequence[TrialRecord], objectives: Sequence[Objective]) -> dict[str, list[float]]:
    """Return the latencies of a front that decide, within their intervals, whether `record` dominates or is dominated.

    Of two networks whose intervals overlap in a latency, where in all else one is at least as good as the other, it is
    chance that says which of them stays on the front.

    Returns:
        Name of the latency to figures that are worth measuring `record` longer.
    """
    found: dict[str, list[float]] = {}
    for name in (o.name for o in objectives if is_latency(o.name)):
        mine, rest = record.prices[name], [o for o in objectives if o.name != name]
        for rival in front:
            theirs = rival.prices[name]
            if mine != theirs and mine.overlaps(theirs):  # equal: one network
                gaps = [o.loss(record.metrics[o.name]) - o.loss(rival.metrics[o.name]) for o in rest]
                if all(gap >= 0 for gap in gaps) or all(gap <= 0 for gap in gaps):
                    found.setdefault(name, []).append(theirs.value)
    return found


def overlapping(records: Sequence[TrialRecord]) -> dict[int, list[int]]:
    """Return, by number, the other trials with a latency whose interval overlaps that trial's; none has no entry."""
    found: dict[int, list[int]] = {}
    for a in records:
        for b in records:
            shared = [n for n in a.prices if is_latency(n) and n in b.prices]
            if a is not b and any(a.prices[n].overlaps(b.prices[n]) for n in shared):
                found.setdefault(a.number, []).append(b.number)
    return found


def relative_hypervolume(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> float:
    """Return the hypervolume of the front, in boxes from the best to the worst value of the first ten trials.

    Costs count on a log scale. The box stands still after ten trials, so from then on the figure never falls; it is
    above 1 where the search has left the box.

    Args:
        complete: complete trials in the order in which they were completed.
    """
    losses = np.array([[_scaled(o, r.metrics[o.name]) for o in objectives] for r in complete])
    losses = losses[np.isfinite(losses).all(axis=1)] if len(losses) else losses
    if len(losses) < 2:
        return 0.0
    low, high = losses[:_BOX].min(axis=0), losses[:_BOX].max(axis=0)
    unit = (losses - low) / np.where(high > low, high - low, 1.0)
    return float(hypervolume(unit, np.ones(len(objectives))))


def _scaled(objective: Objective, value: float) -> float:
    loss = objective.loss(value)
    return float(np.log10(loss)) if objective.cheap and loss > 0 else loss
