"""How a process that trains is set up: one thread, memory that is kept, and a bound on how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.training import keep_freed_memory

_SHARE = 0.9
"""Of the memory that is free at the start; the rest is for the page cache and for others."""


@contextmanager
def training_process(beside: int = 1) -> Iterator[None]:
    """Set this process up to train and measure; threads and the memory limit are as before afterwards.

    One thread is what makes a training repeatable, and two processes of one thread train more than one of two.

    Args:
        beside: how many such processes share the machine, this one counted.
    """
    import torch

    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with memory_limit(beside):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_limit(beside: int = 1) -> Iterator[None]:
    """Let allocations beyond the memory that is free now raise, where the kernel would kill the process.

    A trial that needs more then fails with "out of memory", and the search goes on. On systems without
    /proc/meminfo or `resource` nothing changes.

    Args:
        beside: how many processes share what is free.
    """
    free, used = _available_bytes(), _data_bytes()
    if free is None or used is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + int(_SHARE * free / beside)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _available_bytes() -> int | None:
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _data_bytes() -> int | None:
    """What RLIMIT_DATA counts against this process already: address space, touched or not."""
    return _field(Path("/proc/self/status"), "VmData")


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
