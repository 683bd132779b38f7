"""PyTorch as it is written, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.measure.runtimes.base import RUNTIMES, Opened
from nas.measure.runtimes.network import NetworkTaker

if TYPE_CHECKING:
    from torch import Tensor, nn


@RUNTIMES.add("eager")
class Eager(NetworkTaker):
    """The module itself in inference mode, in torch's default memory format; or the graph of a .pt2 file."""

    called, ships = "eager", ".pt2"

    def load_module(self, module: nn.Module, inputs: Tensor) -> Opened:
        return called_on(module, inputs)

    def load_shipped(self, path: Path, inputs: Tensor) -> Opened:
        import torch

        return called_on(torch.export.load(path).module(), inputs)


def called_on(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Opened:
    """Return what calls `function` on `inputs` in inference mode."""
    import torch

    inference_mode = torch.inference_mode

    def run() -> None:
        with inference_mode():
            function(inputs)

    def output() -> np.ndarray:
        with inference_mode():
            return function(inputs).numpy()

    return Opened(run, output)
