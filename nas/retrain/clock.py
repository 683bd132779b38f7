"""Whether what is left of a retraining ends in time, and what would."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence

NEAR = 0.95
"""Of the time that is left, a plan that is made again is to take so much: judging and checkpoints take the rest."""

EARLY = 0.85
"""Of its limit, up to which a plan is replaced by a longer one."""

LATE = 1.05
"""Times its limit, from which on a retraining is told to have taken longer."""

_HALVINGS = 20


class TimeLimit:
    """Of a command.

    Args:
        seconds: in which it is to end.
        began: on the clock of `time.monotonic`.
    """

    def __init__(self, seconds: float, began: float) -> None:
        self.seconds, self._began = seconds, began

    @property
    def spent_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        """Seconds to its end; below 0 when that is over."""
        return self.seconds - self.spent_s


def ends_in(seconds: Sequence[float], slots: int) -> float:
    """Return in how many seconds trainings are all done, if whoever is free takes the next.

    >>> ends_in([3.0, 2.0, 2.0], slots=2)
    4.0
    """
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def share_that_fits(
    seconds: Callable[[float], Sequence[float]], slots: int, limit_s: float, most: float = 1.0
) -> float:
    """Return the largest share of their epochs with which trainings end within a limit; 0 where none does.

    Args:
        seconds: of each training at a share in [0, `most`]; none falls as the share grows.

    >>> round(share_that_fits(lambda share: [10 * share, 2.0], slots=1, limit_s=7.0), 3)
    0.5
    """
    if ends_in(seconds(most), slots) <= limit_s:
        return most
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        if ends_in(seconds(share), slots) <= limit_s:
            low = share
        else:
            high = share
    return low
