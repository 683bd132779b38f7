"""ONNX Runtime on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.errors import NasError
from nas.export.onnx import quiet_session
from nas.measure.latency import Run
from nas.measure.runtimes.base import RUNTIMES
from nas.shapes import Shape


@RUNTIMES.add("onnxruntime")
@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """One sequential session with all graph optimisations; input bound once, output allocated by the runtime."""

    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise NasError(f"onnxruntime: threads must be at least 1, got {self.threads}")

    @property
    def name(self) -> str:
        return "onnxruntime" if self.threads == 1 else f"onnxruntime, {self.threads} threads"

    def prepare(self, model: Path | bytes, in_shape: Shape, *, seed: int = 0) -> Run:
        session = quiet_session(model, threads=self.threads)
        sample = np.random.default_rng(seed).standard_normal((1, *in_shape)).astype(np.float32)
        # Binding saves the 0.003 ms that dictionaries and copies of a plain `run` take: 40 % of the smallest nets.
        binding = session.io_binding()
        binding.bind_cpu_input(session.get_inputs()[0].name, sample)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        execute = session.run_with_iobinding

        def run() -> None:
            execute(binding)

        try:
            run()
        except Exception as error:  # ONNX Runtime has a class for each status, below Exception
            place = "the model in memory" if isinstance(model, bytes) else model
            raise NasError(f"{place}: cannot be run on one sample of shape {in_shape}: {error}") from error
        return run
