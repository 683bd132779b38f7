"""What a plain value is: all that stands at the leaves of a space and of an architecture."""

from __future__ import annotations

import math
from typing import TypeAlias

from nas.errors import SpaceError

Scalar: TypeAlias = bool | int | float | str

_MOST = 10**12  # far beyond any width or count, and floats still tell two such integers apart on a log scale


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


def same(a: object, b: object) -> bool:
    """Whether two plain values are the same; 3 and 3.0 are, 1 and true are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)
