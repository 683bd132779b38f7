"""PyTorch on an NVIDIA GPU: as it is written, and as a CUDA graph. Timed by the device."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.measure.latency import Clock
from nas.measure.runtimes.base import RUNTIMES, Opened
from nas.measure.runtimes.network import NetworkTaker

if TYPE_CHECKING:
    from torch import Tensor, nn


class _DeviceClock:
    """Stands at the ns that the device has spent in runs so far."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


_CLOCK = _DeviceClock()


@RUNTIMES.add("cuda")
class Cuda(NetworkTaker):
    """The module in inference mode; input and output stay on the GPU.

    A run is timed between two events on the device. Small networks are bound by how fast Python launches their kernels,
    which is part of that time. Convolutions are computed in fp32: TF32, torch's default there, is another precision.
    """

    called = "cuda"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads != 1:
            raise NasError(f"{self.called}: threads are those of the CPU; leave them out, got threads={self.threads}")

    @classmethod
    def unavailable(cls) -> str:
        try:
            ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        except OSError:
            return f"{cls.called}: there is no NVIDIA driver here; measure on a machine with such a GPU"
        import torch

        if torch.version.cuda is None:
            return f"{cls.called}: this torch was built without CUDA; choose one with it, https://pytorch.org"
        if not torch.cuda.is_available():
            return f"{cls.called}: torch finds no GPU that it can use; see nvidia-smi and CUDA_VISIBLE_DEVICES"
        return ""

    @property
    def clock(self) -> Clock:
        return _CLOCK

    def load_module(self, module: nn.Module, inputs: Tensor) -> Opened:
        import torch

        torch.backends.cudnn.allow_tf32 = False
        module, inputs = module.cuda(), inputs.cuda()
        inference_mode = torch.inference_mode

        def compute() -> Tensor:
            with inference_mode():
                return module(inputs)

        return self.timed(compute)

    def timed(self, compute: Callable[[], Tensor]) -> Opened:
        """Return what runs `compute` and moves the clock by what the device took."""
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def run() -> None:
            start.record()
            compute()
            end.record()
            end.synchronize()
            _CLOCK.ns += round(start.elapsed_time(end) * 1e6)

        return Opened(run, lambda: compute().cpu().numpy())


@RUNTIMES.add("cudagraphs")
class CudaGraphs(Cuda):
    """The kernels of the module recorded once and replayed as one CUDA graph: no launches from Python."""

    called = "cudagraphs"

    def timed(self, compute: Callable[[], Tensor]) -> Opened:
        import torch

        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries set themselves up, which cannot be recorded
            for _ in range(3):
                compute()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = compute()

        def replay(_kept: object = compute) -> Tensor:  # a graph does not keep the weights it reads
            graph.replay()
            return recorded

        return super().timed(replay)
