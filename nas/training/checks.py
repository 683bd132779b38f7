"""Fields of a config against rules that read like intervals."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from nas.errors import SpaceError


def check(config: object, **rules: str) -> None:
    """Check fields against rules such as "(0, 1]", "int [1, inf)" or "bool".

    Raises:
        SpaceError: its text begins with the field's name, so that a caller can put a path before it.
    """
    for name, rule in rules.items():
        value: Any = getattr(config, name)
        if rule == "bool":
            if not isinstance(value, bool):
                raise SpaceError(f"{name} must be true or false, got {value!r}")
            continue
        whole, interval = rule.startswith("int "), rule.removeprefix("int ")
        numeric = isinstance(value, Integral) if whole else isinstance(value, Real)
        if isinstance(value, bool) or not numeric:
            hint = "; YAML reads 1e-3 as text, write 1.0e-3" if isinstance(value, str) else ""
            raise SpaceError(f"{name} must be {'a whole number' if whole else 'a number'}, got {value!r}{hint}")
        low, high = map(float, interval[1:-1].split(","))
        above = value > low if interval[0] == "(" else value >= low
        below = value < high if interval[-1] == ")" else value <= high
        if not (above and below):  # false for NaN as well
            raise SpaceError(f"{name} must be in {interval}, got {value!r}")
