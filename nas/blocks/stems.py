"""First blocks: from what the data give to the width a network works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.checks import at_least, check
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import ceil_div, init_conv, init_linear
from nas.blocks.operations import Operation, Plan, linear, over
from nas.shapes import Shape


@BLOCKS.add("patches")
class Patches(nn.Module):
    """Linear embedding of square patches that lie side by side; sizes that do not divide are zero-padded.

    Shapes:
        in:  (N, C, H, W)
        out: (N, width, ceil(H / patch), ceil(W / patch))

    Reference:
        Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, sec. 3.1. https://arxiv.org/abs/2010.11929
    """

    takes: ClassVar[Takes] = "map"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out
        patch: int = 4  # side in pixels

        def __post_init__(self) -> None:
            check(self, width=at_least(1), patch=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        p = config.patch
        rows, columns = ceil_div(h, p), ceil_div(w, p)
        self.out_shape: Shape = (config.width, rows, columns)
        # Half of what is missing, on each side; an odd remainder adds one row that no patch reaches.
        padding = (ceil_div(rows * p - h, 2), ceil_div(columns * p - w, 2))
        self.embed = nn.Conv2d(c, config.width, p, stride=p, padding=padding)
        init_conv(self.embed, "none")

    @staticmethod
    def plan(in_shape: Shape, config: Patches.Config) -> Plan:
        """Say what is built, without building it."""
        c, h, w = expect("map", in_shape)
        at_out = (ceil_div(h, config.patch), ceil_div(w, config.patch))
        return Plan((config.width, *at_out), [Operation("conv", c, config.width, (h, w), at_out, config.patch)])

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


@BLOCKS.add("project")
class Project(nn.Module):
    """Linear -> layer norm at every position.

    Shapes:
        in:  (N, T, C)
        out: (N, T, width)

    Reference:
        Ba et al., Layer Normalization, 2016. https://arxiv.org/abs/1607.06450
    """

    takes: ClassVar[Takes] = "tokens"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 32  # channels out

        def __post_init__(self) -> None:
            check(self, width=at_least(1))

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        t, c = expect(self.takes, in_shape)
        self.out_shape: Shape = (t, config.width)
        self.linear = init_linear(nn.Linear(c, config.width))
        self.norm = nn.LayerNorm(config.width)

    @staticmethod
    def plan(in_shape: Shape, config: Project.Config) -> Plan:
        """Say what is built, without building it."""
        t, _ = expect("tokens", in_shape)
        out_shape = (t, config.width)
        return Plan(out_shape, [linear(in_shape, config.width), over("layer_norm", out_shape)])

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))
