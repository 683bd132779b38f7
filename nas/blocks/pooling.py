"""Pooling of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.checks import at_least, check
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import ceil_div
from nas.blocks.operations import Operation, Plan
from nas.shapes import Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolConfig:
    """Either windows with a middle (odd kernel, padded), or windows side by side (kernel = stride)."""

    kernel: int = 2
    stride: int = 2

    def __post_init__(self) -> None:
        check(self, kernel=at_least(1), stride=at_least(1))
        if self.kernel % 2 == 0 and self.kernel != self.stride:
            raise ValueError(
                f"kernel must be odd or equal to stride, got kernel={self.kernel} and stride={self.stride}; "
                f"write kernel={self.kernel + 1} or stride={self.kernel}"
            )


class _Pool(nn.Module):
    takes: ClassVar[Takes] = "map"
    Config = PoolConfig
    pool: nn.Module

    def __init__(self, in_shape: Shape, config: PoolConfig) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        self.out_shape: Shape = (c, ceil_div(h, config.stride), ceil_div(w, config.stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)


def _plan(kind: str, in_shape: Shape, config: PoolConfig) -> Plan:
    c, h, w = expect("map", in_shape)
    at_out = (ceil_div(h, config.stride), ceil_div(w, config.stride))
    return Plan((c, *at_out), [Operation(kind, c, c, (h, w), at_out, config.kernel)])


@BLOCKS.add("maxpool")
class MaxPool(_Pool):
    """Largest value of each window; padding never wins.

    Shapes:
        in:  (N, C, H, W)
        out: (N, C, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, in_shape: Shape, config: PoolConfig) -> None:
        super().__init__(in_shape, config)
        k = config.kernel
        self.pool = nn.MaxPool2d(k, config.stride, padding=k // 2 if k % 2 else 0, ceil_mode=k % 2 == 0)

    @staticmethod
    def plan(in_shape: Shape, config: PoolConfig) -> Plan:
        """Say what is built, without building it."""
        return _plan("maxpool", in_shape, config)


@BLOCKS.add("avgpool")
class AvgPool(_Pool):
    """Mean of each window; padding is not counted.

    Shapes:
        in:  (N, C, H, W)
        out: (N, C, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, in_shape: Shape, config: PoolConfig) -> None:
        super().__init__(in_shape, config)
        k = config.kernel
        self.pool = nn.AvgPool2d(
            k, config.stride, padding=k // 2 if k % 2 else 0, ceil_mode=k % 2 == 0, count_include_pad=False
        )

    @staticmethod
    def plan(in_shape: Shape, config: PoolConfig) -> Plan:
        """Say what is built, without building it."""
        return _plan("avgpool", in_shape, config)
