"""Nothing: lets a search drop a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.operations import Plan
from nas.shapes import Shape


@BLOCKS.add("identity")
class Identity(nn.Module):
    """Return the input.

    Shapes:
        in, out: any
    """

    takes: ClassVar[Takes] = "any"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        """No fields."""

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        self.out_shape: Shape = expect(self.takes, in_shape)

    @staticmethod
    def plan(in_shape: Shape, config: Identity.Config) -> Plan:
        """Say what is built, without building it."""
        return Plan(expect("any", in_shape), [])

    def forward(self, x: Tensor) -> Tensor:
        return x
