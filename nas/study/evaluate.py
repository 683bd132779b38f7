"""Architecture -> Candidate: build, price, gate. No Optuna, no processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nas.build import Network, build
from nas.errors import BuildError, NasError, RunError
from nas.measure.fast_macs import count_macs_fast
from nas.measure.price import Pricer, network_key
from nas.measure.synflow import synflow
from nas.objectives import Budget, Measurement, Prices, parse_objective
from nas.records import TrialRecord
from nas.rng import torch_seed
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.deploy import precision_of
from nas.study.screen import Screener
from nas.study.seconds import TrainingTimes
from nas.study.work import train_config
from nas.training import as_trial_failed, torch_seeded

if TYPE_CHECKING:
    from nas.data import Task


@dataclass(frozen=True)
class Candidate:
    """An architecture as far as it is known before training.

    Attributes:
        key: names the network built and its training; equal for two candidates that would train alike.
        prices: empty where `problem` is not.
        epochs: of the full training; 0 where `problem` is not empty.
        problem: why it could not be built or priced; else empty.
    """

    arch: Architecture
    key: str = ""
    prices: Prices = dataclasses.field(default_factory=dict)
    problem: str = ""
    epochs: int = 0

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
        self._described: dict[str, dict[int, float]] = {}
        self.pricing_s = 0.0
        """What building and pricing candidates took so far, in seconds."""
        objectives, budgets = config.parsed_objectives(), config.parsed_budgets()
        self.screener = Screener(config.space, task.in_shape, task.n_outputs, objectives, budgets)
        n_train = round(len(task.x_train) * config.subset)
        self.seconds = TrainingTimes(config, task.in_shape, task.n_outputs, n_train, len(task.x_val))
        named = [*objectives, *(parse_objective(b.objective) for b in budgets)]
        self._needed = {o.name for o in named if o.cheap}
        """Prices without which a candidate is of no use."""

    def candidate(self, arch: Architecture) -> Candidate:
        """Build and price an architecture, once. What goes wrong is in its `problem`."""
        if arch not in self._known:
            began = time.monotonic()
            try:
                self._known[arch] = self._candidate(arch)
            finally:
                self.pricing_s += time.monotonic() - began
        return self._known[arch]

    def _candidate(self, arch: Architecture) -> Candidate:
        try:
            with as_trial_failed():
                network = self.untrained(arch)
                config = train_config(self.config, arch)
                train = json.dumps(config.to_tree(), sort_keys=True)
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
        return Candidate(arch, key, prices, epochs=config.epochs)

    def sharpen(self, record: TrialRecord, limits: Mapping[str, Sequence[float]]) -> TrialRecord:
        """Return a trained trial with the latencies named in `limits` measured again, longer where it matters.

        The gate has spoken before the training; its 3 % of allowance are there for what a second look may find. All
        candidates that are built alike have the new price: two prices of one network would have chance choose.
        """
        before = self.candidate(record.arch).prices
        prices = self.pricer.sharpen(self.untrained(record.arch), limits, precision_of(self.config.space, record.arch))
        for arch, candidate in self._known.items():
            if candidate.prices == before:
                self._known[arch] = dataclasses.replace(candidate, prices=prices)
        return dataclasses.replace(record, prices=prices)

    def describe(self, arch: Architecture, wanted: Collection[int] | None = None) -> tuple[float, float, float]:
        """Return the zero-cost proxies of an architecture: synaptic flow, log multiply-adds, log parameters.

        The logarithms are of 1 + the number. NaN stands for what cannot be told: all of a network that cannot be built,
        a flow that is not finite. Nothing is measured, and networks that are built alike are looked at once.

        Args:
            wanted: which of the three are looked at, by their index; NaN comes for others that are not known. None:
                all.

        Cost: 2 to 5 ms to build the network; where it is new, `synflow` and, unless it was priced, about 1 ms for the
        multiply-adds.
        """
        try:
            with as_trial_failed():
                network = self.untrained(arch)
        except NasError:
            return math.nan, math.nan, math.nan
        told = self._described.setdefault(network_key(network), {})
        proxies = (self._flow, self._log_macs, _log_params)
        for k in range(len(proxies)) if wanted is None else wanted:
            if k not in told:
                told[k] = _told(partial(proxies[k], network))
        flow, log_macs, log_params = (told.get(k, math.nan) for k in range(len(proxies)))
        return flow, log_macs, log_params

    def _flow(self, network: Network) -> float:
        return synflow(network, self.task.in_shape)

    def _log_macs(self, network: Network) -> float:
        known = self.pricer.known(network)
        return math.log1p(known["macs"].value if known else count_macs_fast(network, self.task.in_shape))

    def untrained(self, arch: Architecture) -> Network:
        """Build the network that is priced and described: its weights start the same whenever that is."""
        with torch_seeded(torch_seed(self.config.seed, "price")):
            return build(self.config.space, arch, self.task.in_shape, self.task.n_outputs)


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


def _log_params(network: Network) -> float:
    return math.log1p(sum(p.numel() for p in network.parameters()))


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
