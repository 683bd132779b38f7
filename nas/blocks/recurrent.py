"""Recurrent layers: torch's own modules, so that ONNX gets its native LSTM, GRU and RNN nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nas.blocks.checks import at_least, check
from nas.blocks.contract import BLOCKS, Takes, expect
from nas.blocks.operations import Operation, Plan
from nas.shapes import Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class RecurrentConfig:
    """Fields of "lstm" and "gru"."""

    hidden: int = 32  # per direction
    layers: int = 1
    bidirectional: bool = False

    def __post_init__(self) -> None:
        check(self, hidden=at_least(1), layers=at_least(1))


@dataclass(frozen=True, kw_only=True, slots=True)
class RNNConfig:
    """Fields of "rnn"."""

    hidden: int = 32  # per direction
    layers: int = 1
    bidirectional: bool = False
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def __post_init__(self) -> None:
        check(self, hidden=at_least(1), layers=at_least(1))


def _init_gates(rnn: nn.RNNBase, n_gates: int) -> None:
    """Per gate: Xavier from the input, orthogonal from the state; zero biases."""
    for name, parameter in rnn.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
        else:
            for gate in parameter.detach().chunk(n_gates):
                (nn.init.xavier_uniform_ if name.startswith("weight_ih") else nn.init.orthogonal_)(gate)


def _out_shape(in_shape: Shape, config: RecurrentConfig | RNNConfig) -> Shape:
    return (in_shape[0], config.hidden * (2 if config.bidirectional else 1))


def _plan(kind: str, in_shape: Shape, config: RecurrentConfig | RNNConfig) -> Plan:
    t, c = expect("tokens", in_shape)
    directions = 2 if config.bidirectional else 1
    widths = [c] + [config.hidden * directions] * (config.layers - 1)  # what each layer reads
    layers = [Operation(kind, width, config.hidden, (t,), (t,), groups=directions) for width in widths]
    return Plan(_out_shape(in_shape, config), layers)


@BLOCKS.add("lstm")
class LSTM(nn.Module):
    """Long short-term memory over the sequence; the states of every position come out.

    Shapes:
        in:  (N, T, C)
        out: (N, T, hidden), twice `hidden` if bidirectional

    References:
        Hochreiter and Schmidhuber, Long Short-Term Memory, 1997. https://doi.org/10.1162/neco.1997.9.8.1735
        Jozefowicz et al., ICML 2015: the forget gate's bias starts at 1. https://proceedings.mlr.press/v37/jozefowicz15.html
    """

    takes: ClassVar[Takes] = "tokens"
    Config = RecurrentConfig

    def __init__(self, in_shape: Shape, config: RecurrentConfig) -> None:
        super().__init__()
        _, c = expect(self.takes, in_shape)
        self.out_shape: Shape = _out_shape(in_shape, config)
        self.rnn = nn.LSTM(c, config.hidden, config.layers, batch_first=True, bidirectional=config.bidirectional)
        _init_gates(self.rnn, n_gates=4)
        with torch.no_grad():
            for name, parameter in self.rnn.named_parameters():
                if name.startswith("bias_ih"):  # the gates are in the order i, f, g, o; the two biases add up
                    parameter[config.hidden : 2 * config.hidden] = 1.0

    @staticmethod
    def plan(in_shape: Shape, config: RecurrentConfig) -> Plan:
        """Say what is built, without building it."""
        return _plan("lstm", in_shape, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@BLOCKS.add("gru")
class GRU(nn.Module):
    """Gated recurrent units over the sequence; the states of every position come out.

    Shapes:
        in:  (N, T, C)
        out: (N, T, hidden), twice `hidden` if bidirectional

    Reference:
        Cho et al., EMNLP 2014, sec. 2.3. https://arxiv.org/abs/1406.1078
    """

    takes: ClassVar[Takes] = "tokens"
    Config = RecurrentConfig

    def __init__(self, in_shape: Shape, config: RecurrentConfig) -> None:
        super().__init__()
        _, c = expect(self.takes, in_shape)
        self.out_shape: Shape = _out_shape(in_shape, config)
        self.rnn = nn.GRU(c, config.hidden, config.layers, batch_first=True, bidirectional=config.bidirectional)
        _init_gates(self.rnn, n_gates=3)

    @staticmethod
    def plan(in_shape: Shape, config: RecurrentConfig) -> Plan:
        """Say what is built, without building it."""
        return _plan("gru", in_shape, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@BLOCKS.add("rnn")
class RNN(nn.Module):
    """Elman network over the sequence; the states of every position come out.

    Shapes:
        in:  (N, T, C)
        out: (N, T, hidden), twice `hidden` if bidirectional

    Reference:
        Elman, Finding Structure in Time, 1990. https://doi.org/10.1207/s15516709cog1402_1
    """

    takes: ClassVar[Takes] = "tokens"
    Config = RNNConfig

    def __init__(self, in_shape: Shape, config: RNNConfig) -> None:
        super().__init__()
        _, c = expect(self.takes, in_shape)
        self.out_shape: Shape = _out_shape(in_shape, config)
        self.rnn = nn.RNN(
            c,
            config.hidden,
            config.layers,
            nonlinearity=config.nonlinearity,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        _init_gates(self.rnn, n_gates=1)

    @staticmethod
    def plan(in_shape: Shape, config: RNNConfig) -> Plan:
        """Say what is built, without building it."""
        return _plan(f"rnn_{config.nonlinearity}", in_shape, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]
