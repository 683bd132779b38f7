"""A runtime, its reference net and one calibration: what turns an ONNX file into milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nas.errors import RunError
from nas.measure import reference
from nas.measure.latency import Calibration, Run, measure_ratio, reference_time_ms
from nas.measure.runtimes import Runtime
from nas.objectives import Measurement
from nas.shapes import Shape


class Measures(Protocol):
    """What can tell the latency of a file: a meter here, or one in a process of its own."""

    def measure(self, onnx_path: Path, in_shape: Shape) -> Measurement:
        """Return the latency of one sample in ms, with its 95 % interval."""


class Meter:
    """Measures latencies that compare with each other, for as long as the calibration is kept.

    Not meant for two threads at once, which would disturb each other's measurements anyway.

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
        self.runtime = runtime
        self.calibration = calibration
        self._reference: Run | None = None

    @classmethod
    def calibrated(cls, runtime: Runtime) -> Meter:
        """Return a meter with a calibration made now, which takes about half a second: best before trainers start."""
        run = runtime.prepare(reference.model(), reference.IN_SHAPE)
        meter = cls(runtime, Calibration(reference_time_ms(run), runtime.name, reference.NAME))
        meter._reference = run
        return meter

    def measure(self, onnx_path: Path, in_shape: Shape) -> Measurement:
        """Return the latency of one sample in ms, with its 95 % interval.

        Raises:
            NasError: the file cannot be run at `in_shape`.
        """
        if self._reference is None:
            self._reference = self.runtime.prepare(reference.model(), reference.IN_SHAPE)
        ratio = measure_ratio(self.runtime.prepare(onnx_path, in_shape), self._reference)
        ms = self.calibration.reference_ms
        return Measurement(ratio.value * ms, ratio.low * ms, ratio.high * ms)
