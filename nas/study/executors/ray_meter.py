"""Latencies on nodes of a Ray cluster that are set aside for them, while others train."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from nas import plugins
from nas.errors import NasError, RunError
from nas.measure import MeterApart, OpenMeter
from nas.measure import open_meter as open_meter_here
from nas.measure.apart import TIMEOUT_S
from nas.measure.latency import Calibration
from nas.measure.target import Target
from nas.objectives import Measurement
from nas.shapes import Shape
from nas.study.executors.ray import LATENCY, connect, measures

LOST_AT_MOST = 3
"""After so many measurements in a row that were lost with their process, the run ends."""

_SHARE = 0.001
"""Of a node's resource that a meter takes. Several meters and several searches use one node; who measures there at a
time is settled there (`nas.measure.quiet`)."""

_ON = " on "


def open_meter(target: str, calibration: Calibration | None = None, *, address: str | None = None) -> OpenMeter:
    """Return the meter of a target: on a node that is set aside for measuring, where the cluster has one.

    Without such a node, and for a target that names a machine, it is that of `nas.measure.open_meter`.

    Args:
        calibration: of an earlier measurement; None makes one.
        address: of the cluster, see `OnRay`; "auto" is one that runs, and never one that is started here.
    Raises:
        NasError: no such target, or what it needs is not installed.
        RunError: there is no such cluster, or it has no such node any more and the calibration was made on one.
    """
    if Target.parse(target).host:
        return open_meter_here(target, calibration)
    if measures(connect(address)):
        return MeterOnRay(target, calibration, address=address)
    if calibration is not None and made_on_ray(calibration):
        raise _no_node()
    return open_meter_here(target, calibration)


def made_on_ray(calibration: Calibration) -> bool:
    """Return whether a `MeterOnRay` made the calibration of a target that names no machine."""
    return _ON in calibration.runtime


def _no_node() -> RunError:
    return RunError(
        "no node of the Ray cluster is set aside for measuring\n"
        f"  add one with ray start --address=HOST:6379 --resources='{{\"{LATENCY}\": 1}}'"
    )


class MeterOnRay:
    """Measures like `MeterApart`, in an actor on a node that has the resource "latency".

    Such a node is started with `ray start --address=HOST:6379 --resources='{"latency": 1}'`, and nothing is trained on
    it. The name of its calibration's runtime ends with its processor, so that the calibration is refused for another.

    Args:
        target: a runtime and its settings, see `Target`.
        calibration: of an earlier measurement on such a node; None makes one when it is first needed.
        address: of the cluster, see `OnRay`.
    Raises:
        NasError: no such target, or it names another machine.
        RunError: there is no such cluster.

    Attributes:
        takes: what is measured: "onnx" files, or "network" files of `write_network`.
        disturbed: how many measurements, that of the calibration among them, began while a trainer there did not pause.
        drifts: `Meter.drift` of each measurement.
        device: what `nas.measure.describe` says there; empty until something was measured or calibrated.
        node: the id of the Ray node that measured last.
    """

    def __init__(self, target: str, calibration: Calibration | None = None, *, address: str | None = None) -> None:
        self._actor: Any = None
        self.target = Target.parse(target)
        if self.target.host:
            raise NasError(f"target {target!r} names a machine of its own; write {replace(self.target, host='')}")
        self._ray = connect(address)
        made = self.target.make()
        self.takes, self._runtime = made.takes, made.name
        self.disturbed = 0
        self.drifts: list[float] = []
        self.device: dict[str, Any] = {}
        self.node = ""
        self._calibration = calibration
        self._lost = 0

    @property
    def calibration(self) -> Calibration:
        """The calibration that all measurements share.

        Raises:
            RunError: as `measure`, and for its other reasons too.
        """
        if self._calibration is None:
            found = self._ask(None, None, (), ())
            self._calibration = replace(Calibration.from_dict(found["calibration"]), runtime=self._runtime_there())
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        self._calibration = calibration

    def measure(self, path: Path, in_shape: Shape, limits: Sequence[float] = ()) -> Measurement:
        """Return the latency of one batch in ms, with its 95 % interval; see `Measures`.

        Raises:
            NasError: the file cannot be read, or run there at `in_shape`, or takes too long; or the node is lost
                meanwhile, and the next measurement is made on another.
            RunError: what no other network would mend. No node is set aside for measuring, or one after the other is
                lost; the node lacks what the runtime needs, or is another than the one that was calibrated; another
                process there keeps measuring for a minute.
        """
        kept = self.calibration
        ours = replace(kept, runtime=kept.runtime.partition(_ON)[0])  # a meter there knows nothing of other machines
        found = self._ask(Path(path), ours, in_shape, limits)
        if kept.runtime != self._runtime_there():
            raise RunError(
                f"the calibration was made with '{kept.runtime}', this is '{self._runtime_there()}': latencies would "
                "not compare\n  measure in a new study, or set such a node aside again"
            )
        self.drifts.append(found["drift"])
        return Measurement(*found["measurement"])

    def close(self) -> None:
        """End the process; the next measurement starts another one."""
        actor, self._actor = self._actor, None
        if actor is not None and self._ray.is_initialized():
            self._ray.kill(actor)

    def __enter__(self) -> MeterOnRay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _runtime_there(self) -> str:
        return f"{self._runtime}{_ON}{self.device['cpu'] or self.device['os'].split()[-1]}"

    def _ask(
        self, path: Path | None, calibration: Calibration | None, in_shape: Shape, limits: Sequence[float]
    ) -> dict[str, Any]:
        """Have the node measure a file, or calibrate where there is none, and return the answer."""
        what = path or "the calibration"
        try:
            content = path.read_bytes() if path is not None else None
        except OSError as error:
            raise NasError(f"{path}: cannot be read: {error.strerror or error}") from error
        if self._actor is None:
            if not measures(self._ray):
                raise _no_node()
            bench = self._ray.remote(Bench).options(num_cpus=0, resources={LATENCY: _SHARE})
            self._actor = bench.remote(str(self.target), plugins.loaded())
        plain = None if calibration is None else calibration.to_dict()
        asked = self._actor.ask.remote(plain, path and path.name, content, in_shape, tuple(limits))
        try:
            found: dict[str, Any] = self._ray.get(asked, timeout=2 * TIMEOUT_S)
        except self._ray.exceptions.RayError as error:  # a timeout is one, too
            self.close()
            self._lost += 1
            said = f"{what}: the Ray node that measures it is lost: {' '.join(str(error).split())[:300]}"
            if self.device and self._lost < LOST_AT_MOST:
                raise NasError(f"{said}\n  the next measurement is made on another") from error
            raise RunError(f"{said}\n  see that a node with the resource '{LATENCY}' works") from error
        self._lost = 0
        if "error" in found:
            said = found["error"].replace(found["path"], str(what)) if found["path"] else found["error"]
            raise (RunError if found["of_run"] or path is None else NasError)(f"Ray node {found['host']}: {said}")
        self.device, self.node = found["device"], found["node"]
        self.disturbed += found["disturbed"]
        return found


class Bench:
    """What measures on the node.

    Args:
        target: see `Target`.
        given: what the process of the search has loaded.
    """

    def __init__(self, target: str, given: Sequence[plugins.Plugin] = ()) -> None:
        self._target, self._plugins = target, given
        self._meter: MeterApart | None = None
        self._given: dict[str, Any] | None = None

    def ask(
        self,
        calibration: dict[str, Any] | None,
        name: str | None,
        content: bytes | None,
        in_shape: Shape,
        limits: Sequence[float],
    ) -> dict[str, Any]:
        """Calibrate, or measure a file of that name and content under a calibration; return plain values."""
        with tempfile.TemporaryDirectory(prefix="nas-") as folder:
            path = Path(folder) / name if name else None
            try:
                if path is not None and content is not None:
                    path.write_bytes(content)
                return {**self._measure(calibration, path, in_shape, limits), **_where()}
            except (NasError, OSError) as error:
                of_run = not isinstance(error, NasError) or isinstance(error, RunError)
                return {"error": str(error), "of_run": of_run, "path": str(path or ""), **_where()}

    def _measure(
        self, calibration: dict[str, Any] | None, path: Path | None, in_shape: Shape, limits: Sequence[float]
    ) -> dict[str, Any]:
        plugins.restore(self._plugins)
        meter = self._meter = self._meter or MeterApart(self._target)
        if calibration is not None and calibration != self._given:
            meter.calibration = Calibration.from_dict(calibration)  # which starts its process anew
        before = meter.disturbed
        self._given = meter.calibration.to_dict()
        found: dict[str, Any] = {"calibration": self._given, "device": meter.device}
        if path is not None:
            measured = meter.measure(path, tuple(in_shape), limits)
            found |= {"measurement": (measured.value, measured.low, measured.high), "drift": meter.drifts[-1]}
        return {**found, "disturbed": meter.disturbed - before}


def _where() -> dict[str, str]:
    """Return which node this is; to be called there."""
    import platform

    context = connect().get_runtime_context()
    return {"node": context.get_node_id(), "host": platform.node()}
