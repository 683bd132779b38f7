"""The formats in which networks ship, one file each: `FORMATS` by name."""

from nas.export.formats.base import FORMATS as FORMATS
from nas.export.formats.base import Format as Format
from nas.export.formats.executorch import ExecuTorchFormat as ExecuTorchFormat
from nas.export.formats.onnx import OnnxFormat as OnnxFormat
from nas.export.formats.openvino import OpenVinoFormat as OpenVinoFormat
from nas.export.formats.pt2 import Pt2Format as Pt2Format
