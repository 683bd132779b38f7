"""From what `--data` names to a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.data.arrays import Arrays, check, encode_labels, encode_targets, kind_of
from nas.data.images import CHANNELS, prepare_array
from nas.data.layout import arrange, canonical, guess_layout, prepared_shape
from nas.data.memory import check_fits, peak_bytes
from nas.data.reading import AS_THEY_ARE, VOCABULARY, Reading
from nas.data.sources import read_source
from nas.data.split import strata, stratified
from nas.data.task import Task, standardise
from nas.errors import DataError
from nas.rng import generator

DEFAULT_VAL_SHARE = 0.2
"""Where neither the user nor the data say."""


def load_task(
    spec: str | Path,
    *,
    input: str | None = None,
    seed: int = 0,
    val_share: float | None = None,
    task: str = "auto",
    data_root: str | Path = "data",
    download: bool = False,
    resolution: int | None = None,
    channels: int | None = None,
    target_column: str | Sequence[str] = (),
    test_data: str = "",
    encoding: str = "utf-8",
    text_column: str = "",
    vocabulary: int = VOCABULARY,
    length: int | None = None,
) -> Task:
    """Load data, whatever kind `spec` names, and split a validation set from their training samples.

    Args:
        spec: a name in `DATASETS`; a .npz file with `x_train`, `y_train` and more (see `Arrays`); a .csv or .tsv file
            (`nas.data.table`); a folder of images with one below it for each class (`nas.data.folders`); a .ts file or
            the folder of a pair (`nas.data.ts`); `module:function` or `file.py:function`, which is imported and run
            (`nas.data.code`).
        input: what the space reads. "image": maps (C, H, W). "sequence": tokens (T, C); an image gives its rows as
            tokens, (H, C*W), a vector one value per token, (F, 1). "vector": (F,), images and sequences flattened.
            None: what the data are.
        seed: decides the validation split, and nothing else.
        val_share: share of the training samples kept for validation, in (0, 1), the same share of every class, in
            regression of every tenth of the (first) target. None: the validation split that the data have, or else a
            fifth.
        task: classification, regression, or auto: what the labels are (see `nas.data.arrays.kind_of`).
        data_root: folder of the named data sets that come as files.
        download: fetch a named data set that is not there. Nothing is fetched without it.
        resolution, channels: what images become: squares of that side; grey (1) or RGB (3). None: as they are.
        target_column: of a table, what is to be predicted; several are a regression of several targets.
        test_data: a table to test on; empty: a fifth of the rows is set aside.
        encoding: of a table.
        text_column: of a table, the texts to classify (`nas.data.text`); empty: found by itself beside a single column
            of labels, else there are none.
        vocabulary: tokens that a tokenizer may know.
        length: what sequences are cut, or padded with zeros, to. None: as they are. Tokens that texts are cut or filled
            to; None: what is enough for 95 % of the training texts.
    Raises:
        DataError: data that are not there or cannot be learned from; names the place, what was found, the remedy.
    """
    how = Reading(
        data_root=Path(data_root).expanduser(),
        download=download,
        resolution=resolution,
        channels=channels,
        length=length,
        task=task,
        target_columns=(target_column,) if isinstance(target_column, str) else tuple(target_column),
        test_data=test_data,
        encoding=encoding,
        text_column=text_column,
        vocabulary=vocabulary,
    )
    found = read_source(str(spec), how)
    if isinstance(found, Arrays):
        return make_task(found, input=input, seed=seed, val_share=val_share, how=how)
    if val_share is not None:
        raise DataError(f"{spec}: returned a Task, which is split already; leave --val-share out")
    return found


def make_task(
    arrays: Arrays,
    *,
    input: str | None = None,
    seed: int = 0,
    val_share: float | None = None,
    how: Reading = AS_THEY_ARE,
) -> Task:
    """Check, arrange, prepare, split and standardise `arrays`; arguments and errors as for `load_task`.

    The samples that networks learn from and are chosen by become float32, split by split; the test samples wait as they
    are.
    """
    regression = (kind := kind_of(arrays, how.task)) == "regression"
    if arrays.learn is None:
        check(arrays, kind)
    y, names = encode_targets(arrays) if regression else encode_labels(arrays)
    train, val = _split(arrays, y, val_share, seed)
    recipe, notes = None, arrays.notes
    if arrays.learn is not None:
        learned = arrays.learn(train)
        recipe, notes = learned.recipe, (*notes, *learned.notes)
        arrays = replace(arrays, x_train=learned.x_train, x_test=learned.x_test, layout=learned.layout, learn=None)
        check(arrays, kind)
    x: dict[str, np.ndarray] = {}
    form = ""
    for part, (samples, _) in arrays.parts().items():
        x[part], form = canonical(samples, arrays.layout, input, arrays.where)
    _check_memory(arrays, x, form, how)
    x = {part: _prepared(samples, form, how, arrays.where) for part, samples in x.items()}
    if val is not None:
        x["train"], x["val"] = x["train"][train], x["train"][val]
        y["train"], y["val"] = y["train"][train], y["train"][val]
    mean, std = ((0.0,), (1.0,)) if form == "text" else _statistics(x["train"], form, input, arrays.where)
    y_mean, y_std = (y["train"].mean(axis=0), _deviation(y["train"])) if regression else ((), ())

    def arranged(part: str) -> np.ndarray:
        return arrange(x[part], form, input, arrays.where)

    def labels(part: str) -> np.ndarray:
        return ((y[part] - y_mean) / y_std).astype(np.float32) if regression else y[part]

    ready = standardise(arranged("train"), mean, std)
    shape = tuple(x["train"].shape[1:])
    return Task(
        name=arrays.name,
        in_shape=tuple(ready.shape[1:]),
        classes=() if regression else names,
        x_train=ready,
        y_train=torch.from_numpy(labels("train")),
        x_val=standardise(arranged("val"), mean, std),
        y_val=torch.from_numpy(labels("val")),
        mean=mean,
        std=std,
        scale=1 / 255 if arrays.x_train.dtype == np.uint8 else 1.0,
        resolution=how.resolution,
        channels=(CHANNELS[how.channels] if how.channels else arrays.channels) if form == "image" else None,
        length=how.length if form == "sequence" else None,
        data_layout=arrays.layout or guess_layout(arrays.x_train.shape, input),
        data_shape=None if shape == tuple(ready.shape[1:]) else shape,
        targets=names if regression else (),
        y_mean=tuple(map(float, y_mean)),
        y_std=tuple(map(float, y_std)),
        recipe=recipe,
        notes=notes,
        _test=(np.ascontiguousarray(arranged("test")), labels("test")) if "test" in x else None,
    )


def _split(
    arrays: Arrays, y: dict[str, np.ndarray], val_share: float | None, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which training samples to learn from, and which to choose by; None: the data have others for that.

    Raises:
        DataError: a share that is none, or of data that are split already.
    """
    if val_share is not None and not 0 < val_share < 1:
        raise DataError(f"val_share must be in (0, 1), got {val_share}; for a fifth write 0.2")
    every = np.arange(len(y["train"]))
    if arrays.x_val is None:
        val = stratified(strata(y["train"]), val_share or DEFAULT_VAL_SHARE, generator(seed, "split"))
        return np.setdiff1d(every, val), val
    if val_share is not None:
        raise DataError(
            f"{arrays.where}: has a validation split of its own ({len(arrays.x_val)} samples), so there is no share to "
            "split; leave --val-share out, or join that split to the training samples"
        )
    return every, None


def _prepared(x: np.ndarray, form: str, how: Reading, where: str) -> np.ndarray:
    """Return canonical `x` with done to it what the user asks of images or sequences.

    Raises:
        DataError: asked of data of another kind.
    """
    for option, wanted in (("resolution", ["image"]), ("channels", ["image"]), ("length", ["sequence", "text"])):
        if getattr(how, option) is not None and form not in wanted:
            raise DataError(f"{where}: --{option} is for {wanted[0]}s, and the data are {form}s; leave it out")
    if form == "image":
        return prepare_array(x, how.resolution, how.channels, where)
    if form != "sequence" or how.length is None or x.shape[1] == how.length:
        return x
    padded = np.zeros((len(x), how.length, x.shape[2]), x.dtype)
    padded[:, : x.shape[1]] = x[:, : how.length]
    return padded


def _deviation(y: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each target (n, n_targets); 1 where it is constant in this split."""
    std = y.std(axis=0)
    return np.where(std <= 1e-12 * np.abs(y).max(axis=0), 1.0, std)


def _check_memory(arrays: Arrays, x: dict[str, np.ndarray], kind: str, how: Reading) -> None:
    """Refuse data that are in memory already, but whose float32 copies would not fit beside them."""
    kept = sum(len(x[part]) for part in ("train", "val") if part in x)
    one = prepared_shape(x["train"].shape[1:], kind, how)
    n_bytes = peak_bytes((), (kept, *one), arrays.x_train.dtype)
    remedy = "give --resolution a smaller one" if kind == "image" and how.resolution else "use fewer or smaller samples"
    check_fits(arrays.where, n_bytes, f"{kept} samples of {one} as float32, to train and to choose by,", remedy)


def _statistics(x: np.ndarray, kind: str, input: str | None, where: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation for each channel of what `arrange` makes of `x`.

    They are taken over each channel of the data themselves, then put where `arrange` puts that channel: a flattened
    image is standardised as the image would be, since a pixel that hardly ever changes has no scale worth dividing by.
    """
    axis = 2 if kind == "sequence" else 1
    over = tuple(i for i in range(x.ndim) if i != axis)
    unit = 255.0 if x.dtype == np.uint8 else 1.0
    chunk = max(1, min(4096, 2**22 // (x.size // len(x))))  # float64 of all at once would be the peak of a run
    parts = [x[i : i + chunk] for i in range(0, len(x), chunk)]
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
