"""The meters of a study: one for each latency, calibrated once, and how they measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.errors import NasError, RunError
from nas.measure import Calibration, OpenMeter, conditions, describe, open_meter
from nas.measure.target import Target
from nas.objectives import LATENCY
from nas.records import read_json, write_json
from nas.study.config import StudyConfig
from nas.study.elsewhere import NAMED_AGAIN, check_to_measure, read_executor
from nas.study.executors.ray_meter import made_on_ray
from nas.study.executors.ray_meter import open_meter as open_on_ray
from nas.study.folder import RunFolder
from nas.study.storage import Storage


def open_meters(
    config: StudyConfig, folder: RunFolder, targets: Sequence[str] = (), executor: str = "local"
) -> dict[str, OpenMeter]:
    """Return meters of a run that was made, closed yet, by name of the price: of `targets`, or of all that it has.

    Those of the run have its calibration; another makes one when it first measures.

    Args:
        targets: that the user names now. Without them none of the run may be on another machine.
        executor: as the user says it now: "ray" or "ray:ADDRESS" where the run measured on a cluster.
    Raises:
        NasError: one of them is no target, or not available here.
        RunError: the run kept no calibration of one of its own; or it measured on another machine that is not named.
    """
    own = {target: name for name, target in config.latencies().items()}
    if not targets:
        check_to_measure(config, folder)
    meters = {}
    for target in names_of(targets).values() if targets else own:
        if target in own:
            meters[own[target]] = _open_kept(target, folder, executor)
        else:
            meters[f"{LATENCY}@{target}"] = open_meter(target)
    return meters


def names_of(targets: Sequence[str]) -> dict[str, str]:
    """Return targets by the name of the latency on each: `latency_ms` on the first, `latency_ms@TARGET` on others.

    Raises:
        NasError: one of them is no target, there is none, or one is named twice.

    >>> names_of(["openvino:threads=1", "onnxruntime"])
    {'latency_ms': 'openvino', 'latency_ms@onnxruntime': 'onnxruntime'}
    """
    spelled = [str(Target.parse(target)) for target in ([targets] if isinstance(targets, str) else targets)]
    if not spelled:
        raise NasError("no target to measure on; write e.g. onnxruntime")
    if twice := next((target for target in spelled if spelled.count(target) > 1), None):
        raise NasError(f"target {twice} is named twice")
    return {f"{LATENCY}@{target}" if i else LATENCY: target for i, target in enumerate(spelled)}


def _open_kept(target: str, folder: RunFolder, executor: str) -> OpenMeter:
    """Return the meter of one target of a run, with the calibration that it kept.

    Raises:
        RunError: it kept none, or was made on a cluster and the user names none.
    """
    machine = read_json(folder.machine)
    kept, alone = machine.get("calibrations"), machine.get("calibration")  # the latter of version 0.1.0
    found = kept.get(target) if isinstance(kept, dict) else alone
    if not isinstance(found, dict):
        raise RunError(f"{folder.machine}: holds no calibration of {target}; latencies cannot be compared")
    calibration = Calibration.from_dict(found)
    place, address = read_executor(executor)
    if made_on_ray(calibration) and not Target.parse(target).host:
        if place != "ray":
            raise RunError(
                f"{folder.path}: {target} was measured on a Ray cluster, {NAMED_AGAIN}\n"
                "  to measure there give --executor ray, or ray:ADDRESS; in Python: executor='ray'\n"
                "  to measure here another --target"
            )
        return open_on_ray(target, calibration, address=address or "auto")
    return open_meter(target, calibration)


def calibrate(meters: Mapping[str, OpenMeter], storage: Storage, folder: RunFolder) -> None:
    """Give each meter the calibration that the study keeps for it; one it does not have yet is made, and kept.

    Raises:
        NasError: a target cannot be measured on, or is another machine than it was.
    """
    kept = dict(storage.attributes.get("calibrations", {}))
    if (alone := storage.attributes.get("calibration")) and not kept:  # of version 0.1.0, which knew one target
        kept = {alone["runtime"]: alone}
    new = [meter for meter in meters.values() if str(meter.target) not in kept]
    for meter in meters.values():
        if meter not in new:
            meter.calibration = Calibration.from_dict(kept[str(meter.target)])
    for meter in new:
        kept[str(meter.target)] = meter.calibration.to_dict()
    if new:
        storage.keep("calibrations", kept)
        before = read_json(folder.machine).get("devices", {}) if folder.machine.exists() else {}
        devices = {
            str(meter.target): meter.device for meter in new if meter.target.host or made_on_ray(meter.calibration)
        }
        write_json(folder.machine, {**describe(), "calibrations": kept, "devices": {**before, **devices}})


def keep_conditions(meters: Mapping[str, OpenMeter], folder: RunFolder) -> None:
    """Add to `machine.json` how this process measured: what drifted, and what was disturbed."""
    if not folder.machine.exists():
        return
    machine = read_json(folder.machine)
    here = {str(meter.target): conditions(meter) for meter in meters.values()}
    write_json(folder.machine, {**machine, "measured": [*machine.get("measured", []), here]})
