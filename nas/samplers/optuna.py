"""Optuna's samplers drive our studies. (The other way round: `for_optuna.py`.)"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState, create_trial

from nas.errors import NasError, did_you_mean
from nas.objectives import Objective
from nas.samplers.fresh import Fresh
from nas.samplers.proposer import Observation, Price, trials
from nas.space import Architecture, Categorical, Float, Integer, Parameter, Slot, Space
from nas.space.parameters import Scalar

_TRIES = 20
_BUDGET = "budget"


def to_distribution(parameter: Parameter) -> BaseDistribution:
    """Return a parameter as Optuna writes it.

    >>> to_distribution(Integer(8, 32, step=8))
    IntDistribution(high=32, log=False, low=8, step=8)
    """
    if isinstance(parameter, Categorical):
        return CategoricalDistribution(parameter.options)
    if isinstance(parameter, Integer):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def from_distribution(distribution: BaseDistribution) -> Parameter:
    """Return Optuna's distribution as a parameter; a category that is not a plain value is named by its position."""
    if isinstance(distribution, IntDistribution):
        return Integer(distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return Float(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    assert isinstance(distribution, CategoricalDistribution)
    if is_plain(distribution):
        return Categorical(distribution.choices)  # type: ignore[arg-type]  # plain values
    return Categorical(tuple(f"choice {i}" for i in range(len(distribution.choices))))


def optuna_sampler(name: str, *, seed: int, **options: object) -> BaseSampler:
    """Return the sampler of `optuna.samplers` with this class name.

    Args:
        seed: given to the samplers that take one.
        options: the class's keyword arguments.
    Raises:
        NasError: no such class or argument.
    """
    known = [n for n in optuna.samplers.__all__ if n.endswith("Sampler") and not n.startswith("Base")]
    if name not in known:
        raise NasError(did_you_mean("Optuna sampler", name, known))
    cls = getattr(optuna.samplers, name)
    if "seed" in inspect.signature(cls).parameters:
        options = {"seed": seed % 2**32, **options}
    try:
        with _quiet():
            return cls(**options)
    except (TypeError, ValueError, ImportError) as error:
        raise NasError(f"sampler optuna:{name}: {error}") from None


class OptunaProposer:
    """Any Optuna sampler as one of ours.

    Keeps an Optuna study in memory and brings it up to date before each proposal: trials it asked for are told,
    others (after a resume) are added. A trial over budget is PRUNED with its violation as constraint, which TPE
    learns from while NSGA-II and GP ignore it; a failed one, or one with NaN, is FAIL. Asks up to 20 times for
    an architecture that is allowed and was not tried yet, and falls back on a draw from the prior. Prices nothing,
    and is told nothing of other runs.

    Unlike our own samplers it has a state: the sampler's generator goes on from call to call, so the same seed
    gives the same run, but a resumed run goes on differently.

    Args:
        sampler: belongs to this proposer from now on.

    Reference: Akiba et al., KDD 2019, https://arxiv.org/abs/1907.10902.
    """

    def __init__(self, space: Space, objectives: Sequence[Objective], sampler: BaseSampler) -> None:
        self.space, self.fresh = space, Fresh(space)
        self.distributions = {path: to_distribution(slot.parameter) for path, slot in space.slots.items()}
        with _quiet():
            self.study = optuna.create_study(directions=["minimize"] * max(len(objectives), 1), sampler=sampler)
        self._running: dict[Architecture, Trial] = {}
        self._told: set[tuple[Architecture, int]] = set()

    def propose(
        self,
        seen: Sequence[Observation],
        pending: Sequence[Architecture],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return what the sampler suggests next.

        Raises:
            NasError: the sampler cannot search such a space, or so many objectives.
        """
        taken = self.fresh.taken(seen, pending)
        with self._as_nas_error(), _quiet():
            for observation in trials(seen):
                if (observation.arch, observation.number) not in self._told:
                    self._told.add((observation.arch, observation.number))
                    self._tell(observation)
            for arch in pending:
                if arch not in self._running:
                    self._running[arch] = self._start(arch)
            for arch in [arch for arch in self._running if arch not in pending]:
                self._finish(self._running.pop(arch), TrialState.FAIL)  # given up by the caller
            for _ in range(_TRIES):
                trial = self.study.ask()
                arch = self.space.walk(lambda slot, trial=trial: self._suggest(trial, slot))  # type: ignore[misc]
                if arch.fingerprint() not in taken and self.space.forbidden(arch) is None:
                    self._running[arch] = trial
                    return arch
                self._finish(trial, TrialState.FAIL)
        return self.fresh.draw(taken, rng)

    @contextmanager
    def _as_nas_error(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, NotImplementedError, RuntimeError, ImportError) as error:
            name = type(self.study.sampler).__name__
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise NasError(f"sampler optuna:{name} cannot search this space: {reason}; choose another") from error

    def _suggest(self, trial: Trial, slot: Slot) -> Scalar:
        here = slot.parameter
        if isinstance(here, Categorical):
            return trial.suggest_categorical(slot.path, here.options)  # type: ignore[return-value]  # never None
        if isinstance(here, Integer):
            return trial.suggest_int(slot.path, here.low, here.high, step=here.step, log=here.log)
        value = trial.suggest_float(slot.path, here.low, here.high, step=here.step, log=here.log)
        return value if here.step is None else here.from_unit(here.to_unit(value))  # to the last bit as we write it

    def _start(self, arch: Architecture) -> Trial:
        """Begin a trial of an architecture that the sampler did not suggest."""
        self.study.enqueue_trial(arch.values)
        trial = self.study.ask()
        self.space.walk(lambda slot: self._suggest(trial, slot))
        return trial

    def _tell(self, observation: Observation) -> None:
        values = [math.nan if loss is None else loss for loss in observation.losses]
        state = {"complete": TrialState.COMPLETE, "over_budget": TrialState.PRUNED}.get(observation.state)
        if state is None or (state == TrialState.COMPLETE and any(math.isnan(value) for value in values)):
            state = TrialState.FAIL
        violation = min(observation.violation, 1e9) if not math.isnan(observation.violation) else 1e9
        told = values if state == TrialState.COMPLETE else None
        trial = self._running.pop(observation.arch, None)
        if trial is not None:
            trial.set_constraint(_BUDGET, violation)
            self._finish(trial, state, told)
            return
        self.study.add_trial(
            create_trial(
                state=state,
                values=told,
                params=observation.arch.values,
                distributions={path: self.distributions[path] for path in observation.arch.values},
                constraints={_BUDGET: violation},
            )
        )

    def _finish(self, trial: Trial, state: TrialState, values: list[float] | None = None) -> None:
        try:
            self.study.tell(trial, values, state)
        except RuntimeError as error:  # a sampler that has tried everything stops a study that is not running
            if "Study.stop" not in str(error):
                raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's experimental warnings and the line on a new study to itself, and put everything back."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def is_plain(distribution: CategoricalDistribution) -> bool:
    """Whether the choices can be options of ours: plain, finite, and different also where 1 equals True."""
    choices = distribution.choices
    plain = all(isinstance(c, bool | int | str) or (isinstance(c, float) and math.isfinite(c)) for c in choices)
    return plain and len(set(choices)) == len(choices)
