"""From what `--data` names to a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from nas.data.arrays import Arrays, check, encode_labels
from nas.data.images import CHANNELS, prepare_array
from nas.data.layout import arrange, canonical, prepared_shape
from nas.data.memory import check_fits, peak_bytes
from nas.data.reading import AS_THEY_ARE, Reading
from nas.data.sources import read_source
from nas.data.split import stratified
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
    data_root: str | Path = "data",
    download: bool = False,
    resolution: int | None = None,
    channels: int | None = None,
    length: int | None = None,
) -> Task:
    """Load data, whatever kind `spec` names, and split a validation set from their training samples.

    Args:
        spec: a name in `DATASETS`; a .npz file with `x_train`, `y_train` and more (see `Arrays`); a folder of images
            with one below it for each class (`nas.data.folders`); a .ts file or the folder of a pair (`nas.data.ts`);
            `module:function` or `file.py:function`, which is imported and run (`nas.data.code`).
        input: what the space reads. "image": maps (C, H, W). "sequence": tokens (T, C); an image gives its rows as
            tokens, (H, C*W), a vector one value per token, (F, 1). "vector": (F,), images and sequences flattened.
            None: what the data are.
        seed: decides the validation split, and nothing else.
        val_share: share of the training samples kept for validation, in (0, 1), the same share of every class. None:
            the validation split that the data have, or else a fifth.
        data_root: folder of the named data sets that come as files.
        download: fetch a named data set that is not there. Nothing is fetched without it.
        resolution, channels: what images become: squares of that side; grey (1) or RGB (3). None: as they are.
        length: what sequences are cut, or padded with zeros, to. None: as they are.
    Raises:
        DataError: data that are not there or cannot be learned from; names the place, what was found, the remedy.
    """
    how = Reading(
        data_root=Path(data_root).expanduser(),
        download=download,
        resolution=resolution,
        channels=channels,
        length=length,
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
    if val_share is not None and not 0 < val_share < 1:
        raise DataError(f"val_share must be in (0, 1), got {val_share}; for a fifth write 0.2")
    if val_share is not None and arrays.x_val is not None:
        raise DataError(
            f"{arrays.where}: has a validation split of its own ({len(arrays.x_val)} samples), so there is no share to "
            "split; leave --val-share out, or join that split to the training samples"
        )
    check(arrays)
    labels, classes = encode_labels(arrays)
    x: dict[str, np.ndarray] = {}
    kind = ""
    for part, (samples, _) in arrays.parts().items():
        x[part], kind = canonical(samples, arrays.layout, input, arrays.where)
    _check_memory(arrays, x, kind, how)
    x = {part: _prepared(samples, kind, how, arrays.where) for part, samples in x.items()}

    y = labels
    if "val" in x:
        x_train, x_val, y_train, y_val = x["train"], x["val"], y["train"], y["val"]
    else:
        val = stratified(y["train"], val_share or DEFAULT_VAL_SHARE, generator(seed, "split"))
        train = np.setdiff1d(np.arange(len(y["train"])), val)
        x_train, x_val, y_train, y_val = x["train"][train], x["train"][val], y["train"][train], y["train"][val]
    mean, std = _statistics(x_train, kind, input, arrays.where)

    def arranged(samples: np.ndarray) -> np.ndarray:
        return arrange(samples, kind, input, arrays.where)

    ready = standardise(arranged(x_train), mean, std)
    return Task(
        name=arrays.name,
        in_shape=tuple(ready.shape[1:]),
        classes=classes,
        x_train=ready,
        y_train=torch.from_numpy(y_train),
        x_val=standardise(arranged(x_val), mean, std),
        y_val=torch.from_numpy(y_val),
        mean=mean,
        std=std,
        scale=1 / 255 if arrays.x_train.dtype == np.uint8 else 1.0,
        resolution=how.resolution,
        channels=(CHANNELS[how.channels] if how.channels else arrays.channels) if kind == "image" else None,
        length=how.length,
        _test=(np.ascontiguousarray(arranged(x["test"])), y["test"]) if "test" in x else None,
    )


def _prepared(x: np.ndarray, kind: str, how: Reading, where: str) -> np.ndarray:
    """Return canonical `x` with done to it what the user asks of images or sequences.

    Raises:
        DataError: asked of data of another kind.
    """
    for option, wanted in (("resolution", "image"), ("channels", "image"), ("length", "sequence")):
        if getattr(how, option) is not None and kind != wanted:
            raise DataError(f"{where}: --{option} is for {wanted}s, and the data are {kind}s; leave it out")
    if kind == "image":
        return prepare_array(x, how.resolution, how.channels, where)
    if kind != "sequence" or how.length is None or x.shape[1] == how.length:
        return x
    padded = np.zeros((len(x), how.length, x.shape[2]), x.dtype)
    padded[:, : x.shape[1]] = x[:, : how.length]
    return padded


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
