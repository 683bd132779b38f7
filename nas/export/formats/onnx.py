"""ONNX: what most runtimes read; with metadata of its own, and in 8 bits too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.export import quantize as int8
from nas.export.formats.base import FORMATS, Format
from nas.export.metadata import Metadata, as_texts
from nas.export.onnx import export_onnx
from nas.export.parity import Run, onnx_run
from nas.export.standalone import open_onnx
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


class OnnxFormat(Format):
    """A file with a free batch axis, see `export_onnx`."""

    called, suffix, runtime, needs = "onnx", ".onnx", "onnxruntime", "onnxruntime"
    precisions = int8.PRECISIONS
    opens = open_onnx

    def write(self, module: nn.Module, in_shape: Shape, path: Path, metadata: Metadata, batch: int) -> None:
        export_onnx(module, in_shape, path, metadata=as_texts(metadata))

    def quantize(self, plain: Path, path: Path, precision: int8.Precision, samples: np.ndarray) -> None:
        int8.quantize(plain, path, precision, samples)

    def load(self, path: Path) -> Run:
        return onnx_run(path)  # as the example does, but silent where it fails

    def finish(self, path: Path, metadata: Metadata) -> None:
        self.write_example(path, "the metadata of the file", metadata)


FORMATS.add("onnx")(OnnxFormat())
