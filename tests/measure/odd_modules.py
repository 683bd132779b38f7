"""Modules that several tests of measuring look at."""

from __future__ import annotations

from torch import Tensor, nn


class First(nn.Module):
    """Keeps the first output of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]
