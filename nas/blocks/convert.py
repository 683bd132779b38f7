"""From one layout to another, between blocks that do not take the same; no parameters, no arithmetic."""

from __future__ import annotations

import math

from torch import Tensor, nn

from nas.blocks.contract import expect
from nas.blocks.layers import with_gradient_alike
from nas.blocks.operations import Plan, over
from nas.shapes import Shape


class MapToTokens(nn.Module):
    """Read a map row by row as a sequence.

    Shapes:
        in:  (N, C, H, W)
        out: (N, H * W, C)
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__()
        c, h, w = expect("map", in_shape)
        self.out_shape: Shape = (h * w, c)

    @staticmethod
    def plan(in_shape: Shape) -> Plan:
        """Say what is built, without building it."""
        c, h, w = expect("map", in_shape)
        return Plan((h * w, c), [over("to_tokens", (h * w, c))])

    def forward(self, x: Tensor) -> Tensor:
        return with_gradient_alike(x).flatten(2).transpose(1, 2)


class TokensToMap(nn.Module):
    """Lay a sequence out as the rows of a map; undoes `MapToTokens`.

    Shapes:
        in:  (N, H * W, C)
        out: (N, C, H, W)

    Raises:
        ValueError: the grid (H, W) has not as many places as there are tokens.
    """

    def __init__(self, in_shape: Shape, grid: tuple[int, int]) -> None:
        super().__init__()
        t, c = expect("tokens", in_shape)
        if math.prod(grid) != t:
            raise ValueError(f"a grid of {grid[0]} x {grid[1]} holds {math.prod(grid)} tokens, got {t}")
        self.grid = grid
        self.out_shape: Shape = (c, *grid)

    @staticmethod
    def plan(in_shape: Shape, grid: tuple[int, int]) -> Plan:
        """Say what is built, without building it."""
        _, c = expect("tokens", in_shape)
        return Plan((c, *grid), [over("to_map", in_shape)])

    def forward(self, x: Tensor) -> Tensor:
        # -1 for the batch: the exporter takes a size read off the tensor for a constant, and a recurrent block
        # further on would have its initial state frozen at the batch it was traced with.
        return x.transpose(1, 2).reshape(-1, *self.out_shape)


class Flatten(nn.Module):
    """Read any shape as one vector.

    Shapes:
        in:  (N, *in_shape)
        out: (N, F), F the product of `in_shape`
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__()
        self.out_shape: Shape = (math.prod(expect("any", in_shape)),)

    @staticmethod
    def plan(in_shape: Shape) -> Plan:
        """Say what is built, without building it."""
        out_shape = (math.prod(expect("any", in_shape)),)
        return Plan(out_shape, [over("to_vector", out_shape)])

    def forward(self, x: Tensor) -> Tensor:
        return with_gradient_alike(x).flatten(1)
