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


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials as they were completed; by their numbers where that was not kept."""
    return sorted((r for r in records if r.state == "complete"), key=lambda r: (r.ended_s, r.number))


def relative_hypervolume(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> float:
    """Return the hypervolume of the front, in boxes from the best to the worst value of the first ten trials.

    Costs count on a log scale. The box stands still after ten trials, so from then on the figure never falls; it is
    above 1 where the search has left the box.

    Args:
        complete: complete trials in the order in which they were completed.
    """
    unit = _in_boxes(complete, objectives)
    unit = unit[np.isfinite(unit).all(axis=1)]
    return 0.0 if len(unit) < 2 else float(hypervolume(unit, np.ones(len(objectives))))


def hypervolume_trace(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[float]:
    """Return `relative_hypervolume` after each complete trial, all in the box of the last one: it never falls.

    Cost: one hypervolume for each trial that joins the front.
    """
    front, volume, trace = np.empty((0, len(objectives))), 0.0, []
    unit = _in_boxes(complete, objectives)
    several = np.isfinite(unit).all(axis=1).sum() >= 2
    for point in unit:
        if several and np.isfinite(point).all() and not (front <= point).all(axis=1).any():
            front = np.concatenate([front[~(point <= front).all(axis=1)], point[None]])
            volume = float(hypervolume(front, np.ones(len(objectives))))
        trace.append(volume)
    return trace


def _in_boxes(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> np.ndarray:
    """Return the losses of trials, (n_trials, n_objectives), so that the box of the first ten finite ones is [0, 1]."""
    losses = np.array([[_scaled(o, r.metrics[o.name]) for o in objectives] for r in complete])
    losses = losses.reshape(len(complete), len(objectives))
    first = losses[np.isfinite(losses).all(axis=1)][:_BOX]
    if len(first) == 0:
        return losses
    low, high = first.min(axis=0), first.max(axis=0)
    unit: np.ndarray = (losses - low) / np.where(high > low, high - low, 1.0)
    return unit


def _scaled(objective: Objective, value: float) -> float:
    loss = objective.loss(value)
    return float(np.log10(loss)) if objective.cheap and loss > 0 else loss
