"""Propose, evaluate, record: the search itself, on one machine and in one process."""

from __future__ import annotations

import time
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from nas.errors import BudgetError, SpaceError
from nas.measure import noticed
from nas.objectives import Budget, Objective
from nas.records import TrialRecord, mark_front
from nas.rng import generator
from nas.samplers import Observation, Price, Proposer
from nas.space import Architecture
from nas.study.evaluate import Candidate, Evaluator, RunEnded, excesses, violation
from nas.study.folder import RunFolder
from nas.study.front import close, front_numbers
from nas.study.storage import Storage
from nas.study.warm import EarlierRun

if TYPE_CHECKING:
    from nas.training import EpochLog

NOTHING_KEPT = 200
"""Candidates priced without one that keeps the budgets, after which a search says so and ends."""

_BARREN = 50
"""Proposals in a row that were known already, after which the space counts as exhausted."""

_UNTRAINED = 5000
"""Candidates in a row that were rejected, after which the search ends all the same."""

Ended = Literal["trials", "time", "interrupted", "exhausted"]


@dataclass(frozen=True)
class Limits:
    """When a search ends: after so many trainings (complete or failed), or so many seconds."""

    trials: int | None = None
    seconds: float | None = None
    trial_seconds: float | None = None
    """How long one training may take, where the study does not say."""


class Watcher(Protocol):
    """Told what happens; what it does changes nothing."""

    def recorded(self, record: TrialRecord, search: Search) -> None: ...

    def training(self, number: int, candidate: Candidate, search: Search) -> None: ...

    def epoch(self, log: EpochLog) -> None: ...


class Quiet:
    """A watcher that says nothing."""

    def recorded(self, record: TrialRecord, search: Search) -> None:
        """Ignore it."""

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Ignore it."""

    def epoch(self, log: EpochLog) -> None:
        """Ignore it."""


@dataclass
class Search:
    """One search over one study.

    Attributes:
        records: every finished trial, in the order of their numbers.
        interrupted: started by an earlier process and not finished; they are run first.
        earlier: other runs whose trials the sampler is told as evidence.
    """

    evaluator: Evaluator
    sampler: Proposer
    storage: Storage
    folder: RunFolder
    objectives: Sequence[Objective]
    budgets: Sequence[Budget]
    limits: Limits
    watcher: Watcher = field(default_factory=Quiet)
    records: list[TrialRecord] = field(default_factory=list)
    interrupted: list[tuple[int, Architecture]] = field(default_factory=list)
    earlier: Sequence[EarlierRun] = ()
    started: float = field(default_factory=time.monotonic)
    """On the clock of `time.monotonic`."""

    trained: int = field(default=0, init=False)
    """How many trials of this study were trained."""

    def __post_init__(self) -> None:
        # What follows from the records is kept up with each of them: no proposal costs more the longer a study is.
        self._by_key: dict[str, TrialRecord] = {}
        self._by_arch: dict[Architecture, TrialRecord] = {}
        self._seen: list[Observation] = []
        """As samplers see the records, one for each and in the same order."""
        self._front: list[TrialRecord] = []
        self._columns = self.evaluator.config.columns()
        self._evidence = [observation for run in self.earlier for observation in run.observations(self.objectives)]
        known, self.records = self.records, []
        for record in known:
            self._take_in(record)
            if record.prices:
                self.evaluator.pricer.remember(record.key.split("-")[0], record.prices)
                self.evaluator.screener.learn(record.arch, record.prices)
        for key, prices in self.folder.kept_prices():
            self.evaluator.pricer.remember(key, prices)
        self._priced = set(self._by_arch)
        self._update_front(self.records)
        self._trained_before = self.trained

    @property
    def trained_here(self) -> int:
        """How many of them by this process."""
        return self.trained - self._trained_before

    @property
    def deadline(self) -> float | None:
        """The end of the run, on the clock of `time.monotonic`."""
        return None if self.limits.seconds is None else self.started + self.limits.seconds

    @property
    def trial_limit_s(self) -> float | None:
        """How long one training may take."""
        return self.evaluator.config.trial_time_limit_s or self.limits.trial_seconds

    @property
    def noticed(self) -> list[str]:
        """What somebody who reads the latencies should know of how they were measured, a line each."""
        return [line for meter in self.evaluator.pricer.meters.values() for line in noticed(meter)]

    def front(self) -> list[int]:
        """Return the numbers of the trials that no other dominates."""
        return [record.number for record in self._front]

    def run(self) -> Ended:
        """Search until a limit is reached; whatever ends it, what was finished is in the storage and the folder.

        Raises:
            BudgetError: the first 200 candidates all break a budget, or all there were when the search ended.
            SpaceError: none of them could be built and priced.
        """
        try:
            ended = self._run()
            self._check_hope(at_least=1)
            return ended
        except KeyboardInterrupt:
            return "interrupted"
        except RunEnded:
            return "time"
        finally:
            self.write_results()

    def _run(self) -> Ended:
        for number, arch in self.interrupted:
            self._evaluate(arch, number)
        barren = rejected = 0
        while True:
            if self.limits.trials is not None and self.trained >= self.limits.trials:
                return "trials"
            if self.deadline is not None and time.monotonic() >= self.deadline:
                return "time"
            before, trained = len(self.records), self.trained
            rng = generator(self.evaluator.config.seed, "sampler", before)
            arch = self.sampler.propose([*self._evidence, *self._seen], [], self._price, rng)
            if arch not in self._by_arch:
                self._evaluate(arch)
            barren = 0 if len(self.records) > before else barren + 1
            rejected = 0 if self.trained > trained else rejected + len(self.records) - before
            if barren >= _BARREN or rejected >= _UNTRAINED:
                return "exhausted"

    def _price(self, arch: Architecture) -> Price:
        """Answer a sampler what a candidate costs; one that breaks a budget is recorded there and then."""
        candidate = self.evaluator.candidate(arch)
        if candidate.record(0, self.budgets) is not None and arch not in self._by_arch:
            self._reject(candidate)
        elif arch not in self._priced and arch not in self._by_arch:
            self._priced.add(arch)
            self.folder.keep_price(candidate.key.split("-")[0], candidate.prices)
        prices = {name: m.value for name, m in candidate.prices.items()}
        losses = tuple(o.loss(prices[o.name]) if o.name in prices else None for o in self.objectives)
        return Price(losses, candidate.violation(self.budgets), excesses(candidate.prices, self.budgets))

    def _evaluate(self, arch: Architecture, number: int | None = None) -> None:
        """Take an architecture through price, gate and training.

        Args:
            number: of a trial that was interrupted; it is run again under its own number.
        """
        candidate = self.evaluator.candidate(arch)
        if number is not None and (refused := candidate.record(number, self.budgets)) is not None:
            self.storage.finish(refused)  # measured again, it is just over a budget
            self._keep(refused)
            return
        if number is None:
            if candidate.record(0, self.budgets) is not None:
                self._reject(candidate)
                return
            if candidate.key in self._by_key:
                self._duplicate(candidate, self._by_key[candidate.key])
                return
            number = self.storage.start(arch)
        self.watcher.training(number, candidate, self)
        record, network = self.evaluator.train(
            number,
            candidate,
            deadline=self.deadline,
            trial_limit_s=self.trial_limit_s,
            on_epoch=self.watcher.epoch,
        )
        rivals = close(record, self._front, self.objectives) if network and self._first_of_its_price(record) else {}
        if rivals:
            record = self.evaluator.sharpen(record, rivals)
        if network is not None and number in front_numbers([*self._front, record], self.objectives):
            # Before the storage knows: a kill between the two costs a trial, which is run again, and no weights.
            self.folder.save_checkpoint(number, network.state_dict())
        self.storage.finish(record)
        self._keep(record)

    def _first_of_its_price(self, record: TrialRecord) -> bool:
        """Whether no other trial has the very prices of this one: what is built alike keeps one price for good."""
        return not any(r.prices == record.prices for r in self.records if r.state == "complete")

    def _reject(self, candidate: Candidate) -> None:
        record = candidate.record(0, self.budgets)
        assert record is not None
        self._keep(replace(record, number=self.storage.reject(record)))
        self._check_hope()

    def _duplicate(self, candidate: Candidate, of: TrialRecord) -> None:
        """Record a candidate that ends as the same network and training as an earlier trial, without training it."""
        record = TrialRecord(
            0,
            candidate.arch,
            "duplicate",
            of.prices,  # which may have been measured again since
            of.scores,
            key=candidate.key,
            duplicate_of=of.number,
            reason=f"builds and trains as trial {of.number} does",
        )
        self._keep(replace(record, number=self.storage.reject(record)))

    def _keep(self, record: TrialRecord) -> None:
        self._take_in(record)
        if record.state == "complete":
            self._update_front([*self._front, record])
        if record.train_seconds:
            self.folder.prune_checkpoints(self.front())
            self.write_results()
        self.watcher.recorded(record, self)

    def _take_in(self, record: TrialRecord) -> None:
        """Put a record in its place by number, and keep up what follows from the records."""
        place = bisect(self.records, record.number, key=lambda r: r.number)
        self.records.insert(place, record)
        self._seen.insert(place, self._observe(record))
        self._by_arch[record.arch] = record
        if record.state in ("complete", "failed") and record.key:
            self._by_key[record.key] = record
        self.trained += record.state == "complete" or (record.state == "failed" and record.train_seconds > 0)

    def _update_front(self, records: Sequence[TrialRecord]) -> None:
        """Find the front among records. For a new one, the front so far is enough: dominance is transitive."""
        members = set(front_numbers(records, self.objectives))
        self._front = sorted((r for r in records if r.number in members), key=lambda r: r.number)

    def _observe(self, record: TrialRecord) -> Observation:
        """Return a trial as samplers see it: losses, less is better, how far it is over budget, and what it took."""
        metrics = record.metrics
        losses = tuple(o.loss(metrics[o.name]) if o.name in metrics else None for o in self.objectives)
        state: Literal["complete", "over_budget", "failed"] = "complete"
        if record.state == "over_budget":
            state = "over_budget"
        elif any(loss is None for loss in losses):
            state = "failed"
        return Observation(
            record.arch,
            state,
            losses,
            violation(record.prices, self.budgets),
            record.number,
            excesses(record.prices, self.budgets),
            # Where trials alone are counted time is no matter, and the order of a search does not hang on it.
            (record.train_seconds or None) if self.limits.seconds is not None else None,
        )

    def _check_hope(self, at_least: int = NOTHING_KEPT) -> None:
        """End a search of which nothing can come: say how far off the budgets are, or why nothing can be priced."""
        if self.trained or len(self.records) < at_least:
            return
        if any(r.state not in ("over_budget", "failed") for r in self.records):
            return
        priced = [r for r in self.records if r.prices]
        if not priced:
            reasons = Counter(r.reason for r in self.records).most_common(3)
            lines = [f"  {n} times: {reason}" for reason, n in reasons]
            raise SpaceError(f"none of {len(self.records)} candidates can be built and priced:\n" + "\n".join(lines))
        lines = []
        for b in self.budgets:
            prices = [r.prices[b.objective] for r in priced]
            kept = np.mean([b.kept(b.worst(p)) for p in prices])
            best = min(prices, key=lambda p: p.value) if b.sense.startswith("<") else max(prices, key=lambda p: p.value)
            word = "smallest" if b.sense.startswith("<") else "largest"
            held = "" if b.worst(best) == best.value else f" ({b.worst(best):.4g} with its interval and drift)"
            lines.append(f"  {b}: kept by {kept:.0%} of them; the {word} value seen is {best.value:.4g}{held}")
        raise BudgetError(f"none of {len(priced)} candidates keeps every budget:\n" + "\n".join(lines))

    def write_results(self) -> None:
        """Write the CSV files of the run."""
        marked = mark_front(self.records, self.front())
        self.folder.write_results(marked, self._columns)
