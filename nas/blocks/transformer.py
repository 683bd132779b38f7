"""Transformer encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.blocks.checks import at_least, check, rate
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.layers import init_linear
from nas.blocks.operations import Operation, Plan, linear, over
from nas.shapes import Shape


@BLOCKS.add("transformer")
class Transformer(nn.Module):
    """Positions, then `layers` pre-norm layers of self-attention and MLP, then a norm.

    A linear projection comes first where C is not `dim`. Attention costs O(T^2 dim) per layer.

    Shapes:
        in:  (N, T, C)
        out: (N, T, dim)

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017. https://arxiv.org/abs/1706.03762
        Xiong et al., On Layer Normalization in the Transformer, ICML 2020 (pre-norm, and the norm at
        the end that it needs). https://arxiv.org/abs/2002.04745
    """

    takes: ClassVar[Takes] = "tokens"
    positions: Tensor | None  # (T, dim)

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        dim: int = 32  # channels out; a multiple of heads
        heads: int = 4
        mlp_ratio: int = 2  # hidden width of the MLP, as a multiple of dim
        layers: int = 1
        dropout: float = 0.0  # of attention weights and of both branches
        positions: Literal["none", "sine", "learned"] = "sine"  # "none": blind to order

        def __post_init__(self) -> None:
            check(self, dim=at_least(1), heads=at_least(1), mlp_ratio=at_least(1), layers=at_least(1), dropout=rate)
            if self.dim % self.heads:
                raise ValueError(
                    f"heads={self.heads} must divide dim={self.dim}; "
                    f"write e.g. dim={math.ceil(self.dim / self.heads) * self.heads}"
                )

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        t, c = expect(self.takes, in_shape)
        dim = config.dim
        self.out_shape: Shape = (t, dim)
        self.project = nn.Identity() if c == dim else init_linear(nn.Linear(c, dim))
        if config.positions == "learned":
            self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(t, dim), std=0.02))
        else:
            sine = sine_positions(t, dim) if config.positions == "sine" else None
            self.register_buffer("positions", sine, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.Sequential(*(EncoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(dim)

    @staticmethod
    def plan(in_shape: Shape, config: Transformer.Config) -> Plan:
        """Say what is built, without building it."""
        t, c = expect("tokens", in_shape)
        dim, hidden = config.dim, config.dim * config.mlp_ratio
        norm, add = over("layer_norm", (t, dim)), over("add", (t, dim))
        layer = [
            *(norm, linear((t, dim), 3 * dim), Operation("attention", dim, dim, (t,), (t,), groups=config.heads)),
            *(linear((t, dim), dim), add),
            *(norm, linear((t, dim), hidden), over("gelu", (t, hidden)), linear((t, hidden), dim), add),
        ]
        project = [] if c == dim else [linear(in_shape, dim)]
        positions = [] if config.positions == "none" else [add]
        return Plan((t, dim), [*project, *positions, *(layer * config.layers), norm])

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        if self.positions is not None:
            x = x + self.positions
        return self.norm(self.layers(self.dropout(x)))


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Shapes:
        in, out: (N, T, dim)
    """

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        dim, hidden = config.dim, config.dim * config.mlp_ratio
        self.attention = nn.Sequential(nn.LayerNorm(dim), SelfAttention(config), nn.Dropout(config.dropout))
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim),
            init_linear(nn.Linear(dim, hidden)),
            nn.GELU(),
            nn.Dropout(config.dropout),
            init_linear(nn.Linear(hidden, dim)),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class SelfAttention(nn.Module):
    """Every position reads from every other: softmax(q k^T / sqrt(dim / heads)) v, per head.

    Shapes:
        in, out: (N, T, dim)
    """

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.heads, self.head_dim, self.rate = config.heads, config.dim // config.heads, config.dropout
        self.qkv = init_linear(nn.Linear(config.dim, 3 * config.dim))
        self.out = init_linear(nn.Linear(config.dim, config.dim))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim))  # (N, T, 3, heads, head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (N, heads, T, head_dim)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.rate if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(2))


def sine_positions(t: int, dim: int) -> Tensor:
    """Return (t, dim): sines of the position in even channels, cosines in odd ones (Vaswani et al., sec. 3.5).

    >>> sine_positions(2, 3).round(decimals=4)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.8415, 0.5403, 0.0022]])
    """
    wavelength = 10_000 ** (torch.arange(0, dim, 2) / dim)
    angle = torch.arange(t)[:, None] / wavelength  # (t, ceil(dim / 2))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :dim].contiguous()
