"""Everything a network costs that can be known before any training."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.export.onnx import eval_mode, export_onnx
from nas.measure.memory import peak_activation_bytes
from nas.measure.meter import Measures
from nas.objectives import LATENCY, OBJECTIVES, Measurement
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


def count(module: nn.Module, in_shape: Shape, onnx_path: Path, own: Sequence[str] = ()) -> dict[str, Measurement]:
    """Return the prices of `module` that are counted, not measured.

    The memory of the activations is left out where the file, one of a user's own block with control flow, does not
    tell it.

    Args:
        onnx_path: its ONNX file.
        own: which objectives of a user's own to tell too.
    Raises:
        NasError: the network cannot be counted, or one of these fails.
    """
    from nas.measure.fast_macs import count_macs_fast  # torch, which the process that measures does without

    counted = {
        "macs": count_macs_fast(module, in_shape),
        "n_params": sum(p.numel() for p in module.parameters()),
        "size_bytes": onnx_path.stat().st_size,
    }
    with suppress(NasError):
        counted["peak_bytes"] = peak_activation_bytes(onnx_path, in_shape)
    told = {name: own_price(name, module, in_shape) for name in own}
    return {name: Measurement.exact(value) for name, value in {**counted, **told}.items()}


def own_price(name: str, module: nn.Module, in_shape: Shape) -> float:
    """Return what an objective of a user's own says of `module`, which is left as it is.

    Raises:
        NasError: it fails, returns no finite number, or its code is not loaded.
    """
    import torch

    price = OBJECTIVES[name].price
    if price is None:
        raise NasError(f"{name} is an objective of a user's own, and its code is not loaded; name its --plugin")
    try:
        with torch.random.fork_rng(devices=()), eval_mode(module), torch.no_grad():
            value = float(price(module, in_shape))
    except Exception as error:  # whatever a user's function raises
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{at.filename}, line {at.lineno}"
        raise NasError(f"{name}: {type(error).__name__}: {error} ({where})") from error
    if not math.isfinite(value):
        raise NasError(f"{name}: a price is a finite number, got {value}")
    return value
