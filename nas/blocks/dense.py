"""Fully connected layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from nas.blocks.activations import Activation, activation
from nas.blocks.checks import at_least, check, rate
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import init_linear
from nas.blocks.operations import Plan, linear, over
from nas.shapes import Shape


@BLOCKS.add("dense")
class Dense(nn.Module):
    """Linear -> norm -> activation -> dropout, with a skip if wanted and where widths match.

    Shapes:
        in:  (N, F)
        out: (N, width)

    References:
        He et al., 2015 (initial weights). https://arxiv.org/abs/1502.01852
        Srivastava et al., Dropout, JMLR 2014. https://jmlr.org/papers/v15/srivastava14a.html
    """

    takes: ClassVar[Takes] = "vector"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        width: int = 128  # features out
        act: Activation = "relu"
        norm: Literal["batch", "layer", "none"] = "batch"
        dropout: float = 0.0
        residual: bool = False  # add the input where F = width

        def __post_init__(self) -> None:
            check(self, width=at_least(1), dropout=rate)

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        (features,) = expect(self.takes, in_shape)
        width = config.width
        self.out_shape: Shape = (width,)
        self.skip = config.residual and features == width
        linear = nn.Linear(features, width, bias=config.norm != "batch")  # batch norm would take the bias out again
        init_linear(linear, gain=1.0 if config.act in ("none", "tanh") else math.sqrt(2))
        norm = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}[config.norm]
        self.layers = nn.Sequential(linear, norm(width), activation(config.act), nn.Dropout(config.dropout))

    @staticmethod
    def plan(in_shape: Shape, config: Dense.Config) -> Plan:
        """Say what is built, without building it."""
        (features,) = expect("vector", in_shape)
        out_shape = (config.width,)
        named = ["layer_norm"] if config.norm == "layer" else []
        named += [] if config.act == "none" else [config.act]
        named += ["add"] if config.residual and features == config.width else []
        return Plan(out_shape, [linear(in_shape, config.width), *(over(kind, out_shape) for kind in named)])

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.skip else y
