"""A network as a file that other programs run, never left under its name unless it computes the same."""

from nas.export.formats import FORMATS as FORMATS
from nas.export.formats import Format as Format
from nas.export.metadata import read_metadata as read_metadata
from nas.export.onnx import export_onnx as export_onnx
from nas.export.parity import check_parity as check_parity
from nas.export.parity import export_checked as export_checked
