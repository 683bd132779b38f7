"""On what an exported file is measured: the run's own targets where they run it, else its runtime, calibrated now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nas.export import FORMATS, Format
from nas.measure import OpenMeter, open_meter
from nas.measure.target import Target
from nas.objectives import LATENCY
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.meters import open_meters


def shipping_meters(config: StudyConfig, folder: RunFolder, formats: Iterable[str]) -> dict[str, OpenMeter]:
    """Return the meters of a run, and one for each further runtime that files of these formats need, by price's name.

    The run's own have its calibration. Another is calibrated when first used, with as many threads and samples as the
    run's first target: its milliseconds compare with what is measured beside them.

    Raises:
        NasError: a runtime is not available here.
        RunError: the run kept no calibration.
    """
    meters = open_meters(config, folder)
    first = Target.parse(config.runtime)
    for form in map(FORMATS.__getitem__, formats):
        if not meters_of(form, config, meters):
            target = str(Target(runtime=form.runtime, threads=first.threads, batch=first.batch))
            meters[f"{LATENCY}@{target}"] = open_meter(target)
    return meters


def meters_of(form: Format, config: StudyConfig, meters: Mapping[str, OpenMeter]) -> dict[str, OpenMeter]:
    """Return those that measure files of a format: for ONNX every latency of the run, else that of its runtime."""
    if form.called == "onnx":
        return {name: meter for name, meter in meters.items() if name in config.latencies()}
    return {n: meter for n, meter in meters.items() if meter.target.runtime == form.runtime and not meter.target.host}
