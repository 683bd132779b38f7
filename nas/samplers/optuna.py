"""Both ways between our samplers and Optuna's: theirs drive our studies, ours run in anybody's Optuna study."""

from __future__ import annotations

import inspect
import math
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.errors import NasError, did_you_mean
from nas.objectives import Objective
from nas.rng import generator
from nas.samplers.fresh import Fresh
from nas.samplers.make import make_sampler
from nas.samplers.proposer import Observation, Price, Proposer
from nas.space import Architecture, Categorical, Condition, Float, Integer, Parameter, Slot, Space, When
from nas.space.conditions import OneOf
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
    if _plain(distribution):
        return Categorical(distribution.choices)  # type: ignore[arg-type]  # plain values
    return Categorical(tuple(f"choice {i}" for i in range(len(distribution.choices))))


# ---------------------------------------------------------------------------------------------------------
# Optuna's samplers drive us.


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
    an architecture that is allowed and was not tried yet, and falls back on a draw from the prior. Prices nothing.

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
        """Return what the sampler suggests next."""
        taken = self.fresh.taken(seen, pending)
        with _quiet():
            for observation in seen:
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
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


# ---------------------------------------------------------------------------------------------------------
# Our samplers in anybody's Optuna study.


class NasSampler(BaseSampler):
    """One of our samplers for a define-by-run objective that knows nothing of this project.

    The space is what past trials asked for. A parameter that some of them did not ask for is taken to depend on
    earlier categories and integers whose values tell the trials with it from those without (`infer_space`); where
    there are none it is proposed every time, and ignored where it is not asked for. A parameter seen for the first
    time is drawn from its distribution. Constraints set with `Trial.set_constraint` are honoured: a trial that
    breaks one is never good. Pruned and failed trials count as bad. Names that differ by position only
    (`layer0_width`, `layer1_width`) are different parameters here.

    Args:
        sampler: as in `make_sampler`; not one of Optuna's own.
        seed: trial 12 gets the same stream whichever trials ran before it; None draws a seed.

    >>> def objective(trial):
    ...     kind = trial.suggest_categorical("kind", ["conv", "lstm"])
    ...     width = trial.suggest_int("width", 8, 64, step=8)
    ...     kernel = trial.suggest_categorical("kernel", [3, 5, 7]) if kind == "conv" else 0
    ...     return abs(width - 24) + abs(kernel - 5), width
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(directions=["minimize", "minimize"], sampler=NasSampler("tpe", seed=0))
    >>> study.optimize(objective, n_trials=40)
    >>> min(trial.values[0] for trial in study.best_trials)
    0.0
    """

    def __init__(self, sampler: str = "tpe", *, seed: int | None = None) -> None:
        if sampler.strip().startswith("optuna:"):
            raise NasError(f"NasSampler({sampler!r}): this is for our own samplers; use {sampler.strip()[7:]} directly")
        self.spec = sampler
        self.seed = secrets.randbits(31) if seed is None else seed
        self._made: tuple[Space, tuple[StudyDirection, ...], Proposer] | None = None
        self._check()

    def _check(self) -> None:
        make_sampler(self.spec, Space(input="vector", root={}), [], self.seed)  # type: ignore[arg-type]

    def reseed_rng(self) -> None:
        """Do nothing: each trial has a stream of its own, by its number."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return every parameter that past trials asked for, in the order they ask, as last defined."""
        return merged(study.get_trials(deepcopy=False, states=_KNOWN))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the values of all parameters that are known so far."""
        if not search_space:
            return {}
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        names = {f"p{i}": name for i, name in enumerate(search_space)}  # a name may be anything in Optuna
        space = infer_space(search_space, [t for t in trials if t.state in _KNOWN])
        proposer = self._proposer(space, tuple(study.directions))
        archs = {t.number: _architecture(t, names, search_space) for t in trials}
        arch = proposer.propose(
            [_observation(t, archs[t.number], study.directions) for t in trials if t.state.is_finished()],
            [archs[t.number] for t in trials if t.state == TrialState.RUNNING],
            lambda _: Price((None,) * len(study.directions), 0.0),
            generator(self.seed, "optuna", trial.number),
        )
        return {names[key]: _external(search_space[names[key]], value) for key, value in arch.items}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a parameter that no past trial asked for."""
        rng = generator(self.seed, "optuna", trial.number, param_name)
        return _external(param_distribution, from_distribution(param_distribution).sample(rng))

    def _proposer(self, space: Space, directions: tuple[StudyDirection, ...]) -> Proposer:
        if self._made is None or self._made[:2] != (space, directions):
            # Trial values stay as they are, told as losses: names and units of the objectives are not known.
            objectives = [Objective(f"objective_{i}", "", "minimize", cheap=False) for i in range(len(directions))]
            self._made = space, directions, make_sampler(self.spec, space, objectives, self.seed)
        return self._made[2]


_KNOWN = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that asked for everything they wanted; a failed one may have been cut short."""


def merged(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return every parameter of the trials; one that a trial asks for comes after those it asked for before.

    The last trial's distribution holds where they differ.
    """
    order: list[str] = []
    latest: dict[str, BaseDistribution] = {}
    for trial in trials:
        if trial.distributions.keys() <= latest.keys():
            latest.update(trial.distributions)
            continue
        at = 0
        for name, distribution in trial.distributions.items():
            if name in latest:
                at = order.index(name) + 1
            else:
                order.insert(at, name)
                at += 1
            latest[name] = distribution
    return {name: latest[name] for name in order}


def infer_space(search_space: dict[str, BaseDistribution], trials: Sequence[FrozenTrial]) -> Space:
    """Return the space of these parameters, named p0, p1, .. in their order, with the conditions that trials show.

    A condition is an earlier category or integer and its values where the parameter was asked for. Those that tell
    most trials without the parameter are taken first, and the nearer of two equals, until all are told; where that
    fails the parameter is always active.

    The more trials, the truer: a condition that is wrong only means that a parameter is drawn from its range once.

    Cost: one look at a trial for each pair of a conditional parameter and a candidate parent.
    """
    parameters = {name: from_distribution(distribution) for name, distribution in search_space.items()}
    asked = {name: np.array([name in t.params for t in trials], dtype=bool) for name in parameters}
    values = {}
    for name, parameter in parameters.items():
        if not (isinstance(parameter, Float) or parameter.cardinality() > 64):
            values[name] = [_internal(search_space[name], t.params[name]) if name in t.params else None for t in trials]
    root: dict[str, Parameter | When] = {}
    names = list(parameters)
    for i, name in enumerate(names):
        conditions = _conditions(name, names[:i], asked, values, parameters)
        root[f"p{i}"] = When(conditions, parameters[name]) if conditions else parameters[name]
    return Space(input="vector", root=root)  # type: ignore[arg-type]  # a mapping becomes a group


def _conditions(
    name: str,
    earlier: Sequence[str],
    asked: dict[str, np.ndarray],
    values: dict[str, list[Scalar | None]],
    parameters: dict[str, Parameter],
) -> tuple[Condition, ...]:
    """Return conditions on earlier parameters that hold in exactly the trials that asked for `name`."""
    explained: list[tuple[Condition, np.ndarray]] = []  # a condition, and the trials where it does not hold
    for i, parent in reversed(list(enumerate(earlier))):
        if parent in values and asked[parent][asked[name]].all():
            there = {value for value, is_asked in zip(values[parent], asked[name], strict=True) if is_asked}
            possible = tuple(v for v in sorted(there, key=repr) if v is not None and parameters[parent].contains(v))
            if possible:
                fails = np.array([value not in there for value in values[parent]], dtype=bool)
                explained.append((Condition(f"p{i}", OneOf(possible)), fails))
    conditions, left = [], ~asked[name]
    while left.any() and explained:
        condition, fails = max(explained, key=lambda pair: int((pair[1] & left).sum()))
        if not (fails & left).any():
            return ()
        conditions.append(condition)
        left = left & ~fails
    return () if left.any() else tuple(conditions)


def _architecture(trial: FrozenTrial, names: dict[str, str], search_space: dict[str, BaseDistribution]) -> Architecture:
    return Architecture.of(
        {key: _internal(search_space[name], trial.params[name]) for key, name in names.items() if name in trial.params}
    )


def _observation(trial: FrozenTrial, arch: Architecture, directions: Sequence[StudyDirection]) -> Observation:
    values = trial.values if trial.state == TrialState.COMPLETE else None
    losses: tuple[float | None, ...] = (None,) * len(directions)
    if values is not None:
        losses = tuple(-v if d == StudyDirection.MAXIMIZE else v for v, d in zip(values, directions, strict=True))
    violation = sum(max(value, 0.0) for value in trial.constraints.values())
    if violation > 0:
        return Observation(arch, "over_budget", losses, violation, trial.number)
    return Observation(arch, "failed" if values is None else "complete", losses, 0.0, trial.number)


def _plain(distribution: CategoricalDistribution) -> bool:
    """Whether the choices can be options of ours: plain, finite, and different also where 1 equals True."""
    choices = distribution.choices
    plain = all(isinstance(c, bool | int | str) or (isinstance(c, float) and math.isfinite(c)) for c in choices)
    return plain and len(set(choices)) == len(choices)


def _internal(distribution: BaseDistribution, value: Any) -> Scalar:
    """Return Optuna's value as ours."""
    if isinstance(distribution, CategoricalDistribution) and not _plain(distribution):
        return f"choice {int(distribution.to_internal_repr(value))}"
    return value


def _external(distribution: BaseDistribution, value: Scalar) -> Any:
    """Return our value as Optuna's."""
    if isinstance(distribution, CategoricalDistribution) and not _plain(distribution):
        return distribution.choices[int(str(value).removeprefix("choice "))]
    return value
