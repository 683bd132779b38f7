"""A torch module as an ONNX file, written whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.shapes import Shape

if TYPE_CHECKING:
    import onnxruntime
    import torch
    from torch import nn

OPSET = 17
"""The first opset with LayerNormalization as one node; every runtime in use today reads it."""

_KNOWN_WARNINGS: tuple[tuple[type[Warning], str], ...] = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
    (DeprecationWarning, "The feature will be removed. Please remove usage of this function"),
    # Written for recurrent nets whose initial state is an input; ours is made from the input, for any batch.
    (UserWarning, "Exporting a model to ONNX with a batch_size other than 1"),
)


def export_onnx(module: nn.Module, in_shape: Shape, path: Path, *, metadata: Mapping[str, str] = {}) -> None:
    """Write `module` in eval mode to `path`, replacing what is there; the file appears whole or not at all.

    The tracing exporter is used, not the one on top of torch.export: it takes milliseconds instead of seconds and
    keeps LSTM, GRU and RNN as one node each for any length. What it cannot see, a branch on the values of a tensor,
    `nas.export.parity` does.

    Args:
        module: takes (N, *in_shape) float32, returns one tensor. The mode of each of its parts is restored.
        in_shape: without the batch axis, which is called "batch" in the file and may be of any size.
        path: its folder is made where missing. Input and output are called "input" and "logits".
        metadata: goes into the file's `metadata_props`.
    Raises:
        NasError: the network holds an operator that ONNX does not have.
    """
    with written_whole(Path(path)) as temporary:
        _write(module, in_shape, temporary, metadata)


def structure(path: Path) -> str:
    """Return 16 hex digits that name what the file at `path` computes, whatever its weights are.

    Equal for two networks that differ in their weights, or in what has no effect at inference (dropout): nodes,
    attributes and shapes count, values and metadata do not.
    """
    import onnx

    graph = onnx.load(path).graph
    digest = hashlib.sha256()
    for weight in graph.initializer:
        digest.update(f"{weight.name}{list(weight.dims)}{weight.data_type};".encode())
    for message in (*graph.input, *graph.output, *graph.node):
        digest.update(message.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]


def quiet_session(model: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU that writes nothing to stderr: what goes wrong, it raises.

    Args:
        model: an ONNX file, or its bytes.
        threads: within an operator; operators run one after the other, all graph optimisations on.
    Raises:
        NasError: the model cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # fatal
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class for each status, below Exception
        place = "the model in memory" if isinstance(model, bytes) else model
        raise NasError(f"{place}: ONNX Runtime cannot load it: {error}\n  write it again with 'nas export'") from error


@contextmanager
def silence() -> Iterator[None]:
    """Keep to oneself what libraries warn and advise: it would end up within a search's progress."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put every part of `module` into eval mode, and each back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def device_of(module: nn.Module) -> torch.device:
    """Return where the parameters of `module` are; the CPU where it has none."""
    import torch

    return next((p.device for p in module.parameters()), torch.device("cpu"))


def _write(module: nn.Module, in_shape: Shape, path: Path, metadata: Mapping[str, str]) -> None:
    import onnx
    import torch

    # A batch of 2: an axis of size 1 is broadcast in places where it is not meant to be, and a trace keeps that.
    example = torch.zeros(2, *in_shape, device=device_of(module))
    with eval_mode(module), warnings.catch_warnings():
        for category, message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message, category)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        try:
            torch.onnx.export(
                module,
                (example,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["logits"],
                dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise NasError(
                f"{type(module).__name__}: cannot be exported to ONNX (opset {OPSET}): {reason}\n"
                "  write the block that uses this operator with others"
            ) from error
    properties = onnx.ModelProto()
    for key, value in metadata.items():
        properties.metadata_props.add(key=key, value=value)
    # Two protobuf messages in a row are their union: no need to parse the network for a few strings.
    with path.open("ab") as file:
        file.write(properties.SerializeToString())


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it becomes `path` if the block ends well, and is removed if not."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise NasError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # where the folder could not be made
            temporary.unlink(missing_ok=True)
