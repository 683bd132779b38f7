"""First blocks: from what the data give to the width a network works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nas.blocks.checks import at_least, check, rate
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


_EMBEDDED = 0.3
"""Deviation of new embeddings: a mean over few tokens should be made of what was learned, not of what was drawn."""


@BLOCKS.add("embedding")
class Embedding(nn.Module):
    """Token ids -> vectors, learned with the network; whole tokens are dropped while it learns.

    Ids are floats, as all inputs of networks are, rounded down. Id 0 fills up short texts: its vector is zero and stays
    so. Ids beyond the vocabulary are taken for its last one.

    Shapes:
        in:  (N, T), ids
        out: (N, T, dim)

    Reference:
        Bengio et al., A Neural Probabilistic Language Model, JMLR 2003. https://www.jmlr.org/papers/v3/bengio03a.html;
        dropping whole tokens: Gal & Ghahramani, NeurIPS 2016, sec. 4. https://arxiv.org/abs/1512.05287
    """

    takes: ClassVar[Takes] = "vector"
    of_ids: ClassVar[bool] = True  # no gradient reaches its input

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        dim: int = 32  # channels out
        vocabulary: int = 4096  # ids, at least as many as the data have
        dropout: float = 0.0  # share of the tokens

        def __post_init__(self) -> None:
            check(self, dim=at_least(1), vocabulary=at_least(2), dropout=rate)

    def __init__(self, in_shape: Shape, config: Config) -> None:
        super().__init__()
        (t,) = expect(self.takes, in_shape)
        self.out_shape: Shape = (t, config.dim)
        self.last_id = config.vocabulary - 1
        self.table = nn.Embedding(config.vocabulary, config.dim, padding_idx=0)
        with torch.no_grad():
            self.table.weight.mul_(_EMBEDDED)
        self.dropout = nn.Dropout1d(config.dropout)  # of (N, T, dim) it takes T for the channels

    @staticmethod
    def plan(in_shape: Shape, config: Embedding.Config) -> Plan:
        """Say what is built, without building it."""
        (t,) = expect("vector", in_shape)
        return Plan((t, config.dim), [Operation("embedding", config.vocabulary, config.dim, (t,), (t,))])

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.table(x.clamp(0, self.last_id).long()))
