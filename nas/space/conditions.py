"""Tests on the value at a path, and the two things made of them: "active when" and "forbidden when"."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nas.errors import SpaceError
from nas.space.parameters import Categorical, Parameter, Scalar, grid, scalar

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"^(<=|>=|!=|<|>)\s*(.+)$")


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of these."""

    values: tuple[Scalar, ...]

    def holds(self, value: Scalar) -> bool:
        """Whether `value` is among them; 1 and true are not the same."""
        return any(v == value and isinstance(v, bool) == isinstance(value, bool) for v in self.values)

    def plain(self) -> object:
        """Return what one would write in YAML."""
        first = self.values[0]
        alone = len(self.values) == 1 and not (isinstance(first, str) and _COMPARISON.match(first))
        return first if alone else list(self.values)


@dataclass(frozen=True, slots=True)
class Compare:
    """The value stands in this relation to a number."""

    sign: str
    number: float

    def holds(self, value: Scalar) -> bool:
        """Whether a number `value` satisfies the relation; words never do."""
        if isinstance(value, str | bool):
            return False
        return _OPERATORS[self.sign](value, self.number)

    def plain(self) -> object:
        """Return what one would write in YAML."""
        return f"{self.sign}{self.number!r}".removesuffix(".0")


Test: TypeAlias = OneOf | Compare


def parse_test(written: object) -> Test:
    """Read a test: a value, a list of values, or a comparison such as '>=3'.

    >>> parse_test(3), parse_test([3, 5]), parse_test(">=3")
    (OneOf(values=(3,)), OneOf(values=(3, 5)), Compare(sign='>=', number=3.0))
    """
    if isinstance(written, OneOf | Compare):
        return written
    if isinstance(written, str) and (match := _COMPARISON.match(written)):
        try:
            number = float(match[2])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SpaceError(f"a comparison needs a number, got {written!r}; write e.g. '>=3'")
        return Compare(match[1], number)
    if isinstance(written, bool | int | float | str):
        return OneOf((scalar(written),))
    if isinstance(written, list | tuple) and written and all(isinstance(v, bool | int | float | str) for v in written):
        return OneOf(tuple(scalar(value) for value in written))
    raise SpaceError(f"a condition is a value, a list of values or a comparison such as '>=3', got {written!r}")


def check_possible(test: Test, at: Parameter | Scalar, path: str) -> None:
    """Raise SpaceError where the value at `path` can never satisfy `test`, or a listed value cannot occur.

    Args:
        at: the parameter found at `path`, or its fixed value.
    """
    parameter = Categorical((at,)) if isinstance(at, bool | int | float | str) else at
    if isinstance(test, OneOf):
        strange = [v for v in test.values if not parameter.contains(v) or parameter.canonical(v) != v]
        if strange:
            raise SpaceError(f"{path} can never be {strange[0]!r}; it is {describe(parameter)}")
    elif not any(test.holds(v) for v in grid(parameter)):
        raise SpaceError(f"{path} can never be {test.plain()}; it is {describe(parameter)}")


def describe(parameter: Parameter) -> str:
    """Return a parameter as one would read it aloud."""
    if isinstance(parameter, Categorical):
        return "one of " + ", ".join(_word(o) for o in parameter.options)
    kind = "an integer" if hasattr(parameter, "step") and isinstance(parameter.low, int) else "a number"
    step = f" in steps of {parameter.step:.12g}" if parameter.step not in (None, 1) else ""
    return f"{kind} from {parameter.low:.12g} to {parameter.high:.12g}{step}{' (log)' if parameter.log else ''}"


def _word(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Condition:
    """A node exists only where the value at `path` passes `test`.

    A path that starts with a dot names a neighbour: `.stride` beside a block's `kernel` is that block's stride.
    """

    path: str
    test: Test

    def absolute(self, group: str) -> str:
        """Return the full path, where the node that has the condition lies in the group at path `group`."""
        if not self.path.startswith("."):
            return self.path
        return f"{group}{self.path}" if group else self.path[1:]


def check_once(paths: Sequence[str]) -> None:
    """Raise SpaceError where a path is named twice: a mapping could not hold both tests."""
    for path in paths:
        if paths.count(path) > 1:
            raise SpaceError(f"two conditions on {path}; write one, with a list of values such as [3, 5]")


def parse_conditions(written: object) -> tuple[Condition, ...]:
    """Read `{path: test, ...}`; all of them must hold."""
    if not isinstance(written, Mapping) or not written:
        raise SpaceError(f"'when' maps paths to values, got {written!r}; write e.g. when: {{training.optimizer: sgd}}")
    return tuple(Condition(str(path), parse_test(test)) for path, test in written.items())


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A combination that must not occur: all the items together.

    A path names one parameter (`body.0.lstm.hidden`); its role (`body.lstm.hidden`) means "at any one position",
    and roles of the same repeat in one clause mean the same position.
    """

    items: tuple[tuple[str, Test], ...]

    def __post_init__(self) -> None:
        check_once([path for path, _ in self.items])

    def plain(self) -> dict[str, object]:
        """Return what one would write in YAML."""
        return {path: test.plain() for path, test in self.items}


def parse_forbidden(written: object) -> Forbidden:
    """Read one clause, `{path: test, ...}`."""
    if isinstance(written, Forbidden):
        return written
    if not isinstance(written, Mapping) or not written:
        raise SpaceError(
            f"a forbidden combination maps paths to values, got {written!r}; "
            "write e.g. - {training.batch_size: 256, training.optimizer: sgd}"
        )
    return Forbidden(tuple((str(path), parse_test(test)) for path, test in written.items()))
