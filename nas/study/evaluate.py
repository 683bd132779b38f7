"""Architecture -> TrialRecord: build, price, gate, train. No Optuna, no processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.build import Network, build
from nas.errors import BuildError, NasError, RunError, TrialFailed
from nas.measure.fast_macs import count_macs_fast
from nas.measure.price import Pricer, network_key
from nas.measure.quiet import Pause
from nas.measure.synflow import synflow
from nas.objectives import Budget, Measurement, Prices, parse_objective
from nas.records import TrialRecord
from nas.rng import torch_seed
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.deploy import calibration, judge_file, precision_of, write_quantised
from nas.study.screen import Screener
from nas.training import TrainConfig, as_trial_failed, fit, torch_seeded

if TYPE_CHECKING:
    from nas.data import Task
    from nas.training import EpochLog, Scores


class RunEnded(Exception):  # no error: the run's time is over
    """The run's deadline came while a trial trained; that trial is to be run again by a resume."""


@dataclass(frozen=True)
class Candidate:
    """An architecture as far as it is known before training.

    Attributes:
        key: names the network built and its training; equal for two candidates that would train alike.
        prices: empty where `problem` is not.
        problem: why it could not be built or priced; else empty.
    """

    arch: Architecture
    key: str = ""
    prices: Prices = dataclasses.field(default_factory=dict)
    problem: str = ""

    def over(self, budgets: Sequence[Budget]) -> list[Budget]:
        """Return the budgets that the prices break."""
        return [b for b in budgets if self.prices and not b.kept(b.worst(self.prices[b.objective]))]

    def violation(self, budgets: Sequence[Budget]) -> float:
        """Return the sum of the relative excesses over the budgets; infinite where it could not be built."""
        return violation(self.prices, budgets)

    def record(self, number: int, budgets: Sequence[Budget]) -> TrialRecord | None:
        """Return the record of a candidate that is not to be trained; None for one that may be."""
        if self.problem:
            return TrialRecord(number, self.arch, "failed", reason=self.problem)
        if over := self.over(budgets):
            reason = "; ".join(_broken(b, self.prices[b.objective]) for b in over)
            return TrialRecord(number, self.arch, "over_budget", self.prices, key=self.key, reason=reason)
        return None


class Evaluator:
    """Knows the data, the prices and the rules of one study.

    The weights of trial 12 start the same whatever ran before it: they are seeded by the study and the number.
    """

    def __init__(self, config: StudyConfig, task: Task, pricer: Pricer) -> None:
        self.config, self.task, self.pricer = config, task, pricer
        self._known: dict[Architecture, Candidate] = {}
        self._described: dict[str, tuple[float, float, float]] = {}
        objectives, budgets = config.parsed_objectives(), config.parsed_budgets()
        self.screener = Screener(config.space, task.in_shape, task.n_outputs, objectives, budgets)
        named = [*objectives, *(parse_objective(b.objective) for b in budgets)]
        self._needed = {o.name for o in named if o.cheap}
        """Prices without which a candidate is of no use."""

    def train_config(self, arch: Architecture) -> TrainConfig:
        """Return the training of an architecture, with what the study overrides."""
        return train_config(self.config, arch)

    def candidate(self, arch: Architecture) -> Candidate:
        """Build and price an architecture, once. What goes wrong is in its `problem`."""
        if arch not in self._known:
            self._known[arch] = self._candidate(arch)
        return self._known[arch]

    def _candidate(self, arch: Architecture) -> Candidate:
        try:
            with as_trial_failed():
                network = self._untrained(arch)
                train = json.dumps(self.train_config(arch).to_tree(), sort_keys=True)
                precision = precision_of(self.config.space, arch)
                key = f"{network_key(network, precision)}-{hashlib.sha256(train.encode()).hexdigest()[:16]}"
                prices = self.pricer.price(network, precision)
        except BuildError as error:
            return Candidate(arch, problem=f"cannot be built: {error}")
        except RunError:
            raise  # nothing that the network is to blame for
        except NasError as error:
            return Candidate(arch, problem=f"cannot be priced: {str(error).splitlines()[0]}")
        if missing := self._needed - set(prices):
            return Candidate(arch, problem=f"cannot be priced: its {' and '.join(sorted(missing))} cannot be told")
        self.screener.learn(arch, prices)
        return Candidate(arch, key, prices)

    def sharpen(self, record: TrialRecord, limits: Mapping[str, Sequence[float]]) -> TrialRecord:
        """Return a trained trial with the latencies named in `limits` measured again, longer where it matters.

        The gate has spoken before the training; its 3 % of allowance are there for what a second look may find.
        """
        prices = self.pricer.sharpen(self._untrained(record.arch), limits, precision_of(self.config.space, record.arch))
        self._known[record.arch] = Candidate(record.arch, record.key, prices)
        return dataclasses.replace(record, prices=prices)

    def describe(self, arch: Architecture) -> tuple[float, float, float]:
        """Return the zero-cost proxies of an architecture: synaptic flow, log multiply-adds, log parameters.

        The logarithms are of 1 + the number. NaN stands for what cannot be told: all of a network that cannot be built,
        a flow that is not finite. Nothing is measured, and networks that are built alike are looked at once.

        Cost: 2 to 5 ms to build the network; where it is new, `synflow` and, unless it was priced, about 1 ms for the
        multiply-adds.
        """
        try:
            with as_trial_failed():
                network = self._untrained(arch)
        except NasError:
            return math.nan, math.nan, math.nan
        key = network_key(network)
        if key not in self._described:
            self._described[key] = self._describe(network)
        return self._described[key]

    def _describe(self, network: Network) -> tuple[float, float, float]:
        in_shape, known = self.task.in_shape, self.pricer.known(network)
        return (
            _told(lambda: synflow(network, in_shape)),
            _told(lambda: math.log1p(known["macs"].value if known else count_macs_fast(network, in_shape))),
            math.log1p(sum(p.numel() for p in network.parameters())),
        )

    def _untrained(self, arch: Architecture) -> Network:
        """Build the network that is priced and described: its weights start the same whenever that is."""
        with torch_seeded(torch_seed(self.config.seed, "price")):
            return build(self.config.space, arch, self.task.in_shape, self.task.n_outputs)

    def train(
        self,
        number: int,
        candidate: Candidate,
        *,
        deadline: float | None = None,
        trial_limit_s: float | None = None,
        on_epoch: Callable[[EpochLog], None] | None = None,
    ) -> tuple[TrialRecord, Network | None]:
        """Train a candidate as trial `number`, and judge it on the validation data; it pauses while others measure.

        What ships in 8 bits is trained in float32, and judged as the file that it ships as; the curve is of float32.

        Args:
            deadline: end of the run, on the clock of `time.monotonic`.
            trial_limit_s: a training that takes longer is a failed trial.
        Returns:
            The record, complete or failed, and the trained network where it is complete.
        Raises:
            RunEnded: the deadline came first.
        """
        started, pause = time.perf_counter(), Pause(deadline=deadline)
        arch, seed = candidate.arch, self.config.seed
        unfinished = TrialRecord(number, arch, "failed", candidate.prices, key=candidate.key)
        curve: list[EpochLog] = []

        def note(log: EpochLog) -> None:
            curve.append(log)
            if on_epoch is not None:
                on_epoch(log)

        try:
            with as_trial_failed(), torch_seeded(torch_seed(seed, "weights", number)):
                network = build(self.config.space, arch, self.task.in_shape, self.task.n_outputs)
            with pause:
                fit(
                    network,
                    self.task.x_train,
                    self.task.y_train,
                    self.train_config(arch),
                    seed=torch_seed(seed, "training", number),
                    evaluate_on=(self.task.x_val, self.task.y_val),
                    deadline=deadline,
                    trial_limit_s=trial_limit_s,
                    on_epoch=note,
                    between_batches=pause,
                )
                scores = self._scores_of_file(network, arch, pause) or curve[-1].scores
        except TrialFailed as error:
            if deadline is not None and time.monotonic() > deadline:
                raise RunEnded from None
            seconds = time.perf_counter() - started - pause.waited_s
            failed = dataclasses.replace(unfinished, epochs=len(curve), train_seconds=seconds, reason=str(error))
            return failed, None
        assert scores is not None
        record = dataclasses.replace(
            unfinished,
            state="complete",
            scores={"accuracy": scores.accuracy, "loss": scores.loss},
            epochs=len(curve),
            train_seconds=time.perf_counter() - started - pause.waited_s,
            curve=tuple(log.scores.accuracy for log in curve if log.scores),
        )
        return record, network

    def _scores_of_file(self, network: Network, arch: Architecture, pause: Pause) -> Scores | None:
        """Return how good the file is that a network ships as; None where that is as good as the network itself."""
        precision = precision_of(self.config.space, arch)
        if precision == "fp32":
            return None
        samples = calibration(self.task, self.config.seed)
        pause()
        try:
            with as_trial_failed(), tempfile.TemporaryDirectory(dir=self.pricer.scratch, prefix=".price-") as scratch:
                path = Path(scratch) / "network.onnx"
                write_quantised(network, self.task.in_shape, path, precision, samples)
                return judge_file(path, self.task.x_val, self.task.y_val, pause)
        except NasError as error:
            raise TrialFailed(str(error).splitlines()[0]) from error


def train_config(config: StudyConfig, arch: Architecture) -> TrainConfig:
    """Return how a study trains an architecture: what its tree says, then what the study overrides."""
    tree = config.space.resolve(arch).get("training", {})
    assert isinstance(tree, dict)
    found = TrainConfig.from_tree(tree)
    if config.epochs is not None:
        found = dataclasses.replace(found, epochs=config.epochs)
    if config.subset < 1:
        found = dataclasses.replace(found, subset=config.subset)
    return found


def violation(prices: Prices, budgets: Sequence[Budget]) -> float:
    """Return the sum of the relative excesses over the budgets; 0.0 keeps all of them.

    Args:
        prices: all of them, or none of what could not be built and priced: that is infinitely far off.
    """
    if not prices:
        return math.inf
    return sum(b.violation(b.worst(prices[b.objective])) for b in budgets)


def excesses(prices: Prices, budgets: Sequence[Budget]) -> tuple[float, ...]:
    """Return `Budget.excess` for each budget, of the figure that has to keep it; infinite where nothing was priced."""
    return tuple(b.excess(b.worst(prices[b.objective])) if prices else math.inf for b in budgets)


def _told(tell: Callable[[], float]) -> float:
    """Return what `tell` does; NaN where it fails or the answer is not finite: a proxy is no reason to end a search."""
    try:
        with as_trial_failed():
            told = tell()
    except NasError:
        return math.nan
    return told if math.isfinite(told) else math.nan


def _broken(budget: Budget, price: Measurement) -> str:
    held = budget.worst(price)
    allowance = "" if held == price.value else f" (to be held: {held:.4g})"
    return f"{budget.objective} {price.value:.4g}{allowance} breaks {budget}"
