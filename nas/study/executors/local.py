"""Jobs in processes of this machine, which are started once, stay warm, and are replaced when they die."""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import connection
from types import TracebackType

from nas.errors import NasError, RunError
from nas.study.executors.serve import Message
from nas.study.executors.worker import Worker, in_words, out_of_time
from nas.study.jobs import Job, Outcome, Prepare, Progress, Tell

_LOOK_S = 1.0
"""Between two looks at all processes: for what is late, and for deaths that no pipe tells of."""

_TERMINATE_S = 2.0
"""Between asking processes to end and ending them."""

_TRIES = 3
"""Deaths in a row of processes that were getting ready, after which they are no accident."""

_LONGEST_REST_S = 60.0
"""Between two processes of a slot in which they die while they get ready; the search goes on with the others."""

_MOST_SLOTS = 60 if sys.platform == "win32" else 1000
"""Windows waits for at most 63 things at once."""


class Local:
    """Runs jobs in processes of this machine. See `nas.study.jobs.Executor`.

    All are started when this is made, and get ready beside whatever the caller does. They end with the process that
    started them, whatever it dies of, and no later than the thread that did (for Linux a parent is a thread). More
    jobs than slots may be submitted; they wait for whichever process is free first.

    A process that dies gives its job an outcome and is replaced. So is one that is silent for much longer than the
    limit of its trial, or that does not answer after the end of the run. One that dies while it gets ready is replaced
    too, after a while if others did so before.

    Args:
        prepare: called once in each process, with its slot. Can be pickled.
        slots: how many processes.
        tell: told of progress.
    Raises:
        RunError: `slots` is not a number of processes, or this is a process that may start none.
    """

    apart = True

    def __init__(self, prepare: Prepare, slots: int, tell: Tell) -> None:
        self._workers: list[Worker | None] = []
        self._jobs: deque[tuple[Job, float]] = deque()
        """Those that no process has yet, and since when."""
        if not 1 <= slots <= _MOST_SLOTS:
            raise RunError(f"workers: must be a whole number from 1 to {_MOST_SLOTS}, got {slots}")
        if multiprocessing.current_process().daemon:
            raise RunError("a daemonic process may start no others\n  start the search from one that is not daemonic")
        self.slots = slots
        self._prepare, self._tell = prepare, tell
        self._ended: list[Outcome] = []
        self._raised: list[NasError] = []
        self._deaths = 0
        """In a row, of processes that were getting ready."""
        self._rests_until = [0.0] * slots
        self._any_begun = self._any_answered = False
        self._workers = [None] * slots
        try:
            self._staff()
        except BaseException:
            self.close()
            raise

    def submit(self, job: Job) -> None:
        """Give a job to a process that is free, or have it wait for one.

        Raises: as `wait`.
        """
        if not self._workers:
            raise ValueError("this executor is closed")
        self._jobs.append((job, time.monotonic()))
        self._hand_out()
        self._raise()

    def wait(self, timeout_s: float | None = None) -> Sequence[Outcome]:
        """Return what ended, one at least; nothing after `timeout_s`, or where nothing is under way.

        Raises:
            NasError: raised by `prepare` or by a runner. The latter's job has no other outcome; the rest go on.
            RunError: a runner raised anything else, or processes cannot be started; the text says why.
        """
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._listen(0.0)
        while True:
            self._raise()
            self._staff()
            self._hand_out()
            left = end - time.monotonic()
            if self._ended or left <= 0 or not self._under_way():
                ended, self._ended = self._ended, []
                return ended
            self._listen(min(left, _LOOK_S))

    def close(self) -> None:
        """End all processes, whatever they are at, within a few seconds; what runs then gives no outcome."""
        self._jobs.clear()
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.terminate()
        end = time.monotonic() + _TERMINATE_S
        while any(worker.alive for worker in workers) and time.monotonic() < end:
            time.sleep(0.01)
        for worker in workers:
            worker.kill()
        for worker in workers:
            self._workers.remove(worker)  # before it is ended, since that is done once
            worker.end()
        self._workers = []

    def __enter__(self) -> Local:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    # ---------------------------------------------------------------- jobs

    def _under_way(self) -> bool:
        return bool(self._jobs) or any(worker and worker.job for worker in self._workers)

    def _hand_out(self) -> None:
        """Give jobs to processes that are free, as far as there are."""
        for slot, worker in enumerate(self._workers):
            if not self._jobs:
                return
            if worker is None or worker.job is not None:
                continue
            self._hear(slot, worker)  # that it is ready, or has died since
            if self._workers[slot] is not worker or not worker.ready:
                continue
            job, since = self._jobs.popleft()
            if job.seconds_left is not None:
                job = replace(job, seconds_left=job.seconds_left - (time.monotonic() - since))
            try:
                worker.give(job)
            except OSError:
                self._bury(slot, worker)

    def _listen(self, timeout_s: float) -> None:
        """Hear whoever speaks first, everybody who spoke by then, and see who is late or dead."""
        pipes = [worker.pipe for worker in self._workers if worker]
        if pipes:
            connection.wait(pipes, timeout_s)
        else:
            time.sleep(timeout_s)
        for slot, worker in enumerate(self._workers):
            if worker is None:
                continue
            alive = worker.alive  # asked first: what it said before it died counts
            self._hear(slot, worker)
            if self._workers[slot] is not worker:
                continue
            if not alive:  # a process of its own holds its end of the pipe open
                self._bury(slot, worker)
            elif (outcome := worker.late()) is not None:
                self._ended.append(outcome)
                worker.job = None
                worker.kill()
                self._bury(slot, worker)
        for waiting in list(self._jobs):
            job, since = waiting
            ends = math.inf if job.seconds_left is None else since + job.seconds_left
            if (outcome := out_of_time(job, ends)) is not None:
                self._jobs.remove(waiting)
                self._ended.append(outcome)

    def _hear(self, slot: int, worker: Worker) -> None:
        """Take in all that a process has said; it may be found dead."""
        while True:
            try:
                message = worker.hear()
            except (EOFError, OSError):
                self._bury(slot, worker)
                return
            if message is None:
                return
            self._take(worker, message)

    def _take(self, worker: Worker, message: Message) -> None:
        if isinstance(message, Progress):
            self._tell(message)
        elif message == "begun":
            worker.begun = self._any_begun = True
        elif message == "ready":
            worker.ready, self._deaths = True, 0
        elif isinstance(message, Outcome):
            worker.job, self._any_answered = None, True
            self._ended.append(message)
        elif worker.job is not None:
            self._raised.append(message.as_error(worker.job.name))
            worker.job, self._any_answered = None, True
        else:
            worker.broken = message

    def _raise(self) -> None:
        if self._raised:
            raise self._raised.pop(0)

    # ---------------------------------------------------------------- processes

    def _staff(self) -> None:
        """Start a process in every slot that has none and does not rest."""
        started: list[tuple[int, Worker]] = []
        for slot, worker in enumerate(self._workers):
            if worker is not None or time.monotonic() < self._rests_until[slot]:
                continue
            try:
                new = Worker()
            except OSError as error:
                self._died_early(slot, RunError(f"{_READY}: no process can be started: {error}\n  {_FEWER}"))
                continue
            self._workers[slot] = new
            started.append((slot, new))
        for slot, new in started:
            try:
                new.introduce(slot, self._prepare)
            except OSError:
                self._bury(slot, new)

    def _bury(self, slot: int, worker: Worker) -> None:
        """Take a process that is dead, or as good as dead, out of its slot."""
        self._workers[slot] = None
        code = worker.end()
        job, broken = worker.job, worker.broken
        if job is not None:
            reason = f"its process {in_words(code)}"
            self._ended.append(Outcome(number=job.number, rung=job.rung, ended="died", reason=reason))
        elif worker.ready:
            return
        elif broken is not None and broken.name == "MemoryError":
            self._died_early(slot, RunError(f"{_READY}: out of memory\n  {_FEWER}"))
        elif broken is not None:
            self._died_early(slot, broken.as_error(_READY), final=bool(broken.kind))
        elif worker.begun or code is None or code < 0:
            self._died_early(slot, RunError(f"{_READY}: the process {in_words(code)}\n  {_FEWER}"))
        else:
            main = getattr(sys.modules["__main__"], "__file__", "the main module")
            what = "each process that trains imports it first, and that"
            error = RunError(f"{main}: {what} {in_words(code)}; anything it said is above\n  {_GUARD}")
            self._died_early(slot, error, final=not self._any_begun)

    def _died_early(self, slot: int, error: NasError, *, final: bool = False) -> None:
        """Leave a slot empty for a while; where there is no hope, or too little, have `error` raised.

        A search that has trained already goes on with the processes that it has.

        Args:
            final: the next one would die of the same.
        """
        self._deaths += 1
        if self._deaths >= _TRIES:
            self._rests_until[slot] = time.monotonic() + min(2.0**self._deaths, _LONGEST_REST_S)
        goes_on = self._any_answered and any(worker and worker.ready for worker in self._workers)
        if (final or self._deaths >= _TRIES) and not goes_on:
            self._raised.append(error)


_READY = "getting ready to train"
_FEWER = "search with fewer workers, each of which then has more memory"
_GUARD = "write what starts the search into a file, under: if __name__ == '__main__':"
