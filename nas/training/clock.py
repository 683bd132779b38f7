"""The time of a training: what it took, and when it is over. It stands still in pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

from nas.errors import TrialFailed


class Clock:
    """Runs from when it is made."""

    def __init__(
        self,
        between_batches: Callable[[], None] | None,
        deadline: float | None,
        trial_limit_s: float | None,
        spent_s: float,
    ) -> None:
        """Take the arguments of `fit`, and the seconds behind the state that it goes on from."""
        self._between_batches, self._deadline, self._limit_s = between_batches, deadline, trial_limit_s
        self._spent_s = spent_s
        self._paused = 0.0
        self._started = self.now()

    def now(self) -> float:
        """Return seconds since some moment, pauses left out."""
        return time.perf_counter() - self._paused

    def pause(self) -> None:
        """Let others do what they wait for."""
        if self._between_batches is not None:
            began = time.perf_counter()
            self._between_batches()
            self._paused += time.perf_counter() - began

    def deadline_passed(self) -> bool:
        """Return whether the whole run's time is over, on the clock of `time.monotonic`."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def check_limit(self, epoch: int, batch: int, n_batches: int) -> None:
        """Check that the training keeps its own limit; it has come to a batch of n in this epoch, counted from 1.

        Raises:
            TrialFailed: it does not.
        """
        if self._limit_s is not None and self._spent_s + self.now() - self._started > self._limit_s:
            place = f"epoch {epoch}, batch {batch} of {n_batches}"
            raise TrialFailed(f"time limit of {self._limit_s:g} s reached at {place}")
