"""A user's own data: one .npz file."""

from __future__ import annotations

import difflib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.arrays import Arrays
from nas.errors import DataError

_TEXTS = {"layout": "NHWC", "task": "regression"}
"""Arrays of one text, with an example of it."""

_READ = ("x_train", "y_train", "x_test", "y_test", "classes", "targets", *_TEXTS)
_HOW = "numpy.savez_compressed(path, x_train=..., y_train=..., x_test=..., y_test=..., classes=...)"


def read_npz(path: Path) -> Arrays:
    """Read `x_train`, `y_train` and, where present, `x_test`, `y_test`, `classes`, `targets`, `layout`, `task`.

    Nothing is unpickled: a data file cannot run code.

    Raises:
        DataError: no such file, no .npz file, or not these arrays.
    """
    if not path.is_file():
        raise DataError(f"{path}: {_missing(path)}")
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: not a .npz file; write one with {_HOW}")
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if name in _READ]
            _check_names(path, list(file.files))
            found: dict[str, Any] = {name: _read(path, file, name) for name in names}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as e:
        raise DataError(f"{path}: cannot be read ({type(e).__name__}: {e}); copy or write it again") from e
    texts = {name: _text(path, name, found.pop(name)) for name in _TEXTS if name in found}
    return Arrays(name=path.stem, where=str(path), layout=texts.get("layout"), task=texts.get("task"), **found)


def _text(path: Path, name: str, array: np.ndarray) -> str:
    if array.size != 1 or array.dtype.kind not in "US":
        example = _TEXTS[name]
        raise DataError(
            f"{path}: {name} holds {array.dtype} of shape {array.shape}; write one text such as {example!r}"
        )
    text = array.item()
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _missing(path: Path) -> str:
    if path.is_dir():
        return "is a folder; name the .npz file"
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
    # A split that is stored but not used is worse than an error: it would be believed to be the validation set.
    unread = [name for name in names if name not in _READ and name.lower().startswith(("x_", "y_"))]
    if unread:
        raise DataError(
            f"{path}: {', '.join(unread)} would not be used; the validation set is split from x_train: put those "
            "samples into x_train and y_train, or leave the arrays away"
        )


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
