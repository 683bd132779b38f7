"""Inverted residual of the mobile networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.activations import Activation
from nas.blocks.checks import at_least, check, odd
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import ceil_div, conv_norm_act, init_conv
from nas.blocks.operations import Operation, Plan, chain, over
from nas.blocks.operations import conv_norm_act as plan_conv
from nas.shapes import Shape


@BLOCKS.add("mbconv")
class MBConv(nn.Module):
    """1x1 expand -> depthwise k x k -> squeeze-excite -> linear 1x1 project, with a skip where shapes allow.

    No expansion at `expand` 1. The skip is there at stride 1 with `width` = C. Batch norm throughout.

    Shapes:
        in:  (N, C, H, W)
        out: (N, width, ceil(H / stride), ceil(W / stride))

    References:
        Sandler et al., MobileNetV2, CVPR 2018, sec. 3. https://arxiv.org/abs/1801.04381
        Howard et al., MobileNetV3, ICCV 2019, sec. 5.3 (squeeze-excite). https://arxiv.org/abs/1905.02244
        Tan and Le, EfficientNet, ICML 2019 (SiLU). https://arxiv.org/abs/1905.11946
    """

    takes: ClassVar[Takes] = "map"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out
        expand: int = 4  # hidden channels, as a multiple of C
        kernel: int = 3  # odd
        stride: int = 1
        se: bool = False  # squeeze-excite on the hidden channels
        act: Activation = "relu"

        def __post_init__(self) -> None:
            check(self, width=at_least(1), expand=at_least(1), kernel=odd, stride=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        hidden, s = c * config.expand, config.stride
        self.out_shape: Shape = (config.width, ceil_div(h, s), ceil_div(w, s))
        self.skip = s == 1 and c == config.width
        self.expand = conv_norm_act(c, hidden, kernel=1, act=config.act) if config.expand > 1 else nn.Identity()
        self.depthwise = conv_norm_act(hidden, hidden, kernel=config.kernel, stride=s, groups=hidden, act=config.act)
        self.se = SqueezeExcite(hidden) if config.se else nn.Identity()
        self.project = conv_norm_act(hidden, config.width, kernel=1)

    @staticmethod
    def plan(in_shape: Shape, config: MBConv.Config) -> Plan:
        """Say what is built, without building it."""
        c, h, w = expect("map", in_shape)
        hidden, s = c * config.expand, config.stride
        plans = [plan_conv(in_shape, hidden, kernel=1, act=config.act)] if config.expand > 1 else []
        plans.append(plan_conv((hidden, h, w), hidden, kernel=config.kernel, stride=s, groups=hidden, act=config.act))
        if config.se:
            plans.append(SqueezeExcite.plan(plans[-1].out_shape))
        plans.append(plan_conv(plans[-1].out_shape, config.width, kernel=1))
        whole = chain(*plans)
        if s == 1 and c == config.width:
            whole.operations.append(over("add", whole.out_shape))
        return whole

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.se(self.depthwise(self.expand(x))))
        return x + y if self.skip else y


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate in [0, 1] that sees the mean of all channels.

    Shapes:
        in, out: (N, C, H, W)

    Reference:
        Hu et al., Squeeze-and-Excitation Networks, CVPR 2018. https://arxiv.org/abs/1709.01507
        Quarter width and hard sigmoid as in MobileNetV3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = squeezed_width(channels)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()
        init_conv(self.reduce, "relu")
        init_conv(self.expand, "none")

    @staticmethod
    def plan(in_shape: Shape) -> Plan:
        """Say what is built, without building it."""
        c, h, w = in_shape
        reduce = plan_conv((c, 1, 1), squeezed_width(c), kernel=1, act="relu", norm="none")
        expand = plan_conv(reduce.out_shape, c, kernel=1, act="hardsigmoid", norm="none")
        mean, scale = Operation("mean", c, c, (h, w), (1, 1)), over("scale", in_shape)
        return Plan(in_shape, [mean, *reduce.operations, *expand.operations, scale])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.squeeze(x)))))


def squeezed_width(channels: int) -> int:
    """Return how many channels the gate of that many sees them through."""
    return max(8, channels // 4)
