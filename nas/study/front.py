"""Which trials of a study are on its front, and which of these cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.objectives import Objective, is_latency
from nas.pareto import hypervolume, non_dominated
from nas.records import TrialRecord

_BOX = 10
"""Trials that say how large the box is in which a hypervolume is told."""

_BEYOND = 1.1
"""Where the box ends, in ranges of these trials from their best. At their worst itself two networks that are each the
best in something would dominate nothing, and the ends of no front would count."""

FEW = 5
"""Complete trials before which a front has not begun to grow, let alone stopped."""

_GROWN = 1e-3
"""A hypervolume that grew by less than this share has not grown."""


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


@dataclass(frozen=True)
class Box:
    """In what a hypervolume is told: from the best to a tenth beyond the worst of the first trials, in every loss."""

    low: np.ndarray
    """(n_objectives,), the best losses."""

    span: np.ndarray
    """(n_objectives,), from there to the worst; 1 where all are alike."""

    n_trials: int
    """That it is made of."""

    logarithmic: tuple[bool, ...]
    """(n_objectives,), of which objectives its losses are logarithms; see `_losses`."""

    def unit(self, losses: np.ndarray) -> np.ndarray:
        """Return losses (n, n_objectives) with the box as [0, 1]."""
        return (losses - self.low) / (self.span * _BEYOND)

    def share(self, losses: np.ndarray) -> float:
        """Return the hypervolume of losses (n, n_objectives), in boxes."""
        return float(hypervolume(self.unit(losses), np.ones(len(self.low))))

    def reference(self, objectives: Sequence[Objective]) -> dict[str, float]:
        """Return the far corner, as the user reads it: what is worse in one figure adds nothing."""
        corner = self.low + self.span * _BEYOND
        losses = [10**loss if log else loss for loss, log in zip(corner.tolist(), self.logarithmic, strict=True)]
        return {o.name: o.unloss(loss) for o, loss in zip(objectives, losses, strict=True)}


def hypervolume_box(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> Box | None:
    """Return the box of the first ten complete trials whose figures are finite; None where there are fewer than two."""
    losses, logarithmic = _losses(complete, objectives)
    first = losses[np.isfinite(losses).all(axis=1)][:_BOX]
    if len(first) < 2:
        return None
    low, high = first.min(axis=0), first.max(axis=0)
    return Box(low, np.where(high > low, high - low, 1.0), len(first), logarithmic)


def relative_hypervolume(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> float | None:
    """Return the hypervolume of the front, in boxes of the first ten trials (`Box`); None for fewer than two trials.

    Costs count on a log scale, where all of them are above 0. The box stands still after ten trials, so from then on
    the figure never falls; it is above 1 where the search has left the box. One trial has no worst to be compared with.

    Args:
        complete: complete trials in the order in which they were completed.
    """
    box, (losses, _) = hypervolume_box(complete, objectives), _losses(complete, objectives)
    return None if box is None else box.share(losses[np.isfinite(losses).all(axis=1)])


def hypervolume_trace(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[tuple[int, float]]:
    """Return number and `relative_hypervolume` after each complete trial, all in the box of the last: it never falls.

    Empty where there are fewer than two trials.

    Cost: one hypervolume for each trial that joins the front.
    """
    box = hypervolume_box(complete, objectives)
    if box is None:
        return []
    losses, _ = _losses(complete, objectives)
    front, volume, trace = np.empty((0, len(objectives))), 0.0, []
    for record, point in zip(complete, losses, strict=True):
        if np.isfinite(point).all() and not (front <= point).all(axis=1).any():
            front = np.concatenate([front[~(point <= front).all(axis=1)], point[None]])
            volume = box.share(front)
        trace.append((record.number, volume))
    return trace


def has_grown(complete: Sequence[TrialRecord], since: int, objectives: Sequence[Objective]) -> bool:
    """Return whether the front has grown by a thousandth since there were `since` complete trials; below five it has.

    Both are looked at in the box of today: until there are ten trials, the box itself changes.
    """
    trace = hypervolume_trace(complete, objectives)
    return len(complete) < FEW or not trace or trace[-1][1] > trace[since - 1][1] * (1 + _GROWN)


def _losses(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> tuple[np.ndarray, tuple[bool, ...]]:
    """Return the losses of trials, (n_trials, n_objectives), and of which objectives they are logarithms.

    Those are the costs, but for one of a user's own where some trial has none above 0: a column has one scale.
    """
    losses = np.array([[o.loss(r.metrics[o.name]) for o in objectives] for r in complete], dtype=float)
    losses = losses.reshape(len(complete), len(objectives))
    positive = ((losses > 0) | ~np.isfinite(losses)).all(axis=0)
    logarithmic = positive & np.array([o.cheap for o in objectives], dtype=bool)
    with np.errstate(invalid="ignore"):  # of minus infinity
        losses[:, logarithmic] = np.log10(losses[:, logarithmic])
    return losses, tuple(logarithmic.tolist())
