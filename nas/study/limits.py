"""How a process that trains is set up: one thread, memory that is kept, and a bound on how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.training import keep_freed_memory

_SHARE = 0.9
"""Of the memory that is free at the start; the rest is for the page cache and for others."""


@contextmanager
def training_process(beside: int = 1, memory: int | None = None) -> Iterator[None]:
    """Set this process up to train and measure; threads and the memory limit are as before afterwards.

    One thread is what makes a training repeatable, and two processes of one thread train more than one of two.

    Args:
        beside: how many such processes share the machine, this one counted.
        memory: bytes that it may take beyond what it has, see `free_memory`; None: its share of what is free now.
    """
    import torch

    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with memory_limit(free_memory(beside) if memory is None else memory):
            yield
    finally:
        torch.set_num_threads(before)


def free_memory(beside: int = 1) -> int | None:
    """Return how many bytes each of some processes may take of the memory that is free now; None: nobody can tell.

    Whoever starts processes that may be replaced asks once: what replaces one later has the same share, although the
    others have taken theirs by then.
    """
    free = _available_bytes()
    return None if free is None else int(_SHARE * free / beside)


@contextmanager
def memory_limit(memory: int | None) -> Iterator[None]:
    """Let allocations beyond so many bytes more raise, where the kernel would kill the process.

    A trial that needs more then fails with "out of memory", and the search goes on. On systems without
    /proc/meminfo or `resource` nothing changes.

    Args:
        memory: bytes beyond what this process has, see `free_memory`; None: no limit.
    """
    used = _data_bytes()
    if memory is None or used is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + memory
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
