"""The multiply-adds of `count_macs` without a trace, for the networks that are looked at by the thousand."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import prod
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nas.export.onnx import device_of, eval_mode
from nas.measure.macs import MULTIPLIES, count_macs, einsum_macs
from nas.shapes import Shape


def count_macs_fast(module: nn.Module, in_shape: Shape) -> int:
    """Return what `count_macs` returns, in about a tenth of its time; where that is not sure, call it.

    The forward pass runs once. A function that multiplies is counted by the shapes it is given, and the dear ones
    (convolutions, linear layers, recurrent layers, attention) are not computed: they return zeros of the right shape.
    All else is computed, and watched where every operator passes, whoever called it: what multiplies there was counted
    by nobody, and what reads values or makes a shape of them may have read those zeros. Either is left to `count_macs`,
    and so is a network that does not use all that it computes.

    Args:
        module: takes (N, *in_shape). The modes of its parts and the random state are as before afterwards.
        in_shape: of one sample, without the batch axis.
    Raises:
        NasError: as `count_macs`, which also runs, and tells, where the network fails.

    Cost: about 10 us for each layer or function, at nearly any size of the input: for networks of the shipped spaces
    0.5 to 1.5 ms in the median, where `count_macs` takes 3 to 17 ms. It comes on top of `count_macs` where that is
    called.

    >>> count_macs_fast(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)), (3, 32, 32))
    442368
    """
    example = torch.zeros(1, *in_shape, device=device_of(module))
    counter = _Counter()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it is one operator that hides a whole encoder layer
    try:
        with torch.random.fork_rng(devices=()), eval_mode(module), torch.no_grad(), counter.watch, counter:
            sure = counter.uses_all(module(example)) and not counter.watch.unsure
    except Exception:  # whatever it was: if it is the network's own fault, it happens again
        sure = False
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.macs if sure else count_macs(module, in_shape)


class _UnsureError(Exception):
    """The count goes no further here."""


class _Watch(TorchDispatchMode):
    """Sees every operator, and is `unsure` once there was one that nobody counted or that looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.unsure = False
        self.counted = False
        """Whether what passes now belongs to a function that was counted."""

    def stop(self) -> NoReturn:
        self.unsure = True  # the exception alone might be caught by the network
        raise _UnsureError

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.counted and _is_unsure(func):
            self.stop()
        return func(*args, **(kwargs or {}))


@cache
def _is_unsure(operator: Any) -> bool:
    if not isinstance(operator, torch._ops.OpOverload):  # one that takes functions: cond, flex_attention
        return True
    namespace, _, name = operator._schema.name.partition("::")
    return bool(
        namespace != "aten"
        or MULTIPLIES.search(name)
        or {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}.intersection(operator.tags)
        or name == "_pack_padded_sequence"  # the shape is that of the lengths' values, and it does not say so
    )


class _Counter(TorchFunctionMode):
    """Adds up the multiply-adds of the functions called, and stands in for the dear ones.

    What nobody uses is not in the trace, and so not in the official count: each function that was counted has a bit,
    and each tensor the bits of all that it comes from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.watch = _Watch()
        self._n_counted = 0
        self._bits: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # tensors do not compare, so by their ids

    def uses_all(self, outputs: Any) -> bool:
        """Return whether all that was counted had an effect on `outputs`, as far as it can be followed."""
        return self._bits_of(outputs) == (1 << self._n_counted) - 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        macs = 0
        if func in _DEAR:
            macs, outputs = self._told(_DEAR[func], *args, **kwargs)
        elif func in _CHEAP:
            self.watch.counted = True
            try:
                outputs = func(*args, **kwargs)
            finally:
                self.watch.counted = False
            macs = self._told(_CHEAP[func], outputs, *args, **kwargs)
        elif _hides_something(func):
            self.watch.stop()
        else:
            outputs = func(*args, **kwargs)
        # Who uses the weights of attention alone uses half of it, so they do not count as its outcome.
        outcome = outputs[0] if func is F.multi_head_attention_forward else outputs
        self._follow((args, kwargs), outcome, macs)
        return outputs

    def _told(self, tell: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what `tell` does, if shapes say all, which they do not under vmap."""
        if torch._C._are_functorch_transforms_active():
            self.watch.stop()
        try:
            return tell(*args, **kwargs)
        except Exception:
            self.watch.stop()

    def _follow(self, inputs: Any, outputs: Any, macs: int) -> None:
        followed = list(_tensors(outputs))
        bits = self._bits_of(inputs) if followed or macs else 0
        if macs:
            self.macs += macs
            bits |= 1 << self._n_counted
            self._n_counted += 1
        if bits:
            for tensor in followed:
                self._bits[id(tensor)] = (weakref.ref(tensor), bits)

    def _bits_of(self, values: Any) -> int:
        bits = 0
        for tensor in _tensors(values):
            known = self._bits.get(id(tensor))
            if known is not None and known[0]() is tensor:  # else it is gone, and its id was given again
                bits |= known[1]
        return bits


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))


_READ_MEMORY = frozenset(("tolist", "numpy", "__array__", "__dlpack__", "data_ptr", "storage", "untyped_storage"))
"""Methods of a tensor that read its values past every operator."""


@cache
def _hides_something(func: Any) -> bool:
    if isinstance(func, torch._ops.OpOverload):  # a scripted function's
        return True
    name = getattr(func, "__name__", "")
    return name in _READ_MEMORY or bool(MULTIPLIES.search(name))


# --- functions that are not computed: their arguments -> multiply-adds and outputs ----------------------------------
# What does not fit raises something, and `count_macs` is asked.


def _sure(condition: bool) -> None:
    if not condition:
        raise _UnsureError


def _alike(*tensors: Tensor) -> bool:
    return len({(tensor.dtype, tensor.device) for tensor in tensors}) == 1


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[int, Tensor]:
    out_features, features = weight.shape
    _sure(_alike(input, weight) and input.shape[-1] == features)
    output = input.new_zeros(*input.shape[:-1], out_features)
    return output.numel() * features, output


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[int, Tensor]:
    """Each weight meets each position of the output once."""
    n, channels, *sizes = input.shape
    out_channels, group_channels, *kernel = weight.shape
    _sure(_alike(input, weight) and len(sizes) == len(kernel))
    _sure(channels == groups * group_channels and out_channels % groups == 0)
    strides, dilations = _per_axis(stride, len(sizes)), _per_axis(dilation, len(sizes))
    if padding == "same":
        positions = list(sizes)
    else:
        paddings = _per_axis(0 if padding == "valid" else padding, len(sizes))
        positions = [
            (size + 2 * pad - dilate * (k - 1) - 1) // step + 1
            for size, pad, dilate, k, step in zip(sizes, paddings, dilations, kernel, strides, strict=True)
        ]
    _sure(min(positions) > 0)
    return n * prod(positions) * weight.numel(), input.new_zeros(n, out_channels, *positions)


def _per_axis(value: int | Sequence[int], n_axes: int) -> Sequence[int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * n_axes if len(values) == 1 else values


def _recurrent(
    input: Tensor,
    states: Tensor | Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    n_layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[int, tuple[Tensor, ...]]:
    """Every 2-D weight is applied once per step and sample: gates, both directions, all layers, projections."""
    *steps, features = input.shape
    _sure(_alike(input, *weights) and len(steps) == 2 and weights[0].shape[-1] == features)
    ended = [torch.zeros_like(state) for state in ([states] if isinstance(states, Tensor) else states)]
    output = input.new_zeros(*steps, ended[0].shape[-1] * (2 if bidirectional else 1))
    return prod(steps) * sum(w.numel() for w in weights if w.dim() == 2), (output, *ended)


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[int, Tensor]:
    """Queries times keys, then weights times values: (..., L, d_k), (..., S, d_k), (..., S, d_v)."""
    (n_keys, d_k), d_v = key.shape[-2:], value.shape[-1]
    _sure(_alike(query, key, value) and query.shape[-1] == d_k and value.shape[-2] == n_keys)
    if kwargs.get("enable_gqa"):  # as many as there are heads of queries
        axes = query.shape[:-2]
    else:
        axes = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    output = query.new_zeros(*axes, query.shape[-2], d_v)
    return prod(output.shape[:-1]) * n_keys * (d_k + d_v), output


_DEAR: dict[Any, Callable[..., tuple[int, Any]]] = {
    F.linear: _linear,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _convolution),
    **dict.fromkeys((torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), _recurrent),
    F.scaled_dot_product_attention: _attention,
}


# --- functions that are computed: their outputs and arguments -> multiply-adds --------------------------------------


def _product(first: int) -> Callable[..., int]:
    """Return the count of a matrix product whose left factor is argument number `first`; broadcast axes count."""
    return lambda output, *factors, **scales: output.numel() * factors[first].shape[-1]


def _transposed(output: Tensor, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> int:
    """Each weight meets each position of the input once."""
    n, _, *positions = input.shape
    _sure(input.dim() == weight.dim())
    return n * prod(positions) * weight.numel()


def _einsum(output: Tensor, equation: str, *operands: Tensor) -> int:
    return einsum_macs(equation, [operand.shape for operand in operands], output.shape)


def _cell(output: Any, input: Tensor, state: Any, *weights: Tensor | None) -> int:
    return input.shape[0] * sum(w.numel() for w in weights if w is not None and w.dim() == 2)


def _multi_head(
    outputs: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    *args: Any,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    **kwargs: Any,
) -> int:
    """Three projections, scores, mixing, one more projection: (L, N, E), (S, N, d_k), (S, N, d_v)."""
    _sure(static_k is None and static_v is None)
    n = query.shape[1] if query.dim() == 3 else 1
    n_queries, n_keys = query.shape[0], key.shape[0]
    inward = embed_dim * (n_queries * query.shape[-1] + n_keys * (key.shape[-1] + value.shape[-1]))
    attended = n_keys + (bias_k is not None) + bool(add_zero_attn)
    return n * (inward + 2 * n_queries * attended * embed_dim + n_queries * embed_dim**2)


_CHEAP: dict[Any, Callable[..., int]] = {
    **{
        function: _product(first)
        for first, names in ((0, ("matmul", "mm", "bmm", "mv", "dot", "inner")), (1, ("addmm", "baddbmm", "addmv")))
        for name in names
        for function in (getattr(torch, name), getattr(Tensor, name))
    },
    Tensor.__matmul__: _product(0),
    torch.einsum: _einsum,
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _transposed),
    **dict.fromkeys((torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell), _cell),
    F.multi_head_attention_forward: _multi_head,
}
