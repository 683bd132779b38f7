"""What a run folder keeps beside its trials, as far as a page tells of it; what is not there is empty."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import RunError
from nas.records import read_json


def read_kept(folder: Path) -> dict[str, Any]:
    """Return the fields of a `Story` that are read from files of a run folder.

    Nothing of it is believed to be more than text and numbers: whoever wrote a run folder does not decide what runs.

    Raises:
        RunError: a file is there and cannot be read.
    """
    return {
        "machine": _machine(_json(folder / "machine.json")),
        "networks": _networks(_json(folder / "networks.json")),
        "exports": _rows(folder / "exports" / "exports.csv"),
        "retrained": [read_json(path) for path in sorted(folder.glob("retrained/*/retrained.json"))],
        "version": _version(folder / "config.yaml"),
    }


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _machine(found: dict[str, Any]) -> dict[str, Any]:
    """Return what is in `machine.json`; lists hold objects alone."""
    for name in ("searches", "measured"):
        if name in found:
            found[name] = [one for one in _list(found[name]) if isinstance(one, Mapping)]
    return found


def _networks(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("data", "networks") if isinstance(found.get(name), Mapping)}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{str(k): str(v) for k, v in row.items() if k and v is not None} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def _version(config: Path) -> str:
    """Return the version that wrote a config, which is its first line."""
    with config.open(encoding="utf-8") as file:
        match = re.fullmatch(r"nas: '?([\w.+-]{1,40})'?\s*", file.readline(200))
    return match[1] if match else ""
