"""A space file -> Space. An error names file, line, path, value and remedy; nothing in a file is executed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from nas.errors import SpaceError, did_you_mean
from nas.space.conditions import Forbidden, parse_conditions, parse_forbidden
from nas.space.parameters import Categorical, Float, Integer
from nas.space.priors import Centre
from nas.space.space import INPUTS, Space
from nas.space.tree import Chain, Choice, Fixed, Group, Node, Repeat, When, slots

_TOP = ("name", "input", "stem", "body", "head", "training", "deploy", "forbid")
_SECTIONS = ("stem", "body", "head", "training", "deploy")
_EXTRAS = {  # the key that says what a mapping is -> the keys that may stand beside it
    "int": ("step", "log", "prior"),
    "float": ("step", "log", "prior"),
    "options": ("prior",),
    "value": (),
    "choice": ("prior",),
    "chain": (),
    "repeat": ("block",),
}
_CENTRE = ("centre", "confidence")
_DEPTH, _MOST_NODES = 40, 20_000  # far beyond any space; below what recursion and memory bear
_MERGE = "tag:yaml.org,2002:merge"


T = TypeVar("T")
Weighted = TypeVar("Weighted", Categorical, Integer, Float, Choice)


class Refused(yaml.MarkedYAMLError):
    """YAML, but of a kind that no space file needs."""


class Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e-3 is a number, 010 is ten, and yes / no / on / off are words.

    Tags are refused, and so is what nests too deeply or grows too large through its aliases.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = self.size = 0
        self.sizes: dict[yaml.Node | None, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; count an alias as all that it stands for."""
        event: Any = self.peek_event()
        before, mark = self.size, event.start_mark
        if tag := getattr(event, "tag", None):
            raise Refused(None, None, f"a tag is not allowed, got {tag!r}; write the value alone", mark)
        self.depth += 1
        if self.depth > _DEPTH:
            raise Refused(None, None, f"nested more than {_DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            self.size += 1
            self.sizes[node] = self.size - before
        elif node not in self.sizes:
            raise Refused(None, None, f"alias *{event.anchor} stands within what it names", mark)
        else:
            self.size += self.sizes[node]
        if self.size > _MOST_NODES:
            raise Refused(None, None, f"more than {_MOST_NODES:,} values, aliases written out", mark)
        return node

    def decimal(self, node: yaml.ScalarNode) -> int:
        """Return an integer; digits are decimal whatever they begin with."""
        return int(node.value.replace("_", ""))


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag in ("tag:yaml.org,2002:null", _MERGE)]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9][0-9_]*$"), list("-+0123456789"))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.decimal)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN))$"),
    list("-+0123456789."),
)


def load_document(text: str, file: str) -> tuple[yaml.Node | None, yaml.SafeLoader]:
    """Parse YAML to its nodes, which know their lines, and the loader that turns scalars into values.

    Raises:
        SpaceError: the text does not parse; with file, line and column.
    """
    try:
        loader = Loader(text)
        return loader.get_single_node(), loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "; write spaces for tabs" if "\\t" in problem else ""
        raise SpaceError(f"{place}: {'' if isinstance(error, Refused) else 'not YAML: '}{problem}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpaceError(f"{file}:{line}: not YAML: character {chr(error.character)!r} is not allowed") from None
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF" that is no character
        raise SpaceError(f"{file}:{loader.line + 1}: not YAML: {error}") from None


def read(path: Path) -> Space:
    """Read a space file; see `Space.from_yaml`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpaceError(f"no space file {path}") from None
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path}: cannot be read: {error}; save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise SpaceError(f"{str(path)!r}: cannot be read: {error}; name a space file, such as image.yaml") from None
    return parse(text, str(path), path.stem)


def parse(text: str, file: str = "<space>", name: str = "space") -> Space:
    """Read a space from the text of a space file.

    >>> parse("input: vector\\nbody: {dense: {width: [8, 16]}}\\nhead: {pool: {}}").count()
    (2, 0)
    """
    document, loader = load_document(text, file)
    return _Reader(file, loader).space(document, name)


class _Reader:
    """Turns YAML nodes into nodes of the tree, remembering the line of every path."""

    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self.file, self.loader = file, loader
        self.places: dict[str, str] = {}

    def space(self, top: yaml.Node | None, name: str) -> Space:
        if not isinstance(top, yaml.MappingNode):
            place = self.file if top is None else self.at(top)
            got = "an empty file" if top is None else "a list" if isinstance(top, yaml.SequenceNode) else "one value"
            raise SpaceError(f"{place}: a space is a mapping with input, body, head and training, got {got}")
        keys = self.mapping(top, "")
        for key, (where, _) in keys.items():
            if key not in _TOP:
                raise SpaceError(f"{self.at(where)}: {did_you_mean('section', key, _TOP)}")
        for needed in ("input", "body", "head"):
            if needed not in keys:
                example = {"input": "input: image", "body": "body: {repeat: {int: [1, 4]}, block: {choice: {...}}}"}
                raise SpaceError(
                    f"{self.at(top)}: '{needed}' is missing; write e.g. {example.get(needed, 'head: {pool: {}}')}"
                )
        kind = self.scalar(keys["input"][1], "input")
        if kind not in INPUTS:
            raise SpaceError(f"{self.at(keys['input'][1])}: input: {did_you_mean('kind of input', kind, INPUTS)}")
        root = {section: self.node(value, section) for section, (_, value) in keys.items() if section in _SECTIONS}
        clauses = self.clauses(keys["forbid"][1]) if "forbid" in keys else ()
        if "name" in keys:
            name = str(self.scalar(keys["name"][1], "name"))
        group = Group(root)
        self.guarded(lambda: slots(group))
        return Space(input=kind, root=group, forbid=clauses, name=name, places=self.places)  # type: ignore[arg-type]

    def node(self, at: yaml.Node, path: str) -> Node:
        """Turn what was written at `path` into a node."""
        self.places[path] = self.at(at)
        if isinstance(at, yaml.ScalarNode):
            return self.fixed(at, path)
        if isinstance(at, yaml.SequenceNode):
            if all(isinstance(item, yaml.ScalarNode) for item in at.value):
                return self.made(at, path, lambda: Categorical(tuple(self.scalar(i, path) for i in at.value)))
            return self.chain(at, path)
        keys = self.mapping(at, path)
        if "when" in keys:
            where, value = keys.pop("when")
            conditions = self.made(where, path, lambda: parse_conditions(self.tests(value, path)))
            return When(conditions, self.typed(at, keys, path))
        return self.typed(at, keys, path)

    def typed(self, at: yaml.Node, keys: dict[str, tuple[yaml.Node, yaml.Node]], path: str) -> Node:
        """Turn a mapping into the kind of node that its keys say it is."""
        kind = next((key for key in _EXTRAS if key in keys), None)
        if kind is None:
            return self.made(at, path, lambda: Group({k: self.node(v, f"{path}.{k}") for k, (_, v) in keys.items()}))
        for key, (where, _) in keys.items():
            if key != kind and key not in _EXTRAS[kind]:
                allowed = (*_EXTRAS[kind], "when")
                raise SpaceError(f"{self.at(where)}: {path}: beside '{kind}': {did_you_mean('key', key, allowed)}")
        value = keys[kind][1]
        options = {key: self.scalar(v, path) for key, (_, v) in keys.items() if key in ("step", "log")}
        if kind in ("int", "float"):
            low, high = self.bounds(value, path, kind)
            maker: Any = Integer if kind == "int" else Float
            return self.believed(self.made(at, path, lambda: maker(low, high, **options)), keys, path)
        if kind == "options":
            values = self.plain(value, path)
            if not isinstance(values, list):
                raise SpaceError(f"{self.at(value)}: {path}: options are a list, got {values!r}")
            return self.believed(self.made(at, path, lambda: Categorical(tuple(values))), keys, path)
        if kind == "value":
            return self.fixed(value, path)
        if kind == "choice":
            return self.believed(self.choice(value, path), keys, path)
        if kind == "chain":
            if not isinstance(value, yaml.SequenceNode):
                raise SpaceError(f"{self.at(value)}: {path}: a chain is a list, got {self.plain(value, path)!r}")
            return self.chain(value, path)
        if "block" not in keys:
            raise SpaceError(
                f"{self.at(at)}: {path}: a repeat needs a block; write {{repeat: 3, block: {{conv: {{}}}}}}"
            )
        times = self.node(value, f"{path}.repeat")
        block = self.node(keys["block"][1], f"{path}.0")
        self.places |= {
            role: place
            for p, place in self.places.items()
            if p.startswith(f"{path}.0") and (role := path + p[len(path) + 2 :]) not in self.places
        }
        return self.made(at, path, lambda: Repeat(times, block))  # type: ignore[arg-type]

    def fixed(self, at: yaml.Node, path: str) -> Fixed:
        """Read a constant."""
        return self.made(at, path, lambda: Fixed(self.scalar(at, path)))

    def chain(self, at: yaml.SequenceNode, path: str) -> Chain:
        """Read nodes one after the other."""
        return self.made(
            at, path, lambda: Chain(tuple(self.node(item, f"{path}.{i}") for i, item in enumerate(at.value)))
        )

    def choice(self, at: yaml.Node, path: str) -> Choice:
        """Read `choice: {conv: {...}}` or `choice: [conv, maxpool]`."""
        if isinstance(at, yaml.SequenceNode):
            names = [self.scalar(item, path) for item in at.value]
            for i, (name, item) in enumerate(zip(names, at.value, strict=True)):
                self.places[f"{path}.{name}"] = self.at(item)
                if name in names[:i]:
                    raise SpaceError(f"{self.at(item)}: {path}: option {name!r} is listed twice; leave one out")
            return self.made(at, path, lambda: Choice(dict.fromkeys(names, Group({}))))  # type: ignore[arg-type]
        if not isinstance(at, yaml.MappingNode):
            got = self.scalar(at, path)
            raise SpaceError(f"{self.at(at)}: {path}: a choice maps names to fields or lists names, got {got!r}")
        options: dict[str, Group] = {}
        for name, (_, fields) in self.mapping(at, path).items():
            here = f"{path}.{name}"
            self.places[here] = self.at(fields)
            empty = isinstance(fields, yaml.ScalarNode) and self.loader.construct_object(fields) is None
            child = Group({}) if empty else self.node(fields, here)
            if not isinstance(child, Group):
                raise SpaceError(f"{self.at(fields)}: {here}: an option maps its fields to values; write {name}: {{}}")
            options[name] = child
        return self.made(at, path, lambda: Choice(options))

    def believed(self, here: Weighted, keys: dict[str, tuple[yaml.Node, yaml.Node]], path: str) -> Weighted:
        """Return a parameter or a choice with what stands under `prior`, if anything does."""
        if "prior" not in keys:
            return here
        at = keys["prior"][1]
        if isinstance(here, Integer | Float):
            prior: object = self.made(at, path, lambda: self.centre(at, path))
        elif isinstance(at, yaml.MappingNode):
            pairs = self.mapping(at, path, self.scalar)
            prior = {option: self.plain(weight, path) for option, (_, weight) in pairs.items()}
            for option, (where, _) in pairs.items():  # each alone: an error has the line of its option
                self.made(where, path, partial(dataclasses.replace, here, prior={option: prior[option]}))
        else:
            prior = self.plain(at, path)
            if prior is None:
                raise SpaceError(f"{self.at(keys['prior'][0])}: {path}: nothing is written under prior; leave it out")
        return self.made(at, path, lambda: dataclasses.replace(here, prior=prior))  # type: ignore[arg-type]

    def centre(self, at: yaml.Node, path: str) -> Centre:
        """Read the prior of a range: `0.01` or `{centre: 0.01, confidence: 0.8}`."""
        if not isinstance(at, yaml.MappingNode):
            return Centre(self.plain(at, path))  # type: ignore[arg-type]  # checked there
        keys = self.mapping(at, path)
        for key, (where, _) in keys.items():
            if key not in _CENTRE:
                raise SpaceError(f"{self.at(where)}: {path}: prior: {did_you_mean('key', key, _CENTRE)}")
        if "centre" not in keys:
            raise SpaceError("prior: 'centre' is missing; write e.g. prior: {centre: 0.01, confidence: 0.8}")
        values: dict[str, Any] = {key: self.plain(value, path) for key, (_, value) in keys.items()}
        return Centre(values.pop("centre"), **values)

    def bounds(self, at: yaml.Node, path: str, kind: str) -> tuple[float, float]:
        """Read the two ends of a range."""
        values = self.plain(at, path)
        if not isinstance(values, list) or len(values) != 2:
            raise SpaceError(f"{self.at(at)}: {path}: {kind} is [low, high], got {values!r}; write e.g. {kind}: [1, 8]")
        return values[0], values[1]

    def clauses(self, at: yaml.Node) -> tuple[Forbidden, ...]:
        """Read the list under `forbid`."""
        if not isinstance(at, yaml.SequenceNode):
            raise SpaceError(f"{self.at(at)}: forbid is a list of combinations; write - {{path: value, path: value}}")
        for i, item in enumerate(at.value):
            self.places[f"forbid.{i}"] = f"{self.at(item)}: forbid"
        return tuple(self.made(item, "forbid", partial(self.clause, item)) for item in at.value)

    def clause(self, at: yaml.Node) -> Forbidden:
        """Read one forbidden combination."""
        return parse_forbidden(self.tests(at, "forbid"))

    def tests(self, at: yaml.Node, path: str) -> object:
        """Return what should be a mapping of paths to tests; a path stands once."""
        if not isinstance(at, yaml.MappingNode):
            return self.plain(at, path)
        return {key: self.plain(value, path) for key, (_, value) in self.mapping(at, path).items()}

    def mapping(
        self, at: yaml.Node, path: str, read: Callable[[yaml.Node, str], Any] | None = None
    ) -> dict[Any, tuple[yaml.Node, yaml.Node]]:
        """Return the keys of a mapping, each with the nodes of key and value; a key stands once.

        A key is a word, or whatever `read` makes of it. What `<<` merges in comes first, and gives way to a key that
        is written here.
        """
        keys: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in at.value:
            if key_node.tag == _MERGE:
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if not isinstance(source, yaml.MappingNode):
                        got = self.plain(source, path)
                        raise SpaceError(f"{self.at(source)}: {_lead(path)}<< merges in a mapping, got {got!r}")
                    merged |= {k: v for k, v in self.mapping(source, path, read).items() if k not in merged}
                continue
            key = (read or self.word)(key_node, path)
            if key in keys:
                raise SpaceError(f"{self.at(key_node)}: {_lead(path)}'{key}' is written twice; leave one out")
            keys[key] = (key_node, value_node)
        return merged | keys

    def word(self, at: yaml.Node, path: str) -> str:
        """Return what a key says."""
        key = self.plain(at, path)
        if not isinstance(key, str):
            raise SpaceError(f"{self.at(at)}: {_lead(path)}a key is a word, got {key!r}; write a name such as kernel")
        return key

    def scalar(self, at: yaml.Node, path: str) -> bool | int | float | str:
        """Return a plain value."""
        value = self.plain(at, path)
        if not isinstance(value, bool | int | float | str):
            got = "nothing" if value is None else repr(value)
            hint = "; for a part without fields write {}" if value is None else ""
            raise SpaceError(f"{self.at(at)}: {path}: a value is a number, a word or true/false, got {got}{hint}")
        return value

    def plain(self, at: yaml.Node, path: str) -> object:
        """Return what was written as plain Python."""
        try:
            return self.loader.construct_object(at, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or error
            raise SpaceError(f"{self.at(at)}: {_lead(path)}{problem}") from None

    def made(self, at: yaml.Node, path: str, make: Callable[[], T]) -> T:
        """Return what `make` makes; its error gets the place in front."""
        try:
            return make()
        except SpaceError as error:
            if str(error).startswith(f"{self.file}:"):  # the error of a node further down knows its own place
                raise
            raise SpaceError(f"{self.at(at)}: {path}: {error}") from None

    def guarded(self, check: Callable[[], object]) -> None:
        """Run a check whose error begins with a path, and put the place of that path in front."""
        try:
            check()
        except SpaceError as error:
            path = str(error).split(":", 1)[0]
            while path not in self.places and "." in path:  # position 3 of a repeat stands nowhere: the repeat does
                path = path.rpartition(".")[0]
            raise SpaceError(f"{self.places.get(path, self.file)}: {error}") from None

    def at(self, node: yaml.Node) -> str:
        """Return file and line of a node."""
        return f"{self.file}:{node.start_mark.line + 1}"


def _lead(path: str) -> str:
    return f"{path}: " if path else ""
