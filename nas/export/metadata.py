"""What a file says about itself: how its input is made of the data, what its outputs mean, where it comes from.

An ONNX file carries it within; beside each other file NAME lies a NAME.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from nas.errors import NasError

Metadata: TypeAlias = Mapping[str, Any]
"""Values as JSON has them. `in_shape`, `classes`, `scale`, `mean`, `std` and `batch` are always there."""

_TEXTS = (
    "made_by",
    "format",
    "data",
    "layout",
    "preprocess",
    "postprocess",
    "task",
    "weights",
    "precision",
    "architecture",
)
"""Stand in an ONNX file, which holds texts alone, as they are; all others as JSON."""


def as_texts(metadata: Metadata) -> dict[str, str]:
    """Return metadata as an ONNX file holds them."""
    return {key: value if key in _TEXTS else json.dumps(value) for key, value in metadata.items()}


def beside(path: Path) -> Path:
    """Return where the metadata of a file are that cannot hold them.

    >>> beside(Path("exports/trial-00017.pt2")).name
    'trial-00017.pt2.json'
    """
    return path.with_name(f"{path.name}.json")


def write_beside(path: Path, metadata: Metadata) -> None:
    """Write the metadata of the file at `path` beside it."""
    beside(path).write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return what an exported file of any format says about itself; nothing of it is run.

    Raises:
        NasError: there is no such file, or it says nothing that can be read.
    """
    path = Path(path)
    if not path.is_file():
        raise NasError(f"{path}: there is no such file")
    if path.suffix == ".onnx":
        return _of_onnx(path)
    try:
        found = json.loads(beside(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NasError(f"{path}: its metadata are in {beside(path).name}, which is not beside it") from None
    except (OSError, ValueError) as error:
        raise NasError(f"{beside(path)}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise NasError(f"{beside(path)}: holds no metadata of a network")
    return found


def _of_onnx(path: Path) -> dict[str, Any]:
    import onnx

    try:
        said = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
        return {key: value if key in _TEXTS else json.loads(value) for key, value in said.items()}
    except Exception as error:  # protobuf has its own; json's is of a file that somebody else wrote
        raise NasError(f"{path}: its metadata cannot be read: {str(error).splitlines()[0]}") from None
