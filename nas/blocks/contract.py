"""What a block and a head are, and the two tables that hold them."""

from __future__ import annotations

import dataclasses
import inspect
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, get_args, get_origin, get_type_hints

from torch import Tensor, nn

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


_EXAMPLE = "\n      @dataclass(frozen=True, kw_only=True)\n      class Config:\n          width: int = 32"


def check_class(arguments: tuple[str, ...], name: str, part: Any) -> None:
    """Check what can be seen of a part before it is made: its kind, `takes`, `Config` and constructor.

    Args:
        arguments: of the constructor, behind `self`.
    Raises:
        ValueError: naming what breaks the contract, and what to write.
    """
    if not (isinstance(part, type) and issubclass(part, nn.Module)):
        raise ValueError(f"must be a class that inherits torch.nn.Module, got {part!r}")
    takes = getattr(part, "takes", None)
    if takes not in (*get_args(Layout), "any"):
        raise ValueError(
            f"takes must be 'map' (C, H, W), 'tokens' (T, C), 'vector' (F,) or 'any', got {takes!r}; in the class "
            'write takes = "map"'
        )
    config = getattr(part, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise ValueError(f"Config must be a dataclass of its fields, got {config!r}; in the class write{_EXAMPLE}")
    if not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # of every dataclass
        raise ValueError("Config must be frozen, since configs are compared and kept; write @dataclass(frozen=True)")
    try:
        kinds = get_type_hints(config)
    except Exception as error:  # whatever an annotation does
        raise ValueError(f"Config: its annotations cannot be read: {error}") from None
    for field in dataclasses.fields(config):
        kind = kinds[field.name]
        if kind not in (int, float, bool, str) and get_origin(kind) is not Literal:
            said = getattr(kind, "__name__", str(kind))
            raise ValueError(
                f"Config.{field.name} is of type {said}; a field is an int, float, bool, str or Literal, as a space "
                "can write it"
            )
        if field.default is dataclasses.MISSING:
            raise ValueError(
                f"Config.{field.name} has no default, and a space may leave it out; write e.g. "
                f"{field.name}: {getattr(kind, '__name__', 'str')} = {_DEFAULTS.get(kind, '...')}"
            )
    found = [p.name for p in inspect.signature(part).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(found) != len(arguments):
        raise ValueError(
            f"its constructor takes ({', '.join(found)}); write def __init__(self, {', '.join(arguments)}) -> None"
        )


_DEFAULTS = {int: 32, float: 0.0, bool: False, str: '""'}

BLOCKS = Registry[type[Block]]("block", partial(check_class, ("in_shape", "config")))
HEADS = Registry[type[Head]]("head", partial(check_class, ("in_shape", "n_outputs", "config")))


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
