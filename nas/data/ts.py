"""Labelled sequences in the .ts files of the UCR and UEA archives: NAME_TRAIN.ts, with NAME_TEST.ts beside it.

A head of `@tags`, then `@data` and a line for each case: its channels divided by colons, the values of each by commas,
the label last. Format: https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.arrays import Arrays
from nas.data.reading import Reading
from nas.errors import DataError

_PART = re.compile(r"(?P<name>.*)_(?P<part>train|test)", re.IGNORECASE)
_AS_ARRAYS = "fill them in first, and give the data as .npz or by a function: --data file.py:function"


@dataclass(frozen=True)
class _Cases:
    """What one file holds."""

    path: Path
    series: list[np.ndarray]
    """Of each case (C, T), float64; T may differ."""

    labels: list[str]
    lines: list[int]
    """Where each case stands in the file."""

    name: str
    classes: list[str]
    """In the order of the head; empty where it names none."""


def holds_ts(path: Path) -> bool:
    """Return whether `path` is a .ts file by its name, or a folder with some in it."""
    return path.suffix.lower() == ".ts" or (os.path.isdir(path) and next(_in_folder(path), None) is not None)


def read_ts(path: Path, how: Reading) -> Arrays:
    """Read a .ts file, its other half beside it if it is one of a pair, or the pair in a folder.

    Raises:
        DataError: no such file, or not of the format; missing values; labels that are no classes; sequences of unequal
            length without a word on what to do. Names file and line.
    """
    if how.resolution is not None or how.channels is not None:
        option = "resolution" if how.resolution is not None else "channels"
        raise DataError(f"{path}: --{option} is for images, and these are sequences; leave it out")
    files = _pair(path)
    parts = {part: _read(file) for part, file in files.items()}
    train, test = parts["train"], parts.get("test")
    length = _one_length(list(parts.values()), how.length)
    n_channels = train.series[0].shape[0]
    if test is not None and test.series[0].shape[0] != n_channels:
        raise DataError(
            f"{test.path}: {test.series[0].shape[0]} channels, and {train.path.name} has {n_channels}; "
            "both need the same"
        )
    used = {label for cases in parts.values() for label in cases.labels}
    return Arrays(
        name=train.name,
        where=str(path),
        layout="NCT",
        x_train=_stacked(train, length),
        y_train=np.array(train.labels),
        x_test=None if test is None else _stacked(test, length),
        y_test=None if test is None else np.array(test.labels),
        classes=np.array([name for name in train.classes if name in used]) if train.classes else None,
    )


def _in_folder(folder: Path) -> Iterator[Path]:
    """Yield the .ts files of a folder that are no test halves."""
    for file in sorted(folder.iterdir()):
        part = _PART.fullmatch(file.stem)
        if file.suffix.lower() == ".ts" and file.is_file() and not (part and part["part"].lower() == "test"):
            yield file


def _pair(path: Path) -> dict[str, Path]:
    if path.is_dir():
        found = list(_in_folder(path))
        if len(found) > 1:
            names = ", ".join(file.name for file in found[:4]) + (", ..." if len(found) > 4 else "")
            raise DataError(f"{path}: holds several data sets ({names}); name the file of one of them")
        path = found[0]
    elif not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    match = _PART.fullmatch(path.stem)
    if match is None:
        return {"train": path}
    halves = {}
    for file in sorted(path.parent.iterdir()):
        other = _PART.fullmatch(file.stem)
        if file.suffix.lower() == ".ts" and other and other["name"] == match["name"]:
            halves[other["part"].lower()] = file
    if "train" not in halves:
        raise DataError(f"{path}: a test set without {match['name']}_TRAIN.ts beside it; networks learn from that one")
    return halves


def _read(path: Path) -> _Cases:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a .ts file: {error}; it is text in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    head, start = _head(path, lines)
    names = _class_names(path, head)
    found = _Cases(path, [], [], [], head.get("problemname") or _name(path), names)
    wanted = _number(path, head, "dimensions") or _number(path, head, "dimension")
    if wanted is None and head.get("univariate", "").lower() == "true":
        wanted = 1
    for number, line in enumerate(lines[start:], start + 1):
        if not (text := line.strip()) or text.startswith(("#", "%")):
            continue
        *channels, label = (part.strip() for part in text.split(":"))
        at = f"{path}: line {number}"
        if not channels:
            raise DataError(f"{at}: no label; a case is its channels, then the class, divided by colons")
        wanted = wanted or len(channels)
        if len(channels) != wanted:
            raise DataError(f"{at}: {len(channels)} channels before the label, not {wanted}")
        if names and label not in names:
            raise DataError(f"{at}: label {label!r} is not among those of @classLabel: {', '.join(names)}")
        found.series.append(_case(at, channels))
        found.labels.append(label)
        found.lines.append(number)
    if not found.series:
        raise DataError(f"{path}: no cases after @data; the file is empty, or was cut")
    return found


def _name(path: Path) -> str:
    match = _PART.fullmatch(path.stem)
    return match["name"] if match else path.stem


def _head(path: Path, lines: list[str]) -> tuple[dict[str, str], int]:
    """Return the tags, in small letters, and how many lines they take."""
    tags: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(("#", "%")):
            continue
        if not text.startswith("@"):
            raise DataError(f"{path}: line {number}: {text[:40]!r} before @data; a .ts file begins with its @tags")
        tag, _, value = text[1:].partition(" ")
        if tag.lower() == "data":
            return tags, number
        tags[tag.lower()] = value.strip()
    raise DataError(f"{path}: no line @data, so there are no cases; it is no .ts file, or was cut")


def _class_names(path: Path, head: dict[str, str]) -> list[str]:
    """Return the names of the classes, and refuse what is no classification of evenly spaced values."""
    if head.get("timestamps", "false").lower() == "true":
        raise DataError(
            f"{path}: @timeStamps true: values with times are not read; resample them to even steps, and write the "
            "values alone"
        )
    if head.get("targetlabel", "false").lower() == "true":
        raise DataError(f"{path}: @targetLabel true: the labels are numbers to predict; a .ts file needs classes here")
    given, *names = head.get("classlabel", "true").split() or ["true"]
    if given.lower() != "true":
        raise DataError(f"{path}: @classLabel {given}: the cases have no labels to learn; add them")
    return names


def _number(path: Path, head: dict[str, str], tag: str) -> int | None:
    if not head.get(tag):
        return None
    try:
        return int(head[tag])
    except ValueError:
        raise DataError(f"{path}: @{tag} {head[tag]!r} is no whole number") from None


def _case(at: str, channels: list[str]) -> np.ndarray:
    """Return one case as (C, T), channels of unequal length padded by none."""
    rows = []
    for number, channel in enumerate(channels, 1):
        words = [word.strip() for word in channel.split(",")]
        of = f"{at}, channel {number}" if len(channels) > 1 else at
        try:
            row = np.array(words, np.float64)
        except ValueError:
            place, word = next((i, w) for i, w in enumerate(words, 1) if not _is_number(w))
            if word in ("?", ""):
                raise DataError(f"{of}: value {place} is missing ({word!r}); {_AS_ARRAYS}") from None
            raise DataError(f"{of}: value {place} is {word[:20]!r}, no number") from None
        if np.isnan(row).any():
            raise DataError(f"{of}: value {int(np.isnan(row).argmax()) + 1} is missing (NaN); {_AS_ARRAYS}")
        rows.append(row)
    if len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows)
        raise DataError(f"{at}: channels of unequal length: {lengths}; give each case as many values in every channel")
    return np.stack(rows)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _one_length(parts: list[_Cases], length: int | None) -> int:
    """Return how many steps every case gets.

    Padding is never a default: a network cannot tell it from values, so that the user decides.
    """
    if length is not None:
        return length
    found = [
        (case.shape[1], cases.path, line)
        for cases in parts
        for case, line in zip(cases.series, cases.lines, strict=True)
    ]
    shortest, longest = min(found, key=lambda f: f[0]), max(found, key=lambda f: f[0])
    if shortest[0] == longest[0]:
        return shortest[0]
    raise DataError(
        f"sequences of unequal length: {shortest[0]} steps in {shortest[1]}, line {shortest[2]}, and {longest[0]} in "
        f"{longest[1]}, line {longest[2]}; --length {longest[0]} pads the shorter ones with zeros at the end, "
        f"--length {shortest[0]} cuts the longer ones there"
    )


def _stacked(cases: _Cases, length: int) -> np.ndarray:
    """Return (n, C, length), cut at the end or padded there with zeros."""
    out = np.zeros((len(cases.series), cases.series[0].shape[0], length))
    for row, case in zip(out, cases.series, strict=True):
        row[:, : case.shape[1]] = case[:, :length]
    return out
