"""What a block and a head are, and the two tables that hold them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from torch import Tensor

from nas.registry import Registry
from nas.shapes import Layout, Shape, layout

Takes: TypeAlias = Layout | Literal["any"]


class Block(Protocol):
    """A `torch.nn.Module` that maps one shape to another; it knows no search space.

    Its class has a nested `Config`, a frozen dataclass of scalars (int, float, bool, str or Literal).
    Every field has a default and the config checks itself (ValueError), so a space may leave fields
    out. `config_class` returns it. (mypy knows no nested classes in protocols, so it stands not below.)

    A static method `plan` is welcome: it takes what `__init__` takes and returns, without building anything, the shape
    out and the operations (`nas.blocks.operations.Plan`), or raises what `__init__` would. Latencies are predicted from
    it; without one the block is built for that. A head may have one too.

    Shapes:
        in:  (N, *in_shape)
        out: (N, *out_shape)
    """

    takes: ClassVar[Takes]
    out_shape: Shape

    def __init__(self, in_shape: Shape, config: Any) -> None:
        """Raise ValueError, with the numbers, where the shape does not allow the config."""

    def forward(self, x: Tensor) -> Tensor: ...


class Head(Protocol):
    """A `torch.nn.Module` that ends a network; its `Config` keeps the rules of a block's.

    Shapes:
        in:  (N, *in_shape)
        out: (N, n_outputs), logits or regressed values
    """

    takes: ClassVar[Takes]

    def __init__(self, in_shape: Shape, n_outputs: int, config: Any) -> None:
        """Raise ValueError, with the numbers, where the shape does not allow the config."""

    def forward(self, x: Tensor) -> Tensor: ...


BLOCKS = Registry[type[Block]]("block")
HEADS = Registry[type[Head]]("head")


def config_class(part: type[Block] | type[Head]) -> type[Any]:
    """Return the dataclass of a part's fields."""
    return part.Config  # type: ignore[union-attr]


_AXES: dict[Takes, str] = {"map": "a map (C, H, W)", "tokens": "tokens (T, C)", "vector": "a vector (F,)"}


def expect(takes: Takes, in_shape: Shape) -> Shape:
    """Return `in_shape` if it is of the kind a part takes.

    >>> expect("map", (3, 32, 32))
    (3, 32, 32)
    >>> expect("map", (64, 40))
    Traceback (most recent call last):
    ...
    ValueError: a map (C, H, W) is taken here, got shape (64, 40), which is tokens (T, C)
    """
    kind = layout(in_shape)
    if takes not in ("any", kind):
        raise ValueError(f"{_AXES[takes]} is taken here, got shape {in_shape}, which is {_AXES[kind]}")
    if min(in_shape) < 1:
        raise ValueError(f"every size of a shape must be at least 1, got {in_shape}")
    return in_shape
