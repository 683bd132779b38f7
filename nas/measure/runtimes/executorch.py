"""ExecuTorch with XNNPACK: what runs on phones, on this machine's CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError
from nas.measure.runtimes.base import RUNTIMES, Opened, not_installed
from nas.measure.runtimes.network import NetworkTaker

if TYPE_CHECKING:
    from torch import Tensor, nn


@RUNTIMES.add("executorch")
class ExecuTorch(NetworkTaker):
    """The program that the XNNPACK partitioner makes, in ExecuTorch's own runtime.

    Lowering takes 1 to 5 s; for recurrent layers, which it unrolls, 6 s at 8 steps, 25 s at 25, a minute at 49.
    All programs of a process share one thread pool, and one that was made with another would be lost: a process
    measures with the thread count it began with.
    """

    called, ships = "executorch", ".pte"

    @classmethod
    def unavailable(cls) -> str:
        return not_installed("executorch", "ExecuTorch")

    def load_module(self, module: nn.Module, inputs: Tensor) -> Opened:
        from nas.export.formats.executorch import lowered

        return self._opened(lowered(module, tuple(inputs.shape[1:]), len(inputs)), inputs)

    def load_shipped(self, path: Path, inputs: Tensor) -> Opened:
        return self._opened(path, inputs)

    def _opened(self, program: bytes | Path, inputs: Tensor) -> Opened:
        from nas.export.formats.base import stderr_closed
        from nas.export.formats.executorch import loaded

        with stderr_closed():
            _set_threads(self.threads)
            kept = loaded(program)
            method = kept.load_method("forward")
            execute, arguments = method.execute, (inputs,)
            execute(arguments)  # XNNPACK looks at the processor now

        def run(_kept: object = kept) -> None:  # a method does not keep its program
            execute(arguments)

        def output(_kept: object = kept) -> np.ndarray:
            found: np.ndarray = execute(arguments)[0].numpy()
            return found

        return Opened(run, output)


_threads: int | None = None


def _set_threads(threads: int) -> None:
    """Size the thread pool before the first program of this process is made."""
    from executorch.extension.pybindings import portable_lib

    global _threads
    if _threads not in (None, threads):
        raise NasError(
            f"executorch: this process runs programs on {_threads} thread(s) and cannot change to {threads}; "
            "measure in a process of its own"
        )
    if _threads is None:
        portable_lib._unsafe_reset_threadpool(threads)
        _threads = threads
