"""The meter as a single file, for a machine that has Python, numpy and a runtime and nothing else.

It is a zip archive that Python runs (PEP 441), made of the very modules that measure here, so that there is one
protocol and not two. By hand, on the device:

    python3 meter.pyz onnxruntime:threads=4 model.onnx --in-shape 3,32,32
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import threading
import zipfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.errors import NasError, RunError, did_you_mean

RUNTIMES = ("onnxruntime", "openvino")
"""Those that take ONNX files; each is called as the package that it needs."""

_NAS = Path(__file__).parents[1]

_MODULES = (
    *("errors.py", "objectives.py", "registry.py", "shapes.py", "export/onnx.py"),
    *(f"measure/{name}.py" for name in ("latency", "machine", "meter", "pyz", "quiet", "reference", "target")),
)
"""Beside all of `measure/runtimes`. Each imports only what is there too, but for what it imports when called."""

_PACKAGES = ("__init__.py", "export/__init__.py", "measure/__init__.py")
"""Empty there: here they import more than that."""

_MAIN = """\
import json
import sys

if sys.version_info < (3, 10):
    found = sys.executable + " is Python " + ".".join(map(str, sys.version_info[:3]))
    print(json.dumps({"error": found + ", the meter needs 3.10 or newer", "of_run": True}))
    sys.exit(1)

from nas.measure.pyz import main

sys.exit(main())
"""


@cache
def pack() -> bytes:
    """Return the meter as the bytes of a file; the same for the same modules."""
    from nas.measure import reference

    runtimes = sorted(path.relative_to(_NAS).as_posix() for path in (_NAS / "measure/runtimes").glob("*.py"))
    files = {f"nas/{name}": (_NAS / name).read_bytes() for name in (*_MODULES, *runtimes)}
    files |= {f"nas/{name}": b"" for name in _PACKAGES}
    files |= {"__main__.py": _MAIN.encode(), f"nas/measure/{reference.KEPT}": reference.model()}
    packed = io.BytesIO(b"#!/usr/bin/env python3\n")
    packed.seek(0, io.SEEK_END)
    with zipfile.ZipFile(packed, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980, whenever it is made
    return packed.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once, as the arguments say, and print one line of JSON; return 1 if that is an error."""
    said = _parser().parse_intermixed_args(arguments)  # FILE may come last
    if said.timeout_s is not None:
        signal.alarm(said.timeout_s)  # the default action: it ends what computes in C++ too
    if said.attached:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)  # what a library prints, from C++ too, is no answer
        try:
            found = _measure(said)
        except (NasError, MemoryError) as error:
            found = {"error": str(error) or type(error).__name__, "of_run": isinstance(error, RunError)}
        print(json.dumps(found), file=answer)
    return int("error" in found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meter.pyz",
        description="Measure the latency of an ONNX file on this machine, beside a reference net, and print JSON: "
        "'measurement' is the latency of one batch in ms with the ends of its 95 % interval, 'quiet' whether no "
        "trainer disturbed it, 'drift' by which share the reference net was slower than when it was calibrated, "
        "'device' what it was measured on. Needs numpy and the runtime.",
    )
    parser.add_argument("target", metavar="TARGET", help="e.g. onnxruntime:threads=4,batch=1")
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="an ONNX file; none: calibrate only")
    parser.add_argument("--calibrate", action="store_true", help="print a calibration alone, to be handed on")
    parser.add_argument("--in-shape", metavar="C,H,W", type=_shape, help="of one input, without the batch")
    parser.add_argument("--calibration", metavar="JSON", help="of an earlier call; without it one is made now")
    parser.add_argument("--limits", metavar="MS,...", type=_numbers, default=(), help="measure longer close to these")
    parser.add_argument("--timeout-s", metavar="N", type=int, help="end after so many seconds, whatever happens")
    parser.add_argument("--attached", action="store_true", help="end as soon as standard input does")
    return parser


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(",") if number)


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def _measure(said: argparse.Namespace) -> dict[str, Any]:
    if (said.file is None) != said.calibrate or (said.file is None) != (said.in_shape is None):
        raise RunError("say either --calibrate, or an ONNX file and its --in-shape; see --help")
    runtime = said.target.partition(":")[0]
    if runtime not in RUNTIMES:
        raise RunError(did_you_mean("runtime", runtime, RUNTIMES))
    if missing := [package for package in ("numpy", runtime) if find_spec(package) is None]:
        raise RunError(
            f"{sys.executable} has no {' and no '.join(missing)}\n  {sys.executable} -m pip install {' '.join(missing)}"
        )
    try:
        from nas.measure.latency import Calibration
        from nas.measure.machine import describe
        from nas.measure.meter import Meter
        from nas.measure.target import Target
    except ImportError as error:  # numpy is there, and lacks a library of the system
        raise RunError(f"{sys.executable}: {error}") from error
    made = Target.parse(said.target).make()
    try:
        kept = said.calibration and Calibration.from_dict(json.loads(said.calibration))
        meter = Meter(made, kept) if kept else Meter.calibrated(made)
    except (ValueError, NasError) as error:
        raise RunError(str(error)) from error
    found: dict[str, Any] = {"calibration": meter.calibration.to_dict(), "device": describe()}
    if said.file is not None:
        measured = meter.measure(said.file, said.in_shape, said.limits)
        found |= {"measurement": [measured.value, measured.low, measured.high], "drift": meter.drift}
    return found | {"quiet": meter.quiet}
