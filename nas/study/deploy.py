"""The file that a network ships as: its precision, what it is calibrated on, how good it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nas.build import Network
from nas.errors import NasError, TrialFailed
from nas.export.onnx import export_onnx
from nas.export.quantize import DeployConfig, Precision, quantize, run_file
from nas.metrics import Judge
from nas.rng import generator
from nas.shapes import Shape
from nas.space import Architecture, Space
from nas.training import Scores, as_trial_failed
from nas.training.judge import score

if TYPE_CHECKING:
    from nas.data import Task

_N_SAMPLES = 256
"""With 64 the outputs of nets of Fashion-MNIST are as close to those of float32; with 8, 2 to 3 times less close."""


def precision_of(space: Space, arch: Architecture) -> Precision:
    """Return the precision in which an architecture ships."""
    said = space.resolve(arch).get("deploy", {})
    assert isinstance(said, dict)
    return DeployConfig(**said).precision  # type: ignore[arg-type]  # as `check_space` sees to


def calibration(task: Task, seed: int) -> np.ndarray:
    """Return the training samples that static quantisation takes its ranges from: (n, *in_shape), n <= 256."""
    n = len(task.x_train)
    chosen = np.sort(generator(seed, "calibration").permutation(n)[:_N_SAMPLES])
    samples: np.ndarray = task.x_train[torch.from_numpy(chosen)].numpy()
    return samples


def write_quantised(
    network: Network,
    in_shape: Shape,
    path: Path,
    precision: Precision,
    samples: np.ndarray,
) -> None:
    """Write `network` to `path` in 8 bits; see `quantize` for arguments and errors."""
    exported = path.with_name(f"{path.stem}.fp32{path.suffix}")
    try:
        export_onnx(network, in_shape, exported)
        quantize(exported, path, precision, samples)
    finally:
        exported.unlink(missing_ok=True)


@contextmanager
def shipped_file(
    network: Network, task: Task, precision: Precision, seed: int, pause: Callable[[], None]
) -> Iterator[Path]:
    """Yield the file that a network ships as in 8 bits, which is there for the length of the block.

    Args:
        network, task: on the CPU.
        seed: of the study, see `calibration`.
        pause: called before it is written.
    Raises:
        TrialFailed: it cannot be written, or something goes wrong with it within the block.
    """
    samples = calibration(task, seed)
    pause()
    try:
        with as_trial_failed(), tempfile.TemporaryDirectory(prefix="nas-") as scratch:
            path = Path(scratch) / "network.onnx"
            write_quantised(network, task.in_shape, path, precision, samples)
            yield path
    except NasError as error:
        raise TrialFailed(str(error).splitlines()[0]) from error


def judge_file(
    path: Path, x: Tensor, y: Tensor, judge: Judge, between_batches: Callable[[], None] | None = None
) -> Scores:
    """Judge the file at `path`, as ONNX Runtime runs it, like `nas.training.evaluate` judges a module.

    Raises:
        NasError: it cannot be run.
        TrialFailed: its loss is not finite, or a user's metric cannot be told.
    """
    return score(run_file(path, x.numpy(), between_batches=between_batches), y.numpy(), judge)
