"""The fields that a space gives a part, checked against the part's own typed config. Knows no part."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from nas.errors import NasError, SpaceError, did_you_mean
from nas.space.parameters import Categorical, Float, Integer, Parameter, Scalar, grid
from nas.space.space import Space
from nas.space.tree import Chain, Choice, Fixed, Group, Node, Repeat, When

_MOST_TOGETHER = 256

_MOST_DRAWN = 500
"""Combinations of values that are drawn where not all are tried: a rule that one in a hundred keeps is met by one."""


def parts(here: Node, path: str) -> Iterator[tuple[str, str, Group]]:
    """Yield every part that a slot may hold: its path, its name and its fields.

    A slot is written `{conv: {...}}`, `{choice: {conv: {...}, lstm: {...}}}`, `conv`, `[conv, lstm]`, or is a
    chain or a repeat of slots.

    Raises:
        SpaceError: what was written is none of these. The message begins with the path.
    """
    if isinstance(here, When):
        yield from parts(here.node, path)
    elif isinstance(here, Fixed | Categorical):
        for name in [here.value] if isinstance(here, Fixed) else here.options:
            yield path, str(name), Group({})
    elif isinstance(here, Choice):
        for name, option in here.options.items():
            yield f"{path}.{name}", name, option
    elif isinstance(here, Chain):
        for i, child in enumerate(here.items):
            yield from parts(child, f"{path}.{i}")
    elif isinstance(here, Repeat):
        yield from parts(here.block, f"{path}.0")
    elif isinstance(here, Group) and len(here.fields) == 1:
        name, fields = next(iter(here.fields.items()))
        if not isinstance(fields, Group):
            raise SpaceError(f"{path}.{name}: a part maps its fields to values; write {{{name}: {{}}}} for none")
        yield f"{path}.{name}", name, fields
    else:
        got = f"the keys {', '.join(here.fields) or '(none)'}" if isinstance(here, Group) else repr(here)
        raise SpaceError(
            f"{path}: one part is named here, got {got}; write {{conv: {{...}}}}, or {{choice: {{conv: {{...}}, "
            "lstm: {...}}} to search over several"
        )


def check_fields(space: Space, path: str, name: str, fields: Mapping[str, Node], config: type[Any]) -> None:
    """Check that every field exists in the dataclass `config`, and that every value is one it accepts.

    Values are tried by making the config: each value of a field together with some values of the others, so that
    a rule over two fields (dim divisible by heads) is only broken where no combination keeps it.

    Raises:
        SpaceError: naming file, line, path, value and what is known.
    """
    hints = get_type_hints(config)
    known = [f.name for f in dataclasses.fields(config)]
    values: dict[str, list[Scalar]] = {}
    for field, child in fields.items():
        here = f"{path}.{field}"
        if field not in known:
            problem = did_you_mean("field", field, known) if known else f"'{name}' has no fields, got '{field}'"
            raise SpaceError(f"{space.where(here)}: {name}: {problem}")
        values[field] = _values(space, here, child)
        for value in values[field]:
            if not _fits(value, hints[field]):
                raise SpaceError(f"{space.where(here)}: {field} is {_said(hints[field])}, got {value!r}")
    for field, candidates in values.items():
        others = {k: v for k, v in values.items() if k != field}
        drawn = {k: _parameter(fields[k]) for k in others}
        for value in candidates:
            if complaint := _refused(config, field, value, others, drawn):
                raise SpaceError(f"{space.where(f'{path}.{field}')}: {complaint}")


def _values(space: Space, path: str, here: Node) -> list[Scalar]:
    if isinstance(here, When):
        return _values(space, path, here.node)
    if isinstance(here, Fixed):
        return [here.value]
    if isinstance(here, Group | Choice | Chain | Repeat):
        raise SpaceError(f"{space.where(path)}: a field is a value, a list or a range, got a {type(here).__name__}")
    return list(grid(here, most=9 if not isinstance(here, Categorical) else 64))


def _parameter(here: Node) -> Parameter | Fixed:
    """Return what a field's value is chosen by."""
    while isinstance(here, When):
        here = here.node
    assert isinstance(here, Categorical | Integer | Float | Fixed), "_values has looked at it"
    return here


def _refused(
    config: type[Any],
    field: str,
    value: Scalar,
    others: Mapping[str, list[Scalar]],
    drawn: Mapping[str, Parameter | Fixed],
) -> str | None:
    """Return the first complaint where no combination with the other fields' values is accepted, else None.

    Args:
        others: some values of each of the others; where these are not all, others still are `drawn` at random.
    """
    some = itertools.islice(itertools.product(*others.values()), _MOST_TOGETHER)
    all_values = [1 if isinstance(one, Fixed) else one.cardinality() for one in drawn.values()]
    rng = np.random.default_rng(0)
    more = (
        tuple(one.value if isinstance(one, Fixed) else one.sample(rng) for one in drawn.values())
        for _ in range(_MOST_DRAWN if math.prod(all_values) > _MOST_TOGETHER or _are_thinned(others, all_values) else 0)
    )
    first = None
    for combination in itertools.chain(some, more):
        try:
            config(**{field: value}, **dict(zip(others, combination, strict=True)))
        except (ValueError, NasError) as error:
            first = first or str(error)
        else:
            return None
    return first


def _are_thinned(some: Mapping[str, list[Scalar]], all_values: list[float]) -> bool:
    return any(len(values) < n for values, n in zip(some.values(), all_values, strict=True))


def _fits(value: Scalar, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(value == option and type(value) is type(option) for option in get_args(hint))
    if get_args(hint):  # a union
        return any(_fits(value, option) for option in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _said(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(str(option) for option in get_args(hint))
    if get_args(hint):
        return " or ".join(_said(option) for option in get_args(hint))
    return {bool: "true or false", int: "an integer", float: "a number", str: "a word"}.get(hint, str(hint))
