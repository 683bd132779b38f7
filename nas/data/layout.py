"""From the axes of a file to the axes a network reads: maps (C, H, W), tokens (T, C), vectors (F,)."""

from __future__ import annotations

import numpy as np

from nas.data.reading import Reading
from nas.errors import DataError, did_you_mean

LAYOUTS: dict[str, str] = {
    "NCHW": "image",
    "NHWC": "image",
    "NHW": "image",
    "NCT": "sequence",
    "NTC": "sequence",
    "NF": "vector",
}
"""Layout of an array to the kind of data it holds."""

INPUTS = ("image", "sequence", "vector")


def guess_layout(shape: tuple[int, ...], input: str | None) -> str:
    """Return the layout of an array whose file names none.

    4 axes: NCHW, or NHWC where only the last axis looks like colours (1, 3 or 4). 3 axes: NCT, as torch's Conv1d and
    the UCR archive have it, or NHW where images are wanted. 2 axes: NF.

    >>> guess_layout((9, 32, 32, 3), None), guess_layout((9, 3, 32, 32), None), guess_layout((9, 28, 28), "image")
    ('NHWC', 'NCHW', 'NHW')
    """
    if len(shape) == 4:
        return "NHWC" if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else "NCHW"
    if len(shape) == 3:
        return "NHW" if input == "image" else "NCT"
    return "NF"


def canonical(x: np.ndarray, layout: str | None, input: str | None, where: str) -> tuple[np.ndarray, str]:
    """Return a view of `x` as (n, C, H, W), (n, T, C) or (n, F), and its kind: image, sequence or vector.

    A vector that is wanted as a sequence is one: (n, T, 1).

    Raises:
        DataError: unknown `layout` or `input`, or a layout with another number of axes than `x` has.
    """
    if input is not None and input not in INPUTS:
        raise DataError(did_you_mean("input kind", input, INPUTS))
    if layout is None:
        layout = guess_layout(x.shape, input)
    elif layout not in LAYOUTS:
        raise DataError(f"{where}: layout: {did_you_mean('layout', layout, LAYOUTS)}")
    elif len(layout) != x.ndim:
        raise DataError(
            f"{where}: layout {layout} has {len(layout)} axes, x_train has {x.ndim}, shape {x.shape}; "
            f"write one of {', '.join(name for name in LAYOUTS if len(name) == x.ndim)}"
        )
    if layout == "NHWC":
        x = x.transpose(0, 3, 1, 2)
    elif layout == "NHW":
        x = x[:, None]
    elif layout == "NCT":
        x = x.transpose(0, 2, 1)
    elif layout == "NF" and input == "sequence":
        return x[:, :, None], "sequence"
    return x, LAYOUTS[layout]


def prepared_shape(shape: tuple[int, ...], kind: str, how: Reading) -> tuple[int, ...]:
    """Return the shape of one canonical sample after what the user asks of images or sequences.

    >>> prepared_shape((3, 100, 80), "image", Reading(resolution=64))
    (3, 64, 64)
    """
    if kind == "image":
        side = shape[1:] if how.resolution is None else (how.resolution, how.resolution)
        return (how.channels or shape[0], *side)
    return (how.length or shape[0], *shape[1:]) if kind == "sequence" else shape


def arrange(x: np.ndarray, kind: str, input: str | None, where: str) -> np.ndarray:
    """Return canonical `x` of `kind` as what the space reads, `input`.

    image -> sequence: the rows are the tokens, (n, C, H, W) -> (n, T=H, C*W). Images and sequences -> vector: all
    values in order.

    Raises:
        DataError: sequences or vectors wanted as images.
    """
    if input in (None, kind):
        return x
    if input == "vector":
        return x.reshape(len(x), -1)
    if kind == "image" and input == "sequence":
        n, c, h, w = x.shape
        return x.transpose(0, 2, 1, 3).reshape(n, h, c * w)
    hint = " (images: store them with 3 or 4 axes, and layout 'NHW', 'NCHW' or 'NHWC')" if input == "image" else ""
    raise DataError(
        f"{where}: the data are {kind}s, x_train as {x.shape[1:]}, and cannot be read as 'input: {input}'; "
        f"use a space with 'input: {kind}'{hint}"
    )
