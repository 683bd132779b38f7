"""One measurement at a time on a machine, and trainers that pause between batches for it.

Two files in a folder of the user's own, locked with flock(2): who measures holds `turn`, and who trains holds `batch`,
together with all other trainers, for as long as a batch lasts. A trainer that finds `turn` held lets `batch` go and
waits; the measurement begins when nobody holds `batch` any more. The kernel lets go of what a process held, however
that process ended, so nothing is ever left locked. A library of locks would not do: those of `filelock` are exclusive.

Trainers of other users, of processes with another TMPDIR, of containers with a /tmp of their own, and programs that are
none of ours are not seen. Nor is a trainer that gave up waiting (`Pause.longest_s`), until it finds nobody measuring.
"""

from __future__ import annotations

import math
import os
import stat
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from nas.errors import RunError
from nas.measure.latency import Clock, Run

try:
    import fcntl
except ImportError:  # Windows
    CAN_PAUSE = False
else:
    CAN_PAUSE = True
"""Whether the system has what pausing needs. Where not, `measuring` and `Pause` do nothing, and nothing is quiet."""

_POLL_S = 0.01
"""Between two looks at a lock: costs who waits a hundredth of a core. A wait in the kernel has no end one could set."""


@contextmanager
def measuring(*, timeout_s: float = 60.0, patience_s: float = 2.0) -> Iterator[bool]:
    """Have the machine to measure on: one holds it at a time, and trainers with a `Pause` wait meanwhile.

    Enter it in the process that measures, so that both end together, and with everything prepared: each moment
    costs all trainers that moment. It does not nest.

    Args:
        timeout_s: how long to wait for another measurement to end; each one may last so long.
        patience_s: how long to wait for trainers to end their batches.
    Yields:
        Whether all trainers pause. False: a batch lasted longer (or its process was stopped within one), or the
        system cannot tell (`CAN_PAUSE`). What is then measured by the wall clock is disturbed: see `thread_clock`.
    Raises:
        RunError: another process measures for longer than `timeout_s`; its id is named. Or there is no folder to
            lock in.
    """
    if not CAN_PAUSE:
        yield False
        return
    turn, batch = _locks()
    try:
        if not turn.wait(timeout_s):
            raise RunError(
                f"{turn.path}: {turn.owner()} still measures after {timeout_s:g} s of waiting, and only one "
                "measurement runs on a machine at a time\n  wait for that process, or end it"
            )
        turn.sign()
        yield batch.wait(patience_s)
    finally:
        batch.close()  # first, or trainers would find it held and wait once more
        turn.close()


class Pause:
    """What a trainer calls between batches: returns at once, or when the measurement that is under way has ended.

    One for each thread that trains. Close it where no batches run, since what is measured waits for the batch that
    is open:

        with Pause() as pause:
            fit(..., between_batches=pause)

    A call costs two system calls while nobody measures, one to two microseconds. A forked child starts anew.

    Args:
        longest_s: how long to wait for one measurement; after that the trainer goes on beside it.
        deadline: on the clock of `time.monotonic`, after which it waits no more.
    Raises:
        RunError: there is no folder to lock in.
    """

    def __init__(self, *, longest_s: float = 60.0, deadline: float | None = None) -> None:
        self.longest_s = longest_s
        self.deadline = math.inf if deadline is None else deadline
        self.waited_s = 0.0
        """Seconds of all calls that were spent waiting: wall time of a training that is none of its own."""
        self._turn: _Lock | None = None
        self._batch: _Lock | None = None
        if CAN_PAUSE:
            self._turn, self._batch = _locks()
        self._given_up = False
        """Whether the measurement under way was waited for in vain."""

    def __call__(self) -> None:
        if self._go_on():
            return
        assert self._batch is not None
        self._batch.release()
        started = time.monotonic()
        while not (self._go_on() or self._given_up):
            time.sleep(_POLL_S)
            self._given_up = time.monotonic() >= min(started + self.longest_s, self.deadline)
        self.waited_s += time.monotonic() - started

    def close(self) -> None:
        """Say that no batch runs; the next call says that one does."""
        if self._turn is not None and self._batch is not None:
            self._batch.close()
            self._turn.close()

    def __enter__(self) -> Pause:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _go_on(self) -> bool:
        """Open a batch unless somebody measures or waits to."""
        if self._turn is None or self._batch is None:
            return True
        if not self._turn.take(exclusive=False):
            return False
        self._turn.release()
        self._given_up = False
        return self._batch.held or self._batch.take(exclusive=False)


def thread_clock(*runs: Run) -> Clock | None:
    """Return a clock of the CPU time of the calling thread, for where neighbours will not pause.

    It stands still while a neighbour has the core, so that it is right for a runtime with one thread that computes in
    the thread that calls it, on the CPU. It does not see what a neighbour does to such a run without taking its core:
    empty the caches, share the memory's bandwidth, lower the clock; under full load times read some percent longer.
    Nor does it see waiting, of which a network on another device does the most. Reading it takes half a microsecond,
    against a twentieth for the wall clock, which is some percent of the smallest networks.

    Args:
        runs: what is to be timed; each is run a few times.
    Returns:
        None where it would mislead: a run computes in other threads too, or is done in less time than the clock's
        step (15.6 ms on Windows). Then the wall clock is the better one, and what it reads is to be called disturbed.
    """
    clock, first = time.thread_time_ns, time.thread_time_ns()
    while (step := clock() - first) == 0:
        pass
    if step > _COARSE_NS or not all(_in_calling_thread(run) for run in runs):
        return None
    return clock


_COARSE_NS = 50_000
"""More than any system takes to read a clock twice, and less than a network that is worth a measurement."""


def _in_calling_thread(run: Run) -> bool:
    """Return whether nine tenths of the CPU time of the process, over a few runs, are this thread's."""
    run()  # threads are often started by the first
    mine, ours = time.thread_time_ns(), time.process_time_ns()
    for _ in range(5):
        run()
    return time.thread_time_ns() - mine >= 0.9 * (time.process_time_ns() - ours)


def _locks() -> tuple[_Lock, _Lock]:
    """Return the locks `turn` and `batch` of this user on this machine, not opened yet."""
    # Not XDG_RUNTIME_DIR: of two searches on one machine the one from cron or ssh may lack it, and they would not meet.
    folder = Path(tempfile.gettempdir()) / f"nas-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()  # of a link someone else put there, the link
    except OSError as error:
        raise RunError(f"{folder}: cannot be made: {error.strerror}\n  {_REMEDY}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        what = f"{stat.filemode(found.st_mode)} of user {found.st_uid}"
        raise RunError(f"{folder}: must be a folder that you own and nobody else may enter, got {what}\n  {_REMEDY}")
    return _Lock(folder / "turn"), _Lock(folder / "batch")


_REMEDY = "remove it, or set TMPDIR to a folder of your own on a local disk, the same for all that train and measure"


class _Lock:
    """flock(2) on a file that is opened when first taken; never that of a parent process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = False
        self._fd: int | None = None
        _ALL.add(self)

    def take(self, *, exclusive: bool) -> bool:
        """Take it if it is free: exclusively, or together with others who do not want it exclusively."""
        try:
            if self._fd is None:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise RunError(f"{self.path}: cannot be locked: {error.strerror}\n  {_REMEDY}") from None
        self.held = True
        return True

    def wait(self, timeout_s: float) -> bool:
        """Take it exclusively as soon as it is free; the time begins anew whenever somebody else signs."""
        end, signed = time.monotonic() + timeout_s, b""
        while not self.take(exclusive=True):
            assert self._fd is not None
            if (now := os.pread(self._fd, 99, 0)) != signed:
                end, signed = time.monotonic() + timeout_s, now
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_S)
        return True

    def release(self) -> None:
        """Let it go; the file stays open."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.held = False

    def close(self) -> None:
        """Let it go, and the file too."""
        self.release()  # a child that is just being started may have the file open as well
        self.drop()

    def drop(self) -> None:
        """Close the file alone: what a parent process holds through it stays held."""
        fd, self._fd, self.held = self._fd, None, False
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        self.drop()

    def sign(self) -> None:
        """Write down who holds it."""
        assert self._fd is not None
        os.pwrite(self._fd, f"{os.getpid():<12}{time.time_ns():<24}\n".encode(), 0)

    def owner(self) -> str:
        """Return who signed last: when it is held, nearly always who holds it."""
        pid = next(iter(self.path.read_text().split()), "")
        if not pid.isdecimal():  # it has only just taken it
            return "another process"
        return f"process {pid}" + (" (this one)" if int(pid) == os.getpid() else "")


_ALL: weakref.WeakSet[_Lock] = weakref.WeakSet()


def _drop_all() -> None:
    for lock in list(_ALL):
        lock.drop()


if CAN_PAUSE:
    # A child that is forked has the same files open: it would hold the locks beyond its parent's death, and its own
    # release would be its parent's too.
    os.register_at_fork(after_in_child=_drop_all)
