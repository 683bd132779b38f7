"""The run folder: what is in it, and that nothing in it is overwritten by accident."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from nas.errors import RunError
from nas.objectives import Prices
from nas.records import (
    Lines,
    TrialRecord,
    plain_prices,
    read_csv,
    read_json,
    read_prices,
    replacing,
    write_csv,
    write_json,
)
from nas.study.config import StudyConfig


class RunFolder:
    """`config.yaml`, `machine.json`, `study.db`, `trials.csv`, `front.csv`, `front.png`, `checkpoints/`, ...

    Args:
        otherwise: asked where a new run goes if, by the time that it is made, there is a folder already; None: nowhere.
    """

    most_paused_bytes = 2 * 1024**3
    """Of all trainings together that were set aside."""

    def __init__(self, path: str | Path, *, otherwise: Callable[[], Path] | None = None) -> None:
        self._otherwise = otherwise
        self._lie_at(Path(path))

    @classmethod
    def numbered(cls, parent: Path, stem: str) -> RunFolder:
        """Return `next_folder`, and the one after it where another search has made that meanwhile."""
        return cls(next_folder(parent, stem), otherwise=partial(next_folder, parent, stem))

    def _lie_at(self, path: Path) -> None:
        self.path = path
        self.config = self.path / "config.yaml"
        self.machine = self.path / "machine.json"
        self.trials = self.path / "trials.csv"
        self.front = self.path / "front.csv"
        self.picture = self.path / "front.png"
        self.checkpoints = self.path / "checkpoints"
        self.paused = self.path / "paused"
        self.shared = self.path / ".data"
        self.exports = self.path / "exports"
        self.exports_table = self.exports / "exports.csv"
        self.retrained = self.path / "retrained"
        self.retrained_table = self.path / "retrained.csv"
        self.warm_start = self.path / "warm_start.json"
        self.prices = self.path / "prices.jsonl"
        self.networks = self.path / "networks.json"
        self.report = self.path / "report.html"
        self._begun = self.path / ".begun.json"
        self._lines: Lines = {}

    def create(self) -> None:
        """Make the folder, which must be new or empty; one that is `numbered` is new.

        Raises:
            RunError: there is something in it, or it cannot be made.
        """
        try:
            self._make()
            occupied = any(self.path.iterdir())
        except OSError as error:
            raise RunError(f"{self.path}: the run folder cannot be made: {error.strerror}") from None
        if occupied:
            how = "--resume goes on with it" if self.config.exists() else "it is no run of ours"
            raise RunError(f"{self.path}: the folder is not empty, and {how}; choose another with --out")
        try:
            self.checkpoints.mkdir()
        except FileExistsError:
            raise RunError(
                f"{self.path}: another search has just begun in this folder; choose another with --out"
            ) from None

    def _make(self) -> None:
        """Make the folder itself; searches that begin together do not share a number."""
        while (otherwise := self._otherwise) is not None:
            try:
                self.path.mkdir(parents=True)
                self._otherwise = None
            except FileExistsError:
                following = otherwise()
                if following == self.path:  # which is not seen to be there
                    raise
                self._lie_at(following)
        self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second search out of this folder.

        Raises:
            RunError: one is at work in it, or the folder cannot be written.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.path}: another search is at work in this folder; wait for it or stop it") from None
        except OSError as error:
            raise RunError(f"{self.path}: the folder cannot be written: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()
            (self.path / ".lock").unlink(missing_ok=True)

    def clear_scratch(self) -> None:
        """Remove what a search was measuring, and its data."""
        for path in (*self.path.glob(".price-*"), self.shared):
            shutil.rmtree(path, ignore_errors=True)

    def write_results(self, records: Sequence[TrialRecord], columns: Sequence[str]) -> None:
        """Write `trials.csv`, and `front.csv`, which holds its front alone; `columns` as in `write_csv`."""
        write_csv(self.trials, records, columns, self._lines)
        write_csv(self.front, [r for r in records if r.on_front], columns, self._lines)

    def read(self) -> tuple[StudyConfig, list[TrialRecord]]:
        """Return the config and the trials of a run.

        Raises:
            RunError: the folder holds none.
        """
        return self.read_config(), read_csv(self.trials)

    def read_config(self) -> StudyConfig:
        """Return the config of a run.

        Raises:
            RunError: the folder holds none.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder; 'nas search --out {self.path}' makes one")
        return StudyConfig.read(self.config)

    def keep_price(self, key: str, prices: Prices) -> None:
        """Append what was measured of a network that is no trial (yet), so that nobody measures it again.

        Raises:
            RunError: it cannot be written.
        """
        line = json.dumps({"network": key, **plain_prices(prices)}) + "\n"
        try:
            with self.prices.open("a+b") as file:
                file.write(("\n" + line if _is_cut(file) else line).encode())
        except OSError as error:
            raise RunError(f"{self.prices}: cannot be written: {error.strerror}") from None

    def kept_prices(self) -> Iterator[tuple[str, Prices]]:
        """Yield what `keep_price` wrote; a line that was cut short by a kill is left out."""
        if not self.prices.exists():
            return
        for line in self.prices.read_text(encoding="utf-8").splitlines():
            try:
                kept = json.loads(line)
                yield str(kept.pop("network")), read_prices(kept)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    def begin(self, number: int, times: int) -> None:
        """Write that this process begins to train a trial, and for which time if it died of it before."""
        write_json(self._begun, {"trial": number, "times": times})

    def ended(self) -> None:
        """Forget that a training was begun: it has ended, and the process with it has not."""
        self._begun.unlink(missing_ok=True)

    def begun(self) -> tuple[int, int] | None:
        """Return the trial in whose training the last process died, and how often; None where it did not."""
        try:
            found = read_json(self._begun)
            return int(found["trial"]), int(found["times"])
        except (RunError, KeyError, TypeError, ValueError):
            return None

    def checkpoint(self, number: int) -> Path:
        """Where the weights of a front member's trial are."""
        return self.checkpoints / f"trial-{number:05d}.pt"

    def exported(self, number: int) -> Path:
        """Where a trial's ONNX file goes, unless told otherwise."""
        return self.exports / f"trial-{number:05d}.onnx"

    def exported_weights(self, number: int) -> set[str]:
        """Return which weights a trial's files in `exports/` have, as their table says: searched, retrained."""
        try:
            lines = self.exports_table.read_text(encoding="utf-8").splitlines()
            rows = [row for row in csv.DictReader(lines) if row.get("trial") == str(number)]
        except (OSError, UnicodeDecodeError, csv.Error):
            return set()
        files = [(self.exports / (row["file"] or ""), row.get("weights") or "") for row in rows]
        return {weights for file, weights in files if file.parent == self.exports and file.is_file()}

    def retrained_trial(self, number: int) -> Path:
        """The folder of a trial's retraining."""
        return self.retrained / f"trial-{number:05d}"

    def save_checkpoint(self, number: int, weights: bytes) -> None:
        """Write the weights of a trial, atomically.

        Raises:
            RunError: they cannot be written.
        """
        write_bytes(self.checkpoint(number), weights)

    def save_state(self, number: int, state: bytes) -> None:
        """Write where a trial's training left off, atomically; what was there before goes.

        Raises:
            RunError: it cannot be written.
        """
        try:
            self.paused.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.paused}: cannot be made: {error.strerror}") from None
        write_bytes(self._state(number), state)

    def state(self, number: int) -> bytes | None:
        """Return what `save_state` wrote last; None where there is nothing."""
        try:
            return self._state(number).read_bytes()
        except FileNotFoundError:
            return None

    def drop_state(self, number: int) -> None:
        """Forget where a trial left off: its training is over."""
        self._state(number).unlink(missing_ok=True)

    def trim_states(self, keep_first: Callable[[], Sequence[int]]) -> None:
        """Forget where some trials left off, so that the others take no more than `most_paused_bytes`.

        A trial that is forgotten and goes on all the same is trained from its start, to the same end.

        Args:
            keep_first: asked only where there is too much; the trials that may go on, those to keep first.
        """
        sizes = {path: path.stat().st_size for path in self.paused.glob("trial-*.pt")}
        if sum(sizes.values()) <= self.most_paused_bytes:
            return
        kept, total = set[Path](), 0
        for path in map(self._state, keep_first()):
            total += sizes.get(path, 0)
            if total > self.most_paused_bytes:
                break
            kept.add(path)
        for path in sizes.keys() - kept:
            path.unlink(missing_ok=True)

    def _state(self, number: int) -> Path:
        return self.paused / f"trial-{number:05d}.pt"

    def prune_checkpoints(self, front: Sequence[int]) -> None:
        """Remove the weights of trials that are no longer on the front."""
        kept = {self.checkpoint(number) for number in front}
        for path in self.checkpoints.glob("trial-*.pt"):
            if path not in kept:
                path.unlink()


def save_weights(path: Path, state: dict[str, Any]) -> None:
    """Write a network's state, atomically.

    Raises:
        RunError: it cannot be written.
    """
    write_bytes(path, packed(state))


def packed(state: Mapping[str, Any]) -> bytes:
    """Return a network's state as the bytes of a file."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: to a neighbour first, then renamed; a power cut leaves the old one or the new one.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _is_cut(file: BinaryIO) -> bool:
    """Return whether the last line of a file has no end: whoever wrote it was killed."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def next_folder(parent: Path, stem: str) -> Path:
    """Return `parent/stem-001`, or the first number after it that is free; what no file name may hold becomes "-"."""
    stem = re.sub(r"[^\w.-]", "-", stem)[:80].lstrip(".")
    taken = {path.name for path in parent.glob(f"{stem}-*")} if parent.is_dir() else set()
    return parent / next(name for i in range(1, 10**6) if (name := f"{stem}-{i:03d}") not in taken)
