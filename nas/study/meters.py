"""The meters of a study: one for each latency, calibrated once, and how they measured."""

from __future__ import annotations

from collections.abc import Mapping

from nas.errors import RunError
from nas.measure import Calibration, OpenMeter, conditions, describe, open_meter
from nas.records import read_json, write_json
from nas.study.config import StudyConfig
from nas.study.executors.ray_meter import made_on_ray
from nas.study.executors.ray_meter import open_meter as open_on_ray
from nas.study.folder import RunFolder
from nas.study.storage import Storage


def open_meters(config: StudyConfig, folder: RunFolder) -> dict[str, OpenMeter]:
    """Return the meters of a run that was made, by name of the price, with the calibrations that it kept.

    Raises:
        RunError: it kept none.
    """
    return {name: open_kept(target, folder) for name, target in config.latencies().items()}


def open_kept(target: str, folder: RunFolder) -> OpenMeter:
    """Return the meter of one target of a run, with the calibration that it kept.

    Raises:
        RunError: it kept none.
    """
    machine = read_json(folder.machine)
    kept, alone = machine.get("calibrations"), machine.get("calibration")  # the latter of version 0.1.0
    found = kept.get(target) if isinstance(kept, dict) else alone
    if not isinstance(found, dict):
        raise RunError(f"{folder.machine}: holds no calibration of {target}; latencies cannot be compared")
    calibration = Calibration.from_dict(found)
    if made_on_ray(calibration):
        return open_on_ray(target, calibration, address="auto")
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
