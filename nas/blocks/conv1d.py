"""Convolution along a sequence."""

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


@BLOCKS.add("conv1d")
class Conv1d(nn.Module):
    """Convolution over positions -> norm -> activation, with 'same' padding (it sees both past and future).

    Shapes:
        in:  (N, T, C)
        out: (N, ceil(T / stride), width)

    Reference:
        Bai et al., An Empirical Evaluation of Generic Convolutional and Recurrent Networks, 2018
        (dilation). https://arxiv.org/abs/1803.01271
    """

    takes: ClassVar[Takes] = "tokens"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out
        kernel: int = 3  # odd, in positions
        stride: int = 1
        dilation: int = 1  # distance between the positions a kernel reads
        act: Activation = "relu"
        norm: Norm = "batch"

        def __post_init__(self) -> None:
            check(self, width=at_least(1), kernel=odd, stride=at_least(1), dilation=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        t, c = expect(self.takes, in_shape)
        self.out_shape: Shape = (ceil_div(t, config.stride), config.width)
        self.layers = conv_norm_act(
            c,
            config.width,
            kernel=config.kernel,
            stride=config.stride,
            dilation=config.dilation,
            act=config.act,
            norm=config.norm,
            n_axes=1,
        )

    @staticmethod
    def plan(in_shape: Shape, config: Conv1d.Config) -> Plan:
        """Say what is built, without building it."""
        return plan_conv(
            expect("tokens", in_shape),
            config.width,
            kernel=config.kernel,
            stride=config.stride,
            act=config.act,
            norm=config.norm,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)
