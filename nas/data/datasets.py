"""The data sets that have a name: digits, and those of torchvision in its folder layout."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nas.data.arrays import Arrays
from nas.data.code import as_arrays, call
from nas.data.published import PUBLISHED, read_published
from nas.data.reading import Reading
from nas.data.split import hold_out
from nas.errors import DataError
from nas.registry import Registry

if TYPE_CHECKING:
    from nas.data.task import Task


def _check_reader(name: str, part: Callable[[Reading], Arrays]) -> None:
    if not callable(part):
        raise ValueError(f"must be a function that reads it, got {part!r}")
    found = list(inspect.signature(part).parameters)
    if len(found) != 1:
        raise ValueError(f"its function takes ({', '.join(found)}); write def {name}(how), see nas.data.reading")


DATASETS = Registry[Callable[[Reading], Arrays]]("data set", _check_reader)
"""Name to `read(how)`."""


@DATASETS.add("digits")
def digits(how: Reading) -> Arrays:
    """1,797 handwritten digits, 8 x 8 in 17 greys, that come with scikit-learn; needs no folder.

    They have no test set of their own: a stratified fifth, the same in every run, is set aside.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = found.images.astype(np.float32), found.target.astype(np.int64)
    kept, held = hold_out(y, "digits")
    return Arrays(
        name="digits",
        where="digits",
        layout="NHW",
        x_train=x[kept],
        y_train=y[kept],
        x_test=x[held],
        y_test=y[held],
    )


def _file(name: str) -> None:
    @DATASETS.add(name)
    def read(how: Reading) -> Arrays:
        return read_published(name, how)


for _name in PUBLISHED:
    _file(_name)


def known_name(spec: str) -> str | None:
    """Return our name of a data set that is named as we do or as torchvision does; None: it is none.

    >>> known_name("cifar10"), known_name("CIFAR10"), known_name("cifar")
    ('cifar10', 'cifar10', None)

    Raises:
        DataError: torchvision's name stands for several data sets.
    """
    if spec in DATASETS:
        return spec
    ours = [name for name, published in PUBLISHED.items() if published.class_name == spec]
    if len(ours) > 1:
        raise DataError(f"{spec}: there are several; write one of {', '.join(ours)}")
    return ours[0] if ours else None


def read_named(spec: str, how: Reading) -> Arrays | Task:
    """Return the arrays of a data set that `known_name` knows; one of the user's own is read as a function is.

    Raises:
        DataError: as of the data set itself; one of the user's own raises, or returns something else.
    """
    name = known_name(spec) or spec
    if not DATASETS.own(name):
        return DATASETS[name](how)
    return as_arrays(spec, name, call(spec, partial(DATASETS[name], how), {}), how)
