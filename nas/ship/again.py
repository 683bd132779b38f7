"""A latency that the search measured, measured again on the file that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.measure import OpenMeter
from nas.measure.open import NOTICED
from nas.objectives import DRIFT, Measurement

_PROCESSES = 3
"""How many read a latency that differs from the searched one."""


@dataclass(frozen=True)
class Again:
    """A latency that the search measured, measured again on the file that ships."""

    target: str
    searched: Measurement | None
    file: Measurement
    disturbed: bool
    """Whether it was measured beside a training that did not pause."""
    drift: float
    """By which share the reference net ran slower than at the calibration."""

    @property
    def differs(self) -> str:
        """Say by how much the file's latency differs from the searched one, and why; "" where it is within 3 %."""
        if self.searched is None or abs(share := self.file.value / self.searched.value - 1) <= DRIFT:
            return ""
        if self.disturbed:
            why = "measured beside a training that did not pause"
        elif self.file.overlaps(self.searched):
            why = "within the intervals"
        elif abs(self.drift) > NOTICED:
            why = f"the machine runs {abs(self.drift):.0%} {'slower' if self.drift > 0 else 'faster'} than then"
        else:
            why = "nothing that is known explains it: measure again on a quiet machine"
        return f"{self.target}: {share:+.1%} ({why})"


def measure_again(searched: Measurement | None, meter: OpenMeter, read: Callable[[], Measurement]) -> Again:
    """Measure what the search measured as `searched` again; where the two differ, in three processes.

    Where a process puts a network and the reference in memory moves their ratio by a percent or so, and no interval
    knows of it. So a figure that is 3 % off is read in two fresh processes more, and the median of the three counts.

    Args:
        read: measures it with `meter`.
    """
    found: list[Again] = []
    while True:
        before = meter.disturbed
        latency = read()
        found.append(Again(str(meter.target), searched, latency, meter.disturbed > before, meter.drifts[-1]))
        if len(found) == _PROCESSES or not found[0].differs:
            return sorted(found, key=lambda again: again.file.value)[len(found) // 2]
        meter.close()
