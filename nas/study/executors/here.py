"""One job at a time in this very process: nothing to start, nothing that could die alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType

from nas.study.executors.serve import Broken, attempt
from nas.study.jobs import Job, Outcome, Prepare, Runner, Tell


class Here:
    """Runs jobs within `wait`, in the caller's thread. See `nas.study.jobs.Executor`.

    What brings a process down (memory, a fault in a library) brings down the search, and a job that hangs is waited
    for. `wait` takes as long as a job does, whatever its timeout.

    Args:
        prepare: called at the first `wait` with slot 0; this process stays as it leaves it.
        tell: told of progress.
    """

    slots = 1
    apart = False

    def __init__(self, prepare: Prepare, tell: Tell) -> None:
        self._prepare, self._tell = prepare, tell
        self._runner: Runner | None = None
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Keep a job for the next `wait`."""
        self._jobs.append(job)

    def wait(self, timeout_s: float | None = None) -> Sequence[Outcome]:
        """Run a job, and return its outcome; nothing where none was submitted.

        Raises:
            NasError: raised by `prepare` or the runner.
            RunError: the runner raised anything else; the text names it.
        """
        if not self._jobs:
            return ()
        if self._runner is None:
            self._runner = self._prepare(0)
        job = self._jobs.popleft()
        try:
            return (attempt(self._runner, job, self._tell),)
        except Exception as error:
            raise Broken.of(error).as_error(job.name) from error

    def close(self) -> None:
        """Forget what was submitted and not run."""
        self._jobs.clear()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
