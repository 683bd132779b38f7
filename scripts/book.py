"""What the benchmarks share: a book of what was read, that goes on where it stopped, and the command line.

Nothing here knows what is measured.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.measure import Calibration, describe, open_meter
from nas.records import read_json, write_json, write_text

TARGET = "onnxruntime"
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

Row = dict[str, Any]
Command = Callable[[argparse.Namespace, Path], None]
"""Answers a question: gets the options, and a folder for what is thrown away."""


class Book:
    """What was read for one question, NAME.csv, and what was made of it, NAME.json.

    Args:
        settings: what was read with others is not mixed with this.
        fresh: forget what was read before.
    """

    def __init__(self, folder: Path, name: str, settings: Row, fresh: bool) -> None:
        self.csv, self.json = folder / f"{name}.csv", folder / f"{name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        self.kept: Row = {"settings": settings, "machines": []}
        if fresh:
            self.csv.unlink(missing_ok=True)
        if self.json.exists() and self.csv.exists():
            self.kept, self.rows = read_json(self.json), read_rows(self.csv)
            if (was := self.kept["settings"]) != json.loads(json.dumps(settings)):
                raise SystemExit(f"{self.json}: was read with {was}, not {settings}\n  begin anew with --fresh")
        self._machine: Row | None = describe()

    def calibration(self) -> Calibration:
        """Return the one calibration of all that is read here."""
        if "calibration" not in self.kept:
            with open_meter(TARGET) as meter:
                self.kept["calibration"] = meter.calibration.to_dict()
            write_json(self.json, self.kept)
        return Calibration.from_dict(self.kept["calibration"])

    def has(self, **key: Any) -> bool:
        """Whether there is a row with these values."""
        return any(all(row[name] == value for name, value in key.items()) for row in self.rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Keep what was read, and on what machine."""
        self.rows += rows
        if self._machine:
            self.kept["machines"].append(self._machine)
            self._machine = None
            write_json(self.json, self.kept)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in self.rows)
        write_text(self.csv, text.getvalue())

    def close(self, made: Row) -> None:
        """Write the figures."""
        self.kept |= {"figures": rounded(made), "load_average_after": describe()["load_average"]}
        write_json(self.json, self.kept)
        print(f"written: {self.json}, {self.csv}")


def read_rows(path: Path) -> list[Row]:
    """Read a CSV; numbers are numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def rounded(value: Any) -> Any:
    """Return JSON with four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float | np.floating) else value


def steps(jobs: Sequence[Any], minutes: float) -> Iterator[Any]:
    """Yield jobs until the time is over, and say so."""
    begun = time.monotonic()
    for i, job in enumerate(jobs):
        spent = time.monotonic() - begun
        if spent > 60 * minutes:
            print(f"{minutes:g} minutes are over, {len(jobs) - i} steps are left: the same command goes on")
            return
        print(f"[{i + 1}/{len(jobs)}] {spent:3.0f} s: {job}", flush=True)
        yield job


def run_commands(
    doc: str | None, out: Path, commands: Mapping[Command, Mapping[str, Any]], argv: Sequence[str] | None
) -> None:
    """Read the command line and answer the question that it names.

    Each command is called as its function, is told of by the first line of its docstring, and has its options, by
    name with a default (a list: one value or several), beside --out. Where it has any, --minutes and --fresh too.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(required=True)
    for call, options in commands.items():
        line = (call.__doc__ or "").splitlines()[0]
        made = subparsers.add_parser(call.__name__, help=line, description=line)
        made.set_defaults(call=call)
        for name, default in options.items():
            first = default[0] if isinstance(default, list) else default
            several = "+" if isinstance(default, list) else None
            made.add_argument(f"--{name}", type=type(first), default=default, nargs=several, help=f"default: {default}")
        made.add_argument("--out", type=Path, default=out, help=f"folder; default: {out}")
        if options:
            made.add_argument("--minutes", type=float, default=9.5, help="begin no further step after this time")
            made.add_argument("--fresh", action="store_true", help="forget what was read before")
    args = parser.parse_args(argv)
    os.environ.update(ONE_THREAD)  # children load their libraries with it
    with tempfile.TemporaryDirectory() as name:
        try:
            args.call(args, Path(name))
        except KeyboardInterrupt:
            raise SystemExit(
                "interrupted; what was finished is kept, and the same command goes on from there"
            ) from None
