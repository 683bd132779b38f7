"""From the name of a data set, or a file, to a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.data.arrays import Arrays, check, encode_labels, encode_targets, kind_of
from nas.data.layout import arrange, canonical
from nas.data.reading import VOCABULARY, Reading
from nas.data.sources import read_source
from nas.data.split import strata, stratified
from nas.data.task import Task, standardise
from nas.errors import DataError
from nas.rng import generator


def load_task(
    spec: str,
    *,
    input: str | None = None,
    seed: int = 0,
    val_share: float = 0.2,
    task: str = "auto",
    data_root: str | Path = "data",
    download: bool = False,
    target_column: str | Sequence[str] = (),
    test_data: str = "",
    encoding: str = "utf-8",
    text_column: str = "",
    vocabulary: int = VOCABULARY,
    length: int | None = None,
) -> Task:
    """Load data, whatever kind `spec` names, and split a validation set from their training samples.

    Args:
        spec: a name in `DATASETS`; a .csv or .tsv file (`nas.data.table`); or a .npz file with
            `x_train`, `y_train` and, optionally, `x_test`,
            `y_test`, `classes`, `targets`, `task` and `layout` (see `Arrays`).
        input: what the space reads. "image": maps (C, H, W). "sequence": tokens (T, C); an image gives its rows as
            tokens, (H, C*W), a vector one value per token, (F, 1). "vector": (F,), images and sequences flattened.
            None: what the data are.
        seed: decides the validation split, and nothing else.
        val_share: share of the training samples kept for validation, in (0, 1), the same share of every class, in
            regression of every tenth of the (first) target.
        task: classification, regression, or auto: what the labels are (see `nas.data.arrays.kind_of`).
        data_root: folder of the named data sets that come as files.
        download: fetch a named data set that is not there. Nothing is fetched without it.
        target_column: of a table, what is to be predicted; several are a regression of several targets.
        test_data: a table to test on; empty: a fifth of the rows is set aside.
        encoding: of a table.
        text_column: of a table, the texts to classify (`nas.data.text`); empty: found by itself beside a single column
            of labels, else there are none.
        vocabulary: tokens that a tokenizer may know.
        length: tokens that texts are cut or filled to; None: what is enough for 95 % of the training texts.
    Raises:
        DataError: data that are not there or cannot be learned from; names the place, what was found, the remedy.
    """
    how = Reading(
        data_root=Path(data_root),
        download=download,
        task=task,
        target_columns=(target_column,) if isinstance(target_column, str) else tuple(target_column),
        test_data=test_data,
        encoding=encoding,
        text_column=text_column,
        vocabulary=vocabulary,
        length=length,
    )
    arrays = read_source(str(spec), how)
    return make_task(arrays, input=input, seed=seed, val_share=val_share, task=task)


def make_task(
    arrays: Arrays, *, input: str | None = None, seed: int = 0, val_share: float = 0.2, task: str = "auto"
) -> Task:
    """Check, arrange, split and standardise `arrays`; arguments and errors as for `load_task`."""
    if not 0 < val_share < 1:
        raise DataError(f"val_share must be in (0, 1), got {val_share}; for a fifth write 0.2")
    regression = (kind := kind_of(arrays, task)) == "regression"
    if arrays.learn is None:
        check(arrays, kind)
    y, y_test, names = encode_targets(arrays) if regression else encode_labels(arrays)
    val = stratified(strata(y), val_share, generator(seed, "split"))
    train = np.setdiff1d(np.arange(len(y)), val)
    recipe, notes = None, arrays.notes
    if arrays.learn is not None:
        learned = arrays.learn(train)
        recipe, notes = learned.recipe, (*notes, *learned.notes)
        arrays = replace(arrays, x_train=learned.x_train, x_test=learned.x_test, layout=learned.layout, learn=None)
        check(arrays, kind)
    x, form = canonical(arrays.x_train, arrays.layout, input, arrays.where)
    mean, std = ((0.0,), (1.0,)) if form == "text" else _statistics(x[train], form, input, arrays.where)
    y_mean, y_std = (y[train].mean(axis=0), _deviation(y[train])) if regression else ((), ())

    def labels(y: np.ndarray) -> np.ndarray:
        return ((y - y_mean) / y_std).astype(np.float32) if regression else y

    x = arrange(x, form, input, arrays.where)
    test = None
    if arrays.x_test is not None and y_test is not None:
        x_test, _ = canonical(arrays.x_test, arrays.layout, input, arrays.where)
        test = np.ascontiguousarray(arrange(x_test, form, input, arrays.where)), labels(y_test)
    return Task(
        name=arrays.name,
        in_shape=x.shape[1:],
        classes=() if regression else names,
        x_train=standardise(x[train], mean, std),
        y_train=torch.from_numpy(labels(y[train])),
        x_val=standardise(x[val], mean, std),
        y_val=torch.from_numpy(labels(y[val])),
        mean=mean,
        std=std,
        scale=1 / 255 if arrays.x_train.dtype == np.uint8 else 1.0,
        targets=names if regression else (),
        y_mean=tuple(map(float, y_mean)),
        y_std=tuple(map(float, y_std)),
        recipe=recipe,
        notes=notes,
        _test=test,
    )


def _deviation(y: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each target (n, n_targets); 1 where it is constant in this split."""
    std = y.std(axis=0)
    return np.where(std <= 1e-12 * np.abs(y).max(axis=0), 1.0, std)


def _statistics(
    x: np.ndarray, kind: str, input: str | None, where: str, chunk: int = 4096
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation for each channel of what `arrange` makes of `x`.

    They are taken over each channel of the data themselves, then put where `arrange` puts that channel: a flattened
    image is standardised as the image would be, since a pixel that hardly ever changes has no scale worth dividing by.
    """
    axis = 2 if kind == "sequence" else 1
    over = tuple(i for i in range(x.ndim) if i != axis)
    unit = 255.0 if x.dtype == np.uint8 else 1.0
    parts = [x[i : i + chunk] for i in range(0, len(x), chunk)]  # float64 of all at once would be the peak of a run
    n = x.size // x.shape[axis]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum(p.sum(over, dtype=np.float64, keepdims=True) for p in parts) / n
        std = np.sqrt(sum(np.square(p - mean).sum(over, keepdims=True) for p in parts) / n)
    largest = np.maximum(*(np.abs(f(x, axis=over, keepdims=True).astype(np.float64)) for f in (np.min, np.max)))
    if not (np.isfinite(std).all() and np.isfinite(mean).all()):
        raise DataError(f"{where}: x_train holds values up to {largest.max():.3g}, too large to scale; check its units")
    std = np.where(std <= 1e-12 * largest, unit, std)  # a constant channel has a rounding error for a deviation

    def placed(per_channel: np.ndarray) -> tuple[float, ...]:
        one = arrange(np.broadcast_to(per_channel / unit, (1, *x.shape[1:])), kind, input, where)[0]
        return tuple((one[:, 0, 0] if one.ndim == 3 else one[0] if one.ndim == 2 else one).tolist())

    return placed(mean), placed(std)
