"""Sequences in .ts files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from nas.export.standalone.arrays import read_arrays


def read_series(given: str, metadata: dict[str, Any]) -> np.ndarray:
    """Return the cases of a .ts file, or the samples of a .npy or .npz file: (n, *in_shape).

    A case may have a label, which is not looked at, or none.
    """
    path = Path(given)
    if path.suffix.lower() != ".ts":
        return read_arrays(given, metadata)
    steps, channels = metadata.get("data_shape") or metadata["in_shape"]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        sys.exit(f"{path}: cannot be read: {error}")
    start = next((i for i, line in enumerate(lines, 1) if line.strip().lower() == "@data"), None)
    if start is None:
        sys.exit(f"{path}: has no line @data, so there are no cases in it")
    cases = []
    for number, line in enumerate(lines[start:], start + 1):
        if line.strip() and not line.strip().startswith(("#", "%")):
            case = series_of(line, channels, f"{path}: line {number}")[:, : metadata.get("length")]
            missing = steps - case.shape[1]
            if missing and not (missing > 0 and metadata.get("length")):
                sys.exit(f"{path}: line {number}: {case.shape[1]} steps, and the network takes {steps}")
            cases.append(np.pad(case, ((0, 0), (0, missing))))
    if not cases:
        sys.exit(f"{path}: there are no cases after @data")
    return np.stack(cases).transpose(0, 2, 1).reshape(len(cases), *metadata["in_shape"])


def series_of(line: str, channels: int, at: str) -> np.ndarray:
    """Return a line of a .ts file as (C, T)."""
    parts = line.split(":")
    if len(parts) not in (channels, channels + 1):
        sys.exit(
            f"{at}: {len(parts)} parts divided by colons, and the network takes {channels}, with a label or without"
        )
    try:
        case = np.array([[float(word) for word in part.split(",")] for part in parts[:channels]])
    except ValueError as error:  # a word, a missing value, channels of unequal length
        sys.exit(f"{at}: {error}; the values of a channel are numbers divided by commas, as many in each")
    if not np.isfinite(case).all():
        sys.exit(f"{at}: a value is missing or infinite; fill it in as it was for the training")
    return case
