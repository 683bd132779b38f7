"""A meter in a process of its own, which holds nothing but the runtime: the conditions under which a network ships."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from nas import plugins
from nas.errors import NasError, RunError
from nas.measure.latency import Calibration
from nas.measure.machine import describe
from nas.measure.meter import Meter
from nas.measure.runtimes import RUNTIMES
from nas.measure.target import Target
from nas.objectives import Measurement
from nas.shapes import Shape

TIMEOUT_S = 180.0
"""A measurement ends after about a second, and waits for others for about a minute; a network that takes the rest of
this for a few runs is given up."""


_START = "import sys; sys.path[0] = sys.argv[1]; from nas.measure.apart import main; main()"
"""sys.path begins with the folder the user stands in, whose random.py is not the one that numpy means."""


class MeterApart:
    """Measures like `Meter`, in a process that is started when first needed and stays warm.

    In the process of a search the heap is large and worn: the same file read up to 8 % more there than anywhere
    else, and up to 8 % apart between two such processes, each of them sure within 1 %. A process with numpy and
    the runtime alone reads it within 1.5 %, as a deployed one would.

    Args:
        target: a runtime and its settings, see `Target`.
        calibration: of an earlier measurement; None makes one when the process starts, in about half a second.
    Raises:
        NasError: no such target, or its runtime is not available here.

    Attributes:
        takes: what is measured: "onnx" files, or "network" files of `write_network`.
        disturbed: how many measurements, that of the calibration among them, began while a trainer did not pause.
        drifts: `Meter.drift` of each measurement.
    """

    def __init__(self, target: str, calibration: Calibration | None = None) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._calibration = calibration
        self.disturbed = 0
        self.drifts: list[float] = []
        self.target = Target.parse(target)
        made = self.target.make()
        if reason := made.unavailable():
            raise NasError(reason)
        self.takes = made.takes
        self._plugins = _needed(self.target.runtime, self.takes)

    @property
    def calibration(self) -> Calibration:
        """The calibration that all measurements share."""
        if self._calibration is None:
            found = self._ask({"calibration": None})
            self._calibration = Calibration.from_dict(found["calibration"])
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        self.close()
        self._calibration = calibration

    @property
    def device(self) -> dict[str, object]:
        """This machine."""
        return describe()

    def measure(self, path: Path, in_shape: Shape, limits: Sequence[float] = ()) -> Measurement:
        """Return the latency of one batch in ms, with its 95 % interval; see `Measures`.

        Raises:
            NasError: the file cannot be run at `in_shape`, takes too long, or brings the process down.
            RunError: another process keeps measuring for a minute.
        """
        request = {"path": str(path), "in_shape": in_shape, "limits": [*limits]}
        found = self._ask({**request, "calibration": self.calibration.to_dict()})
        self.drifts.append(found["drift"])
        return Measurement(*found["measurement"])

    def close(self) -> None:
        """End the process; the next measurement starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __enter__(self) -> MeterApart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer; a process that dies or keeps silent is replaced the next time."""
        if self._process is None:
            self._process = self._start()
            request = {**request, "plugins": [plugin.to_json() for plugin in self._plugins]}
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        started = time.monotonic()
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            watchdog.cancel()
        if not answer:
            self.close()
            late = time.monotonic() - started >= TIMEOUT_S
            how = f"takes longer than {TIMEOUT_S:g} s to measure" if late else "brings the measuring process down"
            raise NasError(f"{request.get('path', 'the reference net')}: {how}")
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise (RunError if found["of_run"] or request.get("path") is None else NasError)(found["error"])
        self.disturbed += not found["quiet"]
        return found

    def _start(self) -> subprocess.Popen[str]:
        here = str(Path(__file__).parents[2])  # this very package, however the caller came by it
        return subprocess.Popen(
            [sys.executable, "-c", _START, here, str(self.target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the search, which then ends this
        )


def _needed(runtime: str, takes: str) -> list[plugins.Plugin]:
    """Return the plugins without which a process cannot measure: a runtime's own, and those of blocks that it builds.

    No others: what they import would be in the process too, and change what is measured.
    """
    loaded = plugins.loaded()
    own = [plugin for plugin in loaded if f"runtime {runtime}" in plugin.id.parts]
    if RUNTIMES.own(runtime) and not own:
        raise NasError(
            f"runtime '{runtime}' was filed by {RUNTIMES.by(runtime)}, which the process that measures cannot load\n"
            "  put it into a file of its own, and name that with --plugin, or with nas.load_plugin in Python"
        )
    builds = [plugin for plugin in loaded if takes == "network" and plugin.has("block", "head")]
    return own + [plugin for plugin in builds if plugin not in own]


def serve(target: str, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests, one JSON object a line, with one line each, until there are no more."""
    meter: Meter | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if meter is None:
                plugins.restore(map(plugins.Plugin.from_json, request.get("plugins", ())))
                kept, made = request["calibration"], Target.parse(target).make()
                meter = Meter(made, Calibration.from_dict(kept)) if kept else Meter.calibrated(made)
            answer: dict[str, Any] = {"calibration": meter.calibration.to_dict(), "quiet": meter.quiet}
            if "path" in request:
                found = meter.measure(Path(request["path"]), tuple(request["in_shape"]), request["limits"])
                answer["measurement"] = [found.value, found.low, found.high]
                answer |= {"quiet": meter.quiet, "drift": meter.drift}
        except (NasError, MemoryError) as error:
            answer = {"error": str(error) or type(error).__name__, "of_run": isinstance(error, RunError)}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve the process that started this one, for the target it names."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what a library prints, from C++ too, is no answer
        serve(sys.argv[2], sys.stdin, answers)
