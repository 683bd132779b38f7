"""ExecuTorch with XNNPACK: what runs on phones, on this machine's CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
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

    called = "executorch"

    @classmethod
    def unavailable(cls) -> str:
        return not_installed("executorch", "ExecuTorch")

    def load_module(self, module: nn.Module, inputs: Tensor) -> Opened:
        import torch

        with _stderr_closed():
            try:
                from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
                from executorch.exir import to_edge_transform_and_lower
                from executorch.runtime import Runtime
            except ImportError as error:
                raise NasError(
                    f"executorch: ExecuTorch is installed but does not load: {error}\n"
                    f"  each version of it goes with one of torch, here {torch.__version__}"
                ) from error
            _set_threads(self.threads)
            exported = torch.export.export(module, (inputs,))
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
            program = Runtime.get().load_program(lowered.buffer)
            method = program.load_method("forward")
            execute, arguments = method.execute, (inputs,)
            execute(arguments)  # XNNPACK looks at the processor now

        def run(_kept: object = program) -> None:  # a method does not keep its program
            execute(arguments)

        def output(_kept: object = program) -> np.ndarray:
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


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Drop what the C++ side says by itself, for want of a switch: some of it by Python's stderr, some past it."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
