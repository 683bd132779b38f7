"""What one parameter may be: a category, an integer or a float. Frozen values without torch or Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nas.errors import SpaceError

Scalar: TypeAlias = bool | int | float | str

_MOST = 10**12  # far beyond any width or count, and floats still tell two such integers apart on a log scale
_MOST_STEPS = 10**6
_OFF_GRID = 1e-6  # of a step: what adding steps in floating point may cost


def scalar(value: object, what: str = "a value") -> Scalar:
    """Return `value` as a plain bool, int, float or str (NumPy's kinds of float and str become Python's).

    Raises:
        SpaceError: it is none of them, not finite, beyond 10^12 as an integer, or no printable text.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _MOST:
            digits = f"{value:,}" if abs(value) < _MOST**2 else "one of more than 24 digits"
            raise SpaceError(f"{what} may be an integer of up to 10^12, got {digits}")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpaceError(f"{what} must be finite, got {float(value)!r}; write a number such as 0.5")
        return float(value) + 0.0  # no -0.0: it equals 0.0 and would be written differently
    if isinstance(value, str):
        if not value.isprintable():
            raise SpaceError(f"{what} is one line of printable text, got {str(value)!r}")
        return str.__str__(value)  # what an enumeration of words holds, not its name
    raise SpaceError(f"{what} is a number, a word or true/false, got {value!r}")


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of a few options.

    Numbers listed in rising order (kernel 3, 5, 7) are `ordered`: a sampler may treat neighbours as alike.

    >>> Categorical((3, 5, 7)).ordered, Categorical(("relu", "silu")).ordered, Categorical((False, True)).ordered
    (True, False, False)
    """

    options: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise SpaceError("a choice needs at least one option, got []; write e.g. [3, 5, 7], or 3 for a constant")
        object.__setattr__(self, "options", tuple(scalar(option, "an option") for option in self.options))
        for i, option in enumerate(self.options):
            if option in self.options[:i]:
                raise SpaceError(f"option {option!r} is listed twice in {list(self.options)}; leave one out")

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
        return any(option == value and isinstance(option, bool) == isinstance(value, bool) for option in self.options)

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
