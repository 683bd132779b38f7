"""How many multiply-adds a network does for one sample, counted on its trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.export.onnx import device_of, eval_mode
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn

MULTIPLIES = re.compile(
    r"conv|matmul|mm$|mv$|dot$|inner$|einsum|^(bi|_tri)?linear|cdist|matrix_(power|exp)"
    r"|lstm|gru|rnn|attention|encoder_layer"
)
"""Operators that multiply and add; one of these without a handler would be a silent zero, so it is an error."""


def count_macs(module: nn.Module, in_shape: Shape) -> int:
    """Return the multiply-adds of `module` in eval mode for one sample of `in_shape` (without the batch axis).

    Counted are convolutions, linear layers, matrix products, recurrent layers and attention. Norms, pooling,
    activations, biases and element-wise products are left out: they are a few percent, and runtimes fuse them. So is
    what has no effect on the output. `count_macs_fast` returns the same sooner.

    fvcore walks the trace; the handlers are ours where its own are missing (recurrent layers and
    scaled_dot_product_attention count 0 there), too coarse (einsum) or wrong (a matrix product that broadcasts).

    Raises:
        NasError: the trace holds an operator of those kinds that has no handler, or a scripted function.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script(_method)?` is", FutureWarning)  # fvcore's import
        warnings.filterwarnings("ignore", r"`torch\.jit\.script(_method)?` is", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis
    import torch

    example = torch.zeros(1, *in_shape, device=device_of(module))
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is one operator that hides a whole encoder layer
    try:
        with eval_mode(module), torch.no_grad():
            analysis = FlopCountAnalysis(module, (example,)).clear_op_handles().set_op_handle(**_HANDLERS)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            total, unsupported = analysis.total(), analysis.unsupported_ops()
            if written := {op: _written_function for op in unsupported if op.startswith("prim::PythonOp.")}:
                analysis.set_op_handle(**written)  # it traces once more
                total, unsupported = analysis.total(), analysis.unsupported_ops()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    unknown = sorted(op for op in unsupported if _multiplies(op))
    if unknown:
        raise _no_count(type(module).__name__, unknown)
    return int(total)


def _multiplies(operator: str) -> bool:
    return bool(MULTIPLIES.search(operator.rpartition("::")[2]))


def _no_count(place: str, operators: Sequence[str]) -> NasError:
    return NasError(
        f"{place}: no count of multiply-adds for {', '.join(operators)}\n"
        "  write the block with convolutions, linear layers, matmul, einsum, recurrent layers or attention"
    )


# Handlers take the operator's inputs and outputs as torch._C.Value, for which there is no public type.


def _shape(value: Any) -> list[int]:
    return value.type().sizes() or []


def _convolution(inputs: list[Any], outputs: list[Any]) -> int:
    """Each weight meets each position once: of the output, or of the input where the convolution is transposed."""
    transposed = len(inputs) > 7 and bool(inputs[6].toIValue())
    n, _, *positions = _shape(inputs[0] if transposed else outputs[0])
    return n * prod(positions) * prod(_shape(inputs[1]))


def _linear(inputs: list[Any], outputs: list[Any]) -> int:
    return prod(_shape(outputs[0])) * _shape(inputs[1])[-1]


def _product(first: int) -> Any:
    """Return a handler for a matrix product whose left factor is input number `first`; broadcast axes count."""
    return lambda inputs, outputs: prod(_shape(outputs[0])) * _shape(inputs[first])[-1]


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    return einsum_macs(inputs[0].toIValue(), [_shape(v) for v in inputs[1].node().inputs()], _shape(outputs[0]))


def einsum_macs(equation: str, shapes: Sequence[Sequence[int]], out_shape: Sequence[int]) -> int:
    """Return one multiply-add per element of the output and of the axes summed over; 0 for a sum of one operand.

    Raises:
        NasError: more than two operands.

    >>> einsum_macs("ti,oi->to", [(4, 6), (5, 6)], (4, 5))
    120
    """
    if len(shapes) == 1:
        return 0
    if len(shapes) > 2:
        raise NasError("einsum of more than two operands: multiply-adds depend on the order; write it as several")
    left, arrow, kept = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for term, shape in zip(left.split(","), shapes, strict=True):
        before, _, after = term.partition("...")
        for letters, axes in ((before, shape), (after[::-1], shape[::-1])):
            for letter, size in zip(letters, axes, strict=False):
                sizes[letter] = max(size, sizes.get(letter, 1))  # an axis of 1 is broadcast
    if not arrow:
        kept = "".join(letter for letter in sizes if left.count(letter) == 1)
    return prod(out_shape) * prod(size for letter, size in sizes.items() if letter not in kept)


def _recurrent(inputs: list[Any], outputs: list[Any]) -> int:
    """Every 2-D weight is applied once per step and sample: gates, both directions, all layers, projections.

    The input is (N, T, C), (T, N, C), or, packed, (all steps of all samples, C) followed by the batch sizes.
    """
    *steps, _ = _shape(inputs[0])
    weights = inputs[2 if len(steps) == 2 else 3].node().inputs()
    return prod(steps) * sum(prod(_shape(w)) for w in weights if len(_shape(w)) == 2)


def _cell(inputs: list[Any], outputs: list[Any]) -> int:
    return _shape(inputs[0])[0] * sum(prod(_shape(w)) for w in inputs[2:4])


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Queries times keys, weights times values: (..., L, d_k), (..., S, d_k), (..., S, d_v), which may broadcast."""
    *queries, d_v = _shape(outputs[0])
    *_, n_keys, d_k = _shape(inputs[1])
    return prod(queries) * n_keys * (d_k + d_v)


def _written_function(inputs: list[Any], outputs: list[Any]) -> int:
    """What the forward of a `torch.autograd.Function` does, which the trace keeps as a graph of its own.

    That of a function within has its operators there too, and stands beside it once more, used by no one.
    """
    if not any(output.uses() for output in outputs):
        return 0
    function, total = outputs[0].node(), 0
    for node in function.g("Subgraph").nodes():
        if node.kind() in _HANDLERS:
            total += _HANDLERS[node.kind()](list(node.inputs()), list(node.outputs()))
        elif _multiplies(node.kind()):
            raise _no_count(function.pyname(), [node.kind()])
    return total


def _scripted_function(inputs: list[Any], outputs: list[Any]) -> int:
    name = inputs[0].node().s("name")
    raise NasError(
        f"no count of multiply-adds for the scripted function {name}, which shows nobody its shapes\n"
        "  write it without torch.jit.script"
    )


_HANDLERS: dict[str, Any] = {
    "prim::CallFunction": _scripted_function,
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::linear": _linear,
    "aten::einsum": _einsum,
    "aten::scaled_dot_product_attention": _attention,
    **{f"aten::{op}": _product(0) for op in ("matmul", "mm", "bmm", "mv", "dot", "inner")},
    **{f"aten::{op}": _product(1) for op in ("addmm", "baddbmm", "addmv")},
    **{f"aten::{op}": _recurrent for op in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{f"aten::{op}_cell": _cell for op in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}
