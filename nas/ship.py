"""A network with its weights -> an ONNX file that was compared with it and measured again."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nas.build import Network, build
from nas.errors import RunError
from nas.export.onnx import export_checked
from nas.measure.meter import Measures
from nas.measure.price import measured_file
from nas.objectives import Budget
from nas.records import TrialRecord, write_text
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder

if TYPE_CHECKING:
    from nas.data import Task


@dataclass(frozen=True)
class Shipped:
    """One exported file, and what was found on it.

    Attributes:
        weights: where its weights come from: `retrained` (seed 0) or `searched`.
        max_difference: largest absolute difference of outputs to torch, at batch 1 and 7.
        searched_ms: latency as the search saw it; file_ms (low, high): measured again on this file.
        verdict: `keeps every budget`, or which budget the file breaks.
    """

    trial: int
    file: str
    weights: str
    max_difference: float
    searched_ms: float
    file_ms: float
    file_ms_low: float
    file_ms_high: float
    size_bytes: int
    verdict: str

    @property
    def kept(self) -> bool:
        """Whether the file keeps every budget."""
        return not self.verdict.startswith("breaks")


def ship(
    config: StudyConfig,
    record: TrialRecord,
    task: Task,
    folder: RunFolder,
    meter: Measures,
    *,
    path: Path | None = None,
    overwrite: bool = False,
) -> Shipped:
    """Export a trial's network with dynamic batch; a file that differs from torch is not left behind.

    Its weights are those of seed 0 of its retraining or, where there is none, those the search left for a member of
    the front. The file takes standardised inputs; mean, std and class names are in its metadata.

    Args:
        path: of the file; None: `exports/trial-00017.onnx` in the run folder.
    Raises:
        RunError: there are no weights.
        NasError: the file exists already, cannot be exported, or differs from torch.
    """
    source, network = load_network(config, record, task, folder)
    path = path or folder.exported(record.number)
    metadata = {
        "made_by": f"pareto-nas {version('pareto-nas')}",
        "data": task.name,
        "classes": json.dumps(task.classes),
        "in_shape": json.dumps(task.in_shape),
        "preprocess": "input = (x * scale - mean) / std per channel, float32, (N, *in_shape)",
        "scale": json.dumps(task.scale),
        "mean": json.dumps(task.mean),
        "std": json.dumps(task.std),
        "trial": str(record.number),
        "weights": source,
        "architecture": record.arch.to_json(),
    }
    difference = export_checked(network, task.in_shape, path, task.x_val[:7], metadata, overwrite=overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        latency = meter.measure(measured_file(network, meter, path, Path(scratch)), task.in_shape)
    size = path.stat().st_size
    measured = {"latency_ms": latency.value, "size_bytes": float(size)}
    known = {**record.metrics, **measured}
    # Metadata is no part of the network: it does not count against a budget on size.
    known["size_bytes"] = record.metrics.get("size_bytes", float(size))
    broken = [b for b in map(Budget.parse, config.budgets) if b.objective in known and not b.kept(known[b.objective])]
    verdict = (
        "breaks " + ", ".join(f"{b} ({known[b.objective]:.4g})" for b in broken) if broken else "keeps every budget"
    )
    return Shipped(
        trial=record.number,
        file=str(path),
        weights=source,
        max_difference=difference,
        searched_ms=record.metrics.get("latency_ms", float("nan")),
        file_ms=latency.value,
        file_ms_low=latency.low,
        file_ms_high=latency.high,
        size_bytes=size,
        verdict=verdict if config.budgets else "no budget was set",
    )


def load_network(config: StudyConfig, record: TrialRecord, task: Task, folder: RunFolder) -> tuple[str, Network]:
    """Return where the weights of a trial come from (`retrained` or `searched`), and its network with them.

    Raises:
        RunError: there are none, or they are not of this network.
    """
    import torch

    retrained = folder.retrained_trial(record.number) / "seed-0.pt"
    source, path = ("retrained", retrained) if retrained.exists() else ("searched", folder.checkpoint(record.number))
    if not path.exists():
        raise RunError(
            f"{folder.path}: there are no weights of trial {record.number} (the search keeps those of the front); "
            f"train it first: nas retrain {folder.path} --pick trial:{record.number}"
        )
    network = build(config.space, record.arch, task.in_shape, task.n_outputs)
    try:
        network.load_state_dict(torch.load(path, weights_only=True))
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ...
        raise RunError(f"{path}: not the weights of trial {record.number}: {str(error).splitlines()[0]}") from None
    return source, network.eval()


def write_table(path: Path, shipped: Sequence[Shipped]) -> None:
    """Write one CSV row per file; rows of other files that are in the table already stay."""
    columns, new = list(asdict(shipped[0])), {s.file for s in shipped}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [row for row in csv.DictReader(lines) if list(row) == columns and row["file"] not in new]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*kept, *(asdict(s) for s in shipped)])
    write_text(path, text.getvalue())
