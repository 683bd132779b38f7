"""Propose, price, train, record, promote: the search itself. Training happens in an executor, all else here."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from nas.errors import BudgetError, NasError, RunError, SpaceError
from nas.measure import noticed
from nas.objectives import Budget, Objective
from nas.records import TrialRecord, mark_front
from nas.rng import generator
from nas.samplers import Price, Proposer
from nas.space import Architecture
from nas.study.curves import Bar
from nas.study.evaluate import Candidate, Evaluator, excesses
from nas.study.folder import RunFolder
from nas.study.front import FEW, close, front_numbers, has_grown
from nas.study.jobs import Executor, Job, Outcome, Progress
from nas.study.ledger import Ledger, full_seconds, was_trained
from nas.study.networks import Networks
from nas.study.promote import Standing, bar, next_to_promote, to_finish, waiting
from nas.study.storage import Storage
from nas.study.warm import EarlierRun

if TYPE_CHECKING:
    from nas.training.log import EpochLog

NOTHING_KEPT = 200
"""Candidates priced without one that keeps the budgets, after which a search says so and ends."""

_BARREN = 50
"""Proposals in a row that were known already, after which the space counts as exhausted."""

_UNTRAINED = 5000
"""Candidates in a row that were rejected, after which the search ends all the same."""

_MOST_DEATHS = 2
"""Processes that may die of a trial: the first may have been anybody's fault."""

_MOST_DEATHS_HERE = 3
"""The same where the search itself is what dies: it is ended for more reasons, such as a machine that is taken away."""

_TRIAL_SHARE = 0.1
"""Of the time of a search: one training may take no more, or a single network would eat it."""

_LEAST_TRIAL_SECONDS = 10.0

TOO_LONG = "would train for"
"""So begins the reason of a trial that was not begun since it would exceed that limit."""

_MOST_FINISHING = 0.5
"""Share of a search's time that may go into finishing what was begun."""

Ended = Literal["trials", "time", "plateau", "interrupted", "exhausted"]


class _TimeIsOver(Exception):
    """Raised through a sampler that asks for one more price."""


@dataclass(frozen=True)
class Limits:
    """When a search ends: after so many trainings (whatever became of them), or so many seconds."""

    trials: int | None = None
    seconds: float | None = None
    plateau: int | None = None
    """After so many trainings in a row that did not add to the hypervolume of the front."""


class Watcher(Protocol):
    """Told what happens; what it does changes nothing."""

    def recorded(self, record: TrialRecord, search: Search) -> None: ...

    def training(self, number: int, candidate: Candidate, search: Search) -> None: ...

    def progress(self, number: int, log: EpochLog) -> None: ...


class Quiet:
    """A watcher that says nothing."""

    def recorded(self, record: TrialRecord, search: Search) -> None:
        """Ignore it."""

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Ignore it."""

    def progress(self, number: int, log: EpochLog) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Running:
    """A job under way."""

    job: Job
    candidate: Candidate
    epoch_seconds: float
    """Predicted before it was begun; 0 where nobody can tell."""

    deaths: int = 0

    began: float = field(default_factory=time.monotonic)
    """On the clock of `time.monotonic`."""


@dataclass
class Search:
    """One search over one study.

    Attributes:
        interrupted: started by an earlier process and not finished; they are run first.
        earlier: other runs whose trials the sampler is told as evidence.
    """

    evaluator: Evaluator
    sampler: Proposer
    storage: Storage
    folder: RunFolder
    ledger: Ledger
    executor: Executor
    limits: Limits
    watcher: Watcher = field(default_factory=Quiet)
    interrupted: list[tuple[int, Architecture]] = field(default_factory=list)
    earlier: Sequence[EarlierRun] = ()
    started: float = field(default_factory=time.monotonic)
    """On the clock of `time.monotonic`."""
    setup_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of getting ready: loading the data, calibrating."""

    def __post_init__(self) -> None:
        self._columns = self.evaluator.config.columns()
        self._networks = Networks(self.folder.networks, self.evaluator.task, self.evaluator.untrained)
        self._evidence = [observation for run in self.earlier for observation in run.observations(self.objectives)]
        self._running: dict[int, Running] = {}
        self._next: Candidate | None = None
        """Proposed ahead, while all slots are taken."""
        self._barren = self._rejected = 0
        self._exhausted = False
        self._deaths: dict[int, int] = {}
        """How often this process has died while it trained a trial, by its number."""
        self._searched_before = max((record.ended_s for record in self.records), default=0.0)
        self.spent: dict[str, float] = {**self.setup_s, "waiting": 0.0, "proposing": 0.0}
        """Seconds of this process: getting ready, waiting for trainings (or training, where nobody else does), and
        proposing without what pricing took meanwhile."""
        for key, prices in self.folder.kept_prices():
            self.evaluator.pricer.remember(key, prices)
        for record in sorted(self.records, key=lambda r: r.state == "complete"):  # those were measured last
            if record.prices:
                self.evaluator.pricer.remember(record.key.split("-")[0], record.prices)
        for record in self.records:
            if record.prices:
                self.evaluator.screener.learn(record.arch, record.prices)
            self.evaluator.seconds.learn(record)
        self.ledger.reopen(
            [r.number for r in self.records if r.reason.startswith(TOO_LONG) and not self._too_long(r.arch)]
        )
        self._priced = set(self.ledger.by_arch)
        self._trained_before = self._grown_at = self.trained
        self._grown_with = len(self.ledger.completed)
        """Complete trials when the front last grew."""

    @property
    def records(self) -> list[TrialRecord]:
        """Every trial that finished or was set aside, in the order of their numbers."""
        return self.ledger.records

    @property
    def objectives(self) -> Sequence[Objective]:
        """What is optimised."""
        return self.ledger.objectives

    @property
    def budgets(self) -> Sequence[Budget]:
        """What candidates have to keep."""
        return self.ledger.budgets

    @property
    def trained(self) -> int:
        """How many trials of this study were trained."""
        return self.ledger.trained

    @property
    def trained_here(self) -> int:
        """How many of them by this process."""
        return self.trained - self._trained_before

    @property
    def deadline(self) -> float | None:
        """The end of the run, on the clock of `time.monotonic`."""
        return None if self.limits.seconds is None else self.started + self.limits.seconds

    @property
    def seconds_left(self) -> float:
        """Until then; infinite where there is none."""
        return math.inf if self.deadline is None else self.deadline - time.monotonic()

    @property
    def trial_limit_s(self) -> float | None:
        """How long one training may take; of a search that goes on for a minute, a share of all its time."""
        given = self.evaluator.config.trial_time_limit_s
        if given is None and self.limits.seconds is not None:
            return max(_LEAST_TRIAL_SECONDS, (self._searched_before + self.limits.seconds) * _TRIAL_SHARE)
        return given

    @property
    def searched_s(self) -> float:
        """Seconds of searching so far, those of earlier searches of the run included."""
        return self._searched_before + time.monotonic() - self.started

    def seconds(self) -> dict[str, float]:
        """Return what the time of this process went into, by name; the rest is writing."""
        return {"pricing": self.evaluator.pricing_s, **self.spent}

    @property
    def _n_new(self) -> int:
        """How many of the trials under way are no records yet."""
        return sum(1 for number in self._running if self.ledger.get(number) is None)

    @property
    def noticed(self) -> list[str]:
        """What somebody should know of how latencies were measured and where nothing could be trained, a line each."""
        lines = [line for meter in self.evaluator.pricer.meters.values() for line in noticed(meter)]
        unused: dict[str, str] = getattr(self.executor, "unused", {})
        return [*lines, *(f"nothing was trained on {node}: {why}" for node, why in unused.items())]

    def front(self) -> list[int]:
        """Return the numbers of the complete trials that no other dominates."""
        return [record.number for record in self.ledger.front]

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
            self.folder.ended()  # by somebody, and not by what was trained
            return "interrupted"
        finally:
            self.write_results()

    # ---------------------------------------------------------------- the loop

    def _run(self) -> Ended:
        self._count_deaths()
        ended: Ended | None = None
        while True:
            while ended is None and len(self._running) < self.executor.slots:
                running, ended = self._choose()
                if running is None:
                    break
                self._begin(running)
            if not self._running:
                return ended or "exhausted"
            if ended is None and self.executor.apart and len(self._running) == self.executor.slots:
                self._look_ahead()
            with self._spending("waiting"):
                outcomes = self.executor.wait()
            for outcome in outcomes:
                self._take(outcome)

    def _choose(self) -> tuple[Running | None, Ended | None]:
        """Return the job to begin now, or why none is begun any more; neither: what runs has to end first."""
        if self.seconds_left <= 0:
            return None, "time"
        while self.interrupted:
            number, arch = self.interrupted.pop(0)
            if (running := self._again(number, arch)) is not None:
                return running, None
        standings = self._standings()
        if (earned := next_to_promote(standings)) is not None:
            return self._further(earned, rungs=1), None
        enough = self._enough()
        if (promising := self._to_finish(enough is not None)) is not None:
            return self._further(promising, rungs=self.ledger.n_rungs), None
        if enough is not None:
            return None, None if self._running else enough
        running, ended = self._new()
        if ended == "exhausted":  # there is nothing new, but what was begun may be worth finishing
            self._exhausted = True
            return self._choose()
        return running, ended

    def _enough(self) -> Ended | None:
        """Return why no new network is begun; None where there may be more."""
        if self._exhausted:
            return "exhausted"
        if self.limits.trials is not None and self.trained + self._n_new >= self.limits.trials:
            return "trials"
        few = len(self.ledger.completed) < FEW
        if self.limits.plateau is not None and not few and self.trained - self._grown_at >= self.limits.plateau:
            return "plateau"
        return None

    def _to_finish(self, enough: bool) -> int | None:
        """Return a promising trial to train to the end, where new ones are of no use any more."""
        if self.ledger.n_rungs == 1 or (not enough and self.deadline is None):
            return None
        left = self.seconds_left
        if not enough and left > _MOST_FINISHING * (self.limits.seconds or math.inf):
            return None
        numbers = to_finish(self._standings(), expected=self.ledger.expected())
        if enough or not numbers:
            return next(iter(numbers), None)
        needed = {n: self._seconds_to_finish(n) for n in numbers}
        at_work = sum(self._seconds_to_finish(n) for n in self._running if self.ledger.get(n) is not None)
        if (sum(needed.values()) + at_work) / self.executor.slots < left:
            return None
        return next((n for n in numbers if needed[n] < left), None)

    def _standings(self) -> list[Standing]:
        """Return how trials stand; those whose training would take too long do not go on."""
        limit = self.trial_limit_s
        long = set() if limit is None else {r.number for r in self.records if r.paused and full_seconds(r) > limit}
        return self.ledger.standings(self._running, long)

    def _seconds_to_finish(self, number: int) -> float:
        record = self.ledger.get(number)
        assert record is not None
        return full_seconds(record) * (1 - record.share)

    def _count_deaths(self) -> None:
        """Look up which training this process has died in before; a trial that it dies of each time has failed."""
        begun = self.folder.begun()
        if begun is None:
            return
        number, times = begun
        before, waiting = self.ledger.get(number), dict(self.interrupted)
        if times < _MOST_DEATHS_HERE or (number not in waiting and (before is None or not before.paused)):
            self._deaths[number] = times
            return
        reason = f"the search ended {times} times while it was trained"
        if before is None:
            self.interrupted = [(n, arch) for n, arch in self.interrupted if n != number]
            candidate = self.evaluator.candidate(waiting[number])
            record = TrialRecord(number, candidate.arch, "failed", candidate.prices, key=candidate.key, reason=reason)
        else:
            record = replace(before, state="failed", paused=False, reason=reason)
        self._finish(replace(record, ended_s=self.searched_s), None)
        self.folder.ended()

    def _again(self, number: int, arch: Architecture) -> Running | None:
        """Return the job of a trial that was interrupted; None where it is refused now."""
        candidate = self.evaluator.candidate(arch)
        if (refused := candidate.record(number, self.budgets)) is not None:
            refused = replace(refused, ended_s=self.searched_s)
            self.storage.finish(refused)  # measured again, it is just over a budget
            self._keep(refused)
            return None
        return self._job(number, candidate, rung=0)

    def _further(self, number: int, rungs: int) -> Running:
        """Return the job that trains a trial which was set aside `rungs` rungs on."""
        record = self.ledger.get(number)
        assert record is not None
        rung = min(record.rung - 1 + rungs, self.ledger.n_rungs - 1)
        return self._job(number, self.evaluator.candidate(record.arch), rung)

    def _new(self) -> tuple[Running | None, Ended | None]:
        """Return a training of a new network, or why there is none."""
        while True:
            candidate = self._next or self._propose()
            self._next = None
            if candidate is not None:
                return self._job(self.storage.start(candidate.arch), candidate, rung=0), None
            if self._barren >= _BARREN or self._rejected >= _UNTRAINED:
                return None, "exhausted"
            if self.seconds_left <= 0:
                return None, "time"

    def _look_ahead(self) -> None:
        """Propose the next network while the others train."""
        if self._next is None and self._enough() is None:
            self._next = self._propose()

    @contextmanager
    def _spending(self, on: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent[on] += time.monotonic() - began

    def _propose(self) -> Candidate | None:
        """Ask the sampler once; None where its answer is known, over a budget, or cannot be built."""
        at_work = [running.candidate.arch for running in self._running.values()]
        before = len(self.records)
        rng = generator(self.evaluator.config.seed, "sampler", before + self._n_new)
        priced_s = self.evaluator.pricing_s
        try:
            with self._spending("proposing"):
                arch = self.sampler.propose([*self._evidence, *self.ledger.seen()], at_work, self._price, rng)
        except _TimeIsOver:
            return None
        finally:
            self.spent["proposing"] -= self.evaluator.pricing_s - priced_s
        admitted = None
        if arch not in self.ledger.by_arch and arch not in at_work:
            admitted = self._admit(self.evaluator.candidate(arch))
        grown = len(self.records) - before
        self._barren = 0 if grown or admitted else self._barren + 1
        self._rejected = 0 if admitted else self._rejected + grown
        return admitted

    def _admit(self, candidate: Candidate) -> Candidate | None:
        """Return a candidate that is to be trained; one that is not is recorded."""
        if (refused := self._refused(candidate)) is not None:
            self._reject(refused)
            return None
        twin = self.ledger.by_key.get(candidate.key)
        if twin is not None:
            self._duplicate(candidate, twin.number, twin)
            return None
        for number, running in self._running.items():
            if running.candidate.key == candidate.key:
                self._duplicate(candidate, number, None)
                return None
        return candidate

    def _price(self, arch: Architecture) -> Price:
        """Answer a sampler what a candidate costs; one that breaks a budget is recorded there and then."""
        if self.seconds_left <= 0:
            raise _TimeIsOver
        candidate = self.evaluator.candidate(arch)
        at_work = any(running.candidate.arch == arch for running in self._running.values())
        refused = self._refused(candidate)
        if refused is not None and arch not in self.ledger.by_arch and not at_work:
            self._reject(refused)
        elif arch not in self._priced and arch not in self.ledger.by_arch:
            self._priced.add(arch)
            self.folder.keep_price(candidate.key.split("-")[0], candidate.prices)
        prices = {name: m.value for name, m in candidate.prices.items()}
        losses = tuple(o.loss(prices[o.name]) if o.name in prices else None for o in self.objectives)
        violation = candidate.violation(self.budgets) + (0.0 if candidate.problem else self._too_long(arch))
        cost = None
        if self.limits.seconds is not None and not candidate.problem:
            cost = self.evaluator.seconds.full(arch).expected or None
        return Price(losses, violation, excesses(candidate.prices, self.budgets), cost)

    def _refused(self, candidate: Candidate) -> TrialRecord | None:
        """Return the record of a candidate that is not to be trained; None for one that may be."""
        refused, limit = candidate.record(0, self.budgets), self.trial_limit_s
        if refused is not None or not self._too_long(candidate.arch):
            return refused
        expected, least = self.evaluator.seconds.full(candidate.arch)
        return TrialRecord(
            0,
            candidate.arch,
            "over_budget",
            candidate.prices,
            key=candidate.key,
            reason=f"{TOO_LONG} {expected:.3g} s ({least:.3g} s at least), and one training may take {limit:g} s",
            epoch_seconds_predicted=self.evaluator.seconds.epoch(candidate.arch),
        )

    def _too_long(self, arch: Architecture) -> float:
        """Return by how much of it a training is sure to exceed its time limit; 0 where it may keep it."""
        limit = self.trial_limit_s
        return 0.0 if limit is None else max(0.0, self.evaluator.seconds.full(arch).least / limit - 1)

    # ---------------------------------------------------------------- jobs

    def _job(self, number: int, candidate: Candidate, rung: int) -> Running:
        before = self.ledger.get(number)
        job = Job(
            number=number,
            arch=candidate.arch,
            rung=rung,
            state=self.folder.state(number),
            trial_limit_s=self.trial_limit_s,
            bar=self._bar(candidate, rung),
        )
        predicted = before.epoch_seconds_predicted if before else self.evaluator.seconds.epoch(candidate.arch)
        return Running(job, candidate, predicted)

    def _bar(self, candidate: Candidate, rung: int) -> Bar | None:
        """Return when to give a training up before the end of its rung."""
        trained = [o for o in self.objectives if not o.cheap]
        if self.ledger.n_rungs == 1 or len(trained) != 1 or not trained[0].has_error:
            return None
        prices = [o.loss(candidate.prices[o.name].value) if o.cheap else None for o in self.objectives]
        needed = bar(self.ledger.standings(), rung, prices)
        share = self.evaluator.config.parsed_rungs()[rung].share
        if needed is None:
            return None
        needed_error = trained[0].error(trained[0].unloss(needed))
        return self.ledger.curves[trained[0].name].bar(share, needed_error, candidate.epochs)

    def _begin(self, running: Running) -> None:
        number = running.job.number
        self._running[number] = running
        if not self.executor.apart:
            self.folder.begin(number, self._deaths.get(number, 0) + 1)
        self.watcher.training(number, running.candidate, self)
        left = self.seconds_left
        job = replace(running.job, seconds_left=None if left == math.inf else max(0.0, left))
        self.executor.submit(job)

    def told(self, progress: Progress) -> None:
        """Pass on how a training goes."""
        self.watcher.progress(progress.number, progress.log)

    def _take(self, outcome: Outcome) -> None:
        """Record what became of a job."""
        running = self._running.pop(outcome.number)
        if not self.executor.apart:
            self.folder.ended()
        deaths = running.deaths + (not outcome.blameless)
        if outcome.ended == "died" and deaths < _MOST_DEATHS:
            self._begin(replace(running, deaths=deaths))
            return
        if not outcome.train_seconds:  # who ended it could not tell
            outcome = replace(outcome, train_seconds=time.monotonic() - running.began)
        before = self.ledger.get(outcome.number)
        record = replace(self._record(running, outcome), ended_s=self.searched_s)
        if outcome.ended in ("rung", "time") and outcome.state is not None:
            try:
                self.folder.save_state(record.number, outcome.state)
            except RunError as error:
                record = replace(record, state="failed", paused=False, reason=str(error))
        if outcome.ended == "time":
            if before is None:
                self.interrupted.append((record.number, record.arch))
                return
            record = replace(before, train_seconds=record.train_seconds)
        if record.paused:
            self.storage.pause(record)
            self._keep(record)
            self.folder.trim_states(self._nearest_first)
            return
        try:
            if record.state == "complete":
                record = self._sharpened(record)
        finally:  # whatever ends a second measurement: the training is done
            self._finish(record, outcome.weights)

    def _sharpened(self, record: TrialRecord) -> TrialRecord:
        """Return a complete trial, its latencies measured once more where chance would say what is on the front."""
        if self._first_of_its_price(record) and (rivals := close(record, self.ledger.front, self.objectives)):
            try:
                return self.evaluator.sharpen(record, rivals)
            except RunError:
                raise  # nothing can be measured any more
            except NasError:
                pass  # such as a connection that was lost; what it was priced at stands
        return record

    def _finish(self, record: TrialRecord, weights: bytes | None) -> None:
        """Write what became of a trial whose training is over."""
        on_front = record.state == "complete" and record.number in front_numbers(
            [*self.ledger.front, record], self.objectives
        )
        if weights and on_front:
            # Before the storage knows: a kill between the two costs a trial, which is run again, and no weights.
            self.folder.save_checkpoint(record.number, weights)
        self.storage.finish(record)
        self.folder.drop_state(record.number)
        self._keep(record)

    def _nearest_first(self) -> list[int]:
        """Return the trials whose training goes on or may, the likeliest first."""
        begun = [*self._running, *(number for number, _ in self.interrupted)]
        return [*begun, *waiting(self.ledger.standings(begun))]

    def _record(self, running: Running, outcome: Outcome) -> TrialRecord:
        """Return what a trial is after a job."""
        candidate, before = running.candidate, self.ledger.get(outcome.number)
        seconds = outcome.train_seconds + (before.train_seconds if before else 0.0)
        record = TrialRecord(
            outcome.number,
            candidate.arch,
            "failed",
            candidate.prices,
            epochs=outcome.epochs or (before.epochs if before else 0),
            train_seconds=seconds,
            key=candidate.key,
            reason=outcome.reason,
            curve=outcome.curve,
            curve_of=outcome.curve_of,
            share=outcome.epochs / candidate.epochs,
            epoch_seconds=outcome.epoch_seconds,
            epoch_seconds_predicted=running.epoch_seconds,
        )
        if outcome.ended in ("failed", "died"):
            if before is None:
                return record
            return replace(before, state="failed", paused=False, reason=outcome.reason, train_seconds=seconds)
        record = replace(record, scores=outcome.scores, rung=len(outcome.rung_scores), rung_scores=outcome.rung_scores)
        if outcome.ended == "stopped":
            return replace(record, state="stopped_early")
        if outcome.ended == "time":
            return record
        if outcome.state is None:
            return replace(record, state="complete", share=1.0)
        reason = f"set aside after {record.epochs:.3g} epochs, at rung {record.rung} of {self.ledger.n_rungs}"
        return replace(record, state="stopped_early", paused=True, reason=reason)

    # ---------------------------------------------------------------- records

    def _first_of_its_price(self, record: TrialRecord) -> bool:
        """Whether no other trial has the very prices of this one: what is built alike keeps one price for good."""
        return not any(r.prices == record.prices for r in self.records if r.state == "complete")

    def _reject(self, record: TrialRecord) -> None:
        record = replace(record, ended_s=self.searched_s)
        self._keep(replace(record, number=self.storage.reject(record)))
        self._check_hope()

    def _duplicate(self, candidate: Candidate, of: int, twin: TrialRecord | None) -> None:
        """Record a candidate that ends as the same network and training as another trial, without training it."""
        record = TrialRecord(
            0,
            candidate.arch,
            "duplicate",
            candidate.prices if twin is None else twin.prices,  # which may have been measured again since
            {} if twin is None else twin.scores,
            key=candidate.key,
            duplicate_of=of,
            reason=f"builds and trains as trial {of} does",
            ended_s=self.searched_s,
        )
        self._keep(replace(record, number=self.storage.reject(record)))

    def _keep(self, record: TrialRecord) -> None:
        self.ledger.take(record)
        if was_trained(record):
            self.evaluator.seconds.learn(record)
            self.folder.prune_checkpoints(self.front())
            self.write_results()
        looked_at = record.state == "complete" and self.limits.plateau is not None
        if looked_at and has_grown(self.ledger.completed, self._grown_with, self.objectives):
            self._grown_with, self._grown_at = len(self.ledger.completed), self.trained
        self.watcher.recorded(record, self)

    def _check_hope(self, at_least: int = NOTHING_KEPT) -> None:
        """End a search of which nothing can come: say how far off the budgets are, or why nothing can be priced."""
        tried = [r for r in self.records if r.number not in self.ledger.reopened]
        if self.trained or self._running or len(tried) < at_least:
            return
        if any(r.state not in ("over_budget", "failed") or was_trained(r) for r in tried):
            return
        priced = [r for r in tried if r.prices]
        if not priced:
            reasons = Counter(r.reason for r in tried).most_common(3)
            lines = [f"  {n} times: {reason}" for reason, n in reasons]
            raise SpaceError(f"none of {len(tried)} candidates can be built and priced:\n" + "\n".join(lines))
        lines = []
        for b in self.budgets:
            prices = [r.prices[b.objective] for r in priced]
            kept = np.mean([b.kept(b.worst(p)) for p in prices])
            best = min(prices, key=lambda p: p.value) if b.sense.startswith("<") else max(prices, key=lambda p: p.value)
            word = "smallest" if b.sense.startswith("<") else "largest"
            held = "" if b.worst(best) == best.value else f" ({b.worst(best):.4g} with its interval and drift)"
            lines.append(f"  {b}: kept by {kept:.0%} of them; the {word} value seen is {best.value:.4g}{held}")
        if (limit := self.trial_limit_s) is not None:
            expected = [self.evaluator.seconds.full(r.arch).expected for r in priced]
            long = np.mean([all(b.kept(b.worst(r.prices[b.objective])) for b in self.budgets) for r in priced])
            lines += [
                f"  one training may take {limit:g} s: {long:.0%} of them would take longer, the shortest "
                f"is predicted to take {min(expected):.3g} s; see --trial-time-limit"
            ]
        raise BudgetError(f"none of {len(priced)} candidates keeps every budget:\n" + "\n".join(lines))

    def write_results(self) -> None:
        """Write the CSV files of the run, and the blocks of its front."""
        marked = mark_front(self.records, self.front())
        self.folder.write_results(marked, self._columns)
        self._networks.write(self.ledger.front)
