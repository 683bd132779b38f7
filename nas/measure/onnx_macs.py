"""How many multiply-adds an ONNX file does for one sample, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nas.errors import NasError
from nas.export.onnx import quiet_session
from nas.measure.macs import einsum_macs
from nas.shapes import Shape

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_Shapes: TypeAlias = Sequence[Sequence[int]]
_Count: TypeAlias = Callable[["NodeProto", _Shapes, _Shapes], int]

_REVIEWED_OPSET = 28
"""Operators of the ONNX standard that came later multiply, or do not: nobody has looked."""


def count_onnx_macs(onnx_path: Path, in_shape: Shape, *, batch: int = 1) -> int:
    """Return the multiply-adds of the file at `onnx_path` for one sample of `in_shape` (without the batch axis).

    Counted is what `count_macs` counts in a torch module: convolutions, matrix products, recurrent layers and
    attention, quantised ones too. So are the rules: one multiplication with its addition is one; norms, pooling and
    element-wise operators are left out, and so is what has no effect on the output or does not depend on the input.

    Args:
        onnx_path: of one input.
        batch: samples of the one run from which the shapes come; 1 unless the file has another fixed.
    Raises:
        NasError: the file cannot be loaded or run; or it holds an operator of which nobody knows here whether it
            multiplies: control flow, one of a runtime's own, one of a later standard.

    Cost: loading and one inference of which the tensors around each product are kept.
    """
    import onnx
    from onnx import inliner

    try:
        model = inliner.inline_local_functions(onnx.load(onnx_path))
    except Exception as error:  # of protobuf, of the file system, of external data
        raise NasError(f"{onnx_path}: cannot be loaded: {error}") from error
    nodes = list(_effective(model.graph))
    unknown = sorted({_spelled(node) for node in nodes if not _known(node)})
    if unknown:
        raise NasError(f"{onnx_path}: no count of multiply-adds for {', '.join(unknown)}")
    products = [node for node in nodes if _key(node) in _COUNTS]
    names = {name for node in products for name in (*node.input, *node.output) if name}
    shapes = _shapes(model, names, (batch, *in_shape), onnx_path) | {"": ()}
    total = 0
    for node in products:
        given, made = [shapes[name] for name in node.input], [shapes[name] for name in node.output]
        total += _COUNTS[_key(node)](node, given, made)
    if total % batch:
        raise NasError(f"{onnx_path}: {total} multiply-adds for {batch} samples are no number for one of them")
    return total // batch


def _effective(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes that depend on an input and on which an output depends."""
    constants = {weight.name for weight in graph.initializer}
    moving = {value.name for value in graph.input} - constants
    depending = []
    for node in graph.node:  # sorted, as the standard asks
        # A branch sees tensors of the whole graph without naming them as its inputs.
        if _has_graph(node) or not moving.isdisjoint(node.input):
            moving.update(node.output)
            depending.append(node)
    wanted = {value.name for value in graph.output}
    for node in reversed(depending):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            yield node


def _has_graph(node: NodeProto) -> bool:
    from onnx import AttributeProto

    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def _spelled(node: NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _known(node: NodeProto) -> bool:
    """Return whether an operator has a handler, or is known to need none."""
    from onnx import defs

    key = domain, name = _key(node)
    if key in _COUNTS:
        return True
    if _has_graph(node) or key in _UNCOUNTED:
        return False
    if domain == _MICROSOFT:
        return name in _FREE
    try:
        return not domain and bool(defs.get_schema(name, _REVIEWED_OPSET, ""))
    except defs.SchemaError:
        return False


def _shapes(model: ModelProto, names: set[str], in_shape: Shape, path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the tensors `names` have in a run on `in_shape`, the batch axis included."""
    import numpy as np
    from onnx import ValueInfoProto, helper

    graph = model.graph
    found = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in found]
    if len(inputs) != 1:
        raise NasError(f"{path}: a network of one input is counted here, this has {len(inputs)}")
    dtype = helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
    sample = {inputs[0].name: np.zeros(in_shape, dtype)}
    found[inputs[0].name] = in_shape
    wanted = sorted(names - set(found))
    shown = {value.name for value in graph.output}
    graph.output.extend(ValueInfoProto(name=name) for name in wanted if name not in shown)
    if not wanted:
        return found
    try:
        session = quiet_session(model.SerializeToString())
    except NasError as error:
        raise NasError(f"{path}: {error}") from None
    except Exception as error:  # protobuf stops at 2 GB
        raise NasError(f"{path}: is too large to be counted: {error}") from error
    try:
        outputs = session.run(wanted, sample)
    except Exception as error:  # ONNX Runtime has a class for each status, below Exception
        raise NasError(f"{path}: cannot be run on {in_shape[0]} samples of {in_shape[1:]}: {error}") from error
    return found | {name: tuple(np.shape(array)) for name, array in zip(wanted, outputs, strict=True)}


# Handlers take the node and the shapes of its inputs and outputs; () stands for one that is left out.


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _convolution(weight: int) -> _Count:
    """Each weight, input number `weight` of (M, C / groups, *kernel), meets each position of the output once."""
    return lambda node, given, made: prod(made[0]) * prod(given[weight][1:])


def _transposed(node: NodeProto, given: _Shapes, made: _Shapes) -> int:
    """Each weight, (C, M / groups, *kernel), meets each position of the input once."""
    return prod(given[0]) * prod(given[1][1:])


def _product(node: NodeProto, given: _Shapes, made: _Shapes) -> int:
    """Each number of the output is a sum over the last axis of the left factor; broadcast axes count."""
    turned = _attribute(node, "transA", 0)
    return prod(made[0]) * given[0][-2 if turned else -1]


def _einsum(node: NodeProto, given: _Shapes, made: _Shapes) -> int:
    return einsum_macs(_attribute(node, "equation", b"").decode(), given, made[0])


def _recurrent(node: NodeProto, given: _Shapes, made: _Shapes) -> int:
    """Every weight for inputs and for the state is applied once per step and sample; (steps, samples, C), or turned."""
    return prod(given[0][:2]) * (prod(given[1]) + prod(given[2]))


def _attention(node: NodeProto, given: _Shapes, made: _Shapes) -> int:
    """Queries times keys, weights times values; (N, L, heads * d) or (N, heads, L, d), some keys from before."""
    past = given[4][-2] if len(given) > 4 and given[4] else 0
    return (given[1][-2] + past) * (prod(given[0]) + prod(made[0]))


_MICROSOFT = "com.microsoft"
"""Operators of ONNX Runtime's own, in files that it optimised or quantised."""

_COUNTS: Mapping[tuple[str, str], _Count] = {
    **{("", name): _convolution(1) for name in ("Conv", "ConvInteger")},
    ("", "QLinearConv"): _convolution(3),
    ("", "ConvTranspose"): _transposed,
    **{("", name): _product for name in ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul")},
    ("", "Einsum"): _einsum,
    **{("", name): _recurrent for name in ("LSTM", "GRU", "RNN")},
    ("", "Attention"): _attention,
    (_MICROSOFT, "FusedConv"): _convolution(1),
    **{(_MICROSOFT, name): _product for name in ("FusedGemm", "FusedMatMul", "QGemm", "MatMulNBits")},
    **{(_MICROSOFT, name): _product for name in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat")},
    (_MICROSOFT, "DynamicQuantizeLSTM"): _recurrent,
}

_UNCOUNTED = frozenset(
    ("", name) for name in ("AffineGrid", "CausalConvWithState", "DFT", "DeformConv", "Det", "LinearAttention", "STFT")
)
"""Operators of the standard that multiply and add, and have no handler."""

_FREE = frozenset(
    (
        *("QuantizeLinear", "DequantizeLinear", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid"),
        *("QLinearLeakyRelu", "QLinearSoftmax", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean"),
        *("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "BiasSoftmax", "SkipLayerNormalization"),
        *("SkipSimplifiedLayerNormalization", "EmbedLayerNormalization"),
    )
)
"""Operators of `_MICROSOFT` that move, add or scale and no more."""
