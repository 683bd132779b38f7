"""Plain 2-D convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.activations import Activation
from nas.blocks.checks import at_least, check, odd
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import Norm, ceil_div, conv_norm_act
from nas.blocks.operations import Plan
from nas.blocks.operations import conv_norm_act as plan_conv
from nas.shapes import Shape


@BLOCKS.add("conv")
class Conv(nn.Module):
    """k x k convolution -> norm -> activation, with 'same' padding.

    Shapes:
        in:  (N, C, H, W)
        out: (N, width, ceil(H / stride), ceil(W / stride))

    References:
        Ioffe and Szegedy, Batch Normalization, ICML 2015. https://arxiv.org/abs/1502.03167
        Wu and He, Group Normalization, ECCV 2018. https://arxiv.org/abs/1803.08494
    """

    takes: ClassVar[Takes] = "map"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out
        kernel: int = 3  # odd
        stride: int = 1
        groups: int = 1  # divides C and width
        act: Activation = "relu"
        norm: Norm = "batch"  # "group": the largest of 8, 4, 2, 1 groups that divides width

        def __post_init__(self) -> None:
            check(self, width=at_least(1), kernel=odd, stride=at_least(1), groups=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        self.out_shape: Shape = (config.width, ceil_div(h, config.stride), ceil_div(w, config.stride))
        self.layers = conv_norm_act(
            c,
            config.width,
            kernel=config.kernel,
            stride=config.stride,
            groups=config.groups,
            act=config.act,
            norm=config.norm,
        )

    @staticmethod
    def plan(in_shape: Shape, config: Conv.Config) -> Plan:
        """Say what is built, without building it."""
        return plan_conv(
            expect("map", in_shape),
            config.width,
            kernel=config.kernel,
            stride=config.stride,
            groups=config.groups,
            act=config.act,
            norm=config.norm,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
