"""OpenVINO's own files: read faster than ONNX, and what its device plugins and model server take."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError
from nas.export import quantize as int8
from nas.export.formats.base import FORMATS, Format
from nas.export.metadata import Metadata
from nas.export.onnx import export_onnx
from nas.export.standalone import open_openvino
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


class OpenVinoFormat(Format):
    """An .xml of the graph and a .bin of its weights, made of the ONNX file; float32 stays float32."""

    called, suffix, also, runtime, needs = "openvino", ".xml", (".bin",), "openvino", "openvino"
    extra = "openvino"
    precisions = ("fp32", "int8_static")
    opens = open_openvino

    def write(self, module: nn.Module, in_shape: Shape, path: Path, metadata: Metadata, batch: int) -> None:
        with tempfile.TemporaryDirectory(prefix="nas-openvino-") as scratch:
            plain = Path(scratch) / "network.onnx"
            export_onnx(module, in_shape, plain)
            _convert(plain, path)

    def quantize(self, plain: Path, path: Path, precision: int8.Precision, samples: np.ndarray) -> None:
        if reason := self.refuses(precision):
            raise NasError(reason)
        with tempfile.TemporaryDirectory(prefix="nas-openvino-") as scratch:
            quantised = Path(scratch) / plain.name
            int8.quantize(plain, quantised, precision, samples)
            _convert(quantised, path)


def _convert(onnx_path: Path, path: Path) -> None:
    import openvino
    from openvino.frontend import FrontEndManager

    try:
        # The reader of ONNX alone: `read_model` tries all formats, and each complains on stderr.
        reader = FrontEndManager().load_by_framework("onnx")
        openvino.save_model(reader.convert(reader.load(str(onnx_path))), path, compress_to_fp16=False)
    except Exception as error:  # it has several, without a common name
        raise NasError(f"{path.name}: OpenVINO cannot write it: {str(error).strip()}") from error


FORMATS.add("openvino")(OpenVinoFormat())
