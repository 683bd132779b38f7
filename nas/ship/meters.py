"""On what an exported file is measured: the run's own targets where they run it, else its runtime, calibrated now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nas.export import FORMATS
from nas.measure import OpenMeter, open_meter
from nas.measure.target import Target
from nas.objectives import LATENCY
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.meters import open_meters


def shipping_meters(
    config: StudyConfig,
    folder: RunFolder,
    formats: Iterable[str],
    targets: Sequence[str] = (),
    executor: str = "local",
) -> dict[str, dict[str, OpenMeter]]:
    """Return for each of these formats the meters that measure its files, by price's name; formats share them.

    ONNX files are measured on all of `targets`, another format's on those of its runtime on this machine. Where there
    is none, a meter of that runtime is calibrated when first used, with as many threads and samples as the run's first
    target: its milliseconds compare with what is measured beside them.

    Args:
        targets, executor: see `nas.study.meters.open_meters`.
    Raises:
        NasError: a runtime is not available here.
        RunError: the run kept no calibration; or it measured on another machine that is not named.
    """
    meters = open_meters(config, folder, targets, executor)
    first, found = Target.parse(config.runtime), dict[str, dict[str, OpenMeter]]()
    for form in map(FORMATS.__getitem__, formats):
        its = meters
        if form.called != "onnx":
            its = {n: m for n, m in meters.items() if m.target.runtime == form.runtime and not m.target.host}
        if not its:
            target = str(Target(runtime=form.runtime, threads=first.threads, batch=first.batch))
            its = {f"{LATENCY}@{target}": open_meter(target)}
        found[form.called] = its
    return found
