"""A meter on another machine: the file goes there over SSH, and a single-file meter that runs there answers with JSON.

Nothing is installed on the device and nothing of ours listens there. It needs an SSH server with SFTP, a POSIX shell,
and Python 3.10 or newer with numpy and the runtime. Each measurement is a process of its own, as each start of the
shipped network will be.
"""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from nas.errors import NasError, RunError
from nas.measure.apart import TIMEOUT_S
from nas.measure.latency import Calibration
from nas.measure.pyz import pack
from nas.measure.ssh import GRACE_S, Done, Link, Lost, by_hand
from nas.measure.target import Target
from nas.objectives import Measurement
from nas.shapes import Shape

LOST_AT_MOST = 3
"""After so many failures of the connection in a row the device is gone, and with it the run."""

_ON = " on "


class MeterElsewhere:
    """Measures like `MeterApart`, on the machine that the target names.

    The name of its calibration's runtime ends with the processor, so that the calibration is refused for another.
    Trainers on this machine disturb nothing there and do not pause. Those who measure there as the same user take turns
    (`nas.measure.quiet`, whose two files of a line are all that stays on the device).

    Args:
        target: a runtime, its settings and a host, see `Target`.
        calibration: of an earlier measurement on that device; None makes one when it is first needed.
    Raises:
        NasError: no such target, or it names no other machine; asyncssh is not installed.

    Attributes:
        takes: what is measured: "onnx" files.
        disturbed: how many measurements, that of the calibration among them, began while a trainer there did not pause.
        drifts: `Meter.drift` of each measurement.
        device: what `nas.measure.describe` says there; empty until something was measured or calibrated.
    """

    def __init__(self, target: Target | str, calibration: Calibration | None = None) -> None:
        self.target = Target.parse(target) if isinstance(target, str) else target
        if not self.target.host:
            raise NasError(f"target {str(self.target)!r} names no other machine; write ssh:user@host/{self.target}")
        if find_spec("asyncssh") is None:
            raise NasError("asyncssh: measuring on another machine needs it; pip install 'pareto-nas[ssh]'")
        made = self.target.make()
        self.takes, self._runtime = made.takes, made.name
        self.disturbed = 0
        self.drifts: list[float] = []
        self.device: dict[str, Any] = {}
        self._calibration = calibration
        self._link: Link | None = None
        self._end: weakref.finalize[..., MeterElsewhere] | None = None
        self._lost = 0

    @property
    def calibration(self) -> Calibration:
        """The calibration that all measurements share.

        Raises:
            RunError: as `measure`, and for its other reasons too.
        """
        if self._calibration is None:
            found = self._ask("--calibrate")
            self._calibration = replace(Calibration.from_dict(found["calibration"]), runtime=self._runtime_there())
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        self._calibration = calibration

    def measure(self, path: Path, in_shape: Shape, limits: Sequence[float] = ()) -> Measurement:
        """Return the latency of one batch in ms, with its 95 % interval; see `Measures`.

        Raises:
            NasError: the file cannot be read, sent, or run there at `in_shape`, or takes too long; or the connection is
                lost meanwhile, and the next measurement makes another.
            RunError: what no other network would mend. The device was never reached, or is gone; its key or ours is
                not accepted; it lacks what the meter needs, or is another than the one that was calibrated; another
                process there keeps measuring for a minute.
        """
        kept = self.calibration
        ours = replace(kept, runtime=kept.runtime.partition(_ON)[0])  # its meter knows nothing of other machines
        if ours.runtime != self._runtime:
            self._refuse(kept, self._runtime)
        found = self._ask(
            *("--in-shape", ",".join(str(size) for size in in_shape)),
            *("--calibration", json.dumps(ours.to_dict())),
            *("--limits", ",".join(repr(float(limit)) for limit in limits)),
            path=Path(path),
        )
        if kept.runtime != self._runtime_there():
            self._refuse(kept, self._runtime_there())
        self.drifts.append(found["drift"])
        return Measurement(*found["measurement"])

    def close(self) -> None:
        """End the connection, after which nothing of it is left there; the next measurement makes another."""
        self._link = None
        if self._end is not None:
            self._end()

    def __enter__(self) -> MeterElsewhere:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _runtime_there(self) -> str:
        return f"{self._runtime}{_ON}{self.device['cpu'] or self.device['os'].split()[-1]}"

    def _refuse(self, kept: Calibration, here: str) -> NoReturn:
        raise RunError(
            f"{self.target.host}: the calibration was made with '{kept.runtime}', this is '{here}': latencies would not"
            " compare\n  measure in a new study"
        )

    def _ask(self, *arguments: str, path: Path | None = None) -> dict[str, Any]:
        """Run the meter there and return its answer."""
        host, what = self.target.host, path or "the calibration"
        try:
            content = path.read_bytes() if path is not None else None
        except OSError as error:
            raise NasError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            found = self._run(arguments, content, str(what))
        except Lost as lost:
            self.close()
            self._lost += 1
            if self.device and self._lost < LOST_AT_MOST:
                raise NasError(f"{host}: {what}: {lost}; the next measurement connects anew") from lost
            gone = f", and so were the {self._lost - 1} measurements before" if self._lost > 1 else ""
            raise RunError(
                f"{host}: {what}: {lost}{gone}\n  see that '{by_hand(host)}' works; a search goes on with --resume"
            ) from lost
        self._lost = 0
        if "error" in found:
            raise (RunError if found["of_run"] or path is None else NasError)(f"{host}: {found['error']}")
        self.device = found["device"]
        self.disturbed += not found["quiet"]
        return found

    def _run(self, arguments: Sequence[str], content: bytes | None, what: str) -> dict[str, Any]:
        link = self._connected()
        here = replace(self.target, host="", python="python3")
        python = (
            self.target.python.replace("~/", "./", 1) if self.target.python.startswith("~/") else self.target.python
        )
        words = [python, f"{link.folder}/meter.pyz", str(here), *arguments]
        words += ["--attached", "--timeout-s", str(max(1, math.ceil(TIMEOUT_S)))]
        if content is None:
            done, file = link.run(words, TIMEOUT_S + GRACE_S), what
        else:
            file = link.put(content, "network.onnx")
            try:
                done = link.run([*words, file], TIMEOUT_S + GRACE_S)
            finally:
                link.remove(file)
        found = _answer(done.stdout, measured=content is not None)
        if found is None:
            self._explain(done, what)
        if "error" in found:
            found["error"] = found["error"].replace(file, what)
        return found

    def _connected(self) -> Link:
        """Return the connection, made anew where it was lost while nobody measured."""
        if self._link is None or self._link.is_closed():
            self.close()
            link = Link(self.target.host)
            self._end = weakref.finalize(self, link.close)  # at the end of the program too, while its thread still runs
            link.open()
            try:
                link.put(pack(), "meter.pyz")
            except NasError as error:
                raise RunError(str(error)) from error
            self._link = link
        return self._link

    def _explain(self, done: Done, what: str) -> NoReturn:
        """Raise why the meter has not answered."""
        host, python, runtime = self.target.host, self.target.python, self.target.runtime
        last = (done.stderr.strip() or done.stdout.strip() or "it does not say why").splitlines()[-1][:300]
        how = f"signal {done.signal}" if done.signal else f"status {done.status}"
        if done.signal == "ALRM" or done.seconds >= TIMEOUT_S:
            raise NasError(f"{host}: {what}: takes longer than {TIMEOUT_S:g} s to measure")
        if done.status in (126, 127):
            raise RunError(
                f"{host}: there is no {python} that runs ({last})\n  install Python 3.10 or newer there, with numpy "
                f"and {runtime}, or say where it is: ssh:{host}/{runtime}:python=~/venv/bin/python"
            )
        if self.device:  # it did run there
            raise NasError(f"{host}: {what}: brings the measuring process down ({how}: {last})")
        raise RunError(f"{host}: {python} does not run the meter ({how}: {last})\n  is it Python 3.10 or newer?")


def _answer(stdout: str, *, measured: bool) -> dict[str, Any] | None:
    """Return the answer in what was printed there; None where it is none, since anything may have printed it."""
    line = next((line for line in reversed(stdout.splitlines()) if line.startswith("{")), "")
    try:
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            return {"error": str(found["error"]), "of_run": bool(found["of_run"])}
        device = {**found["device"]}
        answer = {"calibration": {**found["calibration"]}, "device": device, "quiet": bool(found["quiet"])}
        if measured:
            value, low, high = (float(number) for number in found["measurement"])
            answer |= {"measurement": (value, low, high), "drift": float(found["drift"])}
            if not 0 < low <= value <= high < math.inf:
                return None
    except (ValueError, KeyError, TypeError):
        return None
    return answer if {"cpu", "os"} <= set(device) else None
