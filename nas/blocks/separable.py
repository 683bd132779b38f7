"""Depthwise separable convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.activations import Activation
from nas.blocks.checks import at_least, check, odd
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import ceil_div, conv_norm_act
from nas.blocks.operations import Plan, chain
from nas.blocks.operations import conv_norm_act as plan_conv
from nas.shapes import Shape


@BLOCKS.add("separable")
class Separable(nn.Module):
    """Depthwise k x k -> 1x1, each with batch norm and activation.

    Costs H' W' C (k^2 + width) multiply-adds, against H' W' C k^2 width of the plain convolution.

    Shapes:
        in:  (N, C, H, W)
        out: (N, width, ceil(H / stride), ceil(W / stride))

    Reference:
        Howard et al., MobileNets, 2017, sec. 3.1. https://arxiv.org/abs/1704.04861
    """

    takes: ClassVar[Takes] = "map"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out
        kernel: int = 3  # odd
        stride: int = 1  # of the depthwise part
        act: Activation = "relu"

        def __post_init__(self) -> None:
            check(self, width=at_least(1), kernel=odd, stride=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        self.out_shape: Shape = (config.width, ceil_div(h, config.stride), ceil_div(w, config.stride))
        self.depthwise = conv_norm_act(c, c, kernel=config.kernel, stride=config.stride, groups=c, act=config.act)
        self.pointwise = conv_norm_act(c, config.width, kernel=1, act=config.act)

    @staticmethod
    def plan(in_shape: Shape, config: Separable.Config) -> Plan:
        """Say what is built, without building it."""
        c, *_ = expect("map", in_shape)
        depthwise = plan_conv(in_shape, c, kernel=config.kernel, stride=config.stride, groups=c, act=config.act)
        return chain(depthwise, plan_conv(depthwise.out_shape, config.width, kernel=1, act=config.act))

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))
