"""How much memory data will take, told before they are read: a process that the kernel kills tells nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nas.errors import DataError

_SHARE = 0.9
"""Of what is available; the rest is for what else a run needs, and for others."""


def available_bytes() -> int | None:
    """Return the memory that this process may still take; None where the system does not say.

    What the kernel calls available, or what is left of the limit of a container (cgroup 2), if that is less.
    """
    free = _field(Path("/proc/meminfo"), "MemAvailable:", unit=1024)
    group = Path("/sys/fs/cgroup")
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is not None and used is not None:
        cached = _field(group / "memory.stat", "inactive_file", unit=1) or 0  # given back on demand
        left = max(limit - used + cached, 0)
        free = left if free is None else min(free, left)
    return free


def peak_bytes(held: Iterable[tuple[tuple[int, ...], np.dtype]], kept: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the most memory that making a task takes.

    Args:
        held: shape and type of the arrays as they are read, all splits.
        kept: shape of the samples to train and choose by, as they go into the task.
        dtype: their type before they are standardised.

    Those samples are copied split by split, then standardised: as float64, unless a float32 loses nothing. What is
    bounded (some 100 MB) is left out.
    """
    raw = sum(math.prod(shape) * kind.itemsize for shape, kind in held)
    exact = 4 if dtype in (np.uint8, np.float16, np.float32, np.bool_) else 12  # float64, and the float32 of it
    return raw + math.prod(kept) * (dtype.itemsize + exact)


def check_fits(where: str, needed: int, what: str, remedy: str) -> None:
    """Refuse data that would not fit the memory that is free.

    Args:
        needed: bytes.
        what: what takes them, in words with sizes.
        remedy: what the user can do.
    Raises:
        DataError: naming the place, the sizes and the remedy.
    """
    free = available_bytes()
    if free is not None and needed > _SHARE * free:
        raise DataError(
            f"{where}: {what} would take {readable_bytes(needed)} of memory, and {readable_bytes(free)} are free; "
            f"{remedy}"
        )


def resolution_that_fits(needed: int, size: tuple[int, int]) -> int:
    """Return the side of the largest squares that fit where images of `size` would need `needed` bytes."""
    free = available_bytes()
    return 0 if free is None else int(math.sqrt(_SHARE * free / needed * size[0] * size[1]))


def readable_bytes(n: float) -> str:
    """Return a size with three digits.

    >>> readable_bytes(4_321_000_000), readable_bytes(77)
    ('4.32 GB', '77 B')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} B"


def _field(path: Path, name: str, unit: int) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * unit for line in lines if line.split()[:1] == [name]), None)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())  # "max" where there is no limit
    except (OSError, ValueError):
        return None
