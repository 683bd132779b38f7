"""The data sets that have a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nas.data.arrays import Arrays
from nas.data.split import stratified
from nas.errors import DataError
from nas.registry import Registry
from nas.rng import generator


def _check_reader(name: str, part: Callable[[Path, bool], Arrays]) -> None:
    if not callable(part):
        raise ValueError(f"must be a function that reads it, got {part!r}")
    found = list(inspect.signature(part).parameters)
    if len(found) != 2:
        raise ValueError(f"its function takes ({', '.join(found)}); write def {name}(data_root, download)")


DATASETS = Registry[Callable[[Path, bool], Arrays]]("data set", _check_reader)
"""Name to `read(data_root, download)`."""


@DATASETS.add("digits")
def digits(data_root: Path, download: bool) -> Arrays:
    """1,797 handwritten digits, 8 x 8 in 17 greys, that come with scikit-learn; needs no folder.

    They have no test set of their own: a stratified fifth, the same in every run, is set aside.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = found.images.astype(np.float32), found.target.astype(np.int64)
    held = stratified(y, 0.2, generator(0, "digits", "test"))  # a constant seed: one test set, whatever the run's seed
    kept = np.setdiff1d(np.arange(len(y)), held)
    return Arrays(
        name="digits",
        where="digits",
        layout="NHW",
        x_train=x[kept],
        y_train=y[kept],
        x_test=x[held],
        y_test=y[held],
    )


@DATASETS.add("fashion_mnist")
def fashion_mnist(data_root: Path, download: bool) -> Arrays:
    """70,000 pieces of clothing, 28 x 28 in grey, 60,000 + 10,000, in torchvision's folder layout.

    Reference: Xiao et al., Fashion-MNIST, 2017. https://arxiv.org/abs/1708.07747
    """
    folder = data_root / "FashionMNIST" / "raw"
    files = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    if not download and not all((folder / name).is_file() for name in files):
        # Looked up before torchvision is, whose import takes seconds.
        raise DataError(
            f"fashion_mnist: not found in {folder.absolute()}; say where it is with --data-root DIR "
            "(the folder that holds FashionMNIST/), or fetch it with --download"
        )
    from torchvision.datasets import FashionMNIST

    try:
        train, test = (FashionMNIST(str(data_root), train=part, download=download) for part in (True, False))
    except Exception as e:  # torchvision, urllib and the file system each have their own
        remedy = "check the connection" if download else "delete the folder and fetch it again with --download"
        raise DataError(f"fashion_mnist: cannot be read from {folder.absolute()} ({e}); {remedy}") from e
    return Arrays(
        name="fashion_mnist",
        where="fashion_mnist",
        layout="NHW",
        x_train=train.data.numpy(),
        y_train=train.targets.numpy(),
        x_test=test.data.numpy(),
        y_test=test.targets.numpy(),
        classes=np.array(train.classes),
    )
