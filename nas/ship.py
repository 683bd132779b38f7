"""A network with its weights -> an ONNX file that was compared with it and measured again."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.build import Network, build
from nas.errors import NasError, RunError
from nas.export.onnx import export_checked
from nas.export.quantize import Precision, quantize, run_file
from nas.measure import OpenMeter
from nas.measure.open import NOTICED
from nas.measure.price import measured_file
from nas.objectives import DRIFT, Measurement, Objective
from nas.records import TrialRecord, write_rows, write_text
from nas.study.config import StudyConfig
from nas.study.deploy import calibration, precision_of
from nas.study.folder import RunFolder
from nas.study.judging import followed, judge_of, objectives_of

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data import Task

_WORTH = 0.01
"""What an int8 file may lose: of a share so much, of another figure such a share of it."""

_PROCESSES = 3
"""How many read a latency that differs from the searched one."""


@dataclass(frozen=True)
class Again:
    """A latency that the search measured, measured again on the file that ships."""

    target: str
    searched: Measurement | None
    file: Measurement
    disturbed: bool
    """Whether it was measured beside a training that did not pause."""
    drift: float
    """By which share the reference net ran slower than at the calibration."""

    @property
    def differs(self) -> str:
        """Say by how much the file's latency differs from the searched one, and why; "" where it is within 3 %."""
        if self.searched is None or abs(share := self.file.value / self.searched.value - 1) <= DRIFT:
            return ""
        if self.disturbed:
            why = "measured beside a training that did not pause"
        elif self.file.overlaps(self.searched):
            why = "within the intervals"
        elif abs(self.drift) > NOTICED:
            why = f"the machine runs {abs(self.drift):.0%} {'slower' if self.drift > 0 else 'faster'} than then"
        else:
            why = "nothing that is known explains it: measure again on a quiet machine"
        return f"{self.target}: {share:+.1%} ({why})"


@dataclass(frozen=True)
class Shipped:
    """One exported file, and what was found on it.

    Attributes:
        weights: where its weights come from: `retrained` (seed 0) or `searched`.
        precision: of the file.
        max_difference: largest absolute difference of outputs to torch, at batch 1 and 7; of an int8 file, on all
            validation data.
        metric: the figure that is looked at: the run's first objective that only training tells.
        score_torch: that on the validation data, of the float32 network; score_file: of this file. Retrained weights
            have seen these data: the two compare with each other alone.
        speedup: over a float32 file with the same weights, on the run's own target; 1 for such a file.
        latencies: of each target of the run, its own first, as the search saw it and measured again on this file.
        verdict: `keeps every budget`, or which budget the file breaks; and why its 8 bits are not worth it.
    """

    trial: int
    file: str
    weights: str
    precision: str
    max_difference: float
    metric: str
    score_torch: float
    score_file: float
    speedup: float
    latencies: tuple[Again, ...]
    size_bytes: int
    verdict: str

    @property
    def kept(self) -> bool:
        """Whether the file keeps every budget."""
        return not self.verdict.startswith("breaks")

    @property
    def differs(self) -> str:
        """Say which latencies are not within 3 % of the searched ones, and why."""
        return "; ".join(filter(None, (again.differs for again in self.latencies)))

    def to_row(self) -> dict[str, object]:
        """Return the cells of its row in `exports.csv`; the columns of further targets are called after them."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "latencies"}
        for i, again in enumerate(self.latencies):
            at = f"@{again.target}" if i else ""
            searched = again.searched.value if again.searched else math.nan
            row |= {f"searched_ms{at}": searched, f"file_ms{at}": again.file.value}
            row |= {f"file_ms{at}_low": again.file.low, f"file_ms{at}_high": again.file.high}
        return {**row, "differs": self.differs}


def ship(
    config: StudyConfig,
    record: TrialRecord,
    task: Task,
    folder: RunFolder,
    meters: Mapping[str, OpenMeter],
    *,
    path: Path | None = None,
    precision: Precision | None = None,
    overwrite: bool = False,
) -> Shipped:
    """Export a trial's network with dynamic batch; a float32 file that differs from torch is not left behind.

    An int8 file does differ: the float32 file that it is made of is checked, and the accuracies of both are told.

    Its weights are those of seed 0 of its retraining or, where there is none, those the search left for a member of
    the front. The file takes standardised inputs; mean, std and class names are in its metadata.

    Args:
        meters: of each latency of the run, by name of the price.
        path: of the file; None: see `exported_path`.
        precision: None: the trial's own.
    Raises:
        RunError: there are no weights.
        NasError: the file exists already, cannot be exported or quantised, or differs from torch.
    """
    source, network = load_network(config, record, task, folder)
    own = precision_of(config.space, record.arch)
    path = path or exported_path(config, record, folder, precision)
    precision = precision or own
    metadata = {
        "made_by": f"pareto-nas {version('pareto-nas')}",
        "data": task.name,
        **_said_of_data(task),
        "in_shape": json.dumps(task.in_shape),
        "preprocess": "input = (x * scale - mean) / std per channel, float32, (N, *in_shape)",
        "scale": json.dumps(task.scale),
        "mean": json.dumps(task.mean),
        "std": json.dumps(task.std),
        "trial": str(record.number),
        "weights": source,
        "precision": precision,
        "architecture": record.arch.to_json(),
    }
    speedup, quantised = 1.0, precision != "fp32"
    if quantised:
        _check_quantised(path, overwrite, meters, precision)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / path.name if quantised else path
        difference = export_checked(network, task.in_shape, plain, task.x_val[:7], metadata, overwrite=overwrite)
        if quantised:
            quantize(plain, path, precision, calibration(task, config.seed))
        searched = record.prices if precision == own else {}
        latencies = {}
        for name, meter in meters.items():
            read = partial(meter.measure, measured_file(network, meter, path, Path(scratch)), task.in_shape)
            latencies[name] = measure_again(searched.get(name), meter, read)
        if quantised:
            first = next(iter(meters))
            speedup = meters[first].measure(plain, task.in_shape).value / latencies[first].file.value
    if task.recipe is not None and "tokenizer" in task.recipe:
        write_text(path.with_suffix(".tokenizer.json"), json.dumps(task.recipe["tokenizer"], ensure_ascii=False))
    expected, found = _outputs(network, task.x_val), run_file(path, task.x_val.numpy())
    judge = judge_of(config.objectives, task)
    metric = followed(objectives_of(config.objectives, task), judge)
    y_val = task.y_val.numpy()
    score_torch, score_file = (judge.scores(outputs, y_val)[metric.name] for outputs in (expected, found))
    if quantised:
        difference = float(np.abs(found - expected).max())
    size = path.stat().st_size
    known = {**record.metrics, **{name: again.file.value for name, again in latencies.items()}}
    # Metadata is no part of the network: it does not count against a budget on size.
    if precision != own or "size_bytes" not in known:
        known["size_bytes"] = float(size)
    broken = [b for b in config.parsed_budgets() if b.objective in known and not b.kept(known[b.objective])]
    verdict = (
        "breaks " + ", ".join(f"{b} ({known[b.objective]:.4g})" for b in broken) if broken else "keeps every budget"
    )
    verdict = verdict if config.budgets else "no budget was set"
    if quantised and (doubts := _doubts(speedup, metric, score_torch, score_file)):
        verdict += f"; not worth it: {doubts}"
    return Shipped(
        trial=record.number,
        file=str(path),
        weights=source,
        precision=precision,
        max_difference=difference,
        metric=metric.name,
        score_torch=score_torch,
        score_file=score_file,
        speedup=speedup,
        latencies=tuple(latencies.values()),
        size_bytes=size,
        verdict=verdict,
    )


def _said_of_data(task: Task) -> dict[str, str]:
    """Return what the outputs of a file mean, and how rows of a table become its inputs, for its metadata."""
    recipe = {} if task.recipe is None else {"recipe": json.dumps(task.recipe, ensure_ascii=False)}
    if task.kind == "classification":
        return {"task": task.kind, "classes": json.dumps(task.classes), **recipe}
    return {
        **recipe,
        "task": task.kind,
        "targets": json.dumps(task.targets),
        "postprocess": "prediction = output * target_std + target_mean, per target",
        "target_mean": json.dumps(task.y_mean),
        "target_std": json.dumps(task.y_std),
    }


def exported_path(
    config: StudyConfig, record: TrialRecord, folder: RunFolder, precision: Precision | None = None
) -> Path:
    """Return where a trial's file goes unless told otherwise: `trial-00017.onnx` of the run folder's `exports`.

    In another precision than the trial's own it is called after it: `trial-00017.int8_static.onnx`.
    """
    path = folder.exported(record.number)
    if precision in (None, precision_of(config.space, record.arch)):
        return path
    return path.with_suffix(f".{precision}{path.suffix}")


def _outputs(network: Network, x: Tensor, batch: int = 512) -> np.ndarray:
    """Return the logits of a network in evaluation mode, (n, n_outputs)."""
    import torch

    with torch.no_grad():
        logits: np.ndarray = torch.cat([network(part) for part in x.split(batch)]).numpy()
    return logits


def _check_quantised(path: Path, overwrite: bool, meters: Mapping[str, OpenMeter], precision: str) -> None:
    if path.exists() and not overwrite:
        raise NasError(f"{path} exists already; choose another name, or allow it to be overwritten")
    for meter in meters.values():
        if meter.takes != "onnx":
            raise NasError(
                f"the run measures on {meter.target}, which runs torch modules: the latency of an {precision} file "
                "cannot be compared\n  search with a runtime that takes ONNX, such as onnxruntime"
            )


def _doubts(speedup: float, metric: Objective, torch: float, file: float) -> str:
    """Say what speaks against an int8 file; "" where nothing does."""
    found = []
    if speedup <= 1:
        found.append(f"{speedup:.2f} times the speed of fp32")
    lost, most = metric.loss(file) - metric.loss(torch), _WORTH if metric.is_share else _WORTH * abs(torch)
    if lost > most:
        found.append(f"{metric.name} {file:.4f} instead of {torch:.4f}")
    return ", ".join(found)


def measure_again(searched: Measurement | None, meter: OpenMeter, read: Callable[[], Measurement]) -> Again:
    """Measure what the search measured as `searched` again; where the two differ, in three processes.

    Where a process puts a network and the reference in memory moves their ratio by a percent or so, and no interval
    knows of it. So a figure that is 3 % off is read in two fresh processes more, and the median of the three counts.

    Args:
        read: measures it with `meter`.
    """
    found: list[Again] = []
    while True:
        before = meter.disturbed
        latency = read()
        found.append(Again(str(meter.target), searched, latency, meter.disturbed > before, meter.drifts[-1]))
        if len(found) == _PROCESSES or not found[0].differs:
            return sorted(found, key=lambda again: again.file.value)[len(found) // 2]
        meter.close()


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
    columns, new = list(shipped[0].to_row()), {s.file for s in shipped}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [row for row in csv.DictReader(lines) if list(row) == columns and row["file"] not in new]
    write_rows(path, [*kept, *(s.to_row() for s in shipped)], columns)
