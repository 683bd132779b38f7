"""A small .npz data set that a test can spoil in one place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def good(**changes: Any) -> dict[str, Any]:
    """Return the arrays of a sound data set, 40 + 10 samples, 2 classes, (3, 6); None leaves an array away."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.normal(size=(40, 3, 6)).astype(np.float32),
        "y_train": np.arange(40) % 2,
        "x_test": rng.normal(size=(10, 3, 6)).astype(np.float32),
        "y_test": np.arange(10) % 2,
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(**changes: Any) -> str:
        np.savez(tmp_path / "mine.npz", **good(**changes))
        return str(tmp_path / "mine.npz")

    return write
