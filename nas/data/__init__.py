"""What is learned from: a data set as resident, standardised tensors with its splits. torch loads on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.data.arrays import Arrays as Arrays
from nas.data.datasets import DATASETS as DATASETS
from nas.data.split import stratified as stratified

if TYPE_CHECKING:
    from nas.data.load import load_task as load_task
    from nas.data.load import make_task as make_task
    from nas.data.task import Task as Task

__all__ = ["DATASETS", "Arrays", "Task", "load_task", "make_task", "stratified"]


def __getattr__(name: str) -> Any:
    if name in ("load_task", "make_task"):
        from nas.data import load

        return getattr(load, name)
    if name == "Task":
        from nas.data.task import Task

        return Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
