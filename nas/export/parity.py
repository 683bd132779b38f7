"""Whether a file computes what torch computes, on real inputs and at several batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from nas.errors import NasError
from nas.export.onnx import device_of, eval_mode, export_onnx, quiet_session, written_whole
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

Run: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""What a loaded file makes of (n, *in_shape) float32: (n, n_outputs)."""

BATCH_SIZES = (1, 7)
"""A file whose batch axis was frozen while it was traced passes at one of them only."""

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest absolute output."""

_SMALLEST_SCALE = 1e-2
"""Outputs below this are compared as if they were this large: less is rounding of the activations before them."""

_MOST_BATCHES = 40
"""Of one size: at batch 1 a sample more teaches little, and each costs a run."""


def torch_outputs(module: nn.Module, inputs: Tensor, batch: int = 512) -> np.ndarray:
    """Return what `module` makes of (n, *in_shape) in eval mode: (n, n_outputs); each part's mode is restored."""
    import torch

    with eval_mode(module), torch.no_grad():
        parts = [module(part.to(device_of(module))).cpu() for part in inputs.split(batch)]
    outputs: np.ndarray = torch.cat(parts).numpy()
    return outputs


def compare(
    run: Run,
    expected: np.ndarray,
    inputs: np.ndarray,
    name: str,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest absolute difference between what `run` makes of `inputs` and what is expected.

    Args:
        expected: (n, n_outputs), of torch.
        inputs: (n, *in_shape) float32, at least one; repeated where a batch is larger than n. At each batch size the
            first 40 batches count.
        name: of the file, for errors.
        tolerance: as a share of the largest absolute output of torch (of 0.01 where the outputs are smaller).
    Raises:
        NasError: the file cannot be run, the difference is beyond the tolerance, or an output is not finite.
    """
    if not len(inputs):
        raise ValueError("parity is checked on at least one input, got none")
    if not np.isfinite(expected).all():
        raise NasError(f"{name}: the network's own output is not finite; train it again")
    limit = tolerance * max(float(np.abs(expected).max(initial=0.0)), _SMALLEST_SCALE)
    worst = 0.0
    for batch_size in batch_sizes:
        n_batches = min(_MOST_BATCHES, -(-len(inputs) // batch_size))
        for chosen in np.split(np.arange(n_batches * batch_size) % len(inputs), n_batches):
            try:
                actual = run(inputs[chosen])
            except Exception as error:  # each runtime has its own, most of them below Exception
                raise NasError(f"{name}: cannot be run at batch size {batch_size}: {error}") from error
            if actual.shape != expected[chosen].shape:
                wanted = expected[chosen].shape
                raise NasError(f"{name}: at batch size {batch_size} the output is {actual.shape}, not {wanted}")
            worst = max(worst, _difference(actual, expected[chosen], limit, f"{name}: at batch size {batch_size}"))
    return worst


def _difference(actual: np.ndarray, expected: np.ndarray, limit: float, where: str) -> float:
    difference = float(np.abs(actual - expected).max(initial=0.0))
    if not difference <= limit:  # NaN is beyond any limit
        raise NasError(
            f"{where} the file's output differs from the network's by {difference:.3g}, "
            f"more than {limit:.3g} allowed\n"
            "  a block that branches on the values or the batch size of its input cannot be traced"
        )
    return difference


def onnx_run(path: Path) -> Run:
    """Return what runs the ONNX file at `path` in ONNX Runtime, on one thread.

    Raises:
        NasError: it cannot be loaded.
    """
    session = quiet_session(path)
    return lambda inputs: session.run(None, {session.get_inputs()[0].name: inputs})[0]


def check_parity(
    module: nn.Module,
    path: Path,
    inputs: Tensor,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest absolute difference between the outputs of `module` and of the ONNX file at `path`.

    Args:
        module: the network the file was made of; compared in eval mode, each part's mode is restored.
        inputs: (n, *in_shape) real ones. The others as in `compare`, which says what is raised.
    """
    expected = torch_outputs(module, inputs)
    return compare(onnx_run(Path(path)), expected, inputs.cpu().numpy(), str(path), batch_sizes, tolerance)


def export_checked(
    module: nn.Module,
    in_shape: Shape,
    path: Path,
    inputs: Tensor,
    metadata: Mapping[str, str] = {},
    *,
    overwrite: bool = False,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tolerance: float = TOLERANCE,
) -> float:
    """Export `module` as ONNX, compare the file with it, and only then give the file its name.

    Returns:
        What `check_parity` found.
    Raises:
        NasError: `path` exists and `overwrite` is False; or what `export_onnx` and `compare` raise, after which
            `path` is as it was before.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise NasError(f"{path} exists already; choose another name, or overwrite it")
    with written_whole(path) as temporary:
        export_onnx(module, in_shape, temporary, metadata=metadata)
        expected = torch_outputs(module, inputs)
        run = onnx_run(temporary)
        return compare(run, expected, inputs.cpu().numpy(), str(path), batch_sizes, tolerance)
