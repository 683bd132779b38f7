"""What is learned from: a data set as resident, standardised tensors with its splits. torch loads on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.data.arrays import Arrays as Arrays
from nas.data.code import is_code as is_code
from nas.data.datasets import DATASETS as DATASETS
from nas.data.reading import Reading as Reading
from nas.data.representative import SUBSETS as SUBSETS
from nas.data.representative import select as select
from nas.data.split import stratified as stratified

if TYPE_CHECKING:
    from nas.data.load import load_task as load_task
    from nas.data.load import make_task as make_task
    from nas.data.shared import open_shared as open_shared
    from nas.data.shared import write_shared as write_shared
    from nas.data.task import Task as Task

_HOMES = {
    "Task": "nas.data.task",
    "load_task": "nas.data.load",
    "make_task": "nas.data.load",
    "open_shared": "nas.data.shared",
    "write_shared": "nas.data.shared",
}
"""What needs torch, and where it is."""

__all__ = [
    "DATASETS",
    "SUBSETS",
    "Arrays",
    "Reading",
    "Task",
    "is_code",
    "load_task",
    "make_task",
    "open_shared",
    "select",
    "stratified",
    "write_shared",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
