"""All that a page about a run is made of, as plain values: what is not kept is empty, and the page does without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nas.objectives import Budget, Objective
from nas.records import TrialRecord
from nas.space import Space


@dataclass(frozen=True, kw_only=True)
class Story:
    """A run as it is told.

    Attributes:
        run: the run folder's name.
        data: name of the data.
        records: every trial, those on the front marked.
        knee: number of the trial at the knee.
        alike: by number, members of the front that a member cannot be told apart from: latency intervals overlap.
        trace: (number, hypervolume) after each complete trial, in the order in which they were completed; empty where
            there are fewer than two.
        box: in what it is told: how many trials it is made of, and its reference point, by objective.
        batches: how many samples a latency is of, by its name.
        networks: what `networks.json` holds: `data`, and the blocks of members in `networks`.
        machine: what `machine.json` holds.
        exports: the rows of `exports/exports.csv`.
        retrained: what each `retrained.json` holds.
        commands: that the run was made with, and `next`: that one would give now.
        version: of this package, when the run was made.
    """

    run: str
    space: Space
    data: str
    objectives: Sequence[Objective]
    budgets: Sequence[Budget]
    records: Sequence[TrialRecord]
    knee: int | None = None
    alike: Mapping[int, Sequence[int]] = field(default_factory=dict)
    trace: Sequence[tuple[int, float]] = ()
    box: tuple[int, Mapping[str, float]] = (0, MappingProxyType({}))
    batches: Mapping[str, int] = field(default_factory=dict)
    networks: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    exports: Sequence[Mapping[str, str]] = ()
    retrained: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[str] = ()
    next: Sequence[str] = ()
    version: str = ""

    @property
    def front(self) -> list[TrialRecord]:
        """The members of the front, cheapest first."""
        first = next((o for o in self.objectives if o.cheap), self.objectives[0])
        return sorted((r for r in self.records if r.on_front), key=lambda r: first.plain_loss(r.metrics[first.name]))

    @property
    def judged(self) -> str:
        """Name of what curves are of: the first objective that only training tells, else the figure usual for the data.

        As `nas.study.judging.judged_by`; whether the data are a regression is seen by what trials were judged by.
        """
        usual = "rmse" if any("rmse" in r.scores for r in self.records) else "accuracy"
        return next((o.name for o in self.objectives if not o.cheap), usual)

    def count(self, state: str) -> int:
        """Return how many trials ended in this state."""
        return sum(r.state == state for r in self.records)
