"""A user's own images: a folder for each class, in a folder for each split if there are several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.arrays import Arrays
from nas.data.images import CHANNELS, SUFFIXES, decode_files, in_threads, n_channels, unreadable, upright_size
from nas.data.memory import check_fits, peak_bytes, resolution_that_fits
from nas.data.reading import Reading
from nas.errors import DataError

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Name of a folder to the split that it holds."""

_IGNORED = ("__MACOSX",)


@dataclass(frozen=True)
class _Split:
    """The images of a split, in the order of their paths."""

    paths: list[Path]
    labels: np.ndarray
    """(n,) int64 indices into the classes."""


def read_folder(path: Path, how: Reading) -> Arrays:
    """Read `path/CLASS/**/*.png` (or .jpg, ...), or `path/train/CLASS/...` with `val` and `test` beside it.

    The classes are the folders of the training split, in the order of their names. Hidden files and folders, and files
    that are no images, are left out; links are followed. Sizes and colours are looked at before anything is decoded.

    Raises:
        DataError: no such tree; a class without images; a file that is no image; images of several sizes or kinds of
            colour without a word on what to do; more than fits the memory.

    Memory: a byte for each value of every split, and four more for each of training and validation in the task.
    """
    if how.length is not None:
        raise DataError(f"{path}: --length is for sequences, and this is a folder of images; leave it out")
    folders = _splits(path)
    classes = _classes(folders["train"])
    splits = {name: _list(folder, classes) for name, folder in folders.items()}
    files = [file for split in splits.values() for file in split.paths]
    sizes, colours = _look(files)
    size = _one_size(path, files, sizes, how.resolution)
    channels = _one_colour(path, files, colours, how.channels)
    n = {name: len(split.paths) for name, split in splits.items()}
    shapes = {name: (count, channels, *size) for name, count in n.items()}
    n_kept = n["train"] + n.get("val", 0)
    needed = peak_bytes(
        ((shape, np.dtype(np.uint8)) for shape in shapes.values()), (n_kept, channels, *size), np.dtype(np.uint8)
    )
    side = resolution_that_fits(needed, size)
    remedy = f"--resolution {side} would fit" if side >= 8 else "even small ones would not fit"
    what = f"{len(files)} images of {size[0]} x {size[1]} with {channels} channel{'s' if channels > 1 else ''}"
    check_fits(str(path), needed, f"{what}, as bytes and as float32,", f"{remedy}; or give a folder with fewer")
    decoded = {name: decode_files(split.paths, size, how.resolution, channels) for name, split in splits.items()}
    x, y = (lambda name: decoded.get(name)), (lambda name: splits[name].labels if name in splits else None)
    return Arrays(
        name=path.resolve().name,
        where=str(path),
        layout="NHW" if channels == 1 else "NHWC",
        x_train=decoded["train"],
        y_train=splits["train"].labels,
        x_val=x("val"),
        y_val=y("val"),
        x_test=x("test"),
        y_test=y("test"),
        classes=np.array(classes),
        channels=CHANNELS[channels],
    )


def _splits(path: Path) -> dict[str, Path]:
    """Return the folder of each split; a tree without splits is all training."""
    folders = list(_folders(path))
    named = [folder for folder in folders if folder.name.lower() in _SPLITS]
    if not folders:
        raise DataError(f"{path}: {_no_classes(path)}")
    if not named or (len(named) == 1 and len(folders) > 1 and not _hold_the_same(named[0], folders)):
        return {"train": path}  # a class may well be called 'train'
    if others := [folder.name for folder in folders if folder not in named]:
        raise DataError(
            f"{path}: holds {', '.join(f.name for f in named)} and also {_several(others)}; keep only the folders of "
            "splits (train, val, test), or only those of classes"
        )
    found: dict[str, Path] = {}
    for folder in named:
        split = _SPLITS[folder.name.lower()]
        if split in found:
            raise DataError(f"{path}: both {found[split].name} and {folder.name} hold a split; keep one")
        found[split] = folder
    if "train" not in found:
        raise DataError(
            f"{path}: holds {', '.join(f.name for f in named)} and no folder called train; networks learn from that one"
        )
    return {"train": found.pop("train"), **found}


def _hold_the_same(named: Path, folders: list[Path]) -> bool:
    """Whether another folder has a subfolder of a name that one in `named` has: then both are splits."""
    within = {one.name for one in _folders(named)}
    return any(one.name in within for other in folders if other != named for one in _folders(other))


def _no_classes(path: Path) -> str:
    images = [file.name for file in _files(path)]
    arrays = sorted(file.name for file in path.glob("*.npz"))
    if images:
        return (
            f"{len(images)} images lie in the folder itself, such as {images[0]}; move them into a folder for each "
            f"class: {path / 'CLASS' / images[0]}"
        )
    if arrays:
        return f"a folder without classes of images; the file itself is named: {path / arrays[0]}"
    return f"holds no folders; images lie in one for each class: {path / 'CLASS' / 'FILE.png'}"


def _classes(folder: Path) -> list[str]:
    """Return the names of the classes, sorted.

    Raises:
        DataError: one of them is empty, or there is none.
    """
    folders = list(_folders(folder))
    if not folders:
        raise DataError(f"{folder}: {_no_classes(folder)}")
    for one in folders:
        if next(_files(one), None) is None:
            others = [p.name for p in sorted(one.rglob("*")) if p.is_file()]
            found = f"holds no images, but {_several(others)}" if others else "is empty"
            raise DataError(
                f"{one}: the folder of a class {found}; remove it, or add images ({', '.join(SUFFIXES[:5])}, ...)"
            )
    return [one.name for one in folders]


def _list(folder: Path, classes: list[str]) -> _Split:
    """Return the images of one split.

    Raises:
        DataError: it holds none, or a class that the training split has not.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for one in _folders(folder):
        files = list(_files(one))
        if one.name not in classes:
            if not files:
                continue
            raise DataError(
                f"{one}: a class that the training images do not have ({len(files)} images); theirs are "
                f"{_several(classes)}: add it there, or remove it here"
            )
        paths += files
        labels += [classes.index(one.name)] * len(files)
    if not paths:
        raise DataError(f"{folder}: {_no_classes(folder)}")
    return _Split(paths, np.array(labels, np.int64))


def _folders(path: Path) -> Iterator[Path]:
    for one in sorted(path.iterdir(), key=lambda p: p.name):
        if one.is_dir() and not _hidden(one.name):
            yield one


def _files(path: Path) -> Iterator[Path]:
    """Yield the images below a folder in the order of their paths, each folder once, however links lead to it."""
    seen = set()
    for folder, below, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not _hidden(name))
        for name in sorted(names):
            if not _hidden(name) and name.lower().endswith(SUFFIXES):
                yield Path(folder, name)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _look(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 2) heights and widths, and (n,) numbers of channels, from the heads of the files.

    Raises:
        DataError: some are no images; names the first and says how many.
    """
    from PIL import Image

    sizes, colours = np.zeros((len(files), 2), np.int64), np.zeros(len(files), np.int64)
    broken: dict[int, Exception] = {}

    def look(i: int) -> None:
        try:
            with Image.open(files[i]) as image:
                sizes[i], colours[i] = upright_size(image), n_channels(image)
        except Exception as error:  # as in `decode_files`
            broken[i] = error

    in_threads(look, len(files))
    if broken:
        first = min(broken)
        more = f" ({len(broken) - 1} more such files)" if len(broken) > 1 else ""
        raise DataError(f"{files[first]}: {unreadable(broken[first])}{more}") from broken[first]
    return sizes, colours


def _one_size(path: Path, files: list[Path], sizes: np.ndarray, resolution: int | None) -> tuple[int, int]:
    if resolution is not None:
        return resolution, resolution
    smallest, largest = (int(i) for i in (sizes.prod(1).argmin(), sizes.prod(1).argmax()))
    if (sizes == sizes[0]).all():
        return int(sizes[0, 0]), int(sizes[0, 1])
    if (sizes[smallest] == sizes[largest]).all():  # as many pixels, in another shape
        largest = int((sizes != sizes[0]).any(1).argmax())
        smallest = 0
    shown = " and ".join(f"{files[i]} is {sizes[i, 0]} x {sizes[i, 1]}" for i in (smallest, largest))
    shorter = int(np.median(sizes.min(1)))
    near = next((side for side in (64, 48, 32, 28) if side <= shorter), shorter)
    raise DataError(
        f"{path}: images of several sizes (height x width): {shown}; --resolution {near} resizes all of them to a "
        "square (the shorter side, then the centre)"
    )


def _one_colour(path: Path, files: list[Path], colours: np.ndarray, channels: int | None) -> int:
    if channels is not None:
        return channels
    if (colours == colours[0]).all():
        return int(colours[0])
    grey, colour = (int((colours == c).argmax()) for c in (1, 3))
    raise DataError(
        f"{path}: grey and colour images: {files[grey]} is grey ({int((colours == 1).sum())} such files), "
        f"{files[colour]} has colours ({int((colours == 3).sum())}); --channels 1 makes all of them grey, "
        "--channels 3 RGB"
    )


def _several(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
