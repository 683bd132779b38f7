"""Everything a network costs that can be known before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.export.onnx import export_onnx
from nas.measure.macs import count_macs
from nas.measure.meter import Measures
from nas.objectives import Measurement
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


def price_module(module: nn.Module, in_shape: Shape, meter: Measures, onnx_path: Path) -> dict[str, Measurement]:
    """Return every price of `nas.objectives.PRICES` of an untrained `module` for one sample of `in_shape`.

    Args:
        onnx_path: where the ONNX file goes that is measured; the caller removes it.
    Raises:
        NasError: the network cannot be exported, counted or run.

    Cost: 20-80 ms for nets of 0.005-0.15 ms, more than half of it the latency; at most about a second for slow ones.
    """
    export_onnx(module, in_shape, onnx_path)
    return price_exported(module, in_shape, meter, onnx_path)


def price_exported(
    module: nn.Module, in_shape: Shape, meter: Measures, onnx_path: Path, given: Path | None = None
) -> dict[str, Measurement]:
    """Return the same of a module whose ONNX file is there already.

    Args:
        given: the file that the meter takes, where that is not the ONNX file.
    """
    return {
        "latency_ms": meter.measure(given or onnx_path, in_shape),
        "macs": Measurement.exact(count_macs(module, in_shape)),
        "n_params": Measurement.exact(sum(p.numel() for p in module.parameters())),
        "size_bytes": Measurement.exact(onnx_path.stat().st_size),
    }
