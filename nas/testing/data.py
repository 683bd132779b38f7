"""What every task keeps, whatever it was made from."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nas.data import DATASETS, Arrays, Task, load_task
from nas.data.reading import Reading
from nas.errors import NasError
from nas.testing.broken import ContractBroken, need

_MOST = 1e6
"""Numbers of a task that is sent to another process and back."""


def check_dataset(name: str, data_root: str | Path = "data") -> None:
    """Check a named data set: what its function returns, that it returns the same again, and the task made of it.

    Args:
        data_root: where its files are, if it has any. Nothing is fetched.
    Raises:
        ContractBroken: what it does not keep.
        DataError: its files are not there.
    """
    first, second = (DATASETS[name](Reading(data_root=Path(data_root))) for _ in range(2))
    need(isinstance(first, Arrays), f"{name}: its function returns {type(first).__name__}; return nas.data.Arrays(...)")
    for part in ("x_train", "y_train", "x_test", "y_test"):
        a, b = getattr(first, part), getattr(second, part)
        need(
            (a is None and b is None) or np.array_equal(a, b),
            f"{name}: {part} is another the second time; draw it from a generator with a seed of its own",
        )
    try:
        task = load_task(name, data_root=data_root)
    except NasError as error:
        raise ContractBroken(str(error)) from error
    check_task(task)


def check_task(task: Task) -> None:
    """Check a task.

    Raises:
        ContractBroken: what it does not keep.
    """
    for test in TASK_CONTRACT:
        test(task)


def tensors_are_what_they_are_said_to_be(task: Task) -> None:
    """Samples are float32, finite, contiguous; labels are indices of classes."""
    pairs = [(task.x_train, task.y_train), (task.x_val, task.y_val), task.full()]
    pairs += [task.test()] if task._test is not None else []
    for x, y in pairs:
        need(x.dtype == torch.float32 and x.is_contiguous(), f"{task.name}: samples are not contiguous float32")
        need(x.shape == (len(y), *task.in_shape), f"{task.name}: {tuple(x.shape)} samples for {len(y)} labels")
        need(x.isfinite().all(), f"{task.name}: samples hold NaN or infinities")
        need(y.dtype == torch.int64, f"{task.name}: labels are {y.dtype}, not int64")
        inside = int(y.min()) >= 0 and int(y.max()) < task.n_outputs == len(task.classes)
        need(inside, f"{task.name}: labels from {int(y.min())} to {int(y.max())} for {len(task.classes)} classes")


def both_splits_hold_every_class(task: Task) -> None:
    """Else nothing is learned of one, or nothing said."""
    for y in (task.y_train, task.y_val):
        need(len(y.unique()) == task.n_outputs, f"{task.name}: a split lacks a class")


def the_training_split_is_standard(task: Task) -> None:
    """Mean 0 and standard deviation 1 in each channel."""
    x = task.x_train.double()
    over = {4: (0, 2, 3), 3: (0, 1), 2: (0,)}[x.ndim]
    mean, std = x.mean(over), x.std(over, correction=0)
    varies = std > 0  # a constant channel stays 0
    need(mean.abs().max() < 1e-4, f"{task.name}: a channel has mean {float(mean.abs().max()):.3g}")
    need(((std - 1).abs() < 1e-3)[varies].all(), f"{task.name}: a channel's standard deviation is not 1")
    need(len(task.mean) == len(task.std) == mean.numel(), f"{task.name}: mean and std are not one for each channel")


def it_travels(task: Task) -> None:
    """To another process, with its test set; large ones are the same code at many times the cost."""
    if task.x_train.numel() > _MOST:
        return
    there = pickle.loads(pickle.dumps(task))
    need(torch.equal(there.x_train, task.x_train), f"{task.name}: is another after pickling")
    if task._test is not None:
        need(torch.equal(there.test()[0], task.test()[0]), f"{task.name}: its test set is another after pickling")


def nothing_shows_the_test_set_by_the_way(task: Task) -> None:
    """The test set has one door."""
    need("tensor" not in repr(task), f"{task.name}: its repr shows samples")
    shown = [name for name in vars(task) if "test" in name and not name.startswith("_")]
    need(not shown, f"{task.name}: shows its test set as {shown}")


TASK_CONTRACT: tuple[Callable[[Task], None], ...] = (
    tensors_are_what_they_are_said_to_be,
    both_splits_hold_every_class,
    the_training_split_is_standard,
    it_travels,
    nothing_shows_the_test_set_by_the_way,
)
