"""The trials of a study, and what follows from them: kept up with each, so that none costs more the longer it is."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from nas.objectives import Budget, Objective
from nas.records import TrialRecord
from nas.samplers import Observation
from nas.space import Architecture
from nas.study.curves import Curves
from nas.study.evaluate import excesses, violation
from nas.study.front import front_numbers
from nas.study.promote import Standing

TRAINED = ("complete", "stopped_early", "failed")
"""States of trials that may have trained; a failed one has if it took seconds."""


class Ledger:
    """Every trial that is known, in the order of the numbers, each as far as it came.

    Args:
        n_rungs: of every training.
        n_judged: validation samples that a network is judged on before the end of its training.
        timed: whether samplers are told seconds. Where trials alone are counted, the order of a search does not hang
            on the clock.

    Attributes:
        records: finished trials, and those set aside.
        by_arch: the same.
        by_key: those trained, by what was built and how it is trained.
        front: complete trials that no other dominates, in order.
        trained: how many were trained.
        curves: what the trainings so far say of the rest of one.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        budgets: Sequence[Budget],
        *,
        n_rungs: int = 1,
        n_judged: int | None = None,
        timed: bool = False,
    ) -> None:
        self.objectives, self.budgets, self.n_rungs = objectives, budgets, n_rungs
        self._timed = timed
        self.records: list[TrialRecord] = []
        self.by_arch: dict[Architecture, TrialRecord] = {}
        self.by_key: dict[str, TrialRecord] = {}
        self.front: list[TrialRecord] = []
        self.trained = 0
        self.curves = Curves(n_judged)
        self._seen: list[Observation] = []
        """As samplers see the records, one for each and in the same order."""
        self._told_at = 0
        self._learned: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.records)

    def get(self, number: int) -> TrialRecord | None:
        """Return a trial; None where it is not known."""
        at = self._at(number)
        found = self.records[at] if at < len(self.records) else None
        return found if found is not None and found.number == number else None

    def take(self, record: TrialRecord) -> None:
        """Take a trial in; one of the same number, which came less far, goes."""
        at, before = self._at(record.number), self.get(record.number)
        if before is None:
            self.records.insert(at, record)
            self._seen.insert(at, self._observe(record))
        else:
            self.records[at], self._seen[at] = record, self._observe(record)
        self.trained += was_trained(record) - (before is not None and was_trained(before))
        self.by_arch[record.arch] = record
        if record.state in TRAINED and record.key:
            self.by_key[record.key] = record
        if record.state == "complete":
            self._update_front([*self.front, record])
        self._learn(record)

    def take_all(self, records: Sequence[TrialRecord]) -> None:
        """Take many trials in at once."""
        for record in records:
            self.take(replace(record, on_front=False))

    def seen(self) -> Sequence[Observation]:
        """Return the trials as samplers see them.

        What was stopped is told as it is expected to end: told as it stood, good networks would look bad for having
        been trained less.
        """
        n_whole = sum(1 for r in self.records if r.share == 1)
        if n_whole >= self._told_at * _NEWS + 1:  # told anew, all that a sampler learned of them is learned anew
            self._told_at = n_whole
            for at, record in enumerate(self.records):
                if record.state == "stopped_early":
                    self._seen[at] = self._observe(record)
        return self._seen

    def expected(self) -> dict[int, tuple[float, ...]]:
        """Return the losses of the trained trials by number, as they are expected at the end of a full training."""
        whole = {r.number: self._expected(r) for r in self.records if r.state in ("complete", "stopped_early")}
        return {n: losses for n, losses in whole.items() if None not in losses}  # type: ignore[misc]

    def _expected(self, record: TrialRecord) -> tuple[float | None, ...]:
        """Return the losses of a trial, those of what was stopped as they are expected at the end of its training."""
        metrics = record.metrics
        losses = [o.loss(metrics[o.name]) if o.name in metrics else None for o in self.objectives]
        if record.state != "stopped_early" or not record.share:
            return tuple(losses)
        for i, o in enumerate(self.objectives):
            if not o.cheap and losses[i] is not None:
                shown = metrics[o.name]
                error = 1 - shown if o.name == "accuracy" else shown
                if 0 < error < math.inf:
                    ends = math.exp(self.curves.predict(record.share, error)[0])
                    losses[i] = o.loss(1 - ends if o.name == "accuracy" else ends)
        return tuple(losses)

    def standings(self, stay: Sequence[int] = ()) -> list[Standing]:
        """Return how trials stand at each rung they finished.

        Args:
            stay: numbers of the trials that cannot be promoted at the moment.
        """
        kept, found = set(stay), []
        for record in self.records:
            for rung, scores in enumerate(record.rung_scores):
                metrics = {**record.metrics, **scores}
                losses = tuple(o.loss(metrics[o.name]) for o in self.objectives)
                may_go = record.paused and rung == record.rung - 1 and record.number not in kept
                found.append(Standing(record.number, rung, losses, may_go, complete=rung == self.n_rungs - 1))
        return found

    def _at(self, number: int) -> int:
        return bisect_left(self.records, number, key=lambda r: r.number)

    def _update_front(self, records: Sequence[TrialRecord]) -> None:
        """Find the front among records. For a new one, the front so far is enough: dominance is transitive."""
        members = set(front_numbers(records, self.objectives))
        self.front = sorted((r for r in records if r.number in members), key=lambda r: r.number)

    def _learn(self, record: TrialRecord) -> None:
        """Learn from a curve as far as it came; of full ones alone, it would seem that all curves end well."""
        if record.state in ("complete", "stopped_early") and self.n_rungs > 1 and record.curve:
            full = record.epochs / record.share
            self.curves.learn([(epochs / full, 1 - accuracy) for epochs, accuracy in record.curve], record.number)

    def _observe(self, record: TrialRecord) -> Observation:
        """Return a trial as samplers see it: losses, less is better, how far it is over budget, and what it takes."""
        losses = self._expected(record)
        state: Literal["complete", "over_budget", "failed"] = "complete"
        if record.state == "over_budget":
            state = "over_budget"
        elif any(loss is None for loss in losses):
            state = "failed"
        return Observation(
            record.arch,
            state,
            losses,
            violation(record.prices, self.budgets) or float(state == "over_budget"),  # of its training time
            record.number,
            excesses(record.prices, self.budgets),
            (record.train_seconds / (record.share or 1.0) or None) if self._timed else None,
        )


def was_trained(record: TrialRecord) -> bool:
    """Whether a trial was trained at all."""
    return record.state in ("complete", "stopped_early") or (record.state == "failed" and record.train_seconds > 0)


_NEWS = 1.25
"""What was stopped is told anew when there are so many times as many full trainings as the last time."""
