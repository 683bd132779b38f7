"""The trials of a study, and what follows from them: kept up with each, so that none costs more the longer it is."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

from nas.objectives import Budget, Objective
from nas.pareto import worst_of_interest
from nas.records import TrialRecord
from nas.samplers import Observation
from nas.space import Architecture
from nas.study.curves import Curves
from nas.study.evaluate import excesses, violation
from nas.study.front import front_numbers
from nas.study.promote import Standing


class Ledger:
    """Every trial that is known, in the order of the numbers, each as far as it came.

    Args:
        shares: of a full training at which its rungs end.
        n_judged: validation samples that a network is judged on before the end of its training.
        timed: whether samplers are told seconds. Where trials alone are counted, the order of a search does not hang
            on the clock.

    Attributes:
        records: finished trials, and those set aside.
        by_arch: the same.
        by_key: those trained, by what was built and how it is trained.
        front: complete trials that no other dominates, in order.
        trained: how many were trained.
        completed: complete trials as they came; after a resume, those of before by their numbers.
        curves: what the trainings so far say of the rest of one, for each objective that has an error
            (`Objective.error`), which they follow.
        reopened: numbers of the trials that were refused and may be proposed again.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        budgets: Sequence[Budget],
        *,
        shares: Sequence[float] = (1.0,),
        n_judged: int | None = None,
        timed: bool = False,
    ) -> None:
        self.objectives, self.budgets, self.shares, self.n_rungs = objectives, budgets, shares, len(shares)
        self._timed = timed
        self.records: list[TrialRecord] = []
        self.by_arch: dict[Architecture, TrialRecord] = {}
        self.by_key: dict[str, TrialRecord] = {}
        self.front: list[TrialRecord] = []
        self.trained = 0
        self.completed: list[TrialRecord] = []
        self._with_error = {o.name: o for o in objectives if o.has_error}
        self.curves = {o.name: Curves(n_judged if o.is_share else None) for o in self._with_error.values()}
        self._twins: dict[int, list[int]] = {}
        """Numbers of duplicates, by that of the trial that they equal."""
        self._seen: list[Observation] = []
        """As samplers see the records, one for each and in the same order."""
        self._told_at = 0
        self._shares = {name: objective for name, objective in self._with_error.items() if objective.is_share}
        self._worst: dict[str, float] = {}
        """The errors beyond which all look alike to samplers, see `worst_of_interest`."""
        self.reopened: set[int] = set()

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
        if record.duplicate_of is not None:
            self._twins.setdefault(record.duplicate_of, []).append(record.number)
            record = self._like_twin(record)
        if before is None:
            self.records.insert(at, record)
            self._seen.insert(at, self._observe(record))
        else:
            self.records[at], self._seen[at] = record, self._observe(record)
        for number in self._twins.get(record.number, ()):
            if (twin := self.get(number)) is not None:
                place = self._at(number)
                self.records[place] = self.by_arch[twin.arch] = self._like_twin(twin)
                self._seen[place] = self._observe(self.records[place])
        self.trained += was_trained(record) - (before is not None and was_trained(before))
        self.by_arch[record.arch] = record
        if was_trained(record) and record.key:
            self.by_key[record.key] = record
        if record.state == "complete":
            self.completed.append(record)
            self._update_front([*self.front, record])
        self._learn(record)

    def take_all(self, records: Sequence[TrialRecord]) -> None:
        """Take many trials in at once."""
        for record in records:
            self.take(replace(record, on_front=False))

    def seen(self) -> Sequence[Observation]:
        """Return the trials as samplers see them.

        What was stopped is told as it is expected to end: told as it stood, good networks would look bad for having
        been trained less. An error that is of no interest any more is told as the worst that is.
        """
        n_whole = sum(1 for r in self.records if r.share == 1)
        if n_whole >= self._told_at * _NEWS + 1:  # told anew, all that a sampler learned of them is learned anew
            self._told_at = n_whole
            self._worst = {
                name: worst_of_interest(objective.error(r.metrics[name]) for r in self.front if name in r.metrics)
                for name, objective in self._shares.items()
            }
            for at, record in enumerate(self.records):
                if record.state in ("complete", "stopped_early") and (now := self._observe(record)) != self._seen[at]:
                    self._seen[at] = now
        if not self.reopened:
            return self._seen
        return [o for o, r in zip(self._seen, self.records, strict=True) if r.number not in self.reopened]

    def reopen(self, numbers: Sequence[int]) -> None:
        """Let samplers propose again what some trials were: what kept them from being trained is no longer so."""
        self.reopened |= set(numbers)
        for number in numbers:
            if (record := self.get(number)) is not None:
                self.by_arch.pop(record.arch, None)

    def expected(self) -> dict[int, tuple[float, ...]]:
        """Return the losses of the trained trials by number, as they are expected at the end of a full training."""
        ends = {r.number: self._ends(r) for r in self.records if r.state in ("complete", "stopped_early")}
        names = {o.name for o in self.objectives}
        return {n: tuple(o.loss(end[o.name]) for o in self.objectives) for n, end in ends.items() if names <= set(end)}

    def _ends(self, record: TrialRecord) -> dict[str, float]:
        """Return what is known of a trial; where it was stopped, as it is expected at the end of its training."""
        if (twin := self._twin(record)) is not None:
            return self._ends(twin)
        ends = dict(record.metrics)
        if record.state == "stopped_early" and record.share:
            for name, objective in self._with_error.items():
                error = objective.error(ends[name]) if name in ends else math.nan
                if 0 < error < math.inf:
                    ends[name] = objective.unerror(math.exp(self.curves[name].predict(record.share, error)[0]))
        return ends

    def _like_twin(self, record: TrialRecord) -> TrialRecord:
        """Return a duplicate with the figures that the trial has by now which it equals."""
        twin = self._twin(record)
        return record if twin is None else replace(record, prices=twin.prices, scores=twin.scores)

    def _twin(self, record: TrialRecord) -> TrialRecord | None:
        """Return the trial that a duplicate equals; None for what is no duplicate."""
        return None if record.duplicate_of is None else self.get(record.duplicate_of)

    def standings(self, at_work: Collection[int] = (), barred: Collection[int] = ()) -> list[Standing]:
        """Return how trials stand at each rung they finished.

        Args:
            at_work: numbers of those that go on right now.
            barred: numbers of those that must not go on; they are as if they had come out at infinity.
        """
        found = []
        errors: dict[tuple[int, str], list[float]] = {}
        for record in self.records:
            for rung, scores in enumerate(record.rung_scores):
                for name, objective in self._shares.items():
                    errors.setdefault((rung, name), []).append(objective.error(scores.get(name, math.nan)))
        worst = {key: worst_of_interest(seen) for key, seen in errors.items()}
        for record in self.records:
            for rung, scores in enumerate(record.rung_scores):
                metrics = {**record.metrics, **scores}
                losses = tuple(o.loss(metrics[o.name]) for o in self.objectives)
                useless = (o.error(scores.get(name, math.nan)) > worst[rung, name] for name, o in self._shares.items())
                if record.number in barred or any(useless):
                    losses = (math.inf,) * len(losses)
                may_go = record.paused and rung == record.rung - 1 and record.number not in at_work
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
        if record.state not in ("complete", "stopped_early") or self.n_rungs == 1 or not record.share:
            return
        full = record.epochs / record.share
        for name, objective in self._with_error.items():
            if name == record.curve_of:
                values = [(epochs / full, value) for epochs, value in record.curve]
            else:  # told at the ends of rungs alone
                scores = zip(self.shares, record.rung_scores, strict=False)
                values = [(share, of_rung[name]) for share, of_rung in scores if name in of_rung]
            points = [(share, objective.error(value)) for share, value in values]
            if points and all(error > 0 or objective.is_share for _, error in points):
                self.curves[name].learn(points, record.number)

    def _observe(self, record: TrialRecord) -> Observation:
        """Return a trial as samplers see it: losses, less is better, how far it is over budget, and what it takes."""
        ends = self._ends(record)
        for name, worst in self._worst.items():
            if name in ends and self._shares[name].error(ends[name]) > worst:
                ends[name] = self._shares[name].unerror(worst)
        failed = (self._twin(record) or record).state == "failed"  # what its rungs told before is no result
        known = [o.name in ends and (o.cheap or not failed) for o in self.objectives]
        losses = tuple(o.told_loss(ends[o.name]) if k else None for o, k in zip(self.objectives, known, strict=True))
        state: Literal["complete", "over_budget", "failed"] = "complete"
        if record.state == "over_budget":
            state = "over_budget"
        elif failed or not all(known):
            state = "failed"
        return Observation(
            record.arch,
            state,
            losses,
            violation(record.prices, self.budgets) or float(state == "over_budget"),  # of its training time
            record.number,
            excesses(record.prices, self.budgets),
            (full_seconds(record) or None) if self._timed else None,
        )


def was_trained(record: TrialRecord) -> bool:
    """Whether the training of a trial was begun at all; what could not be priced was not."""
    return record.state in ("complete", "stopped_early") or (record.state == "failed" and bool(record.prices))


def full_seconds(record: TrialRecord) -> float:
    """Return how long a trial takes or would take in full, judging included; 0 where it was not trained."""
    if record.state == "complete" or not record.share:
        return record.train_seconds
    if not record.epoch_seconds:  # never seen at full resolution
        return record.train_seconds / record.share
    return record.epoch_seconds * record.epochs / record.share * _JUDGING


_JUDGING = 1.15
"""A training takes so many times as long with judging."""

_NEWS = 1.25
"""What was stopped is told anew when there are so many times as many full trainings as the last time."""
