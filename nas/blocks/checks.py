"""How a block's config checks itself: types and options from its annotations, ranges from rules."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from nas.errors import did_you_mean

Rule: TypeAlias = Callable[[Any], str | None]
"""Returns what a value must be, if it is not."""

_SCALARS: dict[type, type] = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}


def at_least(low: int) -> Rule:
    """Admit `low` and above."""
    return lambda value: None if value >= low else f"at least {low}"


def odd(value: int) -> str | None:
    """Admit 1, 3, 5, ...: windows with a middle, so that padding keeps the size."""
    return None if value >= 1 and value % 2 == 1 else "odd and at least 1"


def rate(value: float) -> str | None:
    """Admit a dropout rate: a share of the activations, in [0, 1)."""
    return None if 0 <= value < 1 else "in [0, 1)"


@functools.cache
def _field_types(owner: type) -> dict[str, Any]:
    """Field name to int, float, bool, str or Literal[...]; cached, since it evaluates annotations."""
    return get_type_hints(owner)


def check(config: Any, **rules: Rule) -> None:
    """Raise ValueError for the first field of a wrong type, an unknown option, or against its rule.

    To be called from `__post_init__`. An int passes for a float, a bool not for an int.
    """
    owner: Any = type(config)  # Any, since mypy holds that types have no hash
    for name, kind in _field_types(owner).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise ValueError(f"{name}: {did_you_mean('option', value, get_args(kind))}")
        elif not isinstance(value, _SCALARS[kind]) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{name} must be of type {kind.__name__}, got {value!r}")
        if name in rules and (wanted := rules[name](value)):
            raise ValueError(f"{name} must be {wanted}, got {value}")
