"""The tree of a space, and the one traversal that sampling, checking, counting and every adapter use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from nas.errors import SpaceError, did_you_mean
from nas.space.conditions import Condition, check_once, check_possible, describe, parse_conditions
from nas.space.parameters import Categorical, Float, Integer, Parameter
from nas.space.priors import short_repr, weights
from nas.space.scalars import Scalar, scalar

KEYWORDS = frozenset({"int", "float", "options", "value", "choice", "chain", "repeat", "block", "when"})
"""What says in a space file of which kind a mapping is; no field has such a name."""

_NAME = re.compile(r"[A-Za-z_]\w*")
_MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Fixed:
    """A constant."""

    value: Scalar

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", scalar(self.value))


@dataclass(frozen=True)
class Group:
    """Named nodes side by side. The key of a part (`conv`) and its fields are a group within a group."""

    fields: Mapping[str, Node]

    def __post_init__(self) -> None:
        if not isinstance(self.fields, Mapping):
            raise SpaceError(f"fields are a mapping of names to values, got {self.fields!r}; write {{}} for none")
        _check_names(self.fields)
        if taken := KEYWORDS & set(self.fields):
            hint = "; a block stands beside a repeat" if "block" in taken else "; choose another name"
            raise SpaceError(f"'{min(taken)}' is a word of space files and cannot name a field{hint}")
        object.__setattr__(self, "fields", {name: node(child) for name, child in self.fields.items()})


@dataclass(frozen=True)
class Choice:
    """One of several named groups; only the chosen one's parameters exist. `prior` as that of a Categorical."""

    options: Mapping[str, Group]
    prior: tuple[float, ...] | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping | list | tuple):
            raise SpaceError(f"a choice maps names to fields or lists names, got {self.options!r}")
        if not self.options:
            raise SpaceError("a choice needs at least one option; write e.g. choice: {conv: {kernel: [3, 5]}}")
        _check_names(self.options)
        named = self.options if isinstance(self.options, Mapping) else dict.fromkeys(self.options)
        if len(named) < len(self.options):
            raise SpaceError(f"an option is listed twice in {list(self.options)}; leave one out")
        groups = {
            name: child if isinstance(child, Group) else Group({} if child is None else child)
            for name, child in named.items()
        }
        object.__setattr__(self, "options", groups)
        if self.prior is not None:
            object.__setattr__(self, "prior", weights(self.prior, tuple(groups)))

    @cached_property
    def names(self) -> Categorical:
        """The parameter that chooses among them."""
        return Categorical(tuple(self.options), self.prior)


@dataclass(frozen=True)
class Chain:
    """Nodes one after the other; their paths end in 0, 1, 2, ..."""

    items: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(node(child) for child in self.items))
        if not self.items:
            raise SpaceError("a chain needs at least one item; write e.g. [{conv: {}}, {pool: {}}]")


@dataclass(frozen=True)
class Repeat:
    """The same node several times over, each with choices of its own; how many times may be searched.

    A parameter at position 2, `body.2.conv.kernel`, has the role `body.conv.kernel` at every position.
    """

    count: Fixed | Integer | Categorical
    block: Node

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", node(self.count))
        object.__setattr__(self, "block", node(self.block))
        if isinstance(self.count, Fixed):
            values: tuple[Scalar, ...] = (self.count.value,)
        elif isinstance(self.count, Integer):
            values = (self.count.low, self.count.high)
        elif isinstance(self.count, Categorical):
            values = self.count.options
        else:
            raise SpaceError(f"a repeat count is a number, a list or an int range, got {_said(self.count)}")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1000:
                raise SpaceError(f"a repeat count is an integer from 0 to 1000, got {value!r}; write e.g. int: [1, 4]")

    @property
    def most(self) -> int:
        """The largest count."""
        return int(max(_values(self.count)))


@dataclass(frozen=True)
class When:
    """A node that exists only where all the conditions hold."""

    conditions: tuple[Condition, ...]
    node: Node

    def __post_init__(self) -> None:
        if isinstance(self.conditions, Mapping):
            object.__setattr__(self, "conditions", parse_conditions(self.conditions))
        object.__setattr__(self, "node", node(self.node))
        if isinstance(self.node, When):  # one mapping holds all the conditions
            object.__setattr__(self, "conditions", (*self.conditions, *self.node.conditions))
            object.__setattr__(self, "node", self.node.node)
        check_once([condition.path for condition in self.conditions])


Node: TypeAlias = "Fixed | Parameter | Group | Choice | Chain | Repeat | When"
Tree: TypeAlias = "Scalar | dict[str, Tree] | list[Tree]"
"""A resolved tree: what one architecture is, with every choice made. A choice is `{name: fields}`."""


def node(written: object) -> Node:
    """Turn plain Python into a node: a mapping into a group, a list of values into a category, a value into itself.

    >>> node({"kernel": [3, 5], "stride": 1})
    Group(fields={'kernel': Categorical(options=(3, 5)), 'stride': Fixed(value=1)})
    """
    if isinstance(written, Fixed | Categorical | Integer | Float | Group | Choice | Chain | Repeat | When):
        return written
    if isinstance(written, Mapping):
        return Group(written)
    if isinstance(written, bool | int | float | str):
        return Fixed(written)
    if isinstance(written, Sequence):
        if all(isinstance(item, bool | int | float | str) for item in written):
            return Categorical(tuple(written))
        return Chain(tuple(written))
    raise SpaceError(f"a node is a value, a list, a mapping or a part of nas.space, got {written!r}")


@dataclass(frozen=True, slots=True)
class Slot:
    """One parameter at its place in the tree."""

    path: str
    role: str
    parameter: Parameter
    at: tuple[tuple[str, int], ...] = ()
    """The repeats it lies in, outermost first: the role of each one's count, and the position."""


Choose: TypeAlias = Callable[[Slot], Scalar]
At: TypeAlias = tuple[tuple[str, int], ...]


def walk(root: Group, choose: Choose) -> tuple[dict[str, Scalar], dict[str, Tree]]:
    """Go through the tree in its order, asking `choose` for every parameter that is active.

    Returns:
        The chosen values by path, and the resolved tree.
    Raises:
        SpaceError: a chosen value is not one the parameter can have.
    """
    chosen: dict[str, Scalar] = {}
    known: dict[str, Scalar] = {}  # fixed values too: a condition may name one

    def decide(path: str, role: str, parameter: Parameter, at: At) -> Scalar:
        value = choose(Slot(path, role, parameter, at))
        if not parameter.contains(value):
            raise SpaceError(f"{path}: {value!r} is not one of its values; it is {describe(parameter)}")
        chosen[path] = known[path] = value = parameter.canonical(value)  # one architecture, one fingerprint
        return value

    def visit(here: Node, path: str, role: str, group: str, at: At) -> Tree | None:
        if isinstance(here, When):
            if not all(_holds(condition, known, group) for condition in here.conditions):
                return None
            return visit(here.node, path, role, group, at)
        if isinstance(here, Fixed):
            known[path] = here.value
            return here.value
        if isinstance(here, Group):
            named = here.fields.items()
            return _present_items({k: visit(c, join(path, k), join(role, k), path, at) for k, c in named})
        if isinstance(here, Choice):
            name = str(decide(path, role, here.names, at))
            return {name: visit(here.options[name], join(path, name), join(role, name), path, at) or {}}
        if isinstance(here, Chain):
            return _present(visit(c, join(path, i), join(role, i), path, at) for i, c in enumerate(here.items))
        if isinstance(here, Repeat):
            times = _count_role(role, at)
            count = visit(here.count, join(path, "repeat"), times, path, at)
            positions = range(int(count))  # type: ignore[arg-type]  # a repeat counts in integers
            return _present(visit(here.block, join(path, i), role, path, (*at, (times, i))) for i in positions)
        return decide(path, role, here, at)

    tree = visit(root, "", "", "", ())
    return chosen, tree  # type: ignore[return-value]  # the root is a group


def slots(root: Group) -> dict[str, Slot]:
    """Return every parameter that any architecture can have, by path, in the order of the tree.

    Raises:
        SpaceError: a condition names a path that does not exist or comes later, or can never hold; or repeats
            within repeats make more than 100,000 nodes.
    """
    found: dict[str, Slot] = {}
    fixed: dict[str, Scalar] = {}
    missing: list[tuple[str, str, list[str]]] = []
    n_nodes = 0

    def visit(here: Node, path: str, role: str, group: str, at: At) -> None:
        nonlocal n_nodes
        n_nodes += 1
        if n_nodes > _MOST_NODES:
            raise SpaceError(f"{path}: the repeats make more than {_MOST_NODES:,} nodes; lower their counts")
        if isinstance(here, When):
            for condition in here.conditions:
                _check_condition(condition.absolute(group), condition, path)
            visit(here.node, path, role, group, at)
        elif isinstance(here, Fixed):
            fixed[path] = here.value
        elif isinstance(here, Group):
            for name, child in here.fields.items():
                visit(child, join(path, name), join(role, name), path, at)
        elif isinstance(here, Choice):
            found[path] = Slot(path, role, here.names, at)
            for name, option in here.options.items():
                visit(option, join(path, name), join(role, name), path, at)
        elif isinstance(here, Chain):
            for i, child in enumerate(here.items):
                visit(child, join(path, i), join(role, i), path, at)
        elif isinstance(here, Repeat):
            times = _count_role(role, at)
            visit(here.count, join(path, "repeat"), times, path, at)
            for i in range(here.most):
                visit(here.block, join(path, i), role, path, (*at, (times, i)))
        else:
            found[path] = Slot(path, role, here, at)

    def _check_condition(target: str, condition: Condition, path: str) -> None:
        if target in found:
            at: Parameter | Scalar = found[target].parameter
        elif target in fixed:
            at = fixed[target]
        else:
            missing.append((path, target, [*found, *fixed] if not missing else []))
            return
        try:
            check_possible(condition.test, at, target)
        except SpaceError as error:
            raise SpaceError(f"{path}: impossible condition: {error}") from None

    visit(root, "", "", "", ())
    for path, target, before in missing:
        if target in found or target in fixed:
            raise SpaceError(f"{path}: 'when' names {target}, which comes later; write {target} before it")
        raise SpaceError(f"{path}: 'when' names {target}, and before it is {did_you_mean('parameter', target, before)}")
    return found


def count(here: Node) -> tuple[int, int]:
    """Return how many combinations of discrete choices there are, and how many continuous parameters.

    Conditions and forbidden combinations are not looked at: with them it is an upper bound. A continuous
    parameter counts as one value.
    """
    if isinstance(here, When):
        return count(here.node)
    if isinstance(here, Fixed):
        return 1, 0
    if isinstance(here, Group | Chain):
        children = here.fields.values() if isinstance(here, Group) else here.items
        combinations, continuous = 1, 0
        for child in children:
            n, c = count(child)
            combinations, continuous = combinations * n, continuous + c
        return combinations, continuous
    if isinstance(here, Choice):
        counts = [count(option) for option in here.options.values()]
        return sum(n for n, _ in counts), sum(c for _, c in counts)
    if isinstance(here, Repeat):
        n, c = count(here.block)
        return sum(n**k for k in _values(here.count)), c * here.most
    if isinstance(here, Float) and here.step is None and here.low < here.high:
        return 1, 1
    return int(here.cardinality()), 0


def conditional(here: Node) -> bool:
    """Whether any node below has a condition."""
    return isinstance(here, When) or any(conditional(child) for _, child in children(here))


def children(here: Node) -> Iterator[tuple[str, Node]]:
    """Yield the nodes directly below, each with the last part of its path (`0` for every position of a repeat)."""
    if isinstance(here, When):
        yield from children(here.node)
    elif isinstance(here, Group):
        yield from here.fields.items()
    elif isinstance(here, Choice):
        yield from here.options.items()
    elif isinstance(here, Chain):
        yield from ((str(i), child) for i, child in enumerate(here.items))
    elif isinstance(here, Repeat):
        yield "repeat", here.count
        yield "0", here.block


def _values(count: Node) -> Sequence[int]:
    if isinstance(count, Fixed):
        return [int(count.value)]
    if isinstance(count, Integer):
        return range(count.low, count.high + 1, count.step)
    assert isinstance(count, Categorical)
    return [int(option) for option in count.options]


def _holds(condition: Condition, known: Mapping[str, Scalar], group: str) -> bool:
    path = condition.absolute(group)
    return path in known and condition.test.holds(known[path])


def _present(items: Iterator[Tree | None]) -> list[Tree]:
    return [item for item in items if item is not None]


def _present_items(items: Mapping[str, Tree | None]) -> dict[str, Tree]:
    return {name: item for name, item in items.items() if item is not None}


def _count_role(role: str, at: At) -> str:
    """Return the role of a repeat's count; directly within another repeat it is not that one's `body.repeat`."""
    name = join(role, "repeat")
    while any(repeat == name for repeat, _ in at):
        name += ".repeat"
    return name


def _said(here: Node) -> str:
    return describe(here) if isinstance(here, Float) else f"a {type(here).__name__}"


def join(path: str, part: str | int) -> str:
    """Return the path of a part of what is at `path`."""
    return f"{path}.{part}" if path else str(part)


def _check_names(names: Iterable[object]) -> None:
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SpaceError(f"a name is letters, digits and underscores and starts with no digit, got {name!r}")
