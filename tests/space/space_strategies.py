"""Random spaces: every kind of node, nested, with priors, conditions and forbidden combinations that can occur."""

from __future__ import annotations

import dataclasses
import functools

from hypothesis import strategies as st

from nas.space import (
    Categorical,
    Centre,
    Chain,
    Choice,
    Condition,
    Fixed,
    Float,
    Forbidden,
    Group,
    Integer,
    Repeat,
    Space,
    When,
)
from nas.space.conditions import Compare, OneOf
from nas.space.parameters import grid

NAMES = ["conv", "kernel", "width", "no", "on", "true", "null", "y", "expand", "_x", "LSTM", "e5", "largeur_é"]
TRICKY = [
    "",
    " ",
    "no",
    "on",
    "true",
    "null",
    "~",
    "1e-3",
    "010",
    "0x10",
    "1_000",
    ".5",
    ".inf",
    "2001-01-01",
    ">=3",
    "<<",
]
TRICKY += [
    "a b",
    " a",
    "#x",
    "a #x",
    ": ",
    "a: b",
    "- x",
    "*a",
    "&a",
    "!t",
    "%x",
    "@x",
    "'",
    '"',
    "{",
    "]",
    "\\n",
    "é",
    "😀",
    "?",
]

words = st.sampled_from(TRICKY) | st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=8)
integers = st.integers(-1000, 1000)
floats = st.floats(-1e6, 1e6, allow_nan=False) | st.sampled_from([1e-5, 0.1, 1e16, 5e-324, 1e300])
scalars = st.booleans() | integers | floats | words

fixed = st.builds(Fixed, scalars)
categorical = st.lists(scalars, min_size=1, max_size=4, unique=True).map(lambda options: Categorical(tuple(options)))
integer = st.builds(
    lambda low, n, step: Integer(low, low + n * step, step), integers, st.integers(0, 8), st.integers(1, 9)
) | st.builds(lambda low, n: Integer(low, low + n, log=True), st.integers(1, 500), st.integers(0, 500))
positive = st.floats(1e-9, 1e6)
real = (
    st.builds(lambda a, b: Float(min(a, b), max(a, b)), floats, floats)
    | st.builds(lambda a, b: Float(min(a, b), max(a, b), log=True), positive, positive)
    | st.builds(
        lambda k, n, step: Float(k * step, (k + n) * step, step=step),
        st.integers(-50, 50),
        st.integers(0, 20),
        st.sampled_from([0.1, 0.25, 1e-3, 3.0, 1 / 3]),
    )
)
weights = st.integers(0, 9) | st.floats(0, allow_nan=False, allow_infinity=False)
confidences = st.just(0.5) | st.floats(0, 1, exclude_min=True, exclude_max=True)


@st.composite
def believed(draw, plain):
    """What `plain` draws, half of it with a prior; constants have none."""
    here = draw(plain)
    if isinstance(here, Fixed) or draw(st.booleans()):
        return here
    if isinstance(here, Integer | Float):
        centre = here.from_unit(draw(st.floats(0, 1)))
        return dataclasses.replace(here, prior=Centre(centre, draw(confidences)))
    n = len(here.options)
    listed = draw(st.lists(weights, min_size=n, max_size=n).filter(any))
    names = list(here.options)
    prior = dict(draw(st.permutations(list(zip(names, listed, strict=True))))) if draw(st.booleans()) else listed
    return dataclasses.replace(here, prior=prior)


parameters = believed(categorical | integer | real)
few = st.lists(scalars, min_size=1, max_size=2, unique=True).map(lambda options: Categorical(tuple(options)))

counts = believed(
    st.integers(0, 3).map(Fixed)
    | st.builds(lambda low, n: Integer(low, low + n), st.integers(0, 2), st.integers(0, 2))
    | st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).map(lambda c: Categorical(tuple(c)))
)


@functools.cache
def trees(leaves=fixed | parameters, max_leaves=6):
    """Nodes without conditions."""

    def wider(inner):
        groups = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3).map(Group)
        return (
            groups
            | believed(
                st.dictionaries(st.sampled_from([*NAMES, "int", "when"]), groups, min_size=1, max_size=3).map(Choice)
            )
            | st.lists(inner, min_size=1, max_size=3).map(lambda items: Chain(tuple(items)))
            | st.builds(Repeat, counts, inner)
        )

    return st.recursive(leaves, wider, max_leaves=max_leaves)


def possible_tests(parameter):
    """Tests that some value of the parameter passes."""
    values = list(grid(parameter, most=16))
    known = st.lists(st.sampled_from(values), min_size=1, max_size=2).map(lambda v: OneOf(tuple(v)))
    if any(isinstance(value, bool | str) for value in values):
        return known
    return known | st.builds(Compare, st.sampled_from([">=", "<="]), st.sampled_from(values).map(float))


def _join(path, part):
    return f"{path}.{part}" if path else str(part)


def _conditioned(draw, here, path, group, known, may=True):
    """Wrap nodes in conditions on what comes before them; `known` grows in the order of the tree."""
    if may and known and draw(st.integers(0, 3)) == 0:
        target, at = draw(st.sampled_from(known))
        test = draw(possible_tests(Categorical((at.value,)) if isinstance(at, Fixed) else at))
        relative = group and target.startswith(f"{group}.") and draw(st.booleans())
        condition = Condition(target[len(group) :] if relative else target, test)
        return When((condition,), _conditioned(draw, here, path, group, known, may=False))
    if isinstance(here, Group):
        return Group({k: _conditioned(draw, c, _join(path, k), path, known) for k, c in here.fields.items()})
    if isinstance(here, Choice):
        known.append((path, Categorical(tuple(here.options))))
        groups = {k: _conditioned(draw, c, _join(path, k), path, known, False) for k, c in here.options.items()}
        return Choice(groups, here.prior)
    if isinstance(here, Chain):
        return Chain(tuple(_conditioned(draw, c, _join(path, i), path, known) for i, c in enumerate(here.items)))
    if isinstance(here, Repeat):
        known.append((_join(path, "repeat"), here.count))
        return Repeat(here.count, _conditioned(draw, here.block, _join(path, 0), path, known)) if here.most else here
    known.append((path, here))
    return here


@st.composite
def spaces(draw, *, leaves=fixed | parameters, conditions=True, forbid=True, max_leaves=6):
    """Whole spaces, their sections in any order."""
    names = ["body", "head", *draw(st.lists(st.sampled_from(["stem", "training"]), unique=True))]
    fields = {name: draw(trees(leaves, max_leaves)) for name in draw(st.permutations(names))}
    root = _conditioned(draw, Group(fields), "", "", [], may=False) if conditions else Group(fields)
    space = Space(draw(st.sampled_from(["image", "sequence", "vector"])), root)
    named = {role: slots[0].parameter for role, slots in space.roles.items()}
    named |= {path: slot.parameter for path, slot in space.slots.items()}
    several = [path for path, parameter in named.items() if parameter.cardinality() > 1]
    if not forbid or not several:
        return space
    clauses = []
    for _ in range(draw(st.integers(0, 2))):
        paths = draw(st.lists(st.sampled_from(several), min_size=1, max_size=2, unique=True))
        values = {path: st.sampled_from(list(grid(named[path], most=16))) for path in paths}
        clauses.append(Forbidden(tuple((path, OneOf((draw(value),))) for path, value in values.items())))
    return Space(space.input, root, tuple(clauses))
