"""A network written in a format, loaded again, and compared with torch on validation data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nas.build import Network
from nas.export import FORMATS, Format
from nas.export.parity import BATCH_SIZES, Run, compare, torch_outputs
from nas.export.quantize import Precision

if TYPE_CHECKING:
    from nas.data import Task

_COMPARED = 256
"""Samples of which each output is compared."""

_JUDGED_ONE_BY_ONE = 1024
"""Samples that accuracy is judged on where a file takes a fixed number at once, which is slow; else all."""

_BATCH = 512

Score: TypeAlias = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Checked:
    """How a file agrees with torch; see `nas.ship.Shipped`."""

    batch: int | None
    max_difference: float
    n_samples: int
    score_torch: float
    score_file: float


def write_checked(
    form: Format,
    network: Network,
    task: Task,
    path: Path,
    metadata: Mapping[str, Any],
    batch: int,
    name: str,
    score: Score,
) -> Checked:
    """Write a float32 file to `path`, with what goes beside it, and check it.

    Args:
        batch: how many samples the file takes where that has to be fixed.
        name: of the file, for errors.
        score: how good outputs for the first validation samples are.
    Raises:
        NasError: it cannot be written or loaded, or differs from torch.
    """
    fixed = form.write(network, task.in_shape, path, metadata, batch)
    form.finish(path, {**metadata, "batch": fixed})
    run, n = form.load(path), len(task.x_val) if fixed is None else min(len(task.x_val), _JUDGED_ONE_BY_ONE)
    expected, x = torch_outputs(network, task.x_val[:n]), task.x_val[:n].numpy()
    sizes = BATCH_SIZES if fixed is None else (fixed,)
    difference = compare(run, expected[:_COMPARED], x[:_COMPARED], name, sizes)
    return Checked(fixed, difference, n, score(expected), score(_in_batches(run, x, fixed)))


def write_quantised(
    form: Format,
    network: Network,
    task: Task,
    plain: Path,
    path: Path,
    metadata: Mapping[str, Any],
    precision: Precision,
    samples: np.ndarray,
    score: Score,
) -> Checked:
    """Write an int8 file to `path`, made of the ONNX file `plain`, and judge it: it does differ from torch.

    Args:
        samples: of the training data, (n, *in_shape).
    Raises:
        NasError: it cannot be quantised, written or loaded.
    """
    form.quantize(plain, path, precision, samples)
    form.finish(path, metadata)
    expected, x = torch_outputs(network, task.x_val), task.x_val.numpy()
    found = _in_batches(form.load(path), x, None)
    difference = float(np.abs(found - expected).max())
    return Checked(None, difference, len(x), score(expected), score(found))


def write_plain(network: Network, task: Task, path: Path, metadata: Mapping[str, Any], name: str, score: Score) -> None:
    """Write the float32 ONNX file that an int8 file is made of, checked as one that ships."""
    write_checked(FORMATS["onnx"], network, task, path, metadata, 1, name, score)


def _in_batches(run: Run, x: np.ndarray, fixed: int | None) -> np.ndarray:
    """Return what `run` makes of `x`; the last batch of a fixed size is filled up with its last sample."""
    size, parts = fixed or _BATCH, []
    for i in range(0, len(x), size):
        part = x[i : i + size]
        filled = np.concatenate([part, *[part[-1:]] * (size - len(part) if fixed else 0)])
        parts.append(run(filled)[: len(part)])
    return np.concatenate(parts)
