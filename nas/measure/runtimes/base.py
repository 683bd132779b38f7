"""What a runtime has to offer to be measured in, and what all of them share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeGuard

import numpy as np

from nas.errors import NasError
from nas.measure import reference
from nas.measure.latency import Clock, Run
from nas.registry import A_RUN, Registry
from nas.shapes import Shape


class Opened(NamedTuple):
    """A network that is loaded, with an input at hand."""

    run: Run
    """Runs it once, the same each time, and waits for it."""

    output: Callable[[], np.ndarray]
    """Runs it once more and returns what comes out: (n, n_outputs)."""


@dataclass(frozen=True, kw_only=True)
class Runtime(ABC):
    """Runs networks the way they run in production, with the settings of a target.

    A new one is a file with a class that says `called`, `takes` and `load`; `tests/contracts/test_runtimes.py` does the
    rest. Importing that file loads nothing heavy: a meter's process holds its own runtime alone.

    Raises:
        NasError: a setting that the runtime does not have.
    """

    threads: int = 1
    """CPU threads of one run."""

    batch: int = 1
    """Samples of one run."""

    precision: str = "fp32"

    called: ClassVar[str]
    """Its name in `RUNTIMES`."""

    takes: ClassVar[Literal["onnx", "network"]]
    """What a model is: an ONNX file, or a file of `nas.measure.runtimes.network.write_network`."""

    ships: ClassVar[str] = ""
    """Suffix of the files of its own format, which it runs as they ship; "" where it has none."""

    precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    def __post_init__(self) -> None:
        for setting, value in (("threads", self.threads), ("batch", self.batch)):
            if value < 1:
                raise NasError(f"{self.called}: {setting} must be at least 1, got {value}")
        if self.precision not in self.precisions:
            known = " or ".join(self.precisions)
            raise NasError(f"{self.called}: precision must be {known}, got {self.precision!r}")

    @classmethod
    def unavailable(cls) -> str:
        """Return why it cannot run on this machine, with the remedy; "" where it can.

        Looks without loading: what is there and still does not load is an error of `prepare`.
        """
        return ""

    @property
    def name(self) -> str:
        """What a calibration is kept under: differs where latencies do not compare, as with another thread count."""
        return spell(self.called, self.threads, self.batch, self.precision)

    @property
    def clock(self) -> Clock:
        """What its runs are timed by."""
        return time.perf_counter_ns

    def prepare(self, model: Path | bytes, in_shape: Shape, *, seed: int = 0) -> Run:
        """Load `model` and return a function that runs it once on one batch, the same each time, and waits for it.

        Args:
            model: a file of the kind that it `takes`, or the bytes of one; or a file of those that it `ships`.
            in_shape: without the batch axis.
            seed: of the samples, standard normal.
        Raises:
            NasError: the runtime is unavailable, or the model cannot be loaded, or not be run at `in_shape`.
        """
        inputs = np.random.default_rng(seed).standard_normal((self.batch, *in_shape)).astype(np.float32)
        return self._open(model, inputs).run

    def prepare_reference(self) -> Run:
        """Return the same for the reference net."""
        return self.prepare(self.reference(), reference.IN_SHAPE)

    def outputs(self, model: Path | bytes, inputs: np.ndarray) -> np.ndarray:
        """Return what `model` makes of `inputs`, (n, *in_shape) float32, for any n: (n, n_outputs).

        Raises:
            NasError: as `prepare`.
        """
        return self._open(model, inputs).output()

    def is_shipped(self, model: Path | bytes) -> TypeGuard[Path]:
        """Whether `model` is a file of its own format."""
        return bool(self.ships) and isinstance(model, Path) and model.suffix == self.ships

    @abstractmethod
    def reference(self) -> bytes:
        """Return the reference net as what it `takes`."""

    @abstractmethod
    def load(self, model: Path | bytes, inputs: np.ndarray) -> Opened:
        """Load `model` to run on `inputs`, (n, *in_shape) float32. What it raises becomes an error of `prepare`."""

    def _open(self, model: Path | bytes, inputs: np.ndarray) -> Opened:
        if reason := self.unavailable():
            raise NasError(reason)
        try:
            opened = self.load(model, inputs)
            opened.run()
        except NasError:
            raise
        except Exception as error:  # each runtime has its own, most of them below Exception
            n, *in_shape = inputs.shape
            samples = "one sample" if n == 1 else f"{n} samples"
            raise NasError(f"{place(model)}: cannot be run on {samples} of shape {tuple(in_shape)}: {error}") from error
        return opened


class OnnxTaker(Runtime):
    """A runtime that is handed ONNX files."""

    takes = "onnx"

    def reference(self) -> bytes:
        return reference.model()

    def prepare_reference(self) -> Run:
        """Return a function that runs the reference net, on one thread whatever the target has.

        With two it has two speeds, 0.026 and 0.040 ms, which change within a search for no reason of its own.
        """
        return replace(self, threads=1).prepare(self.reference(), reference.IN_SHAPE)


def not_installed(package: str, title: str) -> str:
    """Return why a runtime that is an extra of the same name cannot run; "" where its package is there."""
    if find_spec(package) is None:
        return f"{package}: {title} is not installed; pip install 'pareto-nas[{package}]'"
    return ""


def place(model: Path | bytes) -> str:
    """Return how an error calls a model."""
    return "the model in memory" if isinstance(model, bytes) else str(model)


def spell(runtime: str, threads: int, batch: int, precision: str) -> str:
    """Return the text of a target on this machine; what is not said is as in `Runtime`.

    >>> spell("onnxruntime", 1, 1, "fp32"), spell("openvino", 2, 8, "fp32")
    ('onnxruntime', 'openvino:threads=2,batch=8')
    """
    said = {"threads": threads, "batch": batch, "precision": precision}
    settings = ",".join(f"{key}={value}" for key, value in said.items() if value != getattr(Runtime, key))
    return f"{runtime}:{settings}" if settings else runtime


def _check_class(name: str, part: type[Runtime]) -> None:
    if not (isinstance(part, type) and issubclass(part, Runtime)):
        raise ValueError(
            f"must be a class that inherits OnnxTaker or NetworkTaker (nas.measure.runtimes), got {part!r}"
        )
    if getattr(part, "called", None) != name:
        raise ValueError(f"called must be its name, got {getattr(part, 'called', None)!r}; write called = {name!r}")
    if getattr(part, "takes", None) not in ("onnx", "network"):
        raise ValueError("takes must be 'onnx' or 'network'; inherit OnnxTaker or NetworkTaker, which say so")
    if missing := sorted(getattr(part, "__abstractmethods__", ())):
        raise ValueError(f"it lacks {' and '.join(missing)}")


RUNTIMES: Registry[type[Runtime]] = Registry("runtime", _check_class)


def remember(name: str, takes: str, precisions: tuple[str, ...]) -> None:
    """Take over how a runtime was described when a run was made: its figures can be read without its code.

    What it measured has a name then; nothing can be measured in it until the code is there too.
    """
    if name not in RUNTIMES:
        told = {"called": name, "takes": takes, "precisions": precisions}
        RUNTIMES._file(name, type("Remembered", (_Remembered,), told), A_RUN)


class _Remembered(Runtime):
    @classmethod
    def unavailable(cls) -> str:
        return f"{cls.called}: the runtime is one of a user's own, and its code is not loaded; name its --plugin"

    def reference(self) -> bytes:
        raise NasError(self.unavailable())

    def load(self, model: Path | bytes, inputs: np.ndarray) -> Opened:
        raise NasError(self.unavailable())
