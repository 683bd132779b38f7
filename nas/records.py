"""TrialRecord <-> plain dict (kept in the study's storage) <-> CSV row. No torch, no Optuna."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nas.errors import RunError, SpaceError
from nas.objectives import LATENCY, OBJECTIVES, PRICES, Measurement, Prices, is_latency
from nas.space import Architecture

State: TypeAlias = Literal["complete", "over_budget", "stopped_early", "duplicate", "failed"]

COLUMNS = (
    *("trial", "state", "on_front", "accuracy", "latency_ms", "latency_ms_low", "latency_ms_high", "macs"),
    *("n_params", "size_bytes", "epochs", "train_seconds", "fingerprint", "architecture"),
    *("loss", "duplicate_of", "reason", "peak_bytes", "rung", "share", "epoch_seconds", "epoch_seconds_predicted"),
    *("ended_s", "curve"),
    *("balanced_accuracy", "macro_f1", "rmse", "mae", "r2"),
)
"""First columns of trials.csv and front.csv. Those of a study follow: one for each metric of the user's own, three for
each further target, one for each parameter path, empty where it is inactive."""


def latency_columns(name: str) -> tuple[str, str, str]:
    """Return the columns of a latency: the value and the ends of its interval.

    >>> latency_columns("latency_ms@openvino")
    ('latency_ms@openvino', 'latency_ms@openvino_low', 'latency_ms@openvino_high')
    """
    return name, f"{name}_low", f"{name}_high"


def plain_prices(prices: Prices) -> dict[str, list[float]]:
    """Return prices as JSON-able values: of each the value and the ends of its interval."""
    return {name: [m.value, m.low, m.high] for name, m in prices.items()}


def read_prices(plain: Mapping[str, Sequence[float]]) -> Prices:
    """Undo `plain_prices`."""
    return {name: Measurement(*values) for name, values in plain.items()}


@dataclass(frozen=True)
class TrialRecord:
    """What became of one trial.

    Attributes:
        number: the trial's number within its study, from 0.
        arch: the choices used.
        state: complete, over_budget (priced, never trained), stopped_early (before the end of its training), duplicate
            (equal to an earlier trial, not trained again) or failed.
        prices: figures known before training, by name; empty where the network could not be built.
        scores: figures known after training (accuracy, loss, ...), on validation data.
        epochs: trained, in passes over the training set, such as 0.3; 0 where there was no training.
        train_seconds: wall time of building, training and validating, in seconds.
        key: names the network built and its training, so that equal trials are known.
        duplicate_of: the trial that this one equals.
        reason: why it failed, which budget it is over, or where and why its training was stopped.
        curve: (epochs, figure on the validation data) as they were judged.
        curve_of: name of that figure; not in a CSV.
        rung: how many rungs of its training it has finished.
        rung_scores: scores at the end of each of these; not in a CSV.
        share: of its full training that it has had; 1 where it is complete.
        paused: stopped early, and may yet go on.
        epoch_seconds: of training alone, a pass over the training set.
        epoch_seconds_predicted: the same, as predicted before the training.
        ended_s: seconds of searching until it ended, all searches of the run together; 0 where nobody looked.
    """

    number: int
    arch: Architecture
    state: State
    prices: Mapping[str, Measurement] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    epochs: float = 0
    train_seconds: float = 0.0
    key: str = ""
    duplicate_of: int | None = None
    reason: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    on_front: bool = False
    rung: int = 0
    rung_scores: tuple[Mapping[str, float], ...] = ()
    share: float = 0.0
    paused: bool = False
    epoch_seconds: float = 0.0
    epoch_seconds_predicted: float = 0.0
    ended_s: float = 0.0
    curve_of: str = "accuracy"

    @property
    def metrics(self) -> dict[str, float]:
        """Every known figure by its name."""
        return {**self.scores, **{name: m.value for name, m in self.prices.items()}}

    def to_dict(self) -> dict[str, Any]:
        """Return what a storage keeps beside number and architecture, as JSON-able values."""
        return {
            "state": self.state,
            "prices": plain_prices(self.prices),
            "scores": dict(self.scores),
            "epochs": self.epochs,
            "train_seconds": self.train_seconds,
            "key": self.key,
            "duplicate_of": self.duplicate_of,
            "reason": self.reason,
            "curve": [list(point) for point in self.curve],
            "curve_of": self.curve_of,
            "rung": self.rung,
            "rung_scores": [dict(scores) for scores in self.rung_scores],
            "share": self.share,
            "paused": self.paused,
            "epoch_seconds": self.epoch_seconds,
            "epoch_seconds_predicted": self.epoch_seconds_predicted,
            "ended_s": self.ended_s,
        }

    @classmethod
    def from_dict(cls, number: int, arch: Architecture, kept: Mapping[str, Any]) -> TrialRecord:
        """Undo `to_dict`."""
        return cls(
            number=number,
            arch=arch,
            state=kept["state"],
            prices=read_prices(kept["prices"]),
            scores=kept["scores"],
            epochs=kept["epochs"],
            train_seconds=kept["train_seconds"],
            key=kept["key"],
            duplicate_of=kept["duplicate_of"],
            reason=kept["reason"],
            curve=tuple(_point(i, point) for i, point in enumerate(kept["curve"], start=1)),
            rung=kept.get("rung", 0),  # version 0.1.0 trained all in full
            rung_scores=tuple(kept.get("rung_scores", ())),
            share=kept.get("share", 1.0 if kept["state"] == "complete" else 0.0),
            paused=kept.get("paused", False),
            epoch_seconds=kept.get("epoch_seconds", 0.0),
            epoch_seconds_predicted=kept.get("epoch_seconds_predicted", 0.0),
            ended_s=kept.get("ended_s", 0.0),
            curve_of=kept.get("curve_of", "accuracy"),  # the only one up to version 0.2.0
        )

    def to_row(self) -> dict[str, object]:
        """Return the cells of this trial's CSV row, by column."""
        cells: dict[str, object] = {
            "trial": self.number,
            "state": self.state,
            "on_front": "true" if self.on_front else "false",
            "epochs": f"{self.epochs:.4g}" if self.epochs else "",
            "train_seconds": f"{self.train_seconds:.3f}" if self.train_seconds else "",
            "fingerprint": self.arch.fingerprint(),
            "architecture": self.arch.to_json(),
            "duplicate_of": "" if self.duplicate_of is None else self.duplicate_of,
            "reason": self.reason,
            "rung": self.rung or "",
            "share": f"{self.share:.4g}" if self.share else "",
            "epoch_seconds": f"{self.epoch_seconds:.4g}" if self.epoch_seconds else "",
            "epoch_seconds_predicted": f"{self.epoch_seconds_predicted:.4g}" if self.epoch_seconds_predicted else "",
            "ended_s": f"{self.ended_s:.2f}" if self.ended_s else "",
            "curve": " ".join(f"{epochs:.4g}:{value:.6g}" for epochs, value in self.curve),
        }
        cells |= self.scores
        for name, price in self.prices.items():
            if is_latency(name):
                cells |= zip(latency_columns(name), (price.value, price.low, price.high), strict=True)
            else:
                cells[name] = int(price.value) if float(price.value).is_integer() else price.value
        return {**cells, **self.arch.values}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> TrialRecord:
        """Undo `to_row`; the key is not in a CSV, nor is what may go on, and a curve is rounded there.

        Raises:
            ValueError, KeyError: the row is not one of ours.
        """
        own = [name for name, o in OBJECTIVES.items() if o.cheap and name not in PRICES]
        targets = [name for name in row if name.startswith(f"{LATENCY}@") and not name.endswith(("_low", "_high"))]
        prices = {name: Measurement.exact(float(row[name])) for name in (*PRICES, *own, *targets) if row.get(name)}
        for name in filter(is_latency, prices):
            _, low, high = latency_columns(name)
            if row.get(low):
                prices[name] = Measurement(prices[name].value, float(row[low]), float(row[high]))
        return cls(
            number=int(row["trial"]),
            arch=Architecture.from_json(row["architecture"]),
            state=row["state"],  # type: ignore[arg-type]
            prices=prices,
            scores={name: float(row[name]) for name, o in OBJECTIVES.items() if not o.cheap and row.get(name)},
            epochs=float(row["epochs"] or 0),
            train_seconds=float(row["train_seconds"] or 0),
            duplicate_of=int(row["duplicate_of"]) if row["duplicate_of"] else None,
            reason=row["reason"],
            on_front=row["on_front"] == "true",
            rung=int(row.get("rung") or 0),
            share=float(row.get("share", row["state"] == "complete") or 0),  # version 0.1.0 trained all in full
            epoch_seconds=float(row.get("epoch_seconds") or 0),
            epoch_seconds_predicted=float(row.get("epoch_seconds_predicted") or 0),
            ended_s=float(row.get("ended_s") or 0),
            curve=tuple(_read_point(text) for text in (row.get("curve") or "").split()),
        )


def _point(index: int, kept: Any) -> tuple[float, float]:
    """Return a point of a curve; version 0.1.0 kept the accuracy after each epoch alone."""
    epochs, accuracy = kept if isinstance(kept, list) else (index, kept)
    return float(epochs), float(accuracy)


def _read_point(text: str) -> tuple[float, float]:
    """Return a point of a curve as a CSV has it, such as `0.33:0.8125`."""
    epochs, accuracy = text.split(":")
    return float(epochs), float(accuracy)


def mark_front(records: Sequence[TrialRecord], front: Iterable[int]) -> list[TrialRecord]:
    """Return the records with `on_front` set for exactly the trial numbers in `front`."""
    members = set(front)
    return [r if r.on_front == (r.number in members) else replace(r, on_front=r.number in members) for r in records]


Lines: TypeAlias = dict[tuple[int, bool], tuple[TrialRecord, str]]
"""Lines of a CSV file by trial number and whether it is on the front, each with the record it was made of."""


def write_csv(path: Path, records: Iterable[TrialRecord], columns: Iterable[str], lines: Lines | None = None) -> None:
    """Write one row per record, atomically: a reader sees the old file or the new one.

    Args:
        columns: those of the study, after `COLUMNS`.
        lines: remembers the lines for the next time: a study writes all its trials after each training. With the
            same columns only.

    Cost: 90 microseconds for a record in a space of 166 parameters, 3 for one that is remembered.
    """
    text, lines = io.StringIO(), {} if lines is None else lines
    writer = csv.DictWriter(text, [*COLUMNS, *columns], restval="", lineterminator="\n")
    writer.writeheader()
    parts = [text.getvalue()]
    for r in records:
        known = lines.get((r.number, r.on_front))
        if known is None or (known[0] is not r and known[0] != r):
            text.seek(0)
            text.truncate()
            writer.writerow({name: cell(value) for name, value in r.to_row().items()})
            known = lines[r.number, r.on_front] = r, text.getvalue()
        parts.append(known[1])
    write_text(path, "".join(parts))


def write_rows(path: Path, rows: Iterable[Mapping[str, object]], columns: Iterable[str]) -> None:
    """Write any other table as CSV, as `write_csv` does; a cell that a row lacks is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[TrialRecord]:
    """Read what `write_csv` wrote.

    Raises:
        RunError: there is no such file, or it is none of ours.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    records = []
    for line, row in enumerate(rows, start=2):
        try:
            records.append(TrialRecord.from_row(row))
        except (KeyError, ValueError, TypeError, SpaceError) as error:
            raise RunError(f"{path}: row {line} is not a trial of ours: {type(error).__name__} {error}") from None
    return records


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a small file atomically: to a neighbour first, then renamed.

    Args:
        durable: a power cut, too, leaves the old one or the new one. It waits for the disk: for what is written seldom,
            and cannot be made again from other files.
    Raises:
        RunError: it cannot be written.
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a neighbour of a file to write to, which then takes its place; where that fails, there is none left.

    Raises:
        RunError: it cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None


def write_json(path: Path, value: object, *, durable: bool = False) -> None:
    """Write JSON as `write_text` does; NaN and infinities become null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n", durable=durable)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: there is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise RunError(f"{path}: not a JSON object")
    return found


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell(value: object) -> object:
    """Return what a CSV of trials has for a value."""
    return str(value).lower() if isinstance(value, bool) else value


def summary(tree: Mapping[str, object]) -> str:
    """Return the blocks of a resolved tree in a few words, each with its width; what passes its input on is left out.

    >>> summary({"stem": {"conv": {"width": 16}}, "body": [{"lstm": {"hidden": 8}}, "identity"], "head": {"pool": {}}})
    'conv 16 > lstm 8 > pool'
    >>> summary({"body": "identity", "head": "pool", "deploy": {"precision": "int8_static"}})
    'pool, int8_static'
    """
    names = _names([tree.get(s) for s in ("stem", "body", "head") if s in tree])
    deploy = tree.get("deploy")
    precision = deploy.get("precision", "fp32") if isinstance(deploy, Mapping) else "fp32"
    blocks = " > ".join(name for name in names if name != "identity")
    return blocks if precision == "fp32" else f"{blocks}, {precision}"


def _names(here: object) -> list[str]:
    if isinstance(here, list):
        return [name for child in here for name in _names(child)]
    if not isinstance(here, Mapping):
        return [str(here)]
    return [" ".join([name, *(str(fields[f]) for f in _WIDTHS if fields.get(f))]) for name, fields in here.items()]


_WIDTHS = ("width", "hidden", "dim")
