"""What one parameter may be: a category, an integer or a float. Frozen values without torch or Optuna.

A `prior` says what an expert believes; it changes neither what a parameter contains nor what `sample` draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nas.errors import SpaceError
from nas.space.priors import Centre, bump, shares, short_repr, weights
from nas.space.scalars import Scalar, same, scalar

_MOST_STEPS = 10**6
_OFF_GRID = 1e-6  # of a step: what adding steps in floating point may cost


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of a few options.

    Numbers listed in rising order (kernel 3, 5, 7) are `ordered`: a sampler may treat neighbours as alike.

    `prior` is a weight for each option, or a mapping of some options to weights, where the others weigh 1.

    >>> Categorical((3, 5, 7)).ordered, Categorical(("relu", "silu")).ordered, Categorical((False, True)).ordered
    (True, False, False)
    >>> Categorical((3, 5, 7), prior={5: 2})
    Categorical(options=(3, 5, 7), prior=(1.0, 2.0, 1.0))
    """

    options: tuple[Scalar, ...]
    prior: tuple[float, ...] | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise SpaceError("a choice needs at least one option, got []; write e.g. [3, 5, 7], or 3 for a constant")
        object.__setattr__(self, "options", tuple(scalar(option, "an option") for option in self.options))
        for i, option in enumerate(self.options):
            if option in self.options[:i]:
                raise SpaceError(f"option {option!r} is listed twice in {list(self.options)}; leave one out")
        if self.prior is not None:
            object.__setattr__(self, "prior", weights(self.prior, self.options))

    @property
    def ordered(self) -> bool:
        """Whether the options are numbers in rising order."""
        numbers = [o for o in self.options if isinstance(o, int | float) and not isinstance(o, bool)]
        return len(numbers) == len(self.options) > 1 and numbers == sorted(numbers)

    def cardinality(self) -> int:
        """Return the number of different values."""
        return len(self.options)

    def contains(self, value: object) -> bool:
        """Whether `value` is an option; 1 and true are not the same."""
        return any(same(option, value) for option in self.options)

    def canonical(self, value: Scalar) -> Scalar:
        """Return the option that equals `value`: 3 for 3.0."""
        return next(option for option in self.options if option == value)

    def sample(self, rng: np.random.Generator) -> Scalar:
        """Draw an option, each with the same probability."""
        return self.options[int(rng.integers(len(self.options)))]


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from `low` to `high`, both included, in steps or on a log scale."""

    low: int
    high: int
    step: int = 1
    log: bool = False
    prior: Centre | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise SpaceError(f"{name} of an integer must be an integer, got {value!r}")
            object.__setattr__(self, name, scalar(value, name))
        if not isinstance(self.log, bool):
            raise SpaceError(f"log is true or false, got {self.log!r}")
        if self.low > self.high:
            raise SpaceError(
                f"low <= high must hold, got int: [{self.low}, {self.high}]; write [{self.high}, {self.low}]"
            )
        if self.step < 1:
            raise SpaceError(f"step must be at least 1, got {self.step}; leave it out for every integer")
        if self.log and self.low < 1:
            raise SpaceError(
                f"a log scale needs a low of at least 1, got int: [{self.low}, {self.high}]; raise it or leave out log"
            )
        if self.log and self.step != 1:
            raise SpaceError(f"a log scale has no steps, got step: {self.step}; list the values you want instead")
        if (self.high - self.low) % self.step:
            near = self.high - (self.high - self.low) % self.step
            raise SpaceError(
                f"high must be low + k * step, got int: [{self.low}, {self.high}], step: {self.step}; "
                f"write {near} or {near + self.step}"
            )
        _check_centre(self)

    def cardinality(self) -> int:
        """Return the number of different values."""
        return (self.high - self.low) // self.step + 1

    def contains(self, value: object) -> bool:
        """Whether `value` is an integer in range and on a step."""
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def canonical(self, value: Scalar) -> int:
        """Return a contained value as a plain int."""
        return int(value)

    def sample(self, rng: np.random.Generator) -> int:
        """Draw a value: uniform over the steps, or over the log scale."""
        return self.from_unit(rng.random())

    def to_unit(self, value: float) -> float:
        """Map a value to the middle of its cell in [0, 1]; each value owns a cell.

        >>> Integer(8, 32, step=8).to_unit(8), Integer(8, 32, step=8).to_unit(32)
        (0.125, 0.875)
        """
        if self.log:
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(value) - bottom) / (top - bottom)
        return ((value - self.low) / self.step + 0.5) / self.cardinality()

    def from_unit(self, unit: float) -> int:
        """Return the value whose cell holds `unit`; what lies outside [0, 1] goes to the nearest end."""
        unit = min(max(unit, 0.0), 1.0)
        if self.log:
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = round(math.exp(bottom + unit * (top - bottom)))
        else:
            value = self.low + self.step * math.floor(unit * self.cardinality())
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Float:
    """A real number from `low` to `high`, on a linear or a log scale, or on a grid of steps."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    prior: Centre | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if name == "step" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SpaceError(f"{name} of a float must be a finite number, got {value!r}")
            object.__setattr__(self, name, float(scalar(value, name)))
        if not isinstance(self.log, bool):
            raise SpaceError(f"log is true or false, got {self.log!r}")
        if self.low > self.high:
            raise SpaceError(
                f"low <= high must hold, got float: [{self.low:g}, {self.high:g}]; write [{self.high:g}, {self.low:g}]"
            )
        if not math.isfinite(self.high - self.low):
            raise SpaceError(f"the range float: [{self.low:g}, {self.high:g}] is too wide for a float; narrow it")
        if self.log and self.low <= 0:
            raise SpaceError(
                f"a log scale needs a low above 0, got float: [{self.low:g}, {self.high:g}]; raise it or leave out log"
            )
        if self.step is not None:
            if self.log:
                raise SpaceError(f"a log scale has no steps, got step: {self.step:g}; list the values instead")
            if self.step <= 0:
                raise SpaceError(f"step must be above 0, got {self.step:g}; leave it out for every number")
            steps = (self.high - self.low) / self.step
            if steps > _MOST_STEPS:
                raise SpaceError(f"step: {self.step:g} makes more than {_MOST_STEPS:,} steps; leave it out")
            if abs(steps - round(steps)) > _OFF_GRID:
                near = self.low + math.floor(steps) * self.step
                raise SpaceError(
                    f"high must be low + k * step, got float: [{self.low:g}, {self.high:g}], step: {self.step:g}; "
                    f"write {near:g} or {near + self.step:g}"
                )
        _check_centre(self)

    def cardinality(self) -> float:
        """Return the number of different values; infinite without steps."""
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else round((self.high - self.low) / self.step) + 1

    def contains(self, value: object) -> bool:
        """Whether `value` is a number in range (and on a step)."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) <= _OFF_GRID

    def canonical(self, value: Scalar) -> float:
        """Return a contained value as a plain float, on a grid the point itself: 0.3 for 0.1 + 0.2."""
        return float(value) + 0.0 if self.step is None else self._point(round((float(value) - self.low) / self.step))

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a value: uniform on the scale."""
        return self.from_unit(rng.random())

    def to_unit(self, value: float) -> float:
        """Map a value to [0, 1] on the parameter's scale; on a grid to the middle of its cell."""
        if self.low == self.high:
            return 0.5
        if self.log:
            bottom, top = math.log(self.low), math.log(self.high)
            return (math.log(value) - bottom) / (top - bottom) if bottom < top else 0.5  # ends of one rounded log
        if self.step is not None:
            return ((value - self.low) / self.step + 0.5) / self.cardinality()
        return (value - self.low) / (self.high - self.low)

    def from_unit(self, unit: float) -> float:
        """Undo `to_unit`; what lies outside [0, 1] goes to the nearest end."""
        unit = float(min(max(unit, 0.0), 1.0))
        if self.step is not None:
            n = int(self.cardinality())
            return self._point(min(math.floor(unit * n), n - 1))
        if unit in (0.0, 1.0):  # rounding would miss the ends
            return self.high if unit else self.low
        if self.log:
            value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + unit * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def _point(self, k: int) -> float:
        """Return low + k * step as one would write it, 0.3 and not 0.30000000000000004, so that `when` can name it."""
        assert self.step is not None
        if k in (0, self.cardinality() - 1):
            return self.high if k else self.low
        return round(self.low + k * self.step, 12 - math.floor(math.log10(self.step))) + 0.0


Parameter: TypeAlias = Categorical | Integer | Float


def grid(parameter: Parameter, most: int = 64) -> Sequence[Scalar]:
    """Return the values of a parameter in rising order, or at most `most` from end to end where there are more.

    >>> list(grid(Integer(8, 32, step=8))), grid(Float(0.0, 1.0), most=3)
    ([8, 16, 24, 32], [0.0, 0.5, 1.0])
    """
    if isinstance(parameter, Categorical):
        return list(parameter.options)
    n = parameter.cardinality()
    if n <= most:
        if isinstance(parameter, Integer):
            return range(parameter.low, parameter.high + 1, parameter.step)
        return [parameter.from_unit((i + 0.5) / n) for i in range(int(n))]
    return list(dict.fromkeys(parameter.from_unit(i / (most - 1)) for i in range(most)))  # a log scale may repeat some


def prior_mass(parameter: Parameter, edges: np.ndarray) -> np.ndarray:
    """Return how probable each cell of a parameter is before anything was seen.

    Without a prior that is what `sample` draws: a cell's width, an equal share for each option. Nothing is ever
    impossible, so that trials can overrule an expert: weights are mixed with 5 % of equal shares, a centre with the
    rest of its confidence spread over the range (see `nas.space.priors`).

    Args:
        edges: (n_cells + 1,) of the cells on the unit interval, rising from 0 to 1. A categorical has a cell for each
            option and does not look at them.
    Returns:
        (n_cells,) above 0, summing to 1.

    >>> prior_mass(Categorical(("conv", "lstm"), prior=(3, 1)), np.array([0.0, 0.5, 1.0])).round(4)
    array([0.7375, 0.2625])
    >>> prior_mass(Float(1e-4, 1.0, log=True, prior=Centre(0.01)), np.array([0.0, 0.4, 0.6, 1.0])).round(2)
    array([0.28, 0.44, 0.28])
    """
    if isinstance(parameter, Categorical):
        n = len(parameter.options)
        return np.full(n, 1 / n) if parameter.prior is None else shares(parameter.prior)
    if parameter.prior is None:
        return np.diff(edges)
    return bump(parameter.to_unit(parameter.prior.value), parameter.prior.confidence, edges)


def _check_centre(here: Integer | Float) -> None:
    kind = "int" if isinstance(here, Integer) else "float"
    if here.prior is None:
        return
    if not isinstance(here.prior, Centre):
        raise SpaceError(f"the prior of a range is a Centre, got {here.prior!r}; write e.g. Centre({here.low!r})")
    if not here.low <= here.prior.value <= here.high:
        raise SpaceError(
            f"the centre of a prior lies in the range {kind}: [{here.low:.12g}, {here.high:.12g}], "
            f"got {here.prior.value:.12g}; choose a number in it, or widen the range"
        )
