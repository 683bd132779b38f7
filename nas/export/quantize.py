"""An ONNX file with its weights and products in 8 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from nas.errors import NasError
from nas.export.onnx import quiet_session, silence, written_whole

if TYPE_CHECKING:
    import onnx

Precision: TypeAlias = Literal["fp32", "int8_dynamic", "int8_static"]
"""Of a deployed file. Dynamic: weights are int8, the range of every input is found while it runs; no samples needed.
Static: the ranges of all activations are fixed, from samples."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_WEIGHTED = {"int8_dynamic": ("MatMul", "Gemm", "LSTM"), "int8_static": ("Conv", "Gemm")}
"""What is quantised for its weights. Where a mode loses and the other wins it is left out: on one thread of a processor
with VNNI dynamic convolutions have 0.1 to 0.3 times the speed of float32, static products of tokens 0.6 to 0.9."""

_THROUGH = (
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Add", "Mul", "Concat"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Flatten"),
)
"""What stays in 8 bits between two quantised convolutions, so that nothing is converted back and forth."""

_LEAST_WEIGHTS = 2048
"""For less, as in most heads, converting the input costs more than the product gains."""

_NEEDS_ITS_NODES = ["ConstantFolding", "TransposeOptimizer"]
"""Optimisations after which the runtime no longer sees attention for what it is: a Transformer gained 1.1 times instead
of 1.3 in dynamic int8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployConfig:
    """How a network ships: what a space says under `deploy`."""

    precision: Precision = "fp32"
    """Of the file. What a runtime calculates in is a matter of the target."""


def quantize(onnx_path: Path, out: Path, precision: str, samples: np.ndarray) -> int:
    """Write the network of an ONNX file in another precision to `out`, whole or not at all; return how much that is.

    Weights have 7 bits: the sum of two products of 255 and 64 fits the 16 bits in which processors without VNNI add,
    so that the file computes the same on all of them. Convolutions have a scale for each channel (of weights on
    depthwise ones one scale loses the narrow channels), matrices have one, which is up to 1.2 times as fast.

    Args:
        onnx_path: a file of `export_onnx`; its metadata are kept.
        precision: of `PRECISIONS`, but "fp32".
        samples: (n, *in_shape) float32, at least one; real ones, of which 64 were enough. Not used by "int8_dynamic".
    Returns:
        The number of layers that are quantised, at least 1.
    Raises:
        NasError: nothing in the network can be quantised, or the file cannot be read, quantised or written.

    Cost: 10-15 ms for "int8_dynamic"; 20-70 ms for "int8_static" of 8 samples, up to 0.2 s of 256 images of 28 x 28.

    Reference: Jacob et al., CVPR 2018, https://arxiv.org/abs/1712.05877.
    """
    onnx_path, out = Path(onnx_path), Path(out)
    with tempfile.TemporaryDirectory(prefix="nas-int8-") as scratch, silence():
        model = _simplified(onnx_path, Path(scratch) / "simple.onnx")
        weights = _layers(model, _WEIGHTED[precision])
        if not weights:
            known = " or ".join(_WEIGHTED[precision])
            raise NasError(
                f"{onnx_path.name}: nothing in it can be quantised as {precision}: it has no {known} of "
                f"{_LEAST_WEIGHTS} weights or more\n  leave {precision} out for this network"
            )
        with written_whole(out) as temporary:
            try:
                if precision == "int8_static":
                    _static(model, temporary, weights, samples)
                else:
                    _dynamic(model, temporary, weights)
            except OSError:
                raise
            except Exception as error:  # the library raises what it meets: KeyError, RuntimeError, its own
                reason = (str(error).splitlines() or [""])[0]
                raise NasError(
                    f"{onnx_path}: cannot be quantised as {precision}: {type(error).__name__}: {reason}"
                ) from error
            left = _floats(temporary)
            done = sum(weight not in left for weight in weights.values())
            if not done:
                raise NasError(f"{onnx_path}: nothing in it was quantised as {precision}")
    return done


def run_file(
    path: Path, inputs: np.ndarray, batch: int = 512, *, between_batches: Callable[[], None] | None = None
) -> np.ndarray:
    """Return what the ONNX file at `path` makes of `inputs`, (n, *in_shape) float32: (n, n_outputs).

    Args:
        batch: samples at a time.
        between_batches: called before every batch; may take its time, and raise nothing.
    Raises:
        NasError: the file cannot be loaded, or not be run on them.
    """
    session, parts = quiet_session(path), []
    for i in range(0, len(inputs), batch):
        if between_batches is not None:
            between_batches()
        try:
            parts.append(session.run(None, {"input": inputs[i : i + batch]})[0])
        except Exception as error:  # ONNX Runtime has a class for each status, below Exception
            raise NasError(f"{path}: cannot be run on samples of shape {inputs.shape[1:]}: {error}") from error
    return np.concatenate(parts)


def _simplified(path: Path, scratch: Path) -> onnx.ModelProto:
    """Return the network with norms folded into the products before them, and a name for every node.

    A dense layer's norm would be quantised on its own (0.9 of the speed of float32 instead of 1.1). Equal weights, as
    those of new norms, are shared by an Identity, behind which they are no constants (0.9 instead of 2.2).
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(scratch)
    options.log_severity_level = 4  # fatal
    try:
        onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_NEEDS_ITS_NODES
        )
    except Exception as error:  # ONNX Runtime has a class for each status, below Exception
        raise NasError(f"{path}: ONNX Runtime cannot load it: {error}\n  write it again with 'nas export'") from error
    model = onnx.load(scratch)
    for i, node in enumerate(model.graph.node):
        node.name = f"{i}:{node.op_type}"
    return model


def _layers(model: onnx.ModelProto, kinds: tuple[str, ...]) -> dict[str, str]:
    """Return the layers to be quantised: the node's name and that of its weight."""
    sizes = {w.name: int(np.prod(w.dims)) for w in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        least = 1 if node.op_type == "Conv" else _LEAST_WEIGHTS
        if node.op_type in kinds and node.input[1] in sizes:
            n_weights = sum(sizes.get(name, 0) for name in node.input[1:3])  # an LSTM has two matrices
            if n_weights >= least:
                found[node.name] = node.input[1]
    return found


def _between(model: onnx.ModelProto, weights: dict[str, str]) -> list[str]:
    """Return the nodes whose inputs all come from quantised layers, in whatever number of steps."""
    constants = {w.name for w in model.graph.initializer}
    reached, found = set(), []
    for node in model.graph.node:  # a graph is sorted
        through = node.op_type in _THROUGH and all(name in reached for name in node.input if name not in constants)
        if through:
            found.append(node.name)
        if through or node.name in weights:
            reached.update(node.output)
    return found


def _static(model: onnx.ModelProto, out: Path, weights: dict[str, str], samples: np.ndarray) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(samples[i : i + 32] for i in range(0, len(samples), 32))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"input": batch}

    kinds = {node.name: node.op_type for node in model.graph.node}
    nodes = [*weights, *_between(model, weights)]
    quantize_static(
        model,
        out,
        Samples(),
        per_channel=True,
        reduce_range=True,
        # Signed activations have no fast Add and Mul: residual and SiLU networks ran at half the speed.
        activation_type=QuantType.QUInt8,
        nodes_to_quantize=nodes,
        op_types_to_quantize=sorted({kinds[name] for name in nodes}),
        extra_options={
            "TensorQuantOverrides": {w: [{"reduce_range": True}] for n, w in weights.items() if kinds[n] == "Gemm"}
        },
    )


def _dynamic(model: onnx.ModelProto, out: Path, weights: dict[str, str]) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(
        model,
        out,
        reduce_range=True,
        # A Gemm becomes a MatMul, of that name, before it is quantised.
        nodes_to_quantize=[*weights, *(f"{name}_MatMul" for name in weights)],
        op_types_to_quantize=list(_WEIGHTED["int8_dynamic"]),
    )


def _floats(path: Path) -> set[str]:
    """Return the names of the weights that are floats."""
    import onnx

    return {w.name for w in onnx.load(path).graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
