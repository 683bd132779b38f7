"""The rule by which one network of a run is chosen: `knee`, `best:accuracy where latency_ms<=1`, `trial:17`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from nas.errors import BudgetError, NasError, RunError, did_you_mean
from nas.objectives import Budget, Objective, parse_objective
from nas.pareto.knee import knee

_BETWEEN = re.compile(r"\s+and\s+|,(?!\s*\w+\s*=)")
"""Between two budgets. The comma of a target (latency_ms@openvino:threads=2,batch=8<=1) is none of these."""

_HELP = "write knee, best:accuracy, 'best:accuracy where latency_ms<=1' or trial:17"


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


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to choose; see `parse_rule`."""

    kind: Literal["knee", "best", "trial"]
    objective: str = ""
    number: int = -1
    budgets: tuple[Budget, ...] = ()

    def __str__(self) -> str:
        head = {"knee": "knee", "best": f"best:{self.objective}", "trial": f"trial:{self.number}"}[self.kind]
        return head + (" where " + " and ".join(map(str, self.budgets)) if self.budgets else "")


def parse_rule(text: str) -> Rule:
    """Read `knee`, `best:OBJECTIVE` (either one with `where BUDGET and BUDGET, BUDGET`) or `trial:NUMBER`.

    Raises:
        NasError: the text is no rule, or names no objective.
        BudgetError: what stands after `where` is no budget.

    >>> str(parse_rule("best:accuracy where latency_ms <= 1, n_params<=100k"))
    'best:accuracy where latency_ms<=1 and n_params<=100000'
    """
    head, where, tail = re.fullmatch(r"\s*(.*?)\s*(?:\b(where)\b\s*(.*?)\s*)?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    budgets = tuple(Budget.parse(part) for part in _BETWEEN.split(tail)) if where else ()
    kind, colon, name = (part.strip() for part in head.partition(":"))
    if kind == "knee" and not colon:
        return Rule("knee", budgets=budgets)
    if kind == "best" and name:
        return Rule("best", objective=parse_objective(name).name, budgets=budgets)
    if kind == "trial" and re.fullmatch(r"[0-9]+", name):
        if budgets:
            raise NasError(f"rule {text!r}: a trial is one trial, 'where' chooses nothing; write trial:{name}")
        return Rule("trial", number=int(name))
    raise NasError(f"rule {text!r} cannot be read; {_HELP}")


def choose(rule: Rule, rows: Sequence[Row], objectives: Sequence[Objective]) -> Row:
    """Return the row that `rule` names: `trial` among all rows, the others among those on the front.

    `trial` names one that was stopped early too, whose figures are those of then.

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
    for name in (rule.objective, *(budget.objective for budget in rule.budgets)):
        if name and not all(name in row.metrics for row in front):
            known = set.intersection(*(set(row.metrics) for row in front))
            raise NasError(f"rule '{rule}': {did_you_mean('figure of this run', name, known)}")
    kept = [row for row in front if all(b.kept(row.metrics[b.objective]) for b in rule.budgets)]
    if not kept:
        raise BudgetError(_nearest(rule, front))
    losses = np.array([[o.loss(row.metrics[o.name]) for o in objectives] for row in kept])
    if rule.kind == "knee":
        finite = np.isfinite(losses).all(axis=1)
        return kept[knee(losses)] if finite.any() else min(kept, key=lambda row: row.number)
    best = parse_objective(rule.objective)
    keys = [
        (_worst(best.loss(row.metrics[best.name])), *map(_worst, loss)) for row, loss in zip(kept, losses, strict=True)
    ]
    return min(zip(keys, kept, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]


def _numbered(number: int, rows: Sequence[Row], objectives: Sequence[Objective]) -> Row:
    row = next((row for row in rows if row.number == number), None)
    complete = sorted(r.number for r in rows if r.state == "complete")
    some = ", ".join(map(str, complete[:20])) + (", ..." if len(complete) > 20 else "") if complete else "none"
    if row is None:
        raise RunError(f"there is no trial {number} to choose; complete trials: {some}")
    missing = [o.name for o in objectives if o.name not in row.metrics]
    if missing:
        raise RunError(f"trial {number} is not complete: its {missing[0]} is not known; complete trials: {some}")
    return row


def _nearest(rule: Rule, front: Sequence[Row]) -> str:
    """Say which trial of the front comes nearest to the rule's budgets."""
    row = min(front, key=lambda r: (_worst(sum(b.violation(r.metrics[b.objective]) for b in rule.budgets)), r.number))
    values = ", ".join(f"{b.objective}={row.metrics[b.objective]:.4g}" for b in rule.budgets)
    return f"rule '{rule}': nothing on the front keeps that; the nearest is trial {row.number} with {values}"


def _worst(loss: float) -> float:
    return math.inf if math.isnan(loss) else float(loss)
