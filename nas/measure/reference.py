"""The net that every latency is a ratio to: fixed weights, fixed shape, made in memory without torch."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from nas.shapes import Shape

NAME = "conv-16-32-32/1"
"""Kept with every calibration; the number goes up when anything below changes, since old ratios then mean nothing."""

IN_SHAPE: Shape = (3, 32, 32)

KEPT = "reference.onnx"
"""Name of the finished net beside this module, where `nas.measure.pyz` has packed it: there is no `onnx` there."""


@cache
def model() -> bytes:
    """Return the reference net as ONNX: three 3x3 convolutions with ReLU, a mean, a linear layer of 10.

    1.9 M multiply-adds and 15 k parameters, some 0.04 ms: long beside the clock and the call (0.003 ms), short beside
    most candidates, and small enough to push little of one out of the caches.
    """
    if (kept := resources.files("nas.measure") / KEPT).is_file():
        return kept.read_bytes()
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def weight(name: str, *shape: int) -> str:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    x, channels = "input", IN_SHAPE[0]
    for i, (width, stride) in enumerate([(16, 2), (32, 1), (32, 2)]):
        inputs = [x, weight(f"w{i}", width, channels, 3, 3), weight(f"b{i}", width)]
        nodes.append(helper.make_node("Conv", inputs, [f"c{i}"], strides=[stride] * 2, pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        x, channels = f"r{i}", width
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", weight("w", 10, channels), weight("b", 10)], ["logits"], transB=1))
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *IN_SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()
