"""Samples in .npy and .npz files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


def read_arrays(given: str, metadata: dict[str, Any]) -> np.ndarray:
    """Return the samples of a .npy or .npz file in the units of the training data: (n, *in_shape).

    It holds one or many, in the layout that the network takes or in one that data come in, see `arranged`. Of a .npz
    file x counts, or else x_test, or else the only array. No pickle is read.
    """
    return arranged(loaded(Path(given)), Path(given), metadata)


def loaded(path: Path) -> np.ndarray:
    """Return the array of a .npy file, or that of the samples in a .npz file."""
    if not path.is_file():
        sys.exit(f"{path}: there is no such file")
    if path.suffix.lower() not in (".npy", ".npz"):
        sys.exit(
            f"{path}: is not read; the usage line says what is, and arrays are in a .npy or .npz file. Image files are "
            "read where the training data were pixels of 8 bits"
        )
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = {"x": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except Exception as error:  # zip files that are cut, arrays of Python objects
        sys.exit(f"{path}: cannot be read: {error}")
    name = next((name for name in ("x", "x_test") if name in arrays), next(iter(arrays), ""))
    if len(arrays) != 1 and not name.startswith("x"):
        sys.exit(f"{path}: holds {', '.join(arrays) or 'nothing'}; call the array of samples x")
    return arrays[name]


def arranged(x: np.ndarray, path: Path, metadata: dict[str, Any]) -> np.ndarray:
    """Return one sample or many as (n, *in_shape).

    Images may have their channels last, or none; sequences their channels first, and, where `length` is set, another
    length: they are cut at the end or padded there with zeros, as the training data were. What the network reads in
    another shape than the data have, such as images row by row, is given as the data are.
    """
    shape, length = tuple(metadata.get("data_shape") or metadata["in_shape"]), metadata.get("length")
    channels_first = metadata.get("data_layout") == "NCT"  # decides where there are as many steps as channels
    if len(shape) == 3 and shape[0] == 1 and x.shape[-2:] == shape[1:] and x.shape[-3:] != shape:
        x = x[..., None, :, :]
    elif len(shape) == 3 and x.shape[-3:] == (*shape[1:], shape[0]) != shape:
        x = np.moveaxis(x, -1, -3)
    elif len(shape) == 2 and shape[1] == 1 and (x.shape[-1:] == shape[:1] or (length and x.ndim == 2 < x.shape[1])):
        x = x[..., None]
    elif len(shape) == 2 and x.ndim > 1 and x.shape[-2] == shape[1] and (x.shape[-2:] != shape or channels_first):
        x = np.swapaxes(x, -1, -2)
    if x.ndim == len(shape):
        x = x[None]
    if length and x.ndim == 3 and len(shape) == 2 and x.shape[1] != length:
        x = x[:, :length]
        x = np.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0)))
    if x.shape[1:] != shape or x.dtype.kind not in "fiub" or len(x) == 0:
        wanted = ", ".join(map(str, shape))
        sys.exit(f"{path}: the network takes numbers of shape (n, {wanted}), not {x.dtype} of {x.shape}")
    if len(shape) == 3 and len(metadata["in_shape"]) == 2:  # the rows of an image are the steps
        x = x.transpose(0, 2, 1, 3)
    return x.reshape(len(x), *metadata["in_shape"])
