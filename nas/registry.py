"""A named table of parts. It is filled by the decorators of visible imports; nothing is scanned."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from nas.errors import NasError, did_you_mean

T = TypeVar("T")

A_RUN = "a run"
"""Who filed what is known from a run's files alone, by name and description; the part itself takes its place."""


class Table(Generic[T]):
    """Names to parts of one kind, and which module filed each.

    Args:
        kind: what an error calls a part.
        check: looks at a name and its part before it is filed; a ValueError of its own is told with the name.
    """

    tables: ClassVar[list[Table[Any]]] = []
    """Every table there is: who wants to know what a module has filed looks through all."""

    def __init__(self, kind: str, check: Callable[[str, T], None] | None = None) -> None:
        self.kind = kind
        self._check = check
        self._parts: dict[str, T] = {}
        self._by: dict[str, str] = {}
        self.tables.append(self)

    def _file(self, name: str, part: T, by: str) -> None:
        if not isinstance(name, str) or not name:
            raise NasError(f'a {self.kind} needs a name; write .add("my_{self.kind.replace(" ", "_")}"), got {name!r}')
        if name in self._parts and self._parts[name] is not part and self._by[name] != A_RUN:
            raise NasError(f"{self.kind} '{name}' exists already (of {self._by[name]}); choose another name")
        if self._check is not None:
            try:
                self._check(name, part)
            except ValueError as error:
                raise NasError(f"{self.kind} '{name}': {error}") from None
        self._parts[name] = part
        self._by[name] = by

    def by(self, name: str) -> str:
        """Return the name of the module that filed a part."""
        self[name]
        return self._by[name]

    def own(self, name: str) -> bool:
        """Whether a part is there that is none of this package's."""
        return name in self._parts and not f"{self._by[name]}.".startswith("nas.")

    def drop(self, name: str) -> None:
        """Take a part out again: the file that filed it turned out to be broken."""
        del self._parts[name], self._by[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._parts:
            raise NasError(did_you_mean(self.kind, name, self._parts))
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        return len(self._parts)


class Registry(Table[T]):
    """A table that parts file themselves in.

    >>> COLOURS = Registry[type]("colour")
    >>> @COLOURS.add("red")
    ... class Red: ...
    >>> COLOURS["red"] is Red, "blue" in COLOURS, list(COLOURS)
    (True, False, ['red'])
    >>> COLOURS["read"]
    Traceback (most recent call last):
    ...
    nas.errors.NasError: no colour called 'read'. Did you mean 'red'? Known: red
    >>> Table.tables.remove(COLOURS)
    """

    def add(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files a part under `name`; a name is given once."""
        by = caller()

        def file(part: T) -> T:
            self._file(name, part, by)
            return part

        return file


def caller() -> str:
    """Return the name of the module that called the function which asks."""
    return str(sys._getframe(2).f_globals.get("__name__", "?"))


def filed_by(module: str) -> list[tuple[Table[Any], str]]:
    """Return what a module has filed: each table and name; that of its submodules too."""
    return [(table, name) for table in Table.tables for name in table if f"{table.by(name)}.".startswith(f"{module}.")]
