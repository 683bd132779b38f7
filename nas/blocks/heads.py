"""Heads: from features to one logit per output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nas.blocks.checks import at_least, check, rate
from nas.blocks.contract import HEADS, Takes, expect
from nas.blocks.layers import init_linear, with_gradient_alike
from nas.blocks.operations import Operation, Plan, linear, over, split
from nas.shapes import Shape, layout


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """Fields of "pool", "max", "last" and "attention"."""

    dropout: float = 0.0  # before the linear layer

    def __post_init__(self) -> None:
        check(self, dropout=rate)


_OF_LARGEST = 0.4
"""The largest of some dozens of standard normal values is 2 to 3; with this, logits start with a spread of 1."""


def _linear(features: int, n_outputs: int, dropout: float) -> nn.Sequential:
    """(N, features) -> (N, n_outputs)."""
    if n_outputs < 1:
        raise ValueError(f"n_outputs must be at least 1, got {n_outputs}")
    return nn.Sequential(nn.Dropout(dropout), init_linear(nn.Linear(features, n_outputs)))


@HEADS.add("pool")
class Pool(nn.Module):
    """Mean over all positions -> dropout -> linear; a vector is taken as it is.

    Shapes:
        in:  (N, C, H, W), (N, T, C) or (N, C)
        out: (N, n_outputs)

    Reference:
        Lin et al., Network In Network, ICLR 2014, sec. 3.2. https://arxiv.org/abs/1312.4400
    """

    takes: ClassVar[Takes] = "any"
    Config = HeadConfig

    def __init__(self, in_shape: Shape, n_outputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.layout = layout(expect(self.takes, in_shape))
        self.pool = nn.AdaptiveAvgPool2d(1) if self.layout == "map" else nn.Identity()
        self.linear = _linear(in_shape[0 if self.layout == "map" else -1], n_outputs, config.dropout)

    @staticmethod
    def plan(in_shape: Shape, n_outputs: int, config: HeadConfig) -> Plan:
        """Say what is built, without building it."""
        channels, at = split(expect("any", in_shape))
        mean = [Operation("mean", channels, channels, at, (1,))] if at else []
        return Plan((n_outputs,), [*mean, linear((channels,), n_outputs)])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean(1) if self.layout == "tokens" else self.pool(with_gradient_alike(x)).flatten(1))


@HEADS.add("max")
class Max(nn.Module):
    """Largest value of each channel over all positions -> dropout -> linear: whether something is there, not how often.

    Shapes:
        in:  (N, T, C)
        out: (N, n_outputs)

    Reference:
        Kim, Convolutional Neural Networks for Sentence Classification, EMNLP 2014. https://arxiv.org/abs/1408.5882
    """

    takes: ClassVar[Takes] = "tokens"
    Config = HeadConfig

    def __init__(self, in_shape: Shape, n_outputs: int, config: HeadConfig) -> None:
        super().__init__()
        _, c = expect(self.takes, in_shape)
        self.linear = _linear(c, n_outputs, config.dropout)
        with torch.no_grad():
            self.linear[1].weight.mul_(_OF_LARGEST)  # type: ignore[operator]

    @staticmethod
    def plan(in_shape: Shape, n_outputs: int, config: HeadConfig) -> Plan:
        """Say what is built, without building it."""
        t, c = expect("tokens", in_shape)
        return Plan((n_outputs,), [Operation("max", c, c, (t,), (1,)), linear((c,), n_outputs)])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.amax(1))


@HEADS.add("flatten")
class FlattenHead(nn.Module):
    """All features in a row -> linear, or a hidden ReLU layer between them.

    Keeps where things are, at F x n_outputs weights (F x hidden with a hidden layer).

    Shapes:
        in:  (N, *in_shape), F numbers each
        out: (N, n_outputs)

    Reference:
        LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998. https://doi.org/10.1109/5.726791
    """

    takes: ClassVar[Takes] = "any"

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config:
        hidden: int = 0  # width of the hidden layer; 0: none
        dropout: float = 0.0  # before each linear layer

        def __post_init__(self) -> None:
            check(self, hidden=at_least(0), dropout=rate)

    def __init__(self, in_shape: Shape, n_outputs: int, config: Config) -> None:
        super().__init__()
        features = math.prod(expect(self.takes, in_shape))
        self.hidden: nn.Module = nn.Identity()
        if config.hidden:
            hidden = init_linear(nn.Linear(features, config.hidden), gain=math.sqrt(2))
            self.hidden = nn.Sequential(nn.Dropout(config.dropout), hidden, nn.ReLU())
        self.linear = _linear(config.hidden or features, n_outputs, config.dropout)

    @staticmethod
    def plan(in_shape: Shape, n_outputs: int, config: FlattenHead.Config) -> Plan:
        """Say what is built, without building it."""
        features = math.prod(expect("any", in_shape))
        flatten = [over("to_vector", (features,))] if len(in_shape) > 1 else []
        hidden = [linear((features,), config.hidden), over("relu", (config.hidden,))] if config.hidden else []
        return Plan((n_outputs,), [*flatten, *hidden, linear((config.hidden or features,), n_outputs)])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.hidden(with_gradient_alike(x).flatten(1)))


@HEADS.add("last")
class Last(nn.Module):
    """Last position -> dropout -> linear: for recurrent networks, whose last state has seen everything.

    Behind a bidirectional one, only the forward half of that state has; the backward half has seen one
    position. There "pool" or "attention" serve better.

    Shapes:
        in:  (N, T, C)
        out: (N, n_outputs)

    Reference:
        Sutskever et al., Sequence to Sequence Learning, NeurIPS 2014, sec. 2. https://arxiv.org/abs/1409.3215
    """

    takes: ClassVar[Takes] = "tokens"
    Config = HeadConfig

    def __init__(self, in_shape: Shape, n_outputs: int, config: HeadConfig) -> None:
        super().__init__()
        _, c = expect(self.takes, in_shape)
        self.linear = _linear(c, n_outputs, config.dropout)

    @staticmethod
    def plan(in_shape: Shape, n_outputs: int, config: HeadConfig) -> Plan:
        """Say what is built, without building it."""
        _, c = expect("tokens", in_shape)
        return Plan((n_outputs,), [over("last", (c,)), linear((c,), n_outputs)])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[:, -1])


@HEADS.add("attention")
class Attention(nn.Module):
    """Weighted mean over positions -> dropout -> linear; weights are the softmax of a learned query.

    The query starts at zero, so training starts from the plain mean.

    Shapes:
        in:  (N, T, C)
        out: (N, n_outputs)

    Reference:
        Lin et al., A Structured Self-Attentive Sentence Embedding, ICLR 2017, sec. 2.1 (one hop, linear
        scores). https://arxiv.org/abs/1703.03130
    """

    takes: ClassVar[Takes] = "tokens"
    Config = HeadConfig

    def __init__(self, in_shape: Shape, n_outputs: int, config: HeadConfig) -> None:
        super().__init__()
        _, c = expect(self.takes, in_shape)
        self.query = nn.Linear(c, 1, bias=False)
        nn.init.zeros_(self.query.weight)
        self.linear = _linear(c, n_outputs, config.dropout)

    @staticmethod
    def plan(in_shape: Shape, n_outputs: int, config: HeadConfig) -> Plan:
        """Say what is built, without building it."""
        t, c = expect("tokens", in_shape)
        weights = [linear(in_shape, 1), over("softmax", (t, 1))]
        return Plan((n_outputs,), [*weights, Operation("linear", t, c), linear((c,), n_outputs)])

    def forward(self, x: Tensor) -> Tensor:
        weights = self.query(x).softmax(dim=1)  # (N, T, 1)
        return self.linear((weights.transpose(1, 2) @ x).flatten(1))
