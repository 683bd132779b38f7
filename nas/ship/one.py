"""One file of one trial: written, checked, measured, and only then given its name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.build import Network
from nas.errors import NasError
from nas.export import FORMATS, Format
from nas.export.example import samples_of
from nas.export.files import written_together
from nas.export.formats.base import example_path
from nas.export.metadata import beside
from nas.export.quantize import Precision
from nas.measure import OpenMeter
from nas.measure.price import measured_file
from nas.objectives import Objective, is_latency
from nas.records import TrialRecord, write_text
from nas.shapes import Shape
from nas.ship.again import Again, measure_again
from nas.ship.checked import Checked, write_checked, write_plain, write_quantised
from nas.ship.describe import describe_file
from nas.ship.shipped import Shipped
from nas.ship.verdict import budgets_kept, doubts
from nas.ship.weights import load_network
from nas.study.config import StudyConfig
from nas.study.deploy import calibration, precision_of
from nas.study.folder import RunFolder
from nas.study.judging import judged_by

if TYPE_CHECKING:
    from nas.data import Task

_HOW = "choose another name, or overwrite it (--overwrite; in Python overwrite=True)"


def ship(
    config: StudyConfig,
    record: TrialRecord,
    task: Task,
    folder: RunFolder,
    meters: Mapping[str, OpenMeter],
    *,
    path: Path | None = None,
    format: str = "onnx",
    precision: Precision | None = None,
    overwrite: bool = False,
) -> Shipped:
    """Export a trial's network; a float32 file that differs from torch is not left behind.

    An int8 file does differ: the float32 file that it is made of is checked, and how good both are is told.

    Its weights are those of seed 0 of its retraining or, where there is none, those the search left for a member of
    the front. The file takes standardised inputs; how those are made, and the class names, are in its metadata
    (`nas.export.read_metadata`). A script that classifies with it lies beside it.

    Args:
        meters: on which it is measured, as of `shipping_meters` for this format.
        path: of the file; None: see `exported_path`.
        precision: None: the trial's own.
    Raises:
        RunError: there are no weights.
        NasError: the file exists already, or another tokenizer beside it; it cannot be written in this format or
            quantised, or differs from torch.
    """
    form, own = FORMATS[format], precision_of(config.space, record.arch)
    path = path or exported_path(config, record, folder, precision, format)
    precision = precision or own
    tokenizer = _tokenizer(task)
    _refuse(form, path, precision, overwrite)
    if not overwrite and tokenizer is not None:
        _check_tokenizer(tokenizer_path(path), tokenizer)
    if precision != "fp32":
        _check_targets(meters, precision)
    source, network = load_network(config, record, task, folder)
    metadata = describe_file(task, record, format, source, precision)
    judge, metric = judged_by(config.objectives, task)

    def score(outputs: np.ndarray) -> float:
        return judge.scores(outputs, task.y_val[: len(outputs)].numpy())[metric.name]

    batch = next(iter(meters.values())).target.batch if meters else 1
    speedup = 1.0
    with tempfile.TemporaryDirectory(prefix="nas-ship-") as name, written_together(path) as inside:
        scratch = Path(name)
        if precision == "fp32":
            checked = write_checked(form, network, task, inside, metadata, batch, str(path), score)
        else:
            plain = scratch / path.with_suffix(".onnx").name
            write_plain(network, task, plain, metadata, str(path), score)
            samples = calibration(task, config.seed)
            checked = write_quantised(form, network, task, plain, inside, metadata, precision, samples, score)
        searched = record if precision == own and form.as_searched else None
        latencies = _latencies(network, inside, form, meters, searched, task.in_shape, scratch)
        if precision != "fp32" and latencies:
            first = next(iter(latencies))
            speedup = meters[first].measure(plain, task.in_shape).value / latencies[first].file.value
        if tokenizer is not None:
            write_text(tokenizer_path(inside), tokenizer)
        size = sum(part.stat().st_size for part in form.parts(inside))
    kept_size = form.called == "onnx" and precision == own
    return Shipped(
        trial=record.number,
        file=str(path),
        format=format,
        weights=source,
        precision=precision,
        batch=checked.batch,
        max_difference=checked.max_difference,
        n_samples=checked.n_samples,
        metric=metric.name,
        score_torch=checked.score_torch,
        score_file=checked.score_file,
        speedup=speedup,
        latencies=tuple(latencies.values()),
        target=config.runtime,
        size_bytes=size,
        verdict=_verdict(config, _known(record, latencies, size, kept_size), metric, checked, speedup, precision),
        example=str(example_path(path)),
        samples=samples_of(metadata).takes.split()[0],
    )


def exported_path(
    config: StudyConfig,
    record: TrialRecord,
    folder: RunFolder,
    precision: Precision | None = None,
    format: str = "onnx",
) -> Path:
    """Return where a trial's file goes unless told otherwise: `trial-00017.onnx` of the run folder's `exports`.

    In another precision than the trial's own it is called after it: `trial-00017.int8_static.onnx`.
    """
    path = folder.exported(record.number).with_suffix(FORMATS[format].suffix)
    if precision in (None, precision_of(config.space, record.arch)):
        return path
    return path.with_suffix(f".{precision}{path.suffix}")


def placed(path: Path, usual: Path) -> Path:
    """Return where a file goes that is to go to `path`: into a folder that is there, as it is called usually.

    A folder that is called as the file would be is none to put it in: who names it means the file.
    """
    return path / usual.name if path.is_dir() and path.suffix != usual.suffix else path


def tokenizer_path(path: Path) -> Path:
    """Return where the tokenizer of the file at `path` lies, of a network that reads texts."""
    return path.with_suffix(".tokenizer.json")


def in_the_way(format: str, path: Path) -> list[Path]:
    """Return what is there already of the files that an export to `path` writes."""
    return [part for part in (*FORMATS[format].parts(path), beside(path), example_path(path)) if part.exists()]


def check_free(taken: Sequence[Path], overwrite: bool, how: str) -> None:
    """Check that files can take the place of what is in their way.

    Args:
        how: to overwrite it, in words.
    Raises:
        NasError: they cannot, or were not asked to.
    """
    if folders := [part for part in taken if part.is_dir()]:
        raise NasError(f"{folders[0]} is a directory, which no file replaces; choose another name")
    if taken and not overwrite:
        raise NasError(f"{taken[0]} exists already; {how}")


def _refuse(form: Format, path: Path, precision: Precision, overwrite: bool) -> None:
    """Raise before anything is computed where no file can be written."""
    if path.suffix != form.suffix and (path.suffix or form.called != "onnx"):
        raise NasError(
            f"{path}: a file of format {form.called} is called *{form.suffix}; name it so, or say another format "
            f"({', '.join(FORMATS)})"
        )
    if reason := form.refuses(precision) or form.unavailable():
        raise NasError(reason)
    check_free(in_the_way(form.called, path), overwrite, _HOW)


def _tokenizer(task: Task) -> str | None:
    """Return what the tokenizer's file beside a network that reads texts holds; None where it reads none."""
    if task.recipe is None or "tokenizer" not in task.recipe:
        return None
    return json.dumps(task.recipe["tokenizer"], ensure_ascii=False)


def _check_tokenizer(path: Path, tokenizer: str) -> None:
    """Refuse to replace another tokenizer: another network's token ids would mean something else from then on.

    The same is there where a trial was exported in another format already.
    """
    try:
        same = not path.exists() or json.loads(path.read_text(encoding="utf-8")) == json.loads(tokenizer)
    except (OSError, ValueError):  # it is none
        same = False
    if not same:
        raise NasError(f"{path} exists already, and is another tokenizer; {_HOW}")


def _check_targets(meters: Mapping[str, OpenMeter], precision: Precision) -> None:
    for meter in meters.values():
        if meter.takes != "onnx":
            raise NasError(
                f"{meter.target} runs torch modules: the latency of an {precision} file cannot be compared\n"
                "  name a target that takes ONNX, such as --target onnxruntime"
            )


def _latencies(
    network: Network,
    path: Path,
    form: Format,
    meters: Mapping[str, OpenMeter],
    searched: TrialRecord | None,
    in_shape: Shape,
    scratch: Path,
) -> dict[str, Again]:
    """Measure the file at `path` with each meter, beside what `searched` saw."""
    found = {}
    for name, meter in meters.items():
        file = measured_file(network, meter, path, scratch) if form.called == "onnx" else path
        seen = searched.prices.get(name) if searched else None
        found[name] = measure_again(seen, meter, partial(meter.measure, file, in_shape))
    return found


def _known(record: TrialRecord, latencies: Mapping[str, Again], size: int, kept_size: bool) -> dict[str, float]:
    """Return the figures of a file that budgets are held against.

    Args:
        kept_size: the size that the search saw counts: metadata are no part of the network.
    """
    known = {name: value for name, value in record.metrics.items() if not is_latency(name)}
    known |= {name: again.file.value for name, again in latencies.items()}
    if not (kept_size and "size_bytes" in known):
        known["size_bytes"] = float(size)
    return known


def _verdict(
    config: StudyConfig,
    known: Mapping[str, float],
    metric: Objective,
    checked: Checked,
    speedup: float,
    precision: Precision,
) -> str:
    said = budgets_kept(config, known)
    if precision != "fp32" and (why := doubts(speedup, metric, checked.score_torch, checked.score_file)):
        said += f"; not worth it: {why}"
    return said
