"""Spans of time as people write them."""

from __future__ import annotations

import math
import re

from nas.errors import NasError

_SCALE = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(text: str | float) -> float:
    """Read `90`, `90s`, `15m` or `1.5h`.

    Raises:
        NasError: the text is no such thing, or not above 0.

    >>> seconds("15m"), seconds("1.5h"), seconds(90)
    (900.0, 5400.0, 90.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|)\s*", str(text))
    found = float(match[1]) * _SCALE[match[2]] if match else math.nan
    if not (math.isfinite(found) and found > 0):
        raise NasError(f"time {text!r} cannot be read; write e.g. 90s, 15m or 1.5h")
    return found


def readable(span: float) -> str:
    """Return a span in seconds as one would say it.

    >>> readable(0.01), readable(42.4), readable(185), readable(7260)
    ('0.01 s', '42 s', '3 min 05 s', '2 h 01 min')
    """
    if span < 10:
        return f"{span:.2g} s"
    span = round(span)
    if span < 60:
        return f"{span} s"
    if span < 3600:
        return f"{span // 60} min {span % 60:02d} s"
    return f"{span // 3600} h {span % 3600 // 60:02d} min"
