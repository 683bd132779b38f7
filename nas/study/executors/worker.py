"""One process that trains, as its driver holds it: started, spoken to, judged by its silence, ended."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.reduction import ForkingPickler

from nas.study.executors.serve import Broken, Message, serve
from nas.study.jobs import Job, Outcome, Prepare

_SPAWN = multiprocessing.get_context("spawn")
"""A fork would inherit the locks that the driver's other threads hold, and those threads not."""

_ONE_THREAD = dict.fromkeys([f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")], "1")
"""Read by libraries as they load. Two processes of one thread train more than one of two."""

_TRANSFER_S = 60.0
"""A message that takes longer is one from or to a process that was stopped half-way."""

_SILENT_TIMES, _SILENT_S = 1.5, 90.0
"""A process is taken to hang when it is silent for so many times its trial's limit and so many seconds more: thirty to
build and to validate, and sixty for a measurement that it pauses for (`nas.measure.quiet`)."""

_GRACE_S = 20.0
"""For an answer after the end of the run."""

_LINGER_S = 1.0
"""Between the last that was heard of a process and its end."""


class Worker:
    """A process that runs `serve`.

    Attributes:
        begun: it runs at all.
        ready: it has prepared.
        job: what it works on; None: nothing.
        broken: what it said of its end, where it could not prepare.
    Raises:
        OSError: the system starts no further process.
    """

    def __init__(self) -> None:
        self.begun = self.ready = False
        self.job: Job | None = None
        self.broken: Broken | None = None
        self._heard = self._run_ends = math.inf
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=serve, args=(theirs,), daemon=True)
        try:
            with _environment():
                self._process.start()
        except RuntimeError as error:
            if "bootstrapping" not in str(error):
                raise
            # The main module is being imported, by a process that was started just as this one would be, and has no
            # "if __name__ == '__main__'". Its driver says so, once is enough.
            raise SystemExit(1) from None
        finally:
            theirs.close()  # or the end of the process would not be the end of what can be read

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def introduce(self, slot: int, prepare: Prepare) -> None:
        """Say what to prepare. Not said within `__init__`, so that many can be started before one has to listen."""
        self._send(ForkingPickler.dumps((slot, prepare)))

    def give(self, job: Job) -> None:
        """Hand it a job; it must be ready, and at no other.

        Raises:
            OSError: it is dead, or was stopped and has been killed.
        """
        packed = ForkingPickler.dumps(job)
        self.job = job
        self._heard = time.monotonic()
        self._run_ends = math.inf if job.seconds_left is None else self._heard + job.seconds_left
        self._send(packed)

    def hear(self) -> Message | None:
        """Return the next thing it said; None where it has said nothing more so far.

        Raises:
            EOFError, OSError: it is dead, or was stopped while it spoke and has been killed.
        """
        if not self.pipe.poll():
            return None
        with self._whole_messages():
            message: Message = self.pipe.recv()
        self._heard = time.monotonic()
        return message

    def late(self) -> Outcome | None:
        """Return the outcome of a job that is not to be waited for any more; None: wait."""
        if self.job is None:
            return None
        now, limit = time.monotonic(), self.job.trial_limit_s
        silent = now - self._heard
        if limit is not None and silent > _SILENT_TIMES * limit + _SILENT_S:
            reason = f"time limit of {limit:g} s: its process did not answer for {silent:.0f} s"
            return Outcome(number=self.job.number, rung=self.job.rung, ended="failed", reason=reason)
        return out_of_time(self.job, self._run_ends)

    def end(self) -> int | None:
        """End the process if it has not ended; return its exit code, None where the system cannot end it."""
        self._process.join(_LINGER_S)
        self.kill()
        self._process.join(_LINGER_S)
        self.pipe.close()
        code = self._process.exitcode
        if code is not None:
            self._process.close()
        return code

    def terminate(self) -> None:
        """Ask the process to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process."""
        self._process.kill()

    def _send(self, packed: memoryview) -> None:
        with self._whole_messages():
            self.pipe.send_bytes(packed)

    @contextmanager
    def _whole_messages(self) -> Iterator[None]:
        """Kill the process where a message stays half: nothing after it could be read, and waiting has no end."""
        watchdog = threading.Timer(_TRANSFER_S, self.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except BaseException:
            self.kill()
            raise
        finally:
            watchdog.cancel()


def out_of_time(job: Job, run_ends: float) -> Outcome | None:
    """Return the outcome of a job whose run was over at `run_ends` (of `time.monotonic`) and more; None: wait."""
    if time.monotonic() <= run_ends + _GRACE_S:
        return None
    reason = f"the run's time was over, and for {_GRACE_S:g} s more there was no answer"
    return Outcome(number=job.number, rung=job.rung, ended="time", reason=reason, state=job.state)


@contextmanager
def _environment() -> Iterator[None]:
    """What a process is to inherit that starts within: one thread for its libraries, and no Ctrl-C from the start."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    can_block = hasattr(signal, "pthread_sigmask")  # not Windows
    if can_block:
        resource_tracker.ensure_running()  # as the first process would have it do, and it lets signals through again
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def in_words(exit_code: int | None) -> str:
    """Say how a process ended.

    >>> in_words(3), in_words(-11)
    ('ended with exit code 3', 'ended by SIGSEGV')
    """
    if exit_code is None:
        return "does not end"
    if exit_code >= 0:
        return f"ended with exit code {exit_code if exit_code < 256 else hex(exit_code)}"  # Windows' are large
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # real-time signals have none
        name = f"signal {-exit_code}"
    return f"ended by {name}" + (", as the system does where memory is short" if name == "SIGKILL" else "")
