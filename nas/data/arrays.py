"""A data set as it was found: plain arrays, and the checks that they can be learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nas.errors import DataError, did_you_mean


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned:
    """Numbers that samples became, by rules that were learned on the training split."""

    x_train: np.ndarray
    """All samples that are no test samples, in their order."""

    x_test: np.ndarray | None
    layout: str
    recipe: Mapping[str, Any]
    """The rules, as JSON-able values."""

    notes: tuple[str, ...] = ()
    """What was decided that the user should know, a line each."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrays:
    """Labelled arrays before any split, change of layout or standardisation."""

    name: str
    where: str
    """What an error message calls them: a path, or the data set's name."""

    x_train: np.ndarray
    """(n, ...), numbers; see `layout`."""

    y_train: np.ndarray
    """(n,), integers or strings; in regression numbers, (n,) or (n, n_targets)."""

    x_val: np.ndarray | None = None
    y_val: np.ndarray | None = None
    """A validation split of the data's own; without it one is split from the training samples."""

    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    classes: np.ndarray | None = None
    """(n_classes,) names; integer labels index it. Without it the classes are the sorted labels."""

    task: str | None = None
    """classification or regression; None: floats are targets, all else is classes."""

    targets: np.ndarray | None = None
    """(n_targets,) names of what a regression predicts; without it target, or target_0, target_1, ..."""

    learn: Callable[[np.ndarray], Learned] | None = None
    """For data that are no numbers yet: x_train and x_test count the samples, (n,), and this makes numbers of them, by
    what it learns of those with the given indices, the training split."""

    notes: tuple[str, ...] = ()
    """What was decided about the data that the user should know, a line each."""

    layout: str | None = None
    """NCHW, NHWC or NHW for images, NCT or NTC for sequences, NF for vectors; None: by the number of axes."""

    channels: str | None = None
    """grey or RGB, where that is known."""

    def parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return samples and labels of each split that is there whole: train, val, test."""
        pairs = {
            "train": (self.x_train, self.y_train),
            "val": (self.x_val, self.y_val),
            "test": (self.x_test, self.y_test),
        }
        return {part: (x, y) for part, (x, y) in pairs.items() if x is not None and y is not None}


def kind_of(arrays: Arrays, asked: str = "auto") -> Literal["classification", "regression"]:
    """Return what is learned: floats are targets of a regression, all else is classes, unless it is said.

    Args:
        asked: classification, regression or auto.
    Raises:
        DataError: floats that may well be classes.
    """
    said = asked if asked != "auto" else arrays.task
    if said == "classification":
        return "classification"
    if said == "regression":
        return "regression"
    if said is not None:
        raise DataError(f"{arrays.where}: task: {did_you_mean('task', said, ('classification', 'regression'))}")
    y = np.asarray(arrays.y_train)
    if y.dtype.kind != "f":
        return "classification"
    values = np.unique(y)
    if y.ndim == 2 and set(values) <= {0, 1} and (y.sum(axis=1) == 1).all():
        return "classification"  # one-hot, for `check` to refuse
    if y.size == len(y) and 1 < len(values) <= min(_FEW, len(y) // 2):
        raise DataError(
            f"{arrays.where}: y_train holds floats, and only {len(values)} different ones: classes, or a "
            "target to predict? Say so with --task classification or --task regression"
        )
    return "regression"


_FEW = 20


def check(arrays: Arrays, kind: str = "classification") -> None:
    """Check the arrays one by one and against each other; the labels' values are `encode_labels`'s matter.

    Args:
        kind: as `kind_of` returns it.

    Raises:
        DataError: naming the array, what was found in it and the remedy.
    """
    where, x_train, parts = arrays.where, arrays.x_train, arrays.parts()
    for part, x, y in (("val", arrays.x_val, arrays.y_val), ("test", arrays.x_test, arrays.y_test)):
        if (x is None) != (y is None):
            has, lacks = ("y", "x") if x is None else ("x", "y")
            raise DataError(f"{where}: {has}_{part} without {lacks}_{part}; add {lacks}_{part}, or leave both away")
    for part, (x, y) in parts.items():
        _check_pair(where, part, x, y, kind == "regression")
        if x.shape[1:] != x_train.shape[1:]:
            raise DataError(
                f"{where}: x_{part} has samples of shape {x.shape[1:]}, x_train of {x_train.shape[1:]}; "
                "prepare both in the same way"
            )
        if (x.dtype == np.uint8) != (x_train.dtype == np.uint8):
            raise DataError(
                f"{where}: x_train is {x_train.dtype}, x_{part} is {x.dtype}, so their scales may differ; "
                "store both in the same type"
            )


def _check_pair(where: str, part: str, x: np.ndarray, y: np.ndarray, regression: bool) -> None:
    if x.dtype.kind not in "fiub":
        raise DataError(f"{where}: x_{part} holds {x.dtype}, not numbers; store it as float32 or uint8")
    if x.ndim not in (2, 3, 4):
        raise DataError(
            f"{where}: x_{part} has {x.ndim} axes, shape {x.shape}; expected samples first, then (F,) for vectors, "
            "(C, T) for sequences or (C, H, W) for images"
        )
    if x.size == 0:
        raise DataError(f"{where}: x_{part} is empty, shape {x.shape}; it needs samples with at least one value each")
    if regression and y.ndim == 2 and y.shape[1] > 0:
        pass
    elif y.ndim != 1:
        remedy = "store y.argmax(1)" if y.ndim == 2 and y.shape[1] > 1 else "store y.ravel()"
        raise DataError(f"{where}: y_{part} has shape {y.shape}; expected one label per sample, (n,): {remedy}")
    if len(x) != len(y):
        raise DataError(f"{where}: x_{part} has {len(x)} samples, y_{part} has {len(y)} labels; they must pair up")
    if x.dtype.kind == "f":
        bad = ~np.isfinite(x)
        if bad.any():
            first = tuple(int(i[0]) for i in np.nonzero(bad))
            raise DataError(
                f"{where}: x_{part} holds {int(bad.sum())} values that are NaN or infinite, the first ({x[first]}) at "
                f"index {first}; fill them in or drop those samples"
            )


def encode_labels(arrays: Arrays) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of each split that is there as indices into the classes, int64 (n,), and the classes' names.

    Raises:
        DataError: labels that are no classes, or classes that cannot be learned: fewer than two of them, or one
            with fewer than two training samples where training and validation each need one.
    """
    where, y_train = arrays.where, _labels(arrays, "train")
    if arrays.classes is not None:
        classes = np.asarray(arrays.classes)
        classes = _as_text(classes) if classes.dtype.kind in "USiub" else classes
        if classes.ndim != 1 or classes.dtype.kind != "U":
            raise DataError(
                f"{where}: classes is {classes.dtype} of shape {classes.shape}; expected names, (n_classes,)"
            )
        names, counts = np.unique(classes, return_counts=True)
        if len(names) < len(classes):
            raise DataError(f"{where}: classes names '{names[counts > 1][0]}' twice; every class needs its own name")
        known = classes if y_train.dtype.kind == "U" else np.arange(len(classes))
    else:
        known = np.unique(y_train)
        # -1 and 1 is a custom for two classes; any other negative label is mostly a mark for "no label".
        if known.dtype.kind == "i" and known[0] < 0 and known.tolist() != [-1, 1]:
            raise DataError(
                f"{where}: y_train holds the negative label {known[0]} ({int((y_train < 0).sum())} times in all are "
                "negative); drop the unlabelled samples, or count the classes from 0"
            )
        classes = _as_text(known)
    y = _index(where, "train", y_train, known)
    present = np.bincount(y, minlength=len(classes))
    if (present > 0).sum() < 2:
        raise DataError(f"{where}: y_train holds one class only, '{classes[y[0]]}'; classification needs two or more")
    least = 2 if arrays.y_val is None else 1
    if present.min() < least:
        few = int(present.argmin())
        found = "a single sample" if present[few] else "no sample"
        more = f" ({int((present < least).sum())} such classes)" if (present < least).sum() > 1 else ""
        needed = "training and validation need at least one each" if least == 2 else "training needs at least one"
        raise DataError(
            f"{where}: class '{classes[few]}' has {found} in y_train{more}; {needed}: add samples, or remove the class"
        )
    rest = [part for part in arrays.parts() if part != "train"]
    encoded = {"train": y, **{part: _index(where, part, _labels(arrays, part), known) for part in rest}}
    return encoded, tuple(classes.tolist())


def encode_targets(arrays: Arrays) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the targets of each split that is there as float64 (n, n_targets), and their names.

    Raises:
        DataError: they are no finite numbers, or do not agree.
    """
    where, y = arrays.where, {part: _targets(arrays, part) for part in arrays.parts()}
    y_train = y["train"]
    k = y_train.shape[1]
    for part, found in y.items():
        if found.shape[1] != k:
            raise DataError(
                f"{where}: y_{part} has {found.shape[1]} targets, y_train has {k}; prepare both in the same way"
            )
    names = ["target"] if k == 1 else [f"target_{i}" for i in range(k)]
    if arrays.targets is not None:
        names = _as_text(np.atleast_1d(arrays.targets)).tolist()
        if len(names) != k or len(set(names)) != k:
            raise DataError(f"{where}: targets names {', '.join(names)}, y_train has {k}; name each once")
    if len(y_train) < 2:
        raise DataError(f"{where}: y_train holds a single sample; training and validation need at least one each")
    for name, column in zip(names, y_train.T, strict=True):
        if column.min() == column.max():
            raise DataError(f"{where}: {name} is {column[0]:g} in all of y_train: there is nothing to predict")
    return y, tuple(names)


def _targets(arrays: Arrays, part: str) -> np.ndarray:
    y = np.asarray(arrays.parts()[part][1])
    if y.dtype.kind not in "fiub":
        raise DataError(f"{arrays.where}: y_{part} holds {y.dtype}, and a regression predicts numbers; store numbers")
    y = y.astype(np.float64).reshape(len(y), -1)
    bad = ~np.isfinite(y)
    if bad.any():
        first = int(np.nonzero(bad)[0][0])
        raise DataError(
            f"{arrays.where}: y_{part} holds {int(bad.sum())} values that are NaN or infinite, the first in sample "
            f"{first}; drop those samples"
        )
    return y


def _labels(arrays: Arrays, part: str) -> np.ndarray:
    y = np.asarray(arrays.parts()[part][1])
    if y.dtype.kind == "S":
        return _as_text(y)
    if y.dtype.kind == "b":
        return y.astype(np.int64)
    if y.dtype.kind == "f" and np.array_equal(y, np.round(y)):  # whoever asks for classes may have them as floats
        return y.astype(np.int64)
    if y.dtype.kind not in "iuU":
        raise DataError(
            f"{arrays.where}: y_{part} holds {y.dtype}; expected class labels, integers or strings: store "
            "y.astype(int), or the names"
        )
    return y


def _as_text(values: np.ndarray) -> np.ndarray:
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values.astype(str)


def _index(where: str, part: str, y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the position of each label in `known`."""
    if (y.dtype.kind == "U") != (known.dtype.kind == "U"):
        raise DataError(f"{where}: y_{part} holds {y.dtype}, y_train other labels than that; use the same in both")
    order = np.argsort(known)
    at = np.clip(np.searchsorted(known, y, sorter=order), 0, len(known) - 1)
    index = order[at]
    wrong = np.flatnonzero(known[index] != y)
    if len(wrong):
        first = int(wrong[0])
        shown = known.tolist()
        span = f"{shown[0]} to {shown[-1]}" if len(shown) > 10 else ", ".join(map(str, shown))
        raise DataError(
            f"{where}: y_{part}[{first}] is {y[first].item()!r}, which is no class ({len(wrong)} such labels); "
            f"the classes are {span}"
        )
    return index.astype(np.int64)
