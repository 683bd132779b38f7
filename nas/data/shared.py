"""A task on disk for other processes: what they open is mapped, so that all of them share its pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.data.task import Task
from nas.errors import RunError

_ARRAYS = ("x_train", "y_train", "x_val", "y_val")
_ABOUT = "task.json"


def write_shared(task: Task, folder: str | Path) -> None:
    """Write the training and validation samples of `task` into `folder`, which is made if need be.

    The test set stays behind: a process that trains has nothing to do with it. Each file is written beside its place
    and then renamed, the description last; who has the folder open keeps what was there before. On disk, where the
    kernel caches it, not in `/dev/shm`, which containers keep small.

    Raises:
        RunError: it cannot be written.
    """
    folder = Path(folder)
    about = {
        "name": task.name,
        "in_shape": task.in_shape,
        "classes": task.classes,
        "mean": task.mean,
        "std": task.std,
        "scale": task.scale,
        "resolution": task.resolution,
        "channels": task.channels,
        "length": task.length,
        "data_shape": task.data_shape,
        "data_layout": task.data_layout,
        "targets": task.targets,
        "y_mean": task.y_mean,
        "y_std": task.y_std,
        "fingerprint": task.fingerprint(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ABOUT).unlink(missing_ok=True)
        for name in _ARRAYS:
            _put(folder / f"{name}.npy", getattr(task, name).numpy())
        _put(folder / _ABOUT, json.dumps(about).encode())
    except OSError as error:
        raise RunError(f"{folder}: the shared data cannot be written: {error.strerror or error}") from None


def _put(path: Path, content: np.ndarray | bytes) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                np.save(file, content, allow_pickle=False)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def open_shared(folder: str | Path) -> Task:
    """Return the task that `write_shared` wrote, without a test set.

    Its tensors are mapped copy-on-write: pages are shared with every process that opens the folder until one writes
    to them, which no other process and no file sees.

    Raises:
        RunError: there is no such folder, or what is in it is not what was written.

    Cost: that of `Task.fingerprint`, which is compared.
    """
    folder = Path(folder)
    remedy = "write it again with nas.data.write_shared"

    def mapped(name: str) -> Tensor:
        return torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False))

    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        task = Task(
            name=about["name"],
            in_shape=tuple(about["in_shape"]),
            classes=tuple(about["classes"]),
            x_train=mapped("x_train"),
            y_train=mapped("y_train"),
            x_val=mapped("x_val"),
            y_val=mapped("y_val"),
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            scale=about["scale"],
            resolution=about["resolution"],
            channels=about["channels"],
            length=about["length"],
            data_shape=tuple(about["data_shape"]) if about["data_shape"] else None,
            data_layout=about["data_layout"],
            targets=tuple(about["targets"]),
            y_mean=tuple(about["y_mean"]),
            y_std=tuple(about["y_std"]),
        )
        intact = task.fingerprint() == about["fingerprint"]
    except FileNotFoundError as error:
        what = f"{Path(error.filename).name} is missing" if folder.is_dir() else "no such folder"
        raise RunError(f"{folder}: no shared data there ({what}); {remedy}") from None
    except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{folder}: the shared data cannot be read ({type(error).__name__}: {error}); {remedy}"
        ) from None
    if not intact:
        raise RunError(f"{folder}: the shared data are not those that were written; {remedy}")
    return task
