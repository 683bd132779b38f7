"""What a runtime has to offer to be measured in."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nas.measure.latency import Run
from nas.registry import Registry
from nas.shapes import Shape


class Runtime(Protocol):
    """Runs ONNX networks. Made without arguments it uses one thread."""

    @property
    def name(self) -> str:
        """What a calibration is kept under: differs where latencies do not compare, as with another thread count."""

    def prepare(self, model: Path | bytes, in_shape: Shape, *, seed: int = 0) -> Run:
        """Load `model` and return a function that runs it once on one sample, the same each time, and waits for it.

        Args:
            model: an ONNX file or its bytes.
            in_shape: without the batch axis.
            seed: of the sample, standard normal.
        Raises:
            NasError: the model cannot be loaded, or not be run at `in_shape`.
        """


RUNTIMES: Registry[type[Runtime]] = Registry("runtime")
