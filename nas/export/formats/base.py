"""What a format of files has to offer to ship a network in it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nas.errors import NasError
from nas.export.example import example_source
from nas.export.metadata import Metadata, write_beside
from nas.export.onnx import silence
from nas.export.parity import Run
from nas.export.quantize import Precision
from nas.registry import Registry
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


class Format(ABC):
    """A kind of file that some runtime loads.

    A new one is a file with a class that says what is below; `tests/contracts/test_exports.py` does the rest.
    Importing that file loads nothing heavy.
    """

    called: ClassVar[str]
    """Its name in `FORMATS`."""

    suffix: ClassVar[str]

    also: ClassVar[tuple[str, ...]] = ()
    """Suffixes of what a network consists of beside the file itself."""

    runtime: ClassVar[str]
    """What runs it, by name in `nas.measure.runtimes.RUNTIMES`."""

    needs: ClassVar[str]
    """The packages of that runtime, beside numpy, for a reader."""

    extra: ClassVar[str] = ""
    """The package that writes it, and the extra of the same name, where it does not come with this one."""

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)

    any_batch: ClassVar[bool] = True
    """Whether the file takes any number of samples at once, where the network can."""

    as_searched: ClassVar[bool] = True
    """Whether its runtime measures in a search what such a file holds, so that the latencies compare."""

    opens: ClassVar[Callable[..., Any]]
    """The function of `nas.export.standalone` that loads such a file."""

    @classmethod
    def unavailable(cls) -> str:
        """Return why it cannot be written on this machine, with the remedy; "" where it can."""
        if cls.extra and find_spec(cls.extra) is None:
            return f"{cls.called}: {cls.extra} is not installed; pip install 'pareto-nas[{cls.extra}]'"
        return ""

    def refuses(self, precision: Precision) -> str:
        """Return why no file of that precision is written; "" where one is."""
        if precision in self.precisions:
            return ""
        return (
            f"{self.called}: files of this format are written in {' or '.join(self.precisions)} alone, not in "
            f"{precision}\n  for 8 bits take --format onnx, or --quantize fp32 for this one"
        )

    @abstractmethod
    def write(self, module: nn.Module, in_shape: Shape, path: Path, metadata: Metadata, batch: int) -> int | None:
        """Write `module`, in eval mode, with its metadata; return how many samples the file takes, None for any.

        Args:
            batch: the number of samples where it has to be fixed.
        Raises:
            NasError: the network cannot be written in this format, and why.
        """

    def quantize(self, plain: Path, path: Path, precision: Precision, samples: np.ndarray) -> None:
        """Write the network of an ONNX file in 8 bits; see `nas.export.quantize.quantize`.

        Raises:
            NasError: it cannot be quantised, or not written in this format.
        """
        raise NasError(self.refuses(precision))

    def load(self, path: Path) -> Run:
        """Return what runs the file at `path`, loaded anew.

        Raises:
            NasError: it cannot be loaded.
        """
        try:
            with silence(), stderr_closed():
                run: Run = type(self).opens(path)[1]
        except Exception as error:  # each runtime has its own, most of them below Exception
            raise NasError(f"{path}: {self.runtime} cannot load it: {error}") from error
        return run

    def finish(self, path: Path, metadata: Metadata) -> None:
        """Write what goes beside the file: its metadata where it cannot hold them, and an example of its use."""
        write_beside(path, metadata)
        self.write_example(path, "the .json file beside it", metadata)

    def write_example(self, path: Path, where: str, metadata: Metadata) -> None:
        """Write the script that predicts with the file."""
        source = example_source(path.name, type(self).opens, self.needs, where, metadata)
        example_path(path).write_text(source, encoding="utf-8")

    def parts(self, path: Path) -> list[Path]:
        """Return the files that the network consists of."""
        return [path, *(path.with_suffix(suffix) for suffix in self.also)]


def example_path(path: Path) -> Path:
    """Return where the example of a file is.

    >>> example_path(Path("exports/trial-00017.onnx")).name
    'trial-00017.onnx.example.py'
    """
    return path.with_name(f"{path.name}.example.py")


@contextmanager
def stderr_closed() -> Iterator[None]:
    """Drop what the C++ side says by itself, for want of a switch: some of it by Python's stderr, some past it."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


FORMATS: Registry[Format] = Registry("format")
