"""What a process that trains does: get ready once, run one job after another, and end when its driver has ended."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Literal, TypeAlias

from nas import errors
from nas.errors import NasError, RunError, TrialFailed
from nas.study.jobs import Job, Outcome, Progress, Runner, Tell

_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


@dataclass(frozen=True)
class Broken:
    """An exception that is no outcome, as it crosses a pipe: in words."""

    kind: str
    """The class in `nas.errors` that it is of; empty for none."""

    name: str
    """Of its own class."""

    text: str
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> Broken:
        """Describe an exception that was raised."""
        ours = (base.__name__ for base in type(error).__mro__ if base.__module__ == errors.__name__)
        return cls(next(ours, ""), type(error).__name__, str(error), "".join(traceback.format_exception(error)))

    def as_error(self, where: str) -> NasError:
        """Return what is raised for it elsewhere: its kind and text if it is ours, else a RunError with all of it."""
        if self.kind:
            found: NasError = getattr(errors, self.kind)(self.text)
            return found
        lines = [f"{where}: {self.name}: {self.text}", *self.traceback.strip().splitlines()]
        return RunError("\n  ".join(lines))


Stage = Literal["begun", "ready"]
"""What a process says of itself: it runs at all; it has prepared and waits for jobs."""

Message: TypeAlias = Stage | Progress | Outcome | Broken


def attempt(runner: Runner, job: Job, tell: Tell) -> Outcome:
    """Run a job. A trial that fails and memory that is short are outcomes too; any other exception goes on."""
    try:
        return runner(job, tell)
    except TrialFailed as error:
        return _failed(job, str(error))
    except MemoryError as error:
        return _out_of_memory(job, error)


def serve(pipe: Connection) -> None:
    """Read which slot this is and how to prepare, do so, then read jobs until the other end is closed.

    What it sends are `Message`s: "begun"; "ready", or what `prepare` raised; for each job its progress, and then an
    outcome or what was raised.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which then ends this process
    _end_with_driver()

    def say(message: Message) -> None:
        _send(pipe, ForkingPickler.dumps(message))

    say("begun")
    try:
        slot, prepare = _receive(pipe)
        runner: Runner = prepare(slot)
    except Exception as error:
        say(Broken.of(error))
        raise SystemExit(1) from None
    say("ready")
    while True:
        _send(pipe, _answer(runner, _receive(pipe), say))  # no name keeps a state of many megabytes until the next job


def _answer(runner: Runner, job: Job, tell: Tell) -> memoryview:
    """Return the last message on a job, packed: what an outcome holds may be too large to pack, or not fit to be."""
    try:
        return ForkingPickler.dumps(attempt(runner, job, tell))
    except MemoryError as error:
        return ForkingPickler.dumps(_out_of_memory(job, error))
    except Exception as error:
        return ForkingPickler.dumps(Broken.of(error))


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(number=job.number, rung=job.rung, ended="failed", reason=reason)


def _out_of_memory(job: Job, error: MemoryError) -> Outcome:
    return _failed(job, f"out of memory: {error}" if str(error) else "out of memory")


def _receive(pipe: Connection) -> Any:
    """Return what the driver sent; without a driver, end this process."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        raise SystemExit(0) from None


def _send(pipe: Connection, message: memoryview) -> None:
    """Send a packed message; without a driver, end this process at once, whatever it is in the middle of."""
    try:
        pipe.send_bytes(message)
    except OSError:
        os._exit(1)


def _end_with_driver() -> None:
    """Have this process end when the one that started it has, whatever either is doing then."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    if sys.platform == "linux":
        # The kernel needs no help from this process, which may hold the interpreter's lock for minutes.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != driver.pid:  # it ended before it was asked for
            os._exit(1)

    def watch() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-driver", daemon=True).start()
