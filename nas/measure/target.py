"""Where and how a network is to run: the runtime, its settings, and the machine if it is not this one."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from nas.errors import NasError, did_you_mean
from nas.measure.runtimes.base import RUNTIMES, Runtime, spell

_REMOTE = "ssh:"
_HOST = re.compile(r"[A-Za-z0-9_][\w.@-]*(:\d{1,5})?", re.ASCII)  # no '-' in front, which ssh would take for an option
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_SETTINGS = (*(field.name for field in fields(Runtime)), "python")
_WORDS = ("precision", "python")
_PYTHON = "python3"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What latencies are measured on.

    As text it is RUNTIME, or RUNTIME:SETTING=VALUE,..., with ssh:HOST/ in front of it for another machine, where the
    runtime is one that takes ONNX files.

    >>> Target.parse("onnxruntime:batch=8,threads=2")
    Target(runtime='onnxruntime', threads=2, batch=8, precision='fp32', host='', python='python3')
    >>> str(Target(runtime="openvino", threads=2)), str(Target.parse("openvino:threads=1"))
    ('openvino:threads=2', 'openvino')
    >>> Target.parse("ssh:pi@kitchen/onnxruntime:threads=4").host
    'pi@kitchen'
    >>> Target.parse("ssh:kitchen/onnxruntime:python=~/venv/bin/python").python
    '~/venv/bin/python'

    Raises:
        NasError: there is no such runtime, or it has no such setting.
    """

    runtime: str = "onnxruntime"

    threads: int = 1
    """CPU threads of one run."""

    batch: int = 1
    """Samples of one run: latencies are those of a whole batch."""

    precision: str = "fp32"

    host: str = ""
    """As ssh knows it; empty for this machine."""

    python: str = _PYTHON
    """On another machine, the Python that has numpy and the runtime: a name, or a path, which may begin with ~/."""

    def __post_init__(self) -> None:
        takes = self.make().takes
        if not self.host:
            if self.python != _PYTHON:
                raise NasError("python is a setting of another machine, ssh:HOST/...; here it is the one in use")
            return
        if not _HOST.fullmatch(self.host):
            raise NasError(f"host {self.host!r} is no name that ssh knows; write e.g. ssh:user@host/{self.runtime}")
        if RUNTIMES.own(self.runtime):
            raise NasError(
                f"{self.runtime} is a runtime of your own, and on another machine nothing runs but ours: it gets ONNX "
                f"files and a meter; write e.g. ssh:{self.host}/onnxruntime"
            )
        if takes != "onnx":
            known = " or ".join(n for n in RUNTIMES if RUNTIMES[n].takes == "onnx" and not RUNTIMES.own(n))
            raise NasError(f"{self.runtime} runs torch modules, which stay on this machine; on another use {known}")
        if not self.python.isprintable() or self.python.strip() != self.python or self.python[:1] in ("", "-"):
            raise NasError(f"python must be a name or a path such as ~/venv/bin/python, got {self.python!r}")
        if "," in self.python:
            raise NasError(f"python must be a path without a comma, got {self.python!r}; make a link to it there")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target.

        Raises:
            NasError: the text is none.
        """
        host, here = "", text.strip()
        if here.startswith(_REMOTE):
            host, slash, here = here.removeprefix(_REMOTE).partition("/")
            if not (host and slash):
                raise NasError(f"target {text!r} names no runtime of a machine; write e.g. ssh:user@host/onnxruntime")
        runtime, colon, said = here.partition(":")
        try:
            RUNTIMES[runtime]
            settings = _settings(said) if colon else {}
            return cls(runtime=runtime, host=host, **settings)  # type: ignore[arg-type]  # as `_settings` sees to
        except NasError as error:
            raise NasError(f"target {text!r}: {error}") from None

    def make(self) -> Runtime:
        """Return the runtime, for use on the machine where it is."""
        return RUNTIMES[self.runtime](threads=self.threads, batch=self.batch, precision=self.precision)

    def __str__(self) -> str:
        here = spell(self.runtime, self.threads, self.batch, self.precision)
        if self.python != _PYTHON:
            here += f"{',' if ':' in here else ':'}python={self.python}"
        return f"{_REMOTE}{self.host}/{here}" if self.host else here


def _settings(text: str) -> dict[str, int | str]:
    """Read SETTING=VALUE,..."""
    found: dict[str, int | str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and value):
            raise NasError(f"{part.strip()!r} is no setting; write e.g. threads=1")
        if key not in _SETTINGS:
            raise NasError(did_you_mean("setting", key, _SETTINGS))
        if key in found:
            raise NasError(f"{key} is said twice")
        if key not in _WORDS and not _COUNT.fullmatch(value):
            raise NasError(f"{key} must be a whole number, got {value!r}")
        found[key] = value if key in _WORDS else int(value)
    return found
