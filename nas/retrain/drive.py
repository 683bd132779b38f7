"""Networks that are being retrained: their trainings, who does them, and what becomes of each."""

from __future__ import annotations

import dataclasses
import io
import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

from nas.data import write_shared
from nas.errors import RunError, TrialFailed
from nas.measure.quiet import Pause
from nas.plugins import loaded
from nas.records import TrialRecord, summary
from nas.retrain.card import make_card, write_card
from nas.retrain.folder import RetrainFolder
from nas.retrain.held_out import HeldOut
from nas.retrain.plan import Plan
from nas.retrain.result import Retrained, SeedResult, judged_by, write_table
from nas.retrain.watch import Watcher
from nas.retrain.work import SeedJob, prepare, prepare_here, untrained
from nas.study.config import StudyConfig
from nas.study.executors.here import Here
from nas.study.executors.local import Local
from nas.study.folder import RunFolder
from nas.study.jobs import Executor, Outcome, Progress
from nas.training import TrainState

if TYPE_CHECKING:
    from nas.data import Task

DATA = ".data"
"""In the folder of all retrainings: the training samples, while several processes read them."""

_CHECKPOINT_S = 5.0
"""Of training between two checkpoints of a seed, which end with an epoch."""

_DEATHS = 2
"""Of processes, after which a seed is taken to be what they die of."""


@dataclasses.dataclass
class Member:
    """A network that is being retrained."""

    record: TrialRecord
    folder: RetrainFolder
    before: Plan | None
    """What is gone on with."""

    plan: Plan
    finished: Retrained | None
    """What is whole already, and what is gone on with adds to."""

    seeds: dict[int, SeedResult]
    """Trained and judged."""

    wanted: int
    failed: str = ""

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def missing(self) -> list[int]:
        return [seed for seed in range(self.wanted) if seed not in self.seeds]


@dataclasses.dataclass
class Training:
    """One seed of a member, between its checkpoints."""

    member: Member
    seed: int
    epoch_s: float
    """As far as it is known; 0: it is not."""

    done: int = 0
    """Epochs up to the last checkpoint."""

    state: bytes | None = None
    deaths: int = 0

    def job(self, number: int) -> SeedJob:
        """Return what brings it to its next checkpoint."""
        train = self.member.plan.train_config()
        epochs = max(1, round(_CHECKPOINT_S / self.epoch_s)) if self.epoch_s > 0 else 1
        return SeedJob(
            number=number,
            arch=self.member.record.arch,
            rung=min(self.done + epochs, train.epochs) - 1,
            state=self.state,
            trial=self.member.number,
            seed=self.seed,
            train=train,
        )


class Retraining:
    """Networks under way, and who trains them."""

    def __init__(
        self,
        config: StudyConfig,
        members: Sequence[Member],
        task: Task,
        run: RunFolder,
        test: HeldOut,
        slots: int,
        watcher: Watcher,
    ) -> None:
        self._config, self._members, self._task, self._run = config, members, task, run
        self._test, self._slots, self._watcher = test, slots, watcher
        self._under_way: dict[int, Training] = {}
        self._submitted = 0

    def run(self, overwrite: bool) -> list[Retrained]:
        """Train what is missing; see `retrain`."""
        for member in self._members:
            if member.missing:
                member.folder.begin(member.plan, anew=overwrite)
            self._watcher.begun(
                member.number, member.plan.epochs, member.wanted, len(member.seeds), member.before is not None
            )
        found: dict[int, Retrained] = {}
        try:
            for member in self._members:
                if not member.missing:
                    found[member.number] = self._finish(member)
            with closing(self._train()) as trained:
                for member in trained:
                    found[member.number] = self._finish(member)
        finally:
            for member in self._members:
                member.folder.discard_if_empty()
        if not found and (reasons := [f"trial {m.number}: {m.failed}" for m in self._members if m.failed]):
            raise TrialFailed(reasons[0])
        return [found[member.number] for member in self._members if member.number in found]

    def _train(self) -> Generator[Member, None, None]:
        """Train all that is missing; yield each network whose last seed was judged."""
        # The longest first: what is begun last decides when all are done, and is to be short.
        members = sorted(self._members, key=lambda m: m.record.epoch_seconds * m.plan.epochs, reverse=True)
        larger = (len(self._task.x_train) + len(self._task.x_val)) / n_searched(self._config, self._task)
        waiting = deque(
            self._resumed(Training(member, seed, member.record.epoch_seconds * larger))
            for member in members
            for seed in member.missing
        )
        if not waiting:
            return
        x, y = self._task.full()
        whole = dataclasses.replace(self._task, x_train=x, y_train=y, x_val=x[:1], y_val=y[:1], _test=None)
        with self._executor(whole) as executor:
            while waiting or self._under_way:
                while waiting and len(self._under_way) < executor.slots:
                    training = waiting.popleft()
                    if not training.member.failed:
                        self._submitted += 1
                        self._under_way[self._submitted] = training
                        executor.submit(training.job(self._submitted))
                for outcome in executor.wait() if self._under_way else ():
                    training = self._under_way.pop(outcome.number)
                    member = training.member
                    if self._goes_on(training, outcome):
                        waiting.appendleft(training)
                    elif not member.failed and not member.missing:
                        yield member

    def _resumed(self, training: Training) -> Training:
        """Return a training as its last checkpoint left it."""
        state = training.member.folder.state(training.seed)
        try:
            left_off = None if state is None else TrainState.from_bytes(state)
        except RunError:  # damaged: it begins anew, and ends the same
            left_off = None
        if left_off is None:
            return training
        each = left_off.train_seconds / left_off.stretches
        return dataclasses.replace(training, done=left_off.stretches, state=state, epoch_s=each)

    @contextmanager
    def _executor(self, whole: Task) -> Iterator[Executor]:
        if self._slots == 1:
            with Here(partial(prepare_here, self._config, whole), self._told) as here:
                yield here
            return
        write_shared(whole, self._run.retrained / DATA)
        start = partial(prepare, self._config, self._run.retrained / DATA, self._slots, plugins=loaded())
        with Local(start, self._slots, self._told) as local:
            yield local

    def _told(self, progress: Progress) -> None:
        training = self._under_way.get(progress.number)
        if training is not None:
            self._watcher.epoch(training.member.number, training.seed, progress.log)

    def _goes_on(self, training: Training, outcome: Outcome) -> bool:
        """Take in what became of a job; return whether its training is to go on."""
        member = training.member
        if member.failed:  # in another seed
            return False
        if outcome.ended == "died":
            training.deaths += 1
            if training.deaths < _DEATHS:
                return True
        if outcome.ended in ("died", "failed"):
            self._fail(member, f"seed {training.seed + 1}: {outcome.reason}")
            return False
        training.epoch_s = outcome.epoch_seconds
        if outcome.state is not None:
            member.folder.save_state(training.seed, outcome.state)
            training.state, training.done = outcome.state, outcome.rung + 1
            return True
        assert outcome.weights is not None
        try:
            result = self._judged(training, outcome)
        except TrialFailed as error:
            self._fail(member, f"seed {training.seed + 1}: {error}")
            return False
        member.folder.keep(result, outcome.weights)
        member.seeds[training.seed] = result
        self._watcher.judged(member.number, result)
        return False

    def _judged(self, training: Training, outcome: Outcome) -> SeedResult:
        """Judge a network that is trained, on the test set."""
        assert outcome.weights is not None
        member = training.member
        network = untrained(self._config, member.record.arch, self._task, member.number, training.seed)
        network.load_state_dict(torch.load(io.BytesIO(outcome.weights), weights_only=True))
        with Pause() as pause:
            scores, confusion = self._test.judge(network, pause)
        return SeedResult(training.seed, scores, confusion, outcome.epoch_seconds * outcome.epochs)

    def _fail(self, member: Member, reason: str) -> None:
        member.failed = reason
        self._watcher.failed(member.number, reason)

    def _finish(self, member: Member) -> Retrained:
        """Put a network of which all seeds are there into its place."""
        record, finished = member.record, member.finished
        if finished is None or len(finished.seeds) < len(member.seeds):
            metric = judged_by(self._config)
            finished = Retrained(
                trial=record.number,
                folder=member.folder.path,
                metric=metric,
                n_test=self._test.n,
                seeds=tuple(member.seeds[seed] for seed in sorted(member.seeds)),
                searched=record.scores.get(metric.name, math.nan),
                epochs=member.plan.epochs,
                plan=dataclasses.asdict(member.plan),
                prices=record.prices,
                blocks=summary(self._config.space.resolve(record.arch)),
            )
            card = make_card(self._config, record, self._task, finished, self._run)
            write_card(card, member.folder.unfinished, member.folder.path)
            member.folder.finish(finished)
        write_table(self._run)
        self._watcher.done(finished)
        return finished


def n_searched(config: StudyConfig, task: Task) -> int:
    """Return how many samples an epoch of the search passed over."""
    return max(1, round(len(task.x_train) * config.subset))
