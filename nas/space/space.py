"""Space: a tree of choices, what is forbidden in it, and the kind of input it is for."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from nas.errors import SpaceError, did_you_mean
from nas.space.architecture import Architecture
from nas.space.conditions import Forbidden, check_possible, parse_forbidden
from nas.space.parameters import Scalar
from nas.space.tree import Choose, Group, Slot, Tree, conditional, count, node, slots, walk

INPUTS = ("image", "sequence", "vector", "text")
"""Kinds of input: (C, H, W), (T, C), (F,) and the token ids (T,) of a text."""

_TRIES = 1000


@dataclass(frozen=True)
class Space:
    """What may be built, and how it may be trained.

    Attributes:
        input: the kind of data: image (C, H, W), sequence (T, C), vector (F,) or text, token ids (T,).
        root: the tree; its top level has `stem` (optional), `body`, `head` and `training`.
        forbid: combinations that must not occur.
        name: for messages and folders.
        places: where a path was written (`image.yaml:12`), for messages.

    >>> space = Space(input="vector", root={"body": {"dense": {"width": [16, 32]}}, "head": {"pool": {}}})
    >>> space.sample(np.random.default_rng(0)).values
    {'body.dense.width': 32}
    """

    input: Literal["image", "sequence", "vector", "text"]
    root: Group
    forbid: tuple[Forbidden, ...] = ()
    name: str = field(default="space", compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise SpaceError(did_you_mean("kind of input", self.input, INPUTS))
        root = node(self.root)
        if not isinstance(root, Group):
            raise SpaceError(f"the top of a space is a mapping with body, head and training, got {self.root!r}")
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "forbid", tuple(parse_forbidden(clause) for clause in self.forbid))
        self.slots  # noqa: B018  # made now, since that checks the conditions
        self._check_forbidden()

    @classmethod
    def from_yaml(cls, path: str | Path) -> Space:
        """Read a space file.

        Raises:
            SpaceError: naming file, line, path, value and remedy.
        """
        from nas.space.yaml import read  # the reader needs this class

        return read(Path(path))

    def to_yaml(self) -> str:
        """Return the space as the text of a space file; reading that gives an equal space."""
        from nas.space.write import to_yaml  # the writer needs this class

        return to_yaml(self)

    def to_python(self) -> str:
        """Return the space as Python source that defines `space`."""
        from nas.space.write import to_python

        return to_python(self)

    @cached_property
    def slots(self) -> dict[str, Slot]:
        """Every parameter that any architecture can have, by path, in the order of the tree."""
        return slots(self.root)

    @cached_property
    def roles(self) -> dict[str, list[Slot]]:
        """The slots that share a role, by role."""
        found: dict[str, list[Slot]] = defaultdict(list)
        for slot in self.slots.values():
            found[slot.role].append(slot)
        return dict(found)

    def where(self, path: str) -> str:
        """Return where `path` was written, for a message: `image.yaml:12: body.0.conv.kernel`."""
        slot = self.slots.get(path)
        place = self.places.get(path) or self.places.get(slot.role if slot else path)
        return f"{place}: {path}" if place else path

    def walk(self, choose: Choose) -> Architecture:
        """Ask `choose` for every active parameter in turn; what comes out may be a forbidden combination."""
        return Architecture.of(walk(self.root, choose)[0])

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture: every choice from its own range, forbidden combinations drawn again.

        Raises:
            SpaceError: 1,000 draws in a row were forbidden.
        """
        for _ in range(_TRIES):
            arch = self.walk(lambda slot: slot.parameter.sample(rng))
            if self.forbidden(arch) is None:
                return arch
        raise SpaceError(f"{self.name}: {_TRIES} draws in a row were forbidden; loosen the clauses under 'forbid'")

    def architecture(self, values: Mapping[str, Scalar]) -> Architecture:
        """Return the architecture of these values, checked.

        Raises:
            SpaceError: a value is missing, not active, out of range or part of a forbidden combination.
        """
        arch = self.walk(self._look_up(values))
        if extra := [path for path in values if path not in arch.values]:
            if extra[0] in self.slots:
                raise SpaceError(f"{self.where(extra[0])}: is not active here, got {values[extra[0]]!r}; leave it out")
            raise SpaceError(f"{self.name}: {did_you_mean('parameter', extra[0], self.slots)}")
        if clause := self.forbidden(arch):
            raise SpaceError(f"{self.name}: forbidden combination: {clause.plain()}")
        return arch

    def resolve(self, arch: Architecture) -> dict[str, Tree]:
        """Return the tree with every choice made, constants included.

        Raises:
            SpaceError: a value is missing or out of range: `arch` is of another space.
        """
        return walk(self.root, self._look_up(arch.values))[1]

    def _look_up(self, values: Mapping[str, Scalar]) -> Choose:
        def look_up(slot: Slot) -> Scalar:
            if slot.path not in values:
                raise SpaceError(f"{self.where(slot.path)}: no value is given, and this parameter is active")
            return values[slot.path]

        return look_up

    def contains(self, arch: Architecture) -> bool:
        """Whether `arch` is a point of this space, in whatever order its values stand."""
        try:
            return self.architecture(arch.values).values == arch.values
        except SpaceError:
            return False

    def forbidden(self, arch: Architecture) -> Forbidden | None:
        """Return the first clause that forbids `arch`, or None."""
        return next((clause for clause in self.forbid if self._matches(clause, arch)), None)

    def count(self) -> tuple[int, int]:
        """Return the number of discrete combinations (an upper bound where `bounded`) and of continuous parameters."""
        return count(self.root)

    @property
    def bounded(self) -> bool:
        """Whether `count` is only an upper bound, because of conditions or forbidden combinations."""
        return bool(self.forbid) or conditional(self.root)

    def fingerprint(self) -> str:
        """Return 16 hex digits that name what the space contains."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()[:16]

    def _matches(self, clause: Forbidden, arch: Architecture) -> bool:
        together: list[dict[str, int]] = [{}]  # the positions, by repeat, at which all roles so far hold together
        for path, test in clause.items:
            if path in self.slots:
                if path not in arch.values or not test.holds(arch.values[path]):
                    return False
                continue
            holding = [
                slot for slot in self.roles[path] if slot.path in arch.values and test.holds(arch.values[slot.path])
            ]
            joined = [
                positions | dict(slot.at)
                for positions in together
                for slot in holding
                if all(positions.get(repeat, i) == i for repeat, i in slot.at)
            ]
            together = [dict(items) for items in {tuple(sorted(positions.items())) for positions in joined}]
        return bool(together)

    def _check_forbidden(self) -> None:
        for i, clause in enumerate(self.forbid):
            for path, test in clause.items:
                place = self.places.get(f"forbid.{i}", f"forbid[{i}]")
                if path in self.slots:
                    slot = self.slots[path]
                elif path in self.roles:
                    slot = self.roles[path][0]
                else:
                    raise SpaceError(f"{place}: {did_you_mean('parameter', path, {*self.slots, *self.roles})}")
                try:
                    check_possible(test, slot.parameter, path)
                except SpaceError as error:
                    raise SpaceError(f"{place}: impossible condition: {error}") from None
