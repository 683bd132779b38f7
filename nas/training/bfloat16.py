"""Where a CPU computes in bfloat16: networks with convolutions or an LSTM, where a look shows that it is quicker.

A processor with instructions for it makes twice as many multiply-adds a second, and all maps take half the memory
traffic. On one without them, and in some kernels on any, it is much slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_PAYS = 1.25
"""Times as fast a plain convolution must be. Where it was measured it is 1.7 to 2 times, or slower than float32."""

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_DEFAULT = {"stride": 1, "dilation": 1, "groups": 1}
_CONVOLUTIONS = (torch.conv1d, torch.conv2d)
_ATTENTION = (F.scaled_dot_product_attention, F.multi_head_attention_forward)  # the latter hides a call of the former
_RECURRENT = {"gru", "rnn_tanh", "rnn_relu"}


def suits(module: nn.Module) -> bool:
    """Return whether `module` has what gains: a 2-D convolution that mixes channels, or an LSTM (1.4 times as fast).

    Networks of matrix products alone are about as quick either way: 0.8 to 1.1 times.
    """
    return any(
        isinstance(m, nn.LSTM) or (isinstance(m, nn.Conv2d) and m.groups == 1 and m.kernel_size != (1, 1))
        for m in module.modules()
    )


@cache
def pays() -> bool:
    """Return whether a convolution, forward and backward, is quicker in bfloat16 on this machine.

    The quickest of several turns each, so that other work on the machine decides nothing.

    Cost: some 60 ms, once in a process.
    """
    half, full = _convolution(torch.bfloat16), _convolution(torch.float32)
    best_half = best_full = float("inf")
    try:
        for turn in range(9):
            took_half, took_full = _seconds(half), _seconds(full)
            if turn:  # the first one prepares kernels
                best_half, best_full = min(best_half, took_half), min(best_full, took_full)
    except RuntimeError:  # no such kernel
        return False
    return best_half * _PAYS < best_full


def _convolution(dtype: torch.dtype) -> Callable[[], object]:
    x = torch.ones(32, 32, 14, 14, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.ones(32, 32, 3, 3, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    return lambda: torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), (x, weight))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    with torch.enable_grad():
        call()
    return time.perf_counter() - began


class InBfloat16(TorchFunctionMode):
    """Computes in bfloat16 what gains by it, as autocast does, and in float32 what autocast should not have taken.

    Slower there, forward and backward: convolutions of single channels unless 3 x 3 without stride or dilation (three
    quarters of the speed down to a thirtieth), attention (a sixth) and GRUs (0.8 times as fast).

    Wrong there: the weights' gradient of a convolution whose stride is larger than its input is wide, which holds
    memory that was never written (oneDNN as in torch 2.14; 342 of 7,536 random convolutions, all such).
    """

    def __init__(self) -> None:
        super().__init__()
        self._autocast = torch.autocast("cpu", dtype=torch.bfloat16)

    def __enter__(self) -> InBfloat16:
        self._autocast.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._autocast.__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _better_exact(func, args, kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return func(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})


def _better_exact(func: Any, args: Any, kwargs: Any) -> bool:
    if func in _CONVOLUTIONS:
        call = {**_DEFAULT, **dict(zip(_CONVOLUTION, args, strict=False)), **kwargs}
        x, weight, stride = call["input"], call["weight"], _last(call["stride"])
        if x.shape[-1] < stride:
            return True
        single = call["groups"] > 1 and weight.shape[1] == 1
        return single and not (weight.shape[-1] == 3 and stride == 1 and _last(call["dilation"]) == 1)
    return func in _ATTENTION or getattr(func, "__name__", "") in _RECURRENT


def _last(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[-1]


def _widened(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_widened(part) for part in value]
    return value.float() if isinstance(value, Tensor) and value.dtype is torch.bfloat16 else value
