"""Rows of a table as they come, made into what the network takes by what was learned of each column."""

from __future__ import annotations

import csv
import difflib
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np


def read_rows(given: str, metadata: dict[str, Any], encoding: str = "") -> np.ndarray:
    """Return the rows of a .csv or .tsv file, in its order: (n, *in_shape).

    The file has a header. Columns may come in any order, others than those that were learned from are not looked at.

    Args:
        encoding: of the file; empty: that of the training data.
    """
    path, learned = Path(given), metadata["recipe"]["columns"]
    encoding = encoding or metadata["recipe"]["encoding"]
    words, lines, delimiter = read_columns(path, [column["name"] for column in learned], encoding)
    parts: list[np.ndarray] = []
    for column in learned:
        values = words[column["name"]]
        if column["kind"] == "number":
            found = numbers(path, column["name"], values, lines, delimiter == ";")
            absent = np.isnan(found)
            parts.append(np.where(absent, column["median"], found)[:, None])
            if column["missing"]:
                parts.append(absent[:, None].astype(np.float64))
        else:
            places = categories(path, column["name"], values, column["values"])
            parts.append(np.eye(len(column["values"]) + 1)[places])
    x = np.concatenate(parts, axis=1)
    return x.reshape(len(x), *metadata["in_shape"])


def read_columns(path: Path, wanted: list[str], encoding: str) -> tuple[dict[str, list[str]], list[int], str]:
    """Return the wanted columns of a table as they are written, the line of each row, and the delimiter.

    That is the one of comma, semicolon, tab and bar by which most of the wanted columns are found.
    """
    text = read_text(path, encoding)
    csv.field_size_limit(max(len(text), 131072))
    loose = any(
        not re.fullmatch(r'\t?"(?:[^"]|"")*"\r?', field)
        for field in re.findall(r'(?:^|\t)"[^\t\n]*', text, re.MULTILINE)
    )

    def lines_by(delimiter: str) -> Any:
        how: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if delimiter == "\t" and loose else {}
        return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **how)

    def header_by(delimiter: str) -> list[str]:
        try:
            return [name.strip() or f"column_{i + 1}" for i, name in enumerate(next(lines_by(delimiter), []))]
        except csv.Error:
            return []

    delimiter = max(",;\t|", key=lambda d: len(set(wanted) & set(header_by(d))))
    header, called = header_by(delimiter), {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[delimiter]
    for name in wanted:
        if header.count(name) > 1:
            sys.exit(f"{path}: two columns are called {name!r}; the network reads one")
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            others = f"the network reads {', '.join(wanted[:20])}{', ...' if len(wanted) > 20 else ''}"
            sys.exit(
                f"{path}: there is no column {name!r}; {f'is it {near[0]!r}? Rename it' if near else others}\n"
                f"  read as {encoding} and divided by {called}, the columns of the file are {header[:20]}\n"
                "  comma, semicolon, tab and bar may divide them; another encoding is named behind the file"
            )
    rows, lines, reader = [], [], lines_by(delimiter)
    try:
        next(reader)
        for fields in reader:
            if not "".join(fields).strip() and len(fields) < 2 and fields != [""]:
                continue  # an empty line
            if len(fields) != len(header):
                sys.exit(
                    f"{path}: line {reader.line_num} has {len(fields)} fields, the header {len(header)} (separated by "
                    f"{called}); mend the line, or put quotes around a field that holds a {called}"
                )
            rows.append(fields)
            lines.append(reader.line_num)
    except csv.Error as error:
        sys.exit(f"{path}: line {reader.line_num}: {error}")
    if not rows:
        sys.exit(f"{path}: there is a header and no line below it")
    places = {name: header.index(name) for name in wanted}
    return {name: [row[i] for row in rows] for name, i in places.items()}, lines, delimiter


def read_text(path: Path, encoding: str) -> str:
    """Return what is in a text file."""
    try:
        # A mark that some programs put in front is no part of the first column's name.
        content = path.read_bytes()
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8", "utf_8") else encoding)
    except OSError as error:
        sys.exit(f"{path}: cannot be read: {error.strerror or error}")
    except LookupError:
        sys.exit(f"{path}: there is no encoding called {encoding!r}; write e.g. latin-1")
    except UnicodeError as error:
        likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        sys.exit(f"{path}: is not {encoding}: {error}; name its encoding behind the file, e.g. {path} {likely}")
    if not text.strip():
        sys.exit(f"{path}: the file is empty")
    return text


def missing_words() -> set[str]:
    """Return what a field of a table holds where there is no value: the words that pandas takes for that."""
    words = "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null"
    return set(words.split("|"))


def numbers(path: Path, name: str, words: list[str], lines: list[int], semicolons: bool) -> np.ndarray:
    """Return a column of numbers (n,), NaN where one is missing.

    Where semicolons separate, they may be written like 123,4; all in one way.
    """
    missing = missing_words()
    there = [word for word in words if word not in missing]
    comma = re.compile(r"\s*[+-]?(\d+(,\d+)?|,\d+)([eE][+-]?\d+)?\s*", re.ASCII)
    point = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
    commas = semicolons and sum(map(bool, map(comma.fullmatch, there))) >= sum(map(bool, map(point.fullmatch, there)))
    found = np.full(len(words), np.nan)
    for i, word in enumerate(words):
        if word in missing:
            continue
        plain = word.replace(",", ".") if commas else word
        if not (comma if commas else point).fullmatch(word) or not np.isfinite(float(plain)):
            sys.exit(
                f"{path}: line {lines[i]}: column {name!r} holds numbers, and here {word!r}; write it as "
                f"{'123,4' if commas else '123.4'}, or leave the field empty"
            )
        found[i] = float(plain)
    return found


def categories(path: Path, name: str, words: list[str], known: list[str]) -> list[int]:
    """Return the place of each value among those that are known, and the place behind them for all others."""
    if set(known) <= {"True", "False"}:
        words = [{"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}.get(w, w) for w in words]
    missing, places = missing_words(), {value: i for i, value in enumerate(known)}
    others = sorted({*words} - {*places} - missing)
    if others:
        shown = ", ".join(map(repr, others[:3])) + (", ..." if len(others) > 3 else "")
        print(f"{path}: column {name!r}: rare or not there in training, taken as other: {shown}", file=sys.stderr)
    return [places.get(word, len(known)) for word in words]
