"""A network as a file that other programs run, never left under its name unless it computes the same."""

from nas.export.onnx import check_parity as check_parity
from nas.export.onnx import export_checked as export_checked
from nas.export.onnx import export_onnx as export_onnx
