"""What was found on an exported file, and the table of all of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from filelock import FileLock

from nas.errors import RunError
from nas.records import write_rows
from nas.ship.again import Again


@dataclass(frozen=True)
class Shipped:
    """One exported file, and what was found on it.

    Attributes:
        file: its path; for OpenVINO the .xml, beside which the .bin lies.
        format: onnx, pt2, openvino or executorch.
        weights: where its weights come from: `retrained` (seed 0) or `searched`.
        precision: of the file.
        batch: how many samples it takes at once; None: any number.
        max_difference: largest absolute difference of outputs to torch, on up to 256 validation samples, at batch 1
            and 7 or at the one it takes; of an int8 file, on all validation samples.
        metric: the figure that is looked at: the run's first objective that only training tells.
        score_torch: that on `n_samples` of the validation data, of the float32 network; score_file: of this file.
            Retrained weights have seen these data: the two compare with each other alone.
        speedup: over a float32 file with the same weights, on the first target; 1 for such a file.
        latencies: of each target that the file was measured on, as the search saw it and on this file.
        target: the run's own; the table's columns of others are called after them.
        size_bytes: of all that the network consists of.
        verdict: `keeps every budget`, or which budget the file breaks; and why its 8 bits are not worth it.
        example: a script beside it that predicts with it.
        samples: what that script is given, in the words of a usage line.
    """

    trial: int
    file: str
    format: str
    weights: str
    precision: str
    batch: int | None
    max_difference: float
    n_samples: int
    metric: str
    score_torch: float
    score_file: float
    speedup: float
    latencies: tuple[Again, ...]
    target: str
    size_bytes: int
    verdict: str
    example: str
    samples: str = "SAMPLES.npy"

    @property
    def kept(self) -> bool:
        """Whether the file keeps every budget."""
        return not self.verdict.startswith("breaks")

    @property
    def differs(self) -> str:
        """Say which latencies are not within 3 % of the searched ones, and why."""
        return "; ".join(filter(None, (again.differs for again in self.latencies)))

    def to_row(self) -> dict[str, object]:
        """Return the cells of its row in `exports.csv`."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("latencies", "target", "samples")}
        row |= {"batch": "any" if self.batch is None else self.batch, "differs": self.differs}
        for again in self.latencies:
            at = "" if again.target == self.target else f"@{again.target}"
            searched = again.searched.value if again.searched else ""
            row |= {f"searched_ms{at}": searched, f"file_ms{at}": again.file.value}
            row |= {f"file_ms{at}_low": again.file.low, f"file_ms{at}_high": again.file.high}
        return row


def write_table(path: Path, shipped: Sequence[Shipped]) -> None:
    """Write one CSV row per file; rows of other files that are in the table already stay.

    Files beside the table, or in a folder there, are named as seen from it, so that a run can be moved; others by their
    whole path. Its columns are those of all rows: files of different formats are measured on different targets.

    Raises:
        RunError: it cannot be read or written.
    """
    folder, new = path.parent.resolve(), [s.to_row() for s in shipped]
    for row in new:
        row |= {name: _seen_from(folder, Path(str(row[name])).resolve()) for name in ("file", "example")}
    files = {folder / str(row["file"]) for row in new}
    try:
        folder.mkdir(exist_ok=True)
        with FileLock(folder / f".{path.name}.lock", timeout=60):  # two exports of one run add to it
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            old = (row for row in csv.DictReader(lines) if (folder / (row.get("file") or "")).resolve() not in files)
            rows = [*old, *new]
            columns = dict.fromkeys(column for row in (*new, *rows) for column in row if column)
            ordered = sorted(columns, key=lambda column: "@" in column)  # those of further targets last
            write_rows(path, [{column: row.get(column, "") for column in ordered} for row in rows], ordered)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: no row can be added: {getattr(error, 'strerror', None) or error}") from None


def _seen_from(folder: Path, path: Path) -> str:
    """Return a path relative to `folder` where it lies in it, else as it is."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
