"""A user's own data: one .npz file."""

from __future__ import annotations

import difflib
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from nas.data.arrays import Arrays
from nas.data.layout import guess_layout, prepared_shape
from nas.data.memory import check_fits, peak_bytes, readable_bytes
from nas.data.reading import AS_THEY_ARE, Reading
from nas.errors import DataError

_READ = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "classes", "layout")
_HOW = "numpy.savez_compressed(path, x_train=..., y_train=..., x_test=..., y_test=..., classes=...)"


def read_npz(path: Path, how: Reading = AS_THEY_ARE) -> Arrays:
    """Read `x_train`, `y_train` and, where present, `x_val`, `y_val`, `x_test`, `y_test`, `classes`, `layout`.

    Nothing is unpickled: a data file cannot run code.

    Raises:
        DataError: no such file, no .npz file, not these arrays, or more than fits the memory, which the heads of the
            arrays tell before any of them is read.
    """
    if not path.is_file():
        raise DataError(f"{path}: {_missing(path)}")
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: not a .npz file; write one with {_HOW}")
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if name in _READ]
            _check_names(path, list(file.files))
            _check_memory(path, names, how)
            found = {name: _read(path, file, name) for name in names}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as e:
        raise DataError(f"{path}: cannot be read ({type(e).__name__}: {e}); copy or write it again") from e
    layout = found.pop("layout", None)
    if layout is not None and (layout.size != 1 or layout.dtype.kind not in "US"):
        raise DataError(f"{path}: layout holds {layout.dtype} of shape {layout.shape}; write one text such as 'NHWC'")
    text = layout.item() if layout is not None else None
    return Arrays(
        name=path.stem,
        where=str(path),
        layout=text.decode("utf-8", "replace") if isinstance(text, bytes) else text,
        channels=None,  # a file does not say
        **found,
    )


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"no such file, and no folder {path.parent}"
    near = difflib.get_close_matches(path.name, sorted(p.name for p in path.parent.glob("*.npz")), n=1, cutoff=0.5)
    return "no such file." + (f" Did you mean '{path.parent / near[0]}'?" if near else " Check the path")


def _check_names(path: Path, names: list[str]) -> None:
    missing = [name for name in ("x_train", "y_train") if name not in names]
    if missing:
        raise DataError(
            f"{path}: no array {' and no array '.join(missing)}; found {', '.join(names) or 'nothing'}; write {_HOW}"
        )
    # A split that is stored but not used is worse than an error: it would be believed to be used.
    unread = [name for name in names if name not in _READ and name.lower().startswith(("x_", "y_"))]
    if unread:
        raise DataError(
            f"{path}: {', '.join(unread)} would not be used; the splits are called train, val and test: rename the "
            "arrays, or leave them away"
        )


def _check_memory(path: Path, names: list[str], how: Reading) -> None:
    heads = _heads(path, names)
    if "x_train" not in heads or any(dtype.hasobject for _, dtype in heads.values()):
        return  # for `_read` to refuse
    shape, dtype = heads["x_train"]
    shape = prepared_shape(*_guessed(shape), how)
    n_kept = sum(heads[name][0][0] for name in ("x_train", "x_val") if name in heads and heads[name][0])
    largest = max(heads, key=lambda name: math.prod(heads[name][0]) * heads[name][1].itemsize)
    size = math.prod(heads[largest][0]) * heads[largest][1].itemsize
    what = (
        f"its arrays ({largest} is {heads[largest][0]} of {heads[largest][1]}, {readable_bytes(size)}) and a float32 "
        "copy"
    )
    remedy = "store fewer samples or smaller ones" + (", images as uint8" if dtype != np.uint8 else "")
    check_fits(str(path), peak_bytes(heads.values(), (n_kept, *shape), dtype), what, remedy)


def _guessed(shape: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Return the shape of a canonical sample of an array, and its kind, as far as the number of axes tells them."""
    if len(shape) != 4:
        return shape[1:], "vector"
    return (shape[1:] if guess_layout(shape, None) == "NCHW" else (shape[3], *shape[1:3])), "image"


def _heads(path: Path, names: list[str]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and type of arrays, from the first bytes of each; what cannot be read is left out."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    heads = {}
    with zipfile.ZipFile(path) as file:
        for name in names:
            try:
                with file.open(f"{name}.npy") as member:
                    shape, _, dtype = readers[np.lib.format.read_magic(member)](member)
                heads[name] = shape, dtype
            except (ValueError, KeyError):
                continue
    return heads


def _read(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        array = file[name]
    except ValueError as e:  # numpy's word for object arrays and for broken headers
        if "pickle" in str(e).lower():
            raise DataError(
                f"{path}: {name} is an object array (pickled Python objects), which is not read; samples of unequal "
                "length must be cut or padded to one length, and labels be stored as integers or strings"
            ) from e
        raise DataError(f"{path}: {name} cannot be read ({e}); write the file again") from e
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {name} is not a numpy array; write the file with {_HOW}")
    return array
