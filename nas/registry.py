"""A named table of parts. It is filled by the decorators of visible imports; nothing is scanned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from nas.errors import NasError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to parts of one kind.

    >>> COLOURS = Registry[type]("colour")
    >>> @COLOURS.add("red")
    ... class Red: ...
    >>> COLOURS["red"] is Red, "blue" in COLOURS, list(COLOURS)
    (True, False, ['red'])
    >>> COLOURS["read"]
    Traceback (most recent call last):
    ...
    nas.errors.NasError: no colour called 'read'. Did you mean 'red'? Known: red
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files a part under `name`; a name is given once."""

        def file(part: T) -> T:
            if name in self._parts and self._parts[name] is not part:
                raise NasError(f"{self.kind} '{name}' exists already ({self._parts[name]!r}); choose another name")
            self._parts[name] = part
            return part

        return file

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
