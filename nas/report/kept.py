"""What a run folder keeps beside its trials, as far as a page tells of it; what is not there is empty."""

from __future__ import annotations

import csv
import math
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
    """Return what is in `machine.json`; lists hold objects alone, and seconds are numbers."""
    for name in ("searches", "measured"):
        if name in found:
            found[name] = [dict(one) for one in _list(found[name]) if isinstance(one, Mapping)]
    for search in found.get("searches", []):
        search["seconds"] = _numbers(search.get("seconds"))
        search["limits"] = _numbers(search.get("limits"))
        search["workers"] = max(1, int(_number(search.get("workers")) or 1))
    for measured in found.get("measured", []):
        measured.update({target: _numbers(conditions) for target, conditions in measured.items()})
    return found


def _networks(found: dict[str, Any]) -> dict[str, Any]:
    """Return what is in `networks.json`, in the form in which the page takes it."""
    data, networks = found.get("data"), found.get("networks")
    kept: dict[str, Any] = {"data": {}, "networks": {}}
    if isinstance(data, Mapping):
        lists = {name: [str(one) for one in _list(data.get(name))] for name in ("in_shape", "classes", "targets")}
        counts = {name: int(_number(data.get(name)) or 0) for name in ("n_train", "n_val")}
        kept["data"] = {**lists, **counts}
    if isinstance(networks, Mapping):
        kept["networks"] = {
            str(number): [_block(one) for one in blocks if isinstance(one, Mapping)]
            for number, blocks in networks.items()
            if isinstance(blocks, list)
        }
    return kept


def _block(one: Mapping[str, Any]) -> dict[str, Any]:
    fields = one.get("fields")
    return {
        **{name: str(one.get(name, "")) for name in ("path", "name")},
        "fields": dict(fields) if isinstance(fields, Mapping) else {},
        **{name: [str(size) for size in _list(one.get(name))] for name in ("in", "out")},
        **{name: _number(one.get(name)) for name in ("macs", "params")},
    }


def _numbers(value: object) -> dict[str, float]:
    items = value.items() if isinstance(value, Mapping) else ()
    return {str(name): number for name, one in items if (number := _number(one)) is not None}


def _number(value: object) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if plain else None  # type: ignore[return-value]


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
