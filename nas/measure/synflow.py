"""Synaptic flow: what an untrained network promises, from one pass forward and one back, without data."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from nas.shapes import Shape

_PASSED_BY = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm),
    *(nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm),
    *(nn.Tanh, nn.Hardtanh),  # and its child ReLU6
)
"""Modules that pass on what they get: norms, and activations with a bound, at which the flow would end."""

_SMALL = 1e-100
"""What recurrent layers work on, times what they get: R is far below its inverse in any network that trains."""


def synflow(network: nn.Module, in_shape: Shape) -> float:
    """Return the sum of log(1 + flow) over the parameters in `flows`: many and wide paths count, and so does depth.

    Reference: Abdelfattah et al., ICLR 2021, https://arxiv.org/abs/2101.08134 (the flow as a score of networks);
    Cavagnero et al. 2022, https://arxiv.org/abs/2207.05135 (a logarithm, theirs of every gradient, since the flow grows
    exponentially with depth).
    """
    return sum(math.log1p(flow) for flow in flows(network, in_shape).values())


def flows(network: nn.Module, in_shape: Shape) -> dict[str, float]:
    """Return the synaptic flow of every trainable parameter P of two axes or more: sum |P * dR/dP|, R = sum f_|P|(1).

    Every weight is taken by its absolute value, and norms and bounded activations pass on what they get, so that R adds
    up all paths from the input to the output; that is so for the modules of `_PASSED_BY`, while such functions end the
    flow. For layers in a row the flow of each one is R.

    Two kinds of layers would not add up, since without norms their inputs are far too large, and are made to:

    - Recurrent layers: gates are shut or tanh is at 1, and the flow of the whole network 0. So the input is made small
      and the output as much larger: the gates stand half open and tanh is a line. There is no bias, and the recurrent
      weights are scaled to add up to 1 at most, else the steps through time were the greater part of all paths.
    - Attention: what flows through queries and keys is rounding error, times their square. So it is even: each position
      reads from all it may read from in equal parts.

    Args:
        network: takes (N, *in_shape), returns one tensor. It is left as it is: a copy does the work.
        in_shape: of one sample, without the batch axis.
    Returns:
        By the names of `named_parameters`, without what the output does not depend on. 0.0 where every path is cut.

    Cost: a copy, one pass forward and one back in double precision on the CPU. On one thread 2 ms below 0.01 M
    multiply-adds, 4 ms at 0.03 M, 15 ms at 3 M and 30 ms at 45 M; five times that for long sequences of many layers.

    Reference: Tanaka et al., NeurIPS 2020, https://arxiv.org/abs/2006.05467.

    >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> net.load_state_dict({"0.weight": torch.tensor([[1.0], [-2.0]]), "1.weight": torch.tensor([[3.0, 4.0]])})
    <All keys matched successfully>
    >>> flows(net, (1,))  # 1 * 3 + 2 * 4
    {'0.weight': 11.0, '1.weight': 11.0}
    """
    summing = _summing(network)
    parameters = {name: p for name, p in summing.named_parameters() if p.requires_grad and p.dim() > 1}
    # It asks for a gradient, so that there is one where no parameter does; its clone may be overwritten.
    ones = torch.ones(1, *in_shape, dtype=torch.double, requires_grad=True)
    with torch.random.fork_rng(devices=()), torch.enable_grad(), _EvenAttention():
        total = summing(ones.clone()).sum()
        *gradients, _ = torch.autograd.grad(total, [*parameters.values(), ones], allow_unused=True)
    return {
        name: float((parameter.detach() * gradient).abs().sum())
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        if gradient is not None
    }


def _summing(network: nn.Module) -> nn.Module:
    """Return a copy whose output adds up the paths through the network."""
    summing = copy.deepcopy(network).cpu().double().eval()  # on the CPU the figure is the same for everyone
    with torch.no_grad():
        for parameter in summing.parameters():
            parameter.abs_()
        for part in summing.modules():
            if isinstance(part, _PASSED_BY):
                part.forward = _passed_by  # type: ignore[method-assign]
            elif isinstance(part, nn.RNNBase):
                _open(part)
            elif isinstance(part, nn.MultiheadAttention):
                _even(part)
    return summing


def _passed_by(input: Tensor) -> Tensor:  # named as theirs is
    return input


def _open(layer: nn.RNNBase) -> None:
    """Let a recurrent layer work where it is linear."""
    for name, parameter in layer.named_parameters():
        if name.startswith("bias"):
            parameter.zero_()
        elif name.startswith("weight_hh"):
            parameter.div_(parameter.sum(1).max().clamp(min=1.0))
    layer.register_forward_pre_hook(
        lambda _, args, kwargs: (_times(args, _SMALL), {name: _times(v, _SMALL) for name, v in kwargs.items()}),
        with_kwargs=True,
    )
    layer.register_forward_hook(lambda _, args, outputs: _times(outputs, 1 / _SMALL))


def _even(layer: nn.MultiheadAttention) -> None:
    """Let each position read from all in equal parts: without queries and keys."""
    if layer.in_proj_weight is None:  # the three are of different widths
        layer.q_proj_weight.zero_()
        layer.k_proj_weight.zero_()
    else:
        layer.in_proj_weight[: 2 * layer.embed_dim].zero_()
    if layer.in_proj_bias is not None:
        layer.in_proj_bias[: 2 * layer.embed_dim].zero_()


class _EvenAttention(TorchFunctionMode):
    """The same for `scaled_dot_product_attention`; a mask is kept."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            kwargs = {**kwargs, "scale": 0.0}
        return func(*args, **kwargs)


def _times(value: Any, factor: float) -> Any:
    """Multiply what goes into a recurrent layer, or comes out of it: a sequence, packed or not, and states."""
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data * factor)
    if isinstance(value, tuple):
        return tuple(_times(part, factor) for part in value)
    return value * factor if isinstance(value, Tensor) else value
