"""Multiply-adds of files against those of the modules they were made of, and against formulae."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_fast_macs import IN_SHAPES, TABLES, configured
from test_macs import BY_HAND, FREE
from torch import nn

from nas.build import build
from nas.catalog import find_space, shipped
from nas.errors import NasError
from nas.export.onnx import export_onnx
from nas.export.quantize import quantize
from nas.measure.macs import count_macs
from nas.measure.onnx_macs import count_onnx_macs

UNEXPORTABLE = {
    *("lstm, projected", "autograd function", "autograd function in another", "conv, reflected", "inner"),
    *("in slices", "attention that broadcasts", "encoder layer", "instance norm"),  # some at a batch of 2 alone
}
FOLDED = {"of parameters alone": 36}
"""The export works out what depends on no input; the trace of the module does it each time."""


@pytest.mark.parametrize("name", TABLES)
def test_every_part_of_ours_in_many_configurations(name, tmp_path):
    draw = random.Random(1)
    for _ in range(4):
        module, shape = configured(name, draw)
        export_onnx(module, shape, tmp_path / "net.onnx")
        assert count_onnx_macs(tmp_path / "net.onnx", shape) == count_macs(module, shape), (module, shape)


@pytest.mark.parametrize("name", [name for name in BY_HAND if name not in UNEXPORTABLE])
def test_by_hand(name, tmp_path):
    module, shape, macs = BY_HAND[name]
    export_onnx(module, shape, tmp_path / "net.onnx")
    assert count_onnx_macs(tmp_path / "net.onnx", shape) == FOLDED.get(name, macs)


@pytest.mark.parametrize("name", [name for name in FREE if name not in UNEXPORTABLE])
def test_norms_pooling_and_activations_are_free(name, tmp_path):
    module, shape = FREE[name]
    export_onnx(module, shape, tmp_path / "net.onnx")
    assert count_onnx_macs(tmp_path / "net.onnx", shape) == 0


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("precision", ["fp32", "int8_dynamic", "int8_static"])
def test_networks_of_the_shipped_spaces_in_any_precision(name, precision, tmp_path):
    space, rng, shape = find_space(name), np.random.default_rng(1), IN_SHAPES[name]
    samples = rng.standard_normal((4, *shape)).astype(np.float32)
    for _ in range(2):
        network = build(space, space.sample(rng), shape, 5)
        path = tmp_path / "net.onnx"
        export_onnx(network, shape, path)
        if precision != "fp32":
            try:
                quantize(path, tmp_path / "int8.onnx", precision, samples)
            except NasError:  # nothing in it to quantise
                continue
            path = tmp_path / "int8.onnx"
        assert count_onnx_macs(path, shape) == count_macs(network, shape)


# --- operators that our exports do not have ---------------------------------------------------------------------------


def saved(nodes: list[onnx.NodeProto], shape: list[Any], path: Path, *, opset: int = 17, **weights: Any) -> Path:
    """Write a file of input "x" and output "y"; weights are float32 unless they say otherwise."""
    known = [numpy_helper.from_array(np.asarray(w, getattr(w, "dtype", np.float32)), n) for n, w in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "odd", [x], [helper.make_empty_tensor_value_info("y")], known)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


N = helper.make_node


def test_gemm_turned_both_ways(tmp_path):
    nodes = [N("Gemm", ["x", "w"], ["y"], transA=1, transB=1)]
    path = saved(nodes, [4, 6], tmp_path / "g.onnx", w=np.ones((5, 4), np.float32))
    assert count_onnx_macs(path, (6,), batch=4) == 6 * 5 * 4 / 4


def test_the_layout_of_a_recurrent_layer_does_not_matter(tmp_path):
    w, r = np.ones((1, 24, 6), np.float32), np.ones((1, 24, 8), np.float32)
    path = saved([N("GRU", ["x", "w", "r"], ["y"], hidden_size=8)], [7, 1, 6], tmp_path / "g.onnx", w=w, r=r)
    assert count_onnx_macs(path, (1, 6), batch=7) == 3 * 8 * (6 + 8)


def test_attention_of_one_operator(tmp_path):
    nodes = [N("Attention", ["x", "x", "x"], ["y"], q_num_heads=2, kv_num_heads=2)]
    path = saved(nodes, ["batch", 10, 8], tmp_path / "a.onnx", opset=23)
    assert count_onnx_macs(path, (10, 8)) == 2 * 10 * 10 * (4 + 4)


def test_what_constants_make_and_what_nobody_reads_is_free(tmp_path):
    w = np.ones((6, 6), np.float32)
    nodes = [N("MatMul", ["w", "w"], ["c"]), N("MatMul", ["x", "w"], ["dead"]), N("MatMul", ["x", "c"], ["y"])]
    assert count_onnx_macs(saved(nodes, ["batch", 6], tmp_path / "c.onnx", w=w), (6,)) == 36


def test_functions_of_a_file_are_looked_into(tmp_path):
    inner = helper.make_function(
        "mine", "Twice", ["a", "b"], ["d"],
        [N("MatMul", ["a", "b"], ["c"]), N("MatMul", ["c", "b"], ["d"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    path = saved([N("Twice", ["x", "w"], ["y"], domain="mine")], ["batch", 6], tmp_path / "f.onnx", w=np.eye(6))
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.eye(6, dtype=np.float32), "w"))
    model.functions.append(inner)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(model, path)
    assert count_onnx_macs(path, (6,)) == 2 * 36


def _branch() -> onnx.NodeProto:
    branch = helper.make_graph([N("Relu", ["x"], ["z"])], "b", [], [helper.make_empty_tensor_value_info("z")])
    return N("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (N("FusedMoe", ["x"], ["y"], domain="com.microsoft"), r"com\.microsoft\.FusedMoe"),
        (N("Relu", ["x"], ["y"], domain="ai.onnx.ml"), r"ai\.onnx\.ml\.Relu"),
        (N("Convolve", ["x"], ["y"]), "Convolve"),
        (N("DFT", ["x"], ["y"]), "DFT"),
        (_branch(), "If"),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_what_nobody_knows_is_never_zero(node, named, tmp_path):
    path = saved([node], ["batch", 6], tmp_path / "odd.onnx", yes=np.array(True))
    with pytest.raises(NasError, match=rf"odd\.onnx: no count of multiply-adds for {named}"):
        count_onnx_macs(path, (6,))


def test_what_cannot_be_loaded_or_run_is_named(tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"no onnx")
    with pytest.raises(NasError, match=r"torn\.onnx: cannot be loaded"):
        count_onnx_macs(tmp_path / "torn.onnx", (6,))
    export_onnx(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), (4,), tmp_path / "net.onnx")
    with pytest.raises(NasError, match=r"net\.onnx: cannot be run on 1 samples of \(5,\)"):
        count_onnx_macs(tmp_path / "net.onnx", (5,))
