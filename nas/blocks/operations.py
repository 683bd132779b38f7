"""What a block does, said without building it: its shape out and its primitive operations."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from nas.blocks.layers import Norm, ceil_div, check_groups
from nas.shapes import Shape

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""Kinds of recurrent operation, and how many products of the state each makes per step."""


class Operation(NamedTuple):
    """A primitive operation on one sample.

    The kinds "conv", "linear", "attention" and those of `GATES` multiply. All others (norms, activations, pooling,
    sums, changes of layout) go over their elements without. What runtimes fold away (batch norm, dropout) is none.
    """

    kind: str
    channels_in: int
    channels_out: int  # of a recurrent operation: per direction
    at_in: tuple[int, ...] = ()  # positions: (H, W) of a map, (T,) of tokens, () of a vector
    at_out: tuple[int, ...] = ()
    kernel: int = 1  # along each axis of positions
    groups: int = 1  # of channels; heads of attention; directions of a recurrent operation

    @property
    def macs(self) -> int:
        """Multiply-adds, as `count_macs` counts them."""
        c, d, n = self.channels_in, self.channels_out, prod(self.at_out)
        if self.kind in ("conv", "linear"):
            return n * c // self.groups * self.kernel ** len(self.at_out) * d
        if self.kind == "attention":
            return 2 * n * n * c
        if self.kind in GATES:
            return self.groups * n * GATES[self.kind] * d * (c + d)
        return 0


class Plan(NamedTuple):
    """What `Block.plan` returns: the shape out, and the operations in the order of their run."""

    out_shape: Shape
    operations: list[Operation]


def over(kind: str, shape: Shape) -> Operation:
    """Return an operation that goes over every element of `shape` and keeps it."""
    channels, at = split(shape)
    return Operation(kind, channels, channels, at, at)


def split(shape: Shape) -> tuple[int, tuple[int, ...]]:
    """Return the channels and the positions of a shape.

    >>> split((8, 4, 5)), split((20, 8)), split((8,))
    ((8, (4, 5)), (8, (20,)), (8, ()))
    """
    return (shape[0], shape[1:]) if len(shape) == 3 else (shape[-1], shape[:-1])


def join(channels: int, at: tuple[int, ...]) -> Shape:
    """Undo `split`."""
    return (channels, *at) if len(at) == 2 else (*at, channels)


def linear(in_shape: Shape, features: int) -> Operation:
    """Return a linear layer at every position."""
    channels, at = split(in_shape)
    return Operation("linear", channels, features, at, at)


def conv_norm_act(
    in_shape: Shape,
    width: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    act: str = "none",
    norm: Norm = "batch",
) -> Plan:
    """Return the plan of `layers.conv_norm_act` on a map or on tokens.

    Raises:
        ValueError: `groups` divides not both numbers of channels.
    """
    channels, at = split(in_shape)
    check_groups(channels, width, groups)
    at_out = tuple(ceil_div(size, stride) for size in at)
    out_shape = join(width, at_out)
    operations = [Operation("conv", channels, width, at, at_out, kernel, groups)]
    if norm == "group":
        operations.append(over("group_norm", out_shape))
    if act != "none":
        operations.append(over(act, out_shape))
    return Plan(out_shape, operations)


def chain(*plans: Plan) -> Plan:
    """Return what plans amount to that follow each other."""
    return Plan(plans[-1].out_shape, [operation for plan in plans for operation in plan.operations])
