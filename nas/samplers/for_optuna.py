"""Our samplers in anybody's Optuna study, for objectives that know nothing of this project."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.errors import NasError
from nas.objectives import Objective
from nas.rng import generator
from nas.samplers.make import make_sampler
from nas.samplers.optuna import from_distribution, is_plain
from nas.samplers.proposer import Observation, Price, Proposer
from nas.space import Architecture, Condition, Float, Parameter, Space, When
from nas.space.conditions import OneOf
from nas.space.parameters import Scalar


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

    >>> import optuna
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
        archs = {t.number: _architecture(t, names, search_space) for t in trials}
        limits = list(dict.fromkeys(name for t in trials for name in t.constraints))
        with _ONE_AT_A_TIME:  # `study.optimize(n_jobs=4)` asks from four threads
            arch = self._proposer(space, tuple(study.directions)).propose(
                [_observation(t, archs[t.number], study.directions, limits) for t in trials if t.state.is_finished()],
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


_ONE_AT_A_TIME = threading.Lock()
"""A sampler remembers what it computed. (Of the module, since samplers are copied and pickled.)"""

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


def _observation(
    trial: FrozenTrial, arch: Architecture, directions: Sequence[StudyDirection], limits: Sequence[str]
) -> Observation:
    values = trial.values if trial.state == TrialState.COMPLETE else None
    losses: tuple[float | None, ...] = (None,) * len(directions)
    if values is not None:
        losses = tuple(-v if d == StudyDirection.MAXIMIZE else v for v, d in zip(values, directions, strict=True))
    violation = sum(max(value, 0.0) for value in trial.constraints.values())
    # A constraint of Optuna's is any number, at most 0 where it is kept: of unknown scale, so its size is tamed.
    # A missing one is the one `math.nan`, which equals itself where tuples are compared: nothing is told anew.
    excess = tuple(math.asinh(trial.constraints[n]) if n in trial.constraints else math.nan for n in limits)
    if violation > 0:
        return Observation(arch, "over_budget", losses, violation, trial.number, excess)
    return Observation(arch, "failed" if values is None else "complete", losses, 0.0, trial.number, excess)


def _internal(distribution: BaseDistribution, value: Any) -> Scalar:
    """Return Optuna's value as ours."""
    if isinstance(distribution, CategoricalDistribution) and not is_plain(distribution):
        return f"choice {int(distribution.to_internal_repr(value))}"
    return value


def _external(distribution: BaseDistribution, value: Scalar) -> Any:
    """Return our value as Optuna's."""
    if isinstance(distribution, CategoricalDistribution) and not is_plain(distribution):
        return distribution.choices[int(str(value).removeprefix("choice "))]
    return value
