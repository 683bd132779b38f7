"""Everything a network costs that can be known before any training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.export.onnx import export_onnx
from nas.measure.memory import peak_activation_bytes
from nas.measure.meter import Measures
from nas.objectives import LATENCY, Measurement
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


def price_module(module: nn.Module, in_shape: Shape, meter: Measures, onnx_path: Path) -> dict[str, Measurement]:
    """Return every price of `nas.objectives.PRICES` of an untrained `module` for one sample of `in_shape`.

    Args:
        meter: takes ONNX files.
        onnx_path: where the ONNX file goes that is measured; the caller removes it.
    Raises:
        NasError: the network cannot be exported, counted or run.

    Cost: 76 ms in the median over the image space, half of it the export and a third the latency; some seconds at most
    for slow ones (results/latency/price.json).
    """
    export_onnx(module, in_shape, onnx_path)
    return {LATENCY: meter.measure(onnx_path, in_shape), **count(module, in_shape, onnx_path)}


def count(module: nn.Module, in_shape: Shape, onnx_path: Path) -> dict[str, Measurement]:
    """Return the prices of `module` that are counted, not measured.

    The memory of the activations is left out where the file, one of a user's own block with control flow, does not
    tell it.

    Args:
        onnx_path: its ONNX file.
    Raises:
        NasError: the network cannot be counted.
    """
    from nas.measure.fast_macs import count_macs_fast  # torch, which the process that measures does without

    counted = {
        "macs": count_macs_fast(module, in_shape),
        "n_params": sum(p.numel() for p in module.parameters()),
        "size_bytes": onnx_path.stat().st_size,
    }
    with suppress(NasError):
        counted["peak_bytes"] = peak_activation_bytes(onnx_path, in_shape)
    return {name: Measurement.exact(value) for name, value in counted.items()}
