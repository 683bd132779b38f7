"""Architecture: one point of a space. Frozen, hashable, the active choices only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from nas.errors import SpaceError
from nas.space.parameters import Scalar


@dataclass(frozen=True)
class Architecture:
    """The value of every active parameter, by path, in the order of the space.

    What a choice left out is not in it: two architectures are equal where the same choices are *used*.
    """

    items: tuple[tuple[str, Scalar], ...]

    @classmethod
    def of(cls, values: Mapping[str, Scalar]) -> Architecture:
        """Return the architecture of these values."""
        return cls(tuple(values.items()))

    @cached_property
    def values(self) -> dict[str, Scalar]:
        """Path to value. Read it, do not change it."""
        return dict(self.items)

    def fingerprint(self) -> str:
        """Return 16 hex digits that name the choices used, whatever order they were made in.

        >>> a, b = Architecture.of({"x": 1, "y": 2}), Architecture.of({"y": 2, "x": 1})
        >>> a.fingerprint() == b.fingerprint(), a.fingerprint() == Architecture.of({"x": 1}).fingerprint()
        (True, False)
        """
        canonical = json.dumps(self.values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the values as one line of JSON."""
        return json.dumps(self.values, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Undo `to_json`.

        Raises:
            SpaceError: the text is not a JSON object of plain values.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or an integer of thousands of digits
            raise SpaceError(f"an architecture is a JSON object of values by path: {error}") from None
        if not isinstance(values, dict) or not all(isinstance(v, bool | int | float | str) for v in values.values()):
            raise SpaceError(f"an architecture is a JSON object of values by path, got {text[:80]!r}")
        return cls.of(values)
