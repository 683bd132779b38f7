"""Which networks of a run are chosen: the one that a rule names, or a few that stand for the front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from nas.errors import BudgetError, NasError, RunError, did_you_mean
from nas.objectives import Objective, parse_objective
from nas.pareto.hypervolume import subset
from nas.pareto.knee import knee
from nas.pareto.rules import Rule
from nas.pareto.scale import front_ranges, on_scale

_BEYOND = 1.1
"""The reference of `spread`, in ranges of the front from its best: the ends of a front count for something too."""


class Row(Protocol):
    """What a rule looks at: one trial."""

    @property
    def number(self) -> int:
        """The trial's number."""

    @property
    def state(self) -> str:
        """`complete` where it was trained to the end."""

    @property
    def on_front(self) -> bool:
        """Whether no other trial dominates it."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """What is known of it, by objective, as the user reads it (accuracy is maximised)."""


def choose(rule: Rule, rows: Sequence[Row], objectives: Sequence[Objective]) -> Row:
    """Return the row that `rule` names: `trial` among all rows, the others among those on the front.

    `trial` names one that was stopped early too, whose figures are those of then.

    `closest` takes the row of the least distance to what is wished for,

        d(row) = sqrt(sum over j of max(0, (f_j(row) - z_j) / r_j)^2)

    with f_j a figure as a loss (an accuracy negated, a price as its log10: twice the latency is as far as half of it),
    z_j the wish on the same scale, and r_j the range of f_j over the front, before any limit. Without values z is the
    utopia point, the best of each objective; then this is compromise programming in the Euclidean norm (Zeleny, in:
    Multiple Criteria Decision Making, 1973). What is better than wished for costs nothing, as in the distance d+ of
    Ishibuchi et al., EMO 2015: a wish that can be had is met, not avoided. Of several rows that meet it, the one with
    the least sum of scaled losses of all objectives is taken.

    Args:
        rows: the trials; one that lacks an objective cannot be chosen.
        objectives: what the study optimised.
    Raises:
        RunError: there is no front, or no such trial that knows every objective.
        BudgetError: nothing on the front keeps the budgets; with the value that comes nearest.
        NasError: the front does not know a figure that the rule names.
    """
    if rule.kind == "trial":
        return _numbered(rule.number, rows, objectives)
    front = [row for row in rows if row.on_front]
    if not front:
        raise RunError(f"rule '{rule}': no trial is on the front yet; let the search run until one is complete")
    named = (rule.objective, *(budget.objective for budget in rule.budgets), *(name for name, _ in rule.ideal))
    for name in named:
        if name and not all(name in row.metrics for row in front):
            known = set.intersection(*(set(row.metrics) for row in front))
            raise NasError(f"rule '{rule}': {did_you_mean('figure of this run', name, known)}")
    kept = [row for row in front if all(b.kept(row.metrics[b.objective]) for b in rule.budgets)]
    if not kept:
        raise BudgetError(_nearest(rule, front))
    if rule.kind == "closest":
        return _closest(rule, front, kept, objectives)
    losses = np.array([[o.loss(row.metrics[o.name]) for o in objectives] for row in kept])
    if rule.kind == "knee":
        finite = np.isfinite(losses).all(axis=1)
        return kept[knee(losses)] if finite.any() else min(kept, key=lambda row: row.number)
    best = parse_objective(rule.objective)
    keys = [
        (_worst(best.loss(row.metrics[best.name])), *map(_worst, loss)) for row, loss in zip(kept, losses, strict=True)
    ]
    return min(zip(keys, kept, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]


def remarks(rule: Rule, rows: Sequence[Row]) -> list[str]:
    """Return a line for each wish of `closest` that lies outside of what the front has: none has it, or all do better.

    Such a rule chooses, and perhaps not what was meant: a figure that none has outweighs the others, and one that all
    have decides nothing.
    """
    found = []
    for name, wish in rule.ideal:
        objective = parse_objective(name)
        losses = {row.number: objective.plain_loss(row.metrics[name]) for row in rows if row.on_front}
        known = {number: loss for number, loss in losses.items() if not math.isnan(loss)}
        if not known:
            continue
        wished = objective.plain_loss(wish)
        best, worst = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
        said = f"rule '{rule}': {name}={wish:.6g}"
        if wished < known[best]:
            value = objective.unloss(known[best])
            found.append(f"{said} is better than all of the front; the best is {value:.4g}, of trial {best}")
        elif wished > known[worst]:
            value = objective.unloss(known[worst])
            said += " decides nothing: all of the front is better"
            found.append(f"{said}; the worst is {value:.4g}, of trial {worst}")
    return found


def spread(rows: Sequence[Row], objectives: Sequence[Objective], k: int) -> list[Row]:
    """Return `k` rows of the front that together dominate most, in the order chosen; all where there are no more.

    Losses are put on their ranges over the front: prices by their logarithm, and what only training tells as samplers
    are told it, by the logarithm of the error. Else a network that is hardly better than chance, which many a front
    ends with, would stretch the scale so far that the most accurate ones look alike. See `subset` for its quality.
    """
    front = [row for row in rows if row.on_front]
    if not front:
        return []
    losses = np.stack([_told(o, [row.metrics[o.name] for row in front]) for o in objectives], axis=1)
    low, span = front_ranges(losses)
    unit = np.clip((losses - low) / span, 0.0, None)  # -inf is a price of nothing: as good as the best that has one
    return [front[i] for i in subset(unit, np.full(len(objectives), _BEYOND), k)]


def _closest(rule: Rule, front: Sequence[Row], kept: Sequence[Row], objectives: Sequence[Objective]) -> Row:
    measured = [parse_objective(name) for name, _ in rule.ideal] or list(objectives)
    low, span = front_ranges(_table(front, measured))
    wished = low
    if rule.ideal:
        pairs = zip(measured, rule.ideal, strict=True)
        wished = np.concatenate([on_scale(o, [value]) for o, (_, value) in pairs])
    beyond = np.maximum(0.0, (_table(kept, measured) - wished) / span)
    distance = np.sqrt(np.square(beyond).sum(axis=1))
    whole_low, whole_span = front_ranges(_table(front, objectives))
    total = ((_table(kept, objectives) - whole_low) / whole_span).sum(axis=1)
    # Rounded: equal distances may differ in the last bit.
    keys = zip(np.round(distance, 12), np.round(total, 12), (row.number for row in kept), strict=True)
    return min(zip(keys, kept, strict=True), key=lambda pair: pair[0])[1]


def _told(objective: Objective, values: Sequence[float]) -> np.ndarray:
    """Return values as losses on a scale of logarithms, where there is one."""
    if objective.cheap:
        return on_scale(objective, values)
    losses = np.array([objective.told_loss(value) for value in values])
    return np.where(np.isnan(losses), np.inf, losses)


def _table(rows: Sequence[Row], objectives: Sequence[Objective]) -> np.ndarray:
    """Return (n_rows, n_objectives) losses on scales that can be subtracted."""
    return np.stack([on_scale(o, [row.metrics[o.name] for row in rows]) for o in objectives], axis=1)


def _numbered(number: int, rows: Sequence[Row], objectives: Sequence[Objective]) -> Row:
    row = next((row for row in rows if row.number == number), None)
    complete = sorted(r.number for r in rows if r.state == "complete")
    some = ", ".join(map(str, complete[:20])) + (", ..." if len(complete) > 20 else "") if complete else "none"
    if row is None:
        raise RunError(f"there is no trial {number} to choose; complete trials: {some}")
    missing = [o.name for o in objectives if o.name not in row.metrics]
    if missing:
        why = f"is not complete but {row.state.replace('_', ' ')}"
        raise RunError(f"trial {number} {why}: its {missing[0]} is not known; complete trials: {some}")
    return row


def _nearest(rule: Rule, front: Sequence[Row]) -> str:
    """Say which trial of the front comes nearest to the rule's budgets."""
    row = min(front, key=lambda r: (_worst(sum(b.violation(r.metrics[b.objective]) for b in rule.budgets)), r.number))
    values = ", ".join(f"{b.objective}={row.metrics[b.objective]:.4g}" for b in rule.budgets)
    return f"rule '{rule}': nothing on the front keeps that; the nearest is trial {row.number} with {values}"


def _worst(loss: float) -> float:
    return math.inf if math.isnan(loss) else float(loss)
