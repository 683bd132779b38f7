"""Residual basic block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.activations import Activation, activation
from nas.blocks.checks import at_least, check, odd
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import ceil_div, conv_norm_act
from nas.blocks.operations import Plan, chain, over
from nas.blocks.operations import conv_norm_act as plan_conv
from nas.shapes import Shape


@BLOCKS.add("resblock")
class ResBlock(nn.Module):
    """Two k x k convolutions beside a shortcut, which is a 1x1 convolution where the shape changes.

    Shapes:
        in:  (N, C, H, W)
        out: (N, width, ceil(H / stride), ceil(W / stride))

    References:
        He et al., Deep Residual Learning, CVPR 2016, fig. 2 and option B. https://arxiv.org/abs/1512.03385
        Goyal et al., 2017, sec. 5.1: the last norm starts at scale 0, so that the block starts as its
        shortcut. https://arxiv.org/abs/1706.02677
    """

    takes: ClassVar[Takes] = "map"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out
        kernel: int = 3  # odd, of both convolutions
        stride: int = 1  # of the first convolution and of the shortcut
        act: Activation = "relu"

        def __post_init__(self) -> None:
            check(self, width=at_least(1), kernel=odd, stride=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        width, s = config.width, config.stride
        self.out_shape: Shape = (width, ceil_div(h, s), ceil_div(w, s))
        self.first = conv_norm_act(c, width, kernel=config.kernel, stride=s, act=config.act)
        self.second = conv_norm_act(width, width, kernel=config.kernel)
        self.shortcut = nn.Identity() if s == 1 and c == width else conv_norm_act(c, width, kernel=1, stride=s)
        self.act = activation(config.act)
        nn.init.zeros_(self.second.get_parameter("1.weight"))

    @staticmethod
    def plan(in_shape: Shape, config: ResBlock.Config) -> Plan:
        """Say what is built, without building it."""
        c, *_ = expect("map", in_shape)
        width, kernel, s = config.width, config.kernel, config.stride
        plans = [] if s == 1 and c == width else [plan_conv(in_shape, width, kernel=1, stride=s)]
        plans.append(plan_conv(in_shape, width, kernel=kernel, stride=s, act=config.act))
        whole = chain(*plans, plan_conv(plans[-1].out_shape, width, kernel=kernel))
        whole.operations.append(over("add", whole.out_shape))
        if config.act != "none":
            whole.operations.append(over(config.act, whole.out_shape))
        return whole

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.shortcut(x) + self.second(self.first(x)))
