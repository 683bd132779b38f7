"""Peak memory against sums worked out by hand, and against a simulation that allocates and frees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from test_macs import BY_HAND, Apply, First
from torch import Tensor, nn

from nas.blocks import BLOCKS, HEADS, config_class
from nas.build import build
from nas.catalog import find_space, shipped
from nas.errors import NasError
from nas.export.onnx import export_onnx
from nas.measure.memory import peak_activation_bytes
from nas.shapes import Shape


def peak_bytes(module: nn.Module, in_shape: Shape, folder: Path) -> int:
    export_onnx(module, in_shape, folder / "net.onnx")
    return peak_activation_bytes(folder / "net.onnx", in_shape)


class Skip(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _mlp(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def _three_branches(module: nn.Module, x: Tensor) -> Tensor:
    return torch.cat((x.tanh(), x.relu(), x.exp()), 1)


# Numbers alive at the fullest time: (module, in_shape, numbers).
BY_HAND_TOO = {
    "nothing": (nn.Identity(), (4, 6), 24),
    "views": (nn.Flatten(), (4, 6), 24),
    "one layer": (nn.Linear(10, 3), (10,), 10 + 3),
    "chain": (_mlp(30), (10,), 30 + 30),  # at the ReLU
    "widening": (nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 64)), (4,), 16 + 64),
    "narrowing": (nn.Sequential(nn.Linear(64, 16), nn.Linear(16, 4)), (64,), 64 + 16),
    "bottleneck": (nn.Sequential(nn.Linear(64, 4), nn.Linear(4, 61)), (64,), 64 + 4),  # not 64 + 61
    "skip": (Skip(_mlp(30)), (10,), 10 + 30 + 30),  # at the ReLU, while x waits
    "skip within a skip": (Skip(Skip(_mlp(30))), (10,), 10 + 30 + 30),  # x is the same for both
    "skip after a layer": (nn.Sequential(nn.Linear(10, 10), Skip(_mlp(30))), (10,), 10 + 30 + 30),  # the input is gone
    "branches": (Apply(_three_branches), (5,), 15 + 15),  # x is gone
    "weights left out": (nn.Conv2d(3, 8, 3, padding=1), (3, 8, 8), (3 + 8) * 64),
    "norm folded, dropout gone": (
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout()),
        (3, 8, 8),
        (3 + 8) * 64,
    ),
    "reshaped": (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(512, 2)), (3, 8, 8), 11 * 64),
    "silu of two operators": (nn.SiLU(), (10,), 3 * 10),
    # the steps first, then y of every step, h and c of the last
    "lstm": (First(nn.LSTM(6, 8, batch_first=True)), (7, 6), 7 * 6 + 7 * 8 + 8 + 8),
    "lstm, both ways": (
        First(nn.LSTM(6, 8, batch_first=True, bidirectional=True)),
        (7, 6),
        2 * (7 * 2 * 8),  # at the transposition of y, without the states
    ),
    "lstm, both ways and wide": (
        First(nn.LSTM(60, 8, batch_first=True, bidirectional=True)),
        (7, 60),
        2 * (7 * 60),  # at the transposition of x
    ),
    "gru": (
        First(nn.GRU(6, 8, batch_first=True)),
        (7, 6),
        2 * 7 * 8,
    ),  # at the transposition of y: more than 42 + 56 + 8
    # two heads of scores before and after the softmax, while the values wait
    "attention": (BY_HAND["attention"][0], (10, 8), 2 * (2 * 10 * 10) + 10 * 8),
    "attention over more": (BY_HAND["attention"][0], (40, 8), 2 * (2 * 40 * 40) + 40 * 8),
}


@pytest.mark.parametrize("name", BY_HAND_TOO)
def test_by_hand(name, tmp_path):
    module, shape, numbers = BY_HAND_TOO[name]
    found = peak_bytes(module, shape, tmp_path)
    assert found == 4 * numbers
    assert isinstance(found, int)


def test_integers_have_eight_bytes(tmp_path):
    assert peak_bytes(Apply(lambda m, x: x.argmax(-1)), (4, 6), tmp_path) == 4 * 24 + 8 * 4


def test_a_transformer_needs_the_square_of_its_positions(tmp_path):
    """Scores twice, values, and the tokens that wait for the sum."""
    block = BLOCKS["transformer"]((200, 16), config_class(BLOCKS["transformer"])(dim=16, heads=2))
    assert peak_bytes(block, (200, 16), tmp_path) == 4 * (2 * (2 * 200 * 200) + 2 * 200 * 16)


SHAPES = {"map": (4, 8, 8), "tokens": (10, 6), "vector": (12,), "any": (7, 4)}


@pytest.mark.parametrize("name", [*BLOCKS, *HEADS])
def test_every_part_holds_its_input_and_its_output(name, tmp_path):
    part = (BLOCKS if name in BLOCKS else HEADS)[name]
    shape, config = SHAPES[part.takes], config_class(part)()
    module = part(shape, config) if name in BLOCKS else part(shape, 3, config)
    numbers = (np.prod(shape), np.prod(getattr(module, "out_shape", (3,))))
    assert 4 * max(numbers) <= peak_bytes(module, shape, tmp_path) <= 4 * 20 * sum(numbers)


IN_SHAPES = {
    **{"digits": (1, 8, 8), "image": (1, 28, 28), "image_conv": (3, 32, 32), "sequence": (25, 12), "mlp": (20,)},
    "text": (20,),
}


@pytest.mark.parametrize("name", shipped())
def test_networks_of_the_shipped_spaces(name, tmp_path):
    space, rng = find_space(name), np.random.default_rng(0)
    for _ in range(8):
        network = build(space, space.sample(rng), IN_SHAPES[name], 5)
        largest = max(np.prod(step.out_shape) for step in network.steps)
        assert peak_bytes(network, IN_SHAPES[name], tmp_path) >= 4 * largest


# --- against a simulation -------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> onnx.GraphProto:
    """Return a graph on (1, 3) whose nodes read anything before them; some of it is never read."""
    names, nodes = ["input"], []
    for i in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["Relu", "Concat", "Flatten", "Shape", "Split", "ReduceMax"]))
        reads = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3 if kind == "Concat" else 1))
        options = {"Concat": {"axis": 1}, "Split": {"axis": 1}, "ReduceMax": {"axes": [1]}}.get(kind, {})
        if kind == "Split":  # into two halves of what is there twice
            nodes.append(helper.make_node("Concat", reads * 2, [f"twice{i}"], axis=1))
            reads = [f"twice{i}"]
        outputs = [f"t{i}", f"u{i}"] if kind == "Split" else [f"t{i}"]
        nodes.append(helper.make_node(kind, reads, outputs, **options))
        names += [] if kind == "Shape" else outputs
    floats = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])]
    return helper.make_graph(nodes, "any", floats, [helper.make_empty_tensor_value_info(names[-1])])


def simulate(graph: onnx.GraphProto) -> int:
    """Allocate and free buffers, counting who is still to read each."""
    width, buffer_of, bytes_of = {"input": 3}, {"input": "input"}, {"input": 12}
    (end,) = (value.name for value in graph.output)
    peak = 12
    for i, node in enumerate(graph.node):
        if node.op_type == "Shape":
            continue
        total = sum(width[name] for name in node.input)
        for name in node.output:
            width[name] = {"Split": total // 2, "ReduceMax": 1}.get(node.op_type, total)
            buffer_of[name] = buffer_of[node.input[0]] if node.op_type == "Flatten" else name
            if node.op_type != "Flatten":
                bytes_of[name] = 4 * width[name]
        peak = max(peak, sum(bytes_of.values()))
        to_come = [later for later in graph.node[i + 1 :] if later.op_type != "Shape"]
        wanted = {buffer_of[name] for later in to_come for name in later.input if name in buffer_of}
        wanted |= {buffer_of[end]} if end in buffer_of else set()
        bytes_of = {name: n for name, n in bytes_of.items() if name in wanted}
    return peak


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
def test_any_graph(graph, tmp_path):
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "any.onnx"
    )
    assert peak_activation_bytes(tmp_path / "any.onnx", (3,)) == simulate(graph)


# --- what it does not take --------------------------------------------------------------------------------------------


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"no onnx")
    for name in ("absent.onnx", "torn.onnx"):
        with pytest.raises(NasError, match=f"{name}: cannot be loaded"):
            peak_activation_bytes(tmp_path / name, (3,))


def test_a_sample_that_does_not_fit_is_told(tmp_path):
    export_onnx(nn.Linear(4, 2), (4,), tmp_path / "net.onnx")
    with pytest.raises(NasError, match=r"net.onnx: cannot be run on one sample of shape \(5,\)"):
        peak_activation_bytes(tmp_path / "net.onnx", (5,))


def _saved(nodes: list[onnx.NodeProto], inputs: list[str], path: Path) -> Path:
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in inputs]
    graph = helper.make_graph(nodes, "odd", floats, [helper.make_empty_tensor_value_info("y")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_control_flow_and_two_inputs_are_refused(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "branch", [], [helper.make_empty_tensor_value_info("z")]
    )
    gate = helper.make_node("If", ["b"], ["y"], "gate", then_branch=branch, else_branch=branch)
    with pytest.raises(NasError, match=r"gate.onnx: what is alive within If 'gate'"):
        peak_activation_bytes(_saved([gate], ["x"], tmp_path / "gate.onnx"), (3,))
    add = helper.make_node("Add", ["x", "b"], ["y"])
    with pytest.raises(NasError, match=r"add.onnx: a network of one input .* this has 2"):
        peak_activation_bytes(_saved([add], ["x", "b"], tmp_path / "add.onnx"), (3,))
