"""What a network of a run, or an ONNX file from anywhere, costs when it is measured as a search measures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.build import Network, build
from nas.errors import NasError, RunError
from nas.export.quantize import Precision
from nas.measure import OpenMeter, conditions, describe, open_meter, opened
from nas.measure.onnx_file import OnnxFile, read_shape
from nas.measure.open import noticed
from nas.measure.price import Pricer
from nas.measure.target import Target
from nas.objectives import DRIFT, LATENCY, Measurement
from nas.records import TrialRecord, latency_columns, read_json, summary, write_json, write_rows
from nas.rng import torch_seed
from nas.shapes import Shape
from nas.ship import Again, load_network, measure_again
from nas.study.config import StudyConfig
from nas.study.deploy import calibration, precision_of
from nas.study.folder import RunFolder
from nas.study.meters import names_of
from nas.training import torch_seeded

if TYPE_CHECKING:
    from nas.data import Task


@dataclass(frozen=True)
class MeasuredFile:
    """What one ONNX file costs.

    Attributes:
        file: its path.
        latencies: of one batch, by name: `latency_ms` on the first target, `latency_ms@TARGET` on each other.
        targets: by the same names.
        size_bytes: on disk, weights in files of their own included.
        n_params: numbers among its initialisers.
        macs, peak_bytes: of one sample; None where they cannot be told.
        notes: why not, and what disturbed a measurement.
    """

    file: str
    latencies: Mapping[str, Measurement]
    targets: Mapping[str, str]
    size_bytes: int
    n_params: int
    macs: int | None
    peak_bytes: int | None
    notes: tuple[str, ...] = ()

    @property
    def latency_ms(self) -> float:
        """On the first target, in ms."""
        return self.latencies[LATENCY].value

    def to_row(self) -> dict[str, object]:
        """Return the cells of its CSV row, by column; empty what cannot be told."""
        counted = {name: getattr(self, name) for name in ("size_bytes", "n_params", "macs", "peak_bytes")}
        plain = {name: "" if value is None else value for name, value in counted.items()}
        return {"file": self.file, **_cells(self.latencies), **plain, "notes": "; ".join(self.notes)}


def measure_file(
    path: str | Path,
    targets: Sequence[str] = ("onnxruntime",),
    *,
    shape: str | Sequence[int] | None = None,
    csv: str | Path | None = None,
) -> MeasuredFile:
    """Measure an ONNX file that anybody wrote.

    The calibration is made now, in about half a second for each target: the milliseconds compare with others that
    were measured here today, and with those of a run through the ratios to the reference net alone.

    Args:
        path: of a file with one input, whose first axis is the batch.
        targets: such as "onnxruntime:threads=2", "openvino"; see `nas.measure.target`.
        shape: of one sample, (3, 32, 32) or "3,32,32", for a file that leaves axes open.
        csv: a table of one row goes there, and what it was measured on beside it.
    Raises:
        NasError: the file cannot be measured (`OnnxFile.read`), or not on one of these targets; or there is no folder
            for the table.
    """
    if csv is not None:
        check_table(csv)
    file = OnnxFile.read(path, None if shape is None else read_shape(shape))
    names = names_of(targets)
    for target in names.values():
        file.check_target(Target.parse(target))
    notes: list[str] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-measure-")))
        meters = {name: open_meter(target) for name, target in names.items()}
        stack.enter_context(opened(meters))
        given, latencies = file.for_runtimes(scratch), {}
        for name, meter in meters.items():
            latencies[name] = meter.measure(given, file.in_shape)
            notes += noticed(meter)
        counted: dict[str, int | None] = {"macs": None, "peak_bytes": None}
        tells: dict[str, Callable[[], int]] = {"macs": file.macs, "peak_bytes": lambda: file.peak_bytes(given)}
        for figure, tell in tells.items():
            try:
                counted[figure] = tell()
            except NasError as error:
                notes.append(f"{figure} unknown: {str(error).splitlines()[0]}")
        found = MeasuredFile(str(path), latencies, names, file.size_bytes, file.n_params, notes=tuple(notes), **counted)
        if csv is not None:
            write_measured(Path(csv), [found], meters)
    return found


@dataclass(frozen=True)
class MeasuredTrial:
    """A network of a run that was measured again.

    Attributes:
        weights: where those in the measured file come from: `retrained`, `searched`, or `untrained`; the latency does
            not depend on them.
        latencies: beside what the search saw, by name as in the run.
        problems: why one could not be measured, by name.
        moved: what of this machine is no longer as it was in the search.
    """

    trial: int
    blocks: str
    weights: str
    latencies: Mapping[str, Again]
    problems: Mapping[str, str] = field(default_factory=dict)
    moved: tuple[str, ...] = ()

    def verdict(self, name: str) -> str:
        """Return in words how a latency agrees with the searched one; "" where there is nothing to compare with."""
        if name in self.problems:
            return self.problems[name]
        again = self.latencies[name]
        if again.differs:
            return "; ".join([again.differs, *(() if Target.parse(again.target).host else self.moved)])
        return f"within {DRIFT:.0%}" if again.searched else ""

    def to_row(self) -> dict[str, object]:
        """Return the cells of its CSV row, by column."""
        row = {"trial": self.trial, **_cells({name: again.file for name, again in self.latencies.items()})}
        for name, again in self.latencies.items():
            if again.searched is not None:
                row |= {f"searched_{name}": again.searched.value}
                row |= {f"ratio_{name}": round(again.file.value / again.searched.value, 4)}
        names = [*self.latencies, *self.problems]
        row |= {f"verdict_{name}": verdict for name in names if (verdict := self.verdict(name))}
        return row | {"weights": self.weights, "blocks": self.blocks}


def measure_trials(
    config: StudyConfig, records: Sequence[TrialRecord], task: Task, folder: RunFolder, meters: Mapping[str, OpenMeter]
) -> list[MeasuredTrial]:
    """Measure networks of a run again, each by itself and as the search did.

    A network that cannot be measured on a target says why, and the others go on.

    Args:
        meters: open, by name of the price, see `Front.meters`.
    Raises:
        RunError: what no other network would mend, such as a device that is gone.
    """
    moved, samples, found = _moved(folder), calibration(task, config.seed), []
    for record in records:
        weights, network = _network(config, record, task, folder)
        latencies: dict[str, Again] = {}
        problems: dict[str, str] = {}
        for name, meter in meters.items():
            seen, precision = record.prices.get(name), precision_of(config.space, record.arch)
            edges = () if seen is None else (seen.value * (1 - DRIFT), seen.value * (1 + DRIFT))
            read = partial(_priced, network, precision, name, meter, task.in_shape, edges, samples)
            try:
                latencies[name] = measure_again(seen, meter, read)
            except RunError:
                raise
            except NasError as error:
                problems[name] = f"cannot be measured: {str(error).splitlines()[0]}"
        blocks = summary(config.space.resolve(record.arch))
        found.append(MeasuredTrial(record.number, blocks, weights, latencies, problems, moved))
    return found


def _priced(
    network: Network,
    precision: Precision,
    name: str,
    meter: OpenMeter,
    in_shape: Shape,
    edges: Sequence[float],
    samples: np.ndarray,
) -> Measurement:
    """Measure a network as a search that has never seen it does; more pairs where an edge lies in the interval."""
    with tempfile.TemporaryDirectory(prefix="nas-measure-") as scratch:
        return Pricer({name: meter}, in_shape, Path(scratch), {name: edges}, samples).price(network, precision)[name]


def check_table(path: str | Path) -> None:
    """Check before anything is measured that `write_measured` can write there.

    Raises:
        NasError: there is no such folder, or a folder is what is there.
    """
    folder = Path(path).parent
    if Path(path).is_dir():
        raise NasError(f"{path}: is a folder, and the table is a file; name one in it")
    if not folder.is_dir():
        raise NasError(f"{path}: there is no folder {folder} for the table; make it first, or name another file")


def write_measured(
    path: Path, measured: Sequence[MeasuredFile | MeasuredTrial], meters: Mapping[str, OpenMeter]
) -> None:
    """Write one CSV row per network, and beside it, as `.machine.json`, on what they were measured.

    Raises:
        RunError: a file cannot be written.
    """
    rows = [one.to_row() for one in measured]
    write_rows(path, rows, dict.fromkeys(column for row in sorted(rows, key=len, reverse=True) for column in row))
    by_target = {str(meter.target): meter for meter in meters.values()}
    kept = {
        "calibrations": {target: meter.calibration.to_dict() for target, meter in by_target.items()},
        "devices": {target: meter.device for target, meter in by_target.items() if meter.target.host},
        "measured": {target: conditions(meter) for target, meter in by_target.items()},
    }
    write_json(path.with_suffix(".machine.json"), {**describe(), **kept})


def _network(config: StudyConfig, record: TrialRecord, task: Task, folder: RunFolder) -> tuple[str, Network]:
    """Return a trial's network with its weights, or as it was built where there are none, and which of the two."""
    try:
        return load_network(config, record, task, folder)
    except RunError:
        with torch_seeded(torch_seed(config.seed, "price")):
            return "untrained", build(config.space, record.arch, task.in_shape, task.n_outputs).eval()


def _moved(folder: RunFolder) -> tuple[str, ...]:
    """Return what of the machine is no longer as it was when the run was made."""
    then, now = read_json(folder.machine), describe()
    keys = ("cpu", "cores", "onnxruntime", "torch")
    return tuple(
        f"{key} is {now[key]}, in the search it was {then[key]}" for key in keys if then.get(key, now[key]) != now[key]
    )


def _cells(latencies: Mapping[str, Measurement]) -> dict[str, object]:
    return {
        column: value
        for name, m in latencies.items()
        for column, value in zip(latency_columns(name), (m.value, m.low, m.high), strict=True)
    }
