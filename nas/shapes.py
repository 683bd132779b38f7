"""Shapes without the batch axis, and the three kinds of them that a network passes on."""

from __future__ import annotations

from typing import Literal, TypeAlias

Shape: TypeAlias = tuple[int, ...]
"""(C, H, W) for a map, (T, C) for tokens, (F,) for a vector; the batch axis N comes first in tensors."""

Layout: TypeAlias = Literal["map", "tokens", "vector"]

_LAYOUT_OF_RANK: dict[int, Layout] = {3: "map", 2: "tokens", 1: "vector"}


def layout(shape: Shape) -> Layout:
    """Return which of the three kinds `shape` is.

    >>> layout((3, 32, 32)), layout((64, 40)), layout((10,))
    ('map', 'tokens', 'vector')
    """
    if len(shape) not in _LAYOUT_OF_RANK:
        raise ValueError(f"a shape is (C, H, W), (T, C) or (F,), got {shape}")
    return _LAYOUT_OF_RANK[len(shape)]
