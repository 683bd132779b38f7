"""How a contract says that it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas.errors import NasError


class ContractBroken(NasError, AssertionError):  # the name says what happened
    """A part does not do what a part of its kind has to; the text says what, where, and what to do."""


def need(holds: object, what: str) -> None:
    """Raise `ContractBroken` with `what` unless something `holds`."""
    if not holds:
        raise ContractBroken(what)


@contextmanager
def refused(what: str, remedy: str, *, naming: str = "", error: type[Exception] = ValueError) -> Iterator[None]:
    """Need the block to raise `error`, whose text holds `naming`.

    Args:
        what: was given, in words.
        remedy: what to write so that it is refused.
    """
    try:
        yield
    except error as raised:
        need(naming in str(raised), f"{what}: the error should say {naming!r}, got {str(raised)!r}; {remedy}")
        return
    except Exception as raised:
        kind = error.__name__
        raise ContractBroken(f"{what}: raises {type(raised).__name__} ({raised}), not {kind}; {remedy}") from raised
    raise ContractBroken(f"{what}: is accepted; {remedy}")
