"""From what was read to what is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def standardised(x: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
    """Return what the network takes: float32, (x * scale - mean) / std per channel."""
    per_channel = (-1, 1, 1) if x.ndim == 4 else (-1,)
    mean, std = (np.reshape(metadata[key], per_channel) for key in ("mean", "std"))
    return ((x.astype(np.float64) * metadata["scale"] - mean) / std).astype(np.float32)


def outputs(x: np.ndarray, run: Callable[[np.ndarray], np.ndarray], batch: int | None) -> np.ndarray:
    """Return what the network gives, (n, n_outputs); `batch`: how many samples a run takes, None for any."""
    size = batch or 256
    found = []
    for i in range(0, len(x), size):
        part = x[i : i + size]
        missing = size - len(part) if batch else 0
        found.append(run(np.concatenate([part, *[part[-1:]] * missing]))[: len(part)])
    return np.concatenate(found)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, (n, n_classes)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def main(
    file: str,
    open_network: Callable[[Path], tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]],
    read: Callable[..., np.ndarray],
    takes: str,
) -> None:
    """Print class and probability, or what is predicted, of each sample that the command line names.

    Args:
        file: beside this script.
        read: makes (n, *in_shape) of the words of the command line, in the units of `mean` and `std`.
        takes: those words, of which all but the first may be left out.
    """
    given = sys.argv[1:]
    if not 0 < len(given) <= len(takes.split()):
        sys.exit(f"usage: python {Path(sys.argv[0]).name} {takes}")
    metadata, run = open_network(Path(__file__).resolve().parent / file)
    x = standardised(read(given[0], metadata, *given[1:]), metadata)
    found = outputs(x, run, metadata["batch"])
    if metadata.get("targets"):
        for row in found * metadata["y_std"] + metadata["y_mean"]:
            print("\t".join(f"{value:.6g}" for value in row))
        return
    for row in probabilities(found):
        name = metadata["classes"][row.argmax()]
        print(f"{name if name.isprintable() else ascii(name)}\t{row.max():.4f}")
