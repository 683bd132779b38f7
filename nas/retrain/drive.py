"""Networks that are being retrained: their trainings, who does them, and what becomes of each."""

from __future__ import annotations

import dataclasses
import io
import math
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import torch

from nas.build import Network
from nas.data import write_shared
from nas.errors import RunError, TrialFailed
from nas.measure.quiet import Pause
from nas.plugins import loaded
from nas.records import TrialRecord, summary
from nas.retrain.card import make_card, write_card
from nas.retrain.clock import EARLY, LATE, NEAR, TimeLimit, ends_in, share_that_fits
from nas.retrain.folder import RetrainFolder
from nas.retrain.held_out import Found, HeldOut
from nas.retrain.plan import Plan
from nas.retrain.result import Retrained, SeedResult, write_table
from nas.retrain.watch import Watcher
from nas.retrain.work import SeedJob, prepare, prepare_here, untrained
from nas.study.config import StudyConfig
from nas.study.deploy import precision_of, shipped_file
from nas.study.executors.here import Here
from nas.study.executors.local import Local
from nas.study.folder import RunFolder
from nas.study.jobs import Executor, Outcome, Progress
from nas.study.judging import judged_by, portable_metrics
from nas.training import TrainState

if TYPE_CHECKING:
    from nas.data import Task

DATA = ".data"
"""In the folder of all retrainings: the training samples, while several processes read them."""

_CHECKPOINT_S = 5.0
"""Of training between two checkpoints of a seed, which end with an epoch."""

_PARTS = 20
"""Of a training under a time limit, after each of which comes a checkpoint as long as it may begin again: it shows how
long epochs take, while little is lost if they have to be fewer."""

_LITTLE = 0.5
"""Of a training may be done at most where it is begun again for fewer epochs."""

_WORTH = 0.9
"""Of the epochs of a network that is begun again it has at most so many: what is nearer ends in time, or nearly."""

_SOON = 0.25
"""Of its time limit may be over at most where a training is begun again for more epochs, which it is once."""

_MUCH = 1.15
"""Times as many they are at least."""

_LAST = 5
"""Jobs of a network that tell how long its epochs take."""

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
    most: int
    """Epochs that a time limit may give it."""

    failed: str = ""
    lengthened: bool = False

    def __post_init__(self) -> None:
        self.first_planned = self.plan.epochs
        """Epochs, before a time limit made them fewer or more."""

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
    plan: Plan | None = None
    """Of the job that is under way or was last."""

    seen: float = 0.0
    """Epochs that it was heard of."""

    trained_s: float = 0.0
    """Up to the last checkpoint."""

    @property
    def epochs_left(self) -> float:
        """As far as one has heard."""
        return max(0.0, self.member.plan.epochs - max(self.done, self.seen))

    def begin_again(self) -> None:
        """Forget what was trained."""
        self.done, self.state, self.seen, self.trained_s = 0, None, 0.0, 0.0

    def job(self, number: int, limit_s: float | None = None) -> SeedJob:
        """Return what brings it to its next checkpoint.

        Args:
            limit_s: of the command: checkpoints come soon, and a process that is silent for much longer has hung.
        """
        self.plan, train = self.member.plan, self.member.plan.train_config()
        epochs = max(1, round(_CHECKPOINT_S / self.epoch_s)) if self.epoch_s > 0 else 1
        if limit_s is not None and self.done < _LITTLE * train.epochs:
            epochs = min(epochs, max(1, train.epochs // _PARTS))
        return SeedJob(
            number=number,
            arch=self.member.record.arch,
            rung=min(self.done + epochs, train.epochs) - 1,
            state=self.state,
            trial_limit_s=limit_s,
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
        limit: TimeLimit | None = None,
    ) -> None:
        self._config, self._members, self._task, self._run = config, members, task, run
        self._test, self._slots, self._watcher, self._limit = test, slots, watcher, limit
        self._measured: dict[int, list[tuple[float, int]]] = {}
        """Seconds and epochs of the jobs of a network, by number of its trial."""
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
        if self._limit is not None and self._limit.spent_s > LATE * self._limit.seconds:
            self._watcher.late(self._limit.spent_s, self._limit.seconds)
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
                        self._plan_now(training.member, [training, *waiting])
                        self._submitted += 1
                        self._under_way[self._submitted] = training
                        limit_s = None if self._limit is None else self._limit.seconds
                        executor.submit(training.job(self._submitted, limit_s))
                for outcome in executor.wait() if self._under_way else ():
                    training = self._under_way.pop(outcome.number)
                    member = training.member
                    if self._goes_on(training, outcome):
                        waiting.appendleft(training)
                    elif not member.failed and not member.missing:
                        yield member
                self._keep_time(waiting)

    def _keep_time(self, waiting: Iterable[Training]) -> None:
        """Begin networks again, while little of them is done, that would end too late, or much too soon."""
        left = [t for t in (*self._under_way.values(), *waiting) if not t.member.failed]
        if self._limit is None or not self._measured:
            return
        now = [t.epochs_left * self._epoch_s(t) for t in left]
        ends = (self._limit.spent_s + ends_in(now, self._slots)) / self._limit.seconds
        longer = ends < EARLY and self._limit.spent_s <= _SOON * self._limit.seconds
        if not longer and (ends <= LATE or not self._known()):
            return
        free = self._free(left, longer=longer)
        epochs = self._epochs(left, free)
        for member in {t.member.number: t.member for t in left if t.plan is not None}.values():
            change = epochs[member.number] / member.plan.epochs if member.number in free else 1.0
            if change >= _MUCH if longer else change <= _WORTH:
                self._plan_again(member, epochs[member.number], left)

    def _plan_now(self, member: Member, waiting: Iterable[Training]) -> None:
        """Choose the epochs of a network whose turn has come, as the others have shown what they take."""
        left = [t for t in (*self._under_way.values(), *waiting) if not t.member.failed]
        begun = any(t.plan is not None or t.done for t in left if t.member is member)
        free = self._free(left)
        if self._limit is None or not self._known() or begun or member.number not in free:
            return
        epochs = self._epochs(left, free)[member.number]
        if not 1 <= epochs / member.plan.epochs < _MUCH:
            self._plan_again(member, epochs, left)

    def _epochs(self, left: Sequence[Training], free: Collection[int]) -> dict[int, int]:
        """Return the epochs with which the `free` ones end in time: all the same share of those first planned."""
        assert self._limit is not None
        members = {t.member.number: t.member for t in left if t.member.number in free}

        def at(share: float) -> dict[int, float]:
            return {number: min(share * m.first_planned, m.most) for number, m in members.items()}

        def seconds(share: float) -> list[float]:
            epochs = at(share)
            return [self._epoch_s(t) * epochs.get(t.member.number, t.epochs_left) for t in left]

        most = max((m.most / m.first_planned for m in members.values()), default=1.0)
        share = share_that_fits(seconds, self._slots, NEAR * self._limit.left_s, most)
        return {number: max(1, int(epochs)) for number, epochs in at(share).items()}

    def _free(self, left: Sequence[Training], *, longer: bool = False) -> set[int]:
        """Return the networks that may be planned again: little of them is done, and none of their seeds."""
        done: dict[int, float] = {}
        for t in left:
            done[t.member.number] = max(done.get(t.member.number, 0.0), 1 - t.epochs_left / t.member.plan.epochs)
        fixed = {t.member.number for t in left if t.member.seeds or (longer and t.member.lengthened)}
        return {number for number, share in done.items() if longer or share <= _LITTLE} - fixed

    def _plan_again(self, member: Member, epochs: int, left: Sequence[Training]) -> None:
        self._watcher.planned_again(member.number, epochs, member.plan.epochs)
        member.lengthened |= epochs > member.plan.epochs
        member.plan = member.plan.of_other_epochs(epochs)
        member.folder.begin(member.plan, anew=True)
        for training in (t for t in left if t.member is member):
            training.begin_again()

    def _known(self) -> bool:
        """Whether enough was trained to judge by: a first stretch is slower than what follows."""
        return any(len(jobs) > 1 for jobs in self._measured.values())

    def _epoch_s(self, training: Training) -> float:
        """Return the seconds of an epoch: as they were, else as foretold and as much longer as those of the others."""
        number = training.member.number
        if number in self._measured:
            return _each(self._measured[number])
        foretold = {m.number: m.record.epoch_seconds for m in self._members}
        longer = [_each(jobs) / foretold[n] for n, jobs in self._measured.items() if foretold[n] > 0]
        return training.member.record.epoch_seconds * (median(longer) if longer else 1.0)

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
        done, trained_s = left_off.stretches, left_off.train_seconds
        return dataclasses.replace(training, done=done, state=state, epoch_s=each, trained_s=trained_s)

    @contextmanager
    def _executor(self, whole: Task) -> Iterator[Executor]:
        if self._slots == 1:
            with Here(partial(prepare_here, self._config, whole), self._told) as here:
                yield here
            return
        write_shared(whole, self._run.retrained / DATA)
        metrics = portable_metrics(self._config.objectives)
        start = partial(prepare, self._config, metrics, self._run.retrained / DATA, self._slots, plugins=loaded())
        with Local(start, self._slots, self._told) as local:
            yield local

    def _told(self, progress: Progress) -> None:
        training = self._under_way.get(progress.number)
        if training is not None and training.plan is training.member.plan:
            training.seen = progress.log.epochs
            self._watcher.epoch(training.member.number, training.seed, progress.log)

    def _goes_on(self, training: Training, outcome: Outcome) -> bool:
        """Take in what became of a job; return whether its training is to go on."""
        member = training.member
        if member.failed:  # in another seed
            return False
        if training.plan is not member.plan:  # which was made shorter meanwhile
            return True
        if outcome.ended == "died":
            training.deaths += 1
            if training.deaths < _DEATHS:
                return True
        if outcome.ended in ("died", "failed"):
            self._fail(member, f"seed {training.seed + 1}: {outcome.reason}")
            return False
        training.epoch_s, trained_s = outcome.epoch_seconds, outcome.epoch_seconds * outcome.epochs
        took = trained_s - training.trained_s, outcome.rung + 1 - training.done
        self._measured.setdefault(member.number, []).append(took)
        if outcome.state is not None:
            training.trained_s = trained_s
            member.folder.save_state(training.seed, outcome.state)
            training.state, training.done = outcome.state, outcome.rung + 1
            return True
        assert outcome.weights is not None
        try:
            result = self._judged(training, outcome)
        except TrialFailed as error:
            self._fail(member, f"seed {training.seed + 1}: {error}")
            return False
        member.folder.keep(member.plan, result, outcome.weights)
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
            scores, confusion = self._figures(member.record, network, pause)
        return SeedResult(training.seed, scores, confusion, outcome.epoch_seconds * outcome.epochs)

    def _figures(self, record: TrialRecord, network: Network, pause: Pause) -> Found:
        """Judge what a network ships as: in 8 bits the file, with ranges from the samples that `nas export` takes.

        Raises:
            TrialFailed: it cannot be written, run or judged.
        """
        precision = precision_of(self._config.space, record.arch)
        if precision == "fp32":
            return self._test.judge(network, pause)
        with shipped_file(network, self._task.to("cpu"), precision, self._config.seed, pause) as path:
            return self._test.judge_file(path, pause)

    def _timing(self, member: Member) -> dict[str, float] | None:
        """Return what a card says of the command's time limit; None where it has none."""
        if self._limit is None:
            return None
        found = {"limit_seconds": self._limit.seconds, "ended_after_seconds": round(self._limit.spent_s, 2)}
        changed = member.plan.epochs != member.first_planned
        return found | ({"epochs_first_planned": member.first_planned} if changed else {})

    def _fail(self, member: Member, reason: str) -> None:
        member.failed = reason
        self._watcher.failed(member.number, reason)

    def _finish(self, member: Member) -> Retrained:
        """Put a network of which all seeds are there into its place."""
        record, finished = member.record, member.finished
        if finished is None or len(finished.seeds) < len(member.seeds):
            _, metric = judged_by(self._config.objectives, self._task)
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
            card = make_card(self._config, record, self._task, finished, self._run, self._timing(member))
            write_card(card, member.folder.unfinished, member.folder.path)
            member.folder.finish(finished)
        write_table(self._run)
        self._watcher.done(finished)
        return finished


def n_searched(config: StudyConfig, task: Task) -> int:
    """Return how many samples an epoch of the search passed over."""
    return max(1, round(len(task.x_train) * config.subset))


def _each(jobs: Sequence[tuple[float, int]]) -> float:
    """Return the seconds of an epoch in the last jobs; the first of all is left out, where there are others."""
    told = jobs[1:][-_LAST:] or jobs
    return sum(seconds for seconds, _ in told) / sum(epochs for _, epochs in told)
