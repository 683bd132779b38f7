"""Space -> the text of a space file, Python source, or a tree to look at."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from nas.space.conditions import describe
from nas.space.parameters import Categorical, Float, Integer
from nas.space.priors import Centre
from nas.space.scalars import Scalar
from nas.space.space import Space
from nas.space.tree import Chain, Choice, Fixed, Group, Node, Repeat, When
from nas.space.yaml import Loader


class Dumper(yaml.SafeDumper):
    """Writes plain values so that `nas.space.yaml.Loader` reads the very same."""

    def ignore_aliases(self, data: object) -> bool:
        return True


Dumper.yaml_implicit_resolvers = Loader.yaml_implicit_resolvers  # quote what would be read as something else
Dumper.add_representer(float, lambda dumper, x: dumper.represent_scalar("tag:yaml.org,2002:float", _float(x)))


def _float(x: float) -> str:
    """Return a float that reads back as a float."""
    text = repr(x)
    return text if any(mark in text for mark in ".en") else f"{text}.0"


def to_yaml(space: Space) -> str:
    """Return the space as the text of a space file."""
    document: dict[str, object] = {"input": space.input}
    document |= {name: _plain(child) for name, child in space.root.fields.items()}
    if space.forbid:
        document["forbid"] = [clause.plain() for clause in space.forbid]
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=110)


def _plain(here: Node) -> object:
    if isinstance(here, When):
        inner = _plain(here.node)
        if isinstance(here.node, Fixed):
            inner = {"value": inner}
        elif isinstance(here.node, Categorical) and isinstance(inner, list):
            inner = {"options": inner}
        elif isinstance(here.node, Chain) and isinstance(inner, list):
            inner = {"chain": inner}
        assert isinstance(inner, dict)
        return {**inner, "when": {condition.path: condition.test.plain() for condition in here.conditions}}
    if isinstance(here, Fixed):
        return here.value
    if isinstance(here, Categorical):
        options = list(here.options)
        return options if here.prior is None else {"options": options, **_prior(here)}
    if isinstance(here, Integer | Float):
        kind = "int" if isinstance(here, Integer) else "float"
        written: dict[str, object] = {kind: [here.low, here.high]}
        if here.step not in (None, 1):
            written["step"] = here.step
        if isinstance(here, Float) and here.step is not None:
            written["step"] = here.step
        return written | ({"log": True} if here.log else {}) | _prior(here)
    if isinstance(here, Group):
        return {name: _plain(child) for name, child in here.fields.items()}
    if isinstance(here, Choice):
        return {"choice": {name: _plain(option) for name, option in here.options.items()}, **_prior(here)}
    if isinstance(here, Chain):
        items = [_plain(child) for child in here.items]
        constants = all(isinstance(child, Fixed) for child in here.items)
        return {"chain": items} if constants else items  # a plain list of constants is a choice among them
    return {"repeat": _plain(here.count), "block": _plain(here.block)}


def _prior(here: Categorical | Integer | Float | Choice) -> dict[str, object]:
    """Return what says the prior, nothing where there is none."""
    if here.prior is None:
        return {}
    if isinstance(here, Choice):
        return {"prior": _by_option(here)}
    if isinstance(here, Categorical):
        return {"prior": [_whole(weight) for weight in here.prior]}
    value, confidence = _whole(here.prior.value), here.prior.confidence
    return {"prior": value if here.prior == Centre(value) else {"centre": value, "confidence": confidence}}


def _by_option(here: Categorical | Choice) -> dict[Scalar, int | float]:
    """Return the weights that are not 1, by option; all of them where none would be left."""
    found = {option: _whole(weight) for option, weight in zip(here.options, here.prior or (), strict=True)}
    return {option: weight for option, weight in found.items() if weight != 1} or found


def _whole(number: float) -> int | float:
    """Return a number as one would write it: 2 for 2.0."""
    return int(number) if number.is_integer() and abs(number) <= 10**12 else number


_KINDS = ("Categorical", "Centre", "Chain", "Choice", "Fixed", "Float", "Integer", "Repeat", "Space", "When")


def to_python(space: Space) -> str:
    """Return Python source that defines `space`; running it gives an equal space."""
    root = "".join(f"        {name!r}: {_source(child, 2)},\n" for name, child in space.root.fields.items())
    forbid = "".join(f"        {clause.plain()!r},\n" for clause in space.forbid)
    used = [kind for kind in _KINDS if f"{kind}(" in f"{root} Space("]
    return (
        f"from nas.space import {', '.join(used)}\n\n"
        f"space = Space(\n    name={space.name!r},\n    input={space.input!r},\n    root={{\n{root}    }},\n"
        + (f"    forbid=[\n{forbid}    ],\n" if forbid else "")
        + ")\n"
    )


def _source(here: Node, depth: int) -> str:
    pad, end = "    " * (depth + 1), "    " * depth
    if isinstance(here, When):
        conditions = {condition.path: condition.test.plain() for condition in here.conditions}
        return f"When({conditions!r}, {_source(here.node, depth)})"
    if isinstance(here, Fixed):
        return repr(here.value)
    if isinstance(here, Categorical):
        options = list(here.options)
        return repr(options) if here.prior is None else f"Categorical({options!r}{_belief(here)})"
    if isinstance(here, Integer | Float):
        step = f", step={here.step!r}" if here.step not in (None, 1) or isinstance(here.step, float) else ""
        log = ", log=True" if here.log else ""
        return f"{type(here).__name__}({here.low!r}, {here.high!r}{step}{log}{_belief(here)})"
    if isinstance(here, Repeat):
        return f"Repeat({_source(here.count, depth)}, {_source(here.block, depth)})"
    if isinstance(here, Chain):
        return f"Chain([{''.join(f'{chr(10)}{pad}{_source(child, depth + 1)},' for child in here.items)}\n{end}])"
    fields = here.options if isinstance(here, Choice) else here.fields
    inside = "".join(f"\n{pad}{name!r}: {_source(child, depth + 1)}," for name, child in fields.items())
    text = f"{{{inside}\n{end}}}" if inside else "{}"
    return f"Choice({text}{_belief(here)})" if isinstance(here, Choice) else text


def _belief(here: Categorical | Integer | Float | Choice) -> str:
    """Return the prior as the last argument in Python, nothing where there is none."""
    written = _prior(here).get("prior")
    if isinstance(here, Integer | Float) and here.prior is not None:
        sure = f", {here.prior.confidence!r}" if isinstance(written, dict) else ""
        return f", prior=Centre({_whole(here.prior.value)!r}{sure})"
    return f", prior={written!r}" if written else ""


def outline(space: Space) -> str:
    """Return the tree as indented lines, one node each."""
    lines = [line for name, child in space.root.fields.items() for line in _lines(name, child, 0)]
    for clause in space.forbid:
        lines.append("forbidden: " + " with ".join(f"{path} {_word(value)}" for path, value in clause.plain().items()))
    return "\n".join(lines)


def _lines(name: str, here: Node, depth: int, note: str = "") -> Iterator[str]:
    pad = "  " * depth
    if isinstance(here, When):
        conditions = ", ".join(f"{c.path} {c.test.plain()}" for c in here.conditions)
        yield from _lines(name, here.node, depth, f"  (when {conditions})")
    elif isinstance(here, Fixed):
        yield f"{pad}{name}: {_word(here.value)}{note}"
    elif isinstance(here, Categorical | Integer | Float):
        yield f"{pad}{name}: {describe(here)}{_told(here)}{note}"
    elif isinstance(here, Repeat):
        count = here.count
        times = _word(count.value) if isinstance(count, Fixed) else f"{describe(count)}{_told(count)}"
        yield f"{pad}{name}: repeated, {times}{note}"
        yield from _lines("block", here.block, depth + 1)
    elif isinstance(here, Chain):
        yield f"{pad}{name}: in this order{note}"
        for i, child in enumerate(here.items):
            yield from _lines(str(i), child, depth + 1)
    else:
        kind = ": one of" if isinstance(here, Choice) else (":" if here.fields else "")
        yield f"{pad}{name}{kind}{_told(here) if isinstance(here, Choice) else ''}{note}"
        for key, child in (here.options if isinstance(here, Choice) else here.fields).items():
            yield from _lines(key, child, depth + 1)


def _told(here: Categorical | Integer | Float | Choice) -> str:
    if here.prior is None:
        return ""
    if isinstance(here, Integer | Float):
        sure = f", confidence {here.prior.confidence:.12g}" if here.prior.confidence != Centre(0).confidence else ""
        return f"  (prior near {here.prior.value:.12g}{sure})"
    return f"  (prior {', '.join(f'{_word(option)}: {weight:.12g}' for option, weight in _by_option(here).items())})"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
