"""A runtime, its reference net and one calibration: what turns an ONNX file into milliseconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from nas.errors import RunError
from nas.measure import reference
from nas.measure.latency import Calibration, Clock, Run, calm_reference_ms, measure_ratio, reference_time_ms
from nas.measure.quiet import measuring, thread_clock
from nas.measure.runtimes import Runtime
from nas.objectives import Measurement
from nas.shapes import Shape

_TRIES = 3
"""A measurement in which the reference itself was slow is made again, so often at most; the calmest one counts."""

_STIR = 0.08
"""Share by which the reference may be slower than of late. A neighbour who is none of ours and stays for a whole
measurement slows a candidate more than it: once it was 24 % slower and the candidate read 48 % too slow."""

_SMALL_BYTES = 2**20
"""Up to this size a file is measured with two untimed runs before each timed one instead of five, within 0.3 %."""


class Measures(Protocol):
    """What can tell the latency of a file: a meter here, or one in a process of its own."""

    @property
    def takes(self) -> Literal["onnx", "network"]:
        """What such a file is, as `Runtime.takes`."""

    def measure(self, path: Path, in_shape: Shape, limits: Sequence[float] = ()) -> Measurement:
        """Return the latency of one batch in ms, with its 95 % interval.

        Args:
            limits: latencies at which somebody decides: one within the interval is worth a longer measurement.
        """


class Meter:
    """Measures latencies that compare with each other, for as long as the calibration is kept.

    While it measures no other meter of the user does, and trainers with a `Pause` wait. Where one does not, the CPU
    time of the thread counts instead of the wall clock's, and `quiet` says so. Not meant for two threads at once.

    Attributes:
        quiet: whether everybody paused for the last measurement.
        drift: by which share the reference net ran slower then than at the calibration. Latencies do not move with
            it, since they are ratios; where it is large, the milliseconds of the calibration are not those of today.

    Raises:
        RunError: the calibration belongs to another runtime or reference net.
    """

    def __init__(self, runtime: Runtime, calibration: Calibration) -> None:
        for what, ours, theirs in (
            ("runtime", runtime.name, calibration.runtime),
            ("reference net", reference.NAME, calibration.reference),
        ):
            if ours != theirs:
                raise RunError(
                    f"the calibration was made with {what} '{theirs}', this is '{ours}': latencies would not compare\n"
                    "  measure in a new study"
                )
        self.runtime, self.takes = runtime, runtime.takes
        self.calibration = calibration
        self.quiet, self.drift = True, 0.0
        self._reference: Run | None = None
        self._recent: deque[float] = deque(maxlen=20)

    @classmethod
    def calibrated(cls, runtime: Runtime) -> Meter:
        """Return a meter with a calibration made now, which takes about half a second: best before trainers start."""
        run = runtime.prepare_reference()
        with measuring() as quiet:
            clock = _clock(runtime, quiet, run)
            found = calm_reference_ms(lambda: reference_time_ms(run, clock=clock))
        meter = cls(runtime, Calibration(found, runtime.name, reference.NAME))
        meter._reference, meter.quiet = run, quiet
        return meter

    def measure(self, path: Path, in_shape: Shape, limits: Sequence[float] = ()) -> Measurement:
        """Return the latency of one batch in ms, with its 95 % interval; see `Measures`.

        Raises:
            NasError: the file cannot be run at `in_shape`.
            RunError: another process keeps measuring for a minute.
        """
        if self._reference is None:
            self._reference = self.runtime.prepare_reference()
        candidate, ms = self.runtime.prepare(path, in_shape), self.calibration.reference_ms
        untimed = 2 if _bytes(path) <= _SMALL_BYTES else 5
        decided_at = [limit / ms for limit in limits]
        with measuring() as self.quiet:
            clock = _clock(self.runtime, self.quiet, candidate, self._reference)
            tries = []
            for _ in range(_TRIES):
                found = measure_ratio(candidate, self._reference, limits=decided_at, untimed=untimed, clock=clock)
                tries.append(found)
                if found.reference_ns <= self._calm_ns * (1 + _STIR):
                    break
        ratio = min(tries, key=lambda one: one.reference_ns)
        self._recent.append(ratio.reference_ns)
        self.drift = ratio.reference_ns / 1e6 / ms - 1
        return Measurement(ratio.value * ms, ratio.low * ms, ratio.high * ms)

    @property
    def _calm_ns(self) -> float:
        """What the reference takes when nothing stirs: as of late, or at the calibration."""
        return min(self._recent, default=self.calibration.reference_ms * 1e6)


def _bytes(path: Path) -> int:
    """Return the size of a file; of an OpenVINO file, whose weights lie beside it, that of both."""
    weights = path.with_suffix(".bin")
    beside = weights.stat().st_size if path.suffix == ".xml" and weights.exists() else 0
    return path.stat().st_size + beside


def _clock(runtime: Runtime, quiet: bool, *runs: Run) -> Clock:
    """Return the runtime's clock; where that is the wall's and it is not quiet, the thread's if the runs stay in it."""
    if quiet or runtime.clock is not time.perf_counter_ns:
        return runtime.clock
    return thread_clock(*runs) or runtime.clock
