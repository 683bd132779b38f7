"""Files from anywhere, and networks of a run, measured again."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import nas
from nas.api import Front
from nas.blocks import BLOCKS
from nas.errors import NasError, RunError
from nas.export.onnx import export_onnx, quiet_session
from nas.measure import count_macs, opened
from nas.measure.onnx_file import OnnxFile, read_shape
from nas.measured import measure_file, measure_trials
from nas.objectives import Measurement
from nas.records import TrialRecord, read_json, write_json
from nas.ship import Again
from nas.space.yaml import parse
from nas.study.meters import open_meters


def saved(path: Path, shape: list, dtype: int = TensorProto.FLOAT, *, n_inputs: int = 1) -> Path:
    """Write a network of one product of its input (as float32) with 6 numbers."""
    w = numpy_helper.from_array(np.ones((6, 2), np.float32), "w")
    inputs = [helper.make_tensor_value_info(f"x{i}", dtype, shape) for i in range(n_inputs)]
    nodes = [
        helper.make_node("Cast", ["x0"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "odd", inputs, [helper.make_empty_tensor_value_info("y")], [w])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text().splitlines())]


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    export_onnx(NETWORK, (3, 16, 16), path)
    return path


NETWORK = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 256, 10))


def test_a_file_from_elsewhere(net, tmp_path):
    found = nas.measure_file(net, ["onnxruntime", "onnxruntime:threads=2"], csv=tmp_path / "table.csv")
    assert list(found.targets.items()) == [
        ("latency_ms", "onnxruntime"),
        ("latency_ms@onnxruntime:threads=2", "onnxruntime:threads=2"),
    ]
    assert all(0 < m.low <= m.value <= m.high for m in found.latencies.values())
    assert found.latency_ms == found.latencies["latency_ms"].value
    assert found.n_params == sum(p.numel() for p in NETWORK.parameters())
    assert found.macs == count_macs(NETWORK, (3, 16, 16))
    assert found.peak_bytes == 4 * 2 * 8 * 256
    assert found.size_bytes == net.stat().st_size
    (row,) = rows(tmp_path / "table.csv")
    assert [*row][:4] == ["file", "latency_ms", "latency_ms_low", "latency_ms_high"]
    assert "latency_ms@onnxruntime:threads=2_high" in row
    machine = json.loads((tmp_path / "table.machine.json").read_text())
    assert set(machine["calibrations"]) == {"onnxruntime", "onnxruntime:threads=2"}
    assert machine["cores"]


def test_weights_in_constant_nodes_are_parameters_and_the_numbers_of_a_formula_are_not(tmp_path):
    path = saved(tmp_path / "net.onnx", ["batch", 6])
    model = onnx.load(path)
    (weight,) = model.graph.initializer
    half = numpy_helper.from_array(np.float32(0.5), "half")
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in (weight, half)]
    del model.graph.initializer[:]
    for node in reversed([*constants, helper.make_node("Mul", ["f", "half"], ["g"])]):
        model.graph.node.insert(0, node)
    before = OnnxFile.read(path).n_params
    onnx.save(model, path)
    assert OnnxFile.read(path).n_params == before == 12


@pytest.mark.parametrize("dtype", ["INT64", "INT32", "UINT8", "BOOL", "FLOAT16", "DOUBLE"])
def test_any_type_of_number(dtype, tmp_path):
    """What a runtime is handed takes float32; whole numbers are 0 or 1, floats what they were."""
    file = OnnxFile.read(saved(tmp_path / "net.onnx", ["batch", 6], TensorProto.DataType.Value(dtype)))
    given = file.for_runtimes(tmp_path)
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    expected = (x if file.dtype in ("FLOAT16", "DOUBLE") else x > 0) @ np.ones((6, 2))
    (entry,) = (session := quiet_session(given)).get_inputs()
    np.testing.assert_allclose(session.run(None, {entry.name: x})[0], expected, rtol=0.01, atol=0.01)
    assert (file.dtype, file.macs(), file.n_params) == (dtype, 12, 12)
    assert file.peak_bytes(given) > 0


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, 8)  # of the smallest vocabulary
        self.lstm = nn.LSTM(8, 8, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.lstm(self.embedding(ids))[0][:, -1]


@pytest.mark.filterwarnings("ignore")
def test_tokens_of_any_length_need_a_length(tmp_path):
    path, axes = tmp_path / "tagger.onnx", {"ids": {0: "batch", 1: "time"}}
    example = (torch.zeros(2, 5, dtype=torch.long),)
    torch.onnx.export(Tagger().eval(), example, path, dynamo=False, input_names=["ids"], dynamic_axes=axes)
    with pytest.raises(
        NasError, match=r"input 'ids' is \(batch, time\), and its axis 1 \('time'\) has no size\n.*--shape"
    ):
        measure_file(path)
    found = measure_file(path, shape=(5,))
    assert found.macs == 5 * 4 * 8 * 16
    with pytest.raises(NasError, match=r"so a sample cannot be \(5, 3\)"):
        measure_file(path, shape="5,3")


def test_a_fixed_batch(tmp_path):
    assert measure_file(saved(tmp_path / "one.onnx", [1, 6])).peak_bytes is not None
    four = saved(tmp_path / "four.onnx", [4, 6])
    with pytest.raises(NasError, match=r"fixed to 4, and onnxruntime is to run 1\n.*--target onnxruntime:batch=4"):
        measure_file(four)
    found = measure_file(four, ["onnxruntime:batch=4"])
    assert (found.macs, found.peak_bytes) == (12, None)
    assert "the file takes 4 at once" in found.notes[-1]


def test_operators_that_nobody_can_count_are_told(tmp_path):
    nodes = [helper.make_node("Det", ["x"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 3])
    graph = helper.make_graph(nodes, "odd", [x], [helper.make_empty_tensor_value_info("y")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "d.onnx")
    found = measure_file(tmp_path / "d.onnx")
    assert found.macs is None
    assert found.to_row()["macs"] == ""
    assert any(note.startswith("macs unknown") and "Det" in note for note in found.notes)


def test_weights_beside_the_file(net, tmp_path):
    model = onnx.load(net)
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.weights", size_threshold=0)
    found = measure_file(tmp_path / "big.onnx")
    assert found.size_bytes == (tmp_path / "big.onnx").stat().st_size + (tmp_path / "big.weights").stat().st_size
    assert (found.macs, found.n_params) == (count_macs(NETWORK, (3, 16, 16)), measure_file(net).n_params)
    (tmp_path / "big.weights").unlink()
    with pytest.raises(NasError, match=r"big\.onnx: its weights are in big\.weights, which is not there"):
        measure_file(tmp_path / "big.onnx")


def test_what_is_no_network_of_one_input_is_told(tmp_path):
    with pytest.raises(NasError, match=r"none\.onnx: there is no such file"):
        measure_file(tmp_path / "none.onnx")
    for content in (b"no onnx", b"", b"\x89PNG\r\n\x1a\n" + bytes(99)):
        (tmp_path / "torn.onnx").write_bytes(content)
        with pytest.raises(NasError, match=r"torn\.onnx: is not an ONNX file"):
            measure_file(tmp_path / "torn.onnx")
    with pytest.raises(NasError, match=r"this has 2 \(x0, x1\)"):
        measure_file(saved(tmp_path / "two.onnx", ["n", 6], n_inputs=2))
    with pytest.raises(NasError, match=r"input 'x0' is STRING"):
        measure_file(saved(tmp_path / "words.onnx", ["n", 6], TensorProto.STRING))
    with pytest.raises(NasError, match=r"axes 2 \('h'\), 3 have no size\n.*--shape 3,224,224"):
        measure_file(saved(tmp_path / "open.onnx", ["n", 3, "h", None]))
    with pytest.raises(NasError, match="a single number"):
        measure_file(saved(tmp_path / "scalar.onnx", []))


def test_targets_that_cannot_be(net):
    with pytest.raises(NasError, match=r"eager builds the networks of a run and takes no ONNX files; take onnxruntime"):
        measure_file(net, ["eager"])
    with pytest.raises(NasError, match="named twice"):
        measure_file(net, ["onnxruntime", "onnxruntime:threads=1"])
    with pytest.raises(NasError, match="no runtime called 'onxruntime'"):
        measure_file(net, ["onxruntime"])


@pytest.mark.parametrize("text", ["", "3,", "0,3", "3,-1", "a", [], (3, 0)])
def test_a_shape_that_cannot_be_read(text):
    with pytest.raises(NasError, match="cannot be read"):
        read_shape(text)


def test_a_file_of_ours_is_handed_over_as_it_is(net, tmp_path):
    assert OnnxFile.read(net).for_runtimes(tmp_path) == net


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_front_is_measured_beside_what_the_search_saw(front, tmp_path):
    measured = front.measure(csv=tmp_path / "again.csv")
    assert [one.trial for one in measured] == [m.record.number for m in front]
    for one, member in zip(measured, front, strict=True):
        (again,) = one.latencies.values()
        assert again.searched == member.record.prices["latency_ms"]
        assert 0 < again.file.low <= again.file.value <= again.file.high
        assert one.weights == "searched"
        assert one.verdict("latency_ms")
    table = rows(tmp_path / "again.csv")
    assert len(table) == len(front)
    for row in table:
        ratio = float(row["latency_ms"]) / float(row["searched_latency_ms"])
        assert float(row["ratio_latency_ms"]) == pytest.approx(ratio, abs=1e-4)
    kept = read_json(tmp_path / "again.machine.json")["calibrations"]
    assert kept == read_json(front.folder.machine)["calibrations"], "the run's own calibration"


def test_a_table_that_has_no_place_is_told_before_anything_is_measured(front, net, tmp_path, monkeypatch):
    def never(*args, **options):
        raise AssertionError("measured")

    monkeypatch.setattr("nas.measured.open_meter", never)
    monkeypatch.setattr(Front, "meters", never)
    for path, said in (
        (tmp_path / "out" / "again.csv", r"out/again\.csv: there is no folder .*out"),
        (tmp_path, "is a f"),
    ):
        for measure in (lambda path=path: measure_file(net, csv=path), lambda path=path: front.measure(csv=path)):
            with pytest.raises(NasError, match=said):
                measure()


def test_without_weights_an_untrained_network_is_measured(front, digits):
    for path in front.folder.checkpoints.iterdir():
        path.unlink()
    (one,) = front.measure(members=[front.pick("knee")])
    assert one.weights == "untrained"
    assert one.latencies["latency_ms"].file.value > 0


def test_a_further_target_has_a_calibration_of_its_own(front, tmp_path):
    (one,) = front.measure(["eager", "onnxruntime"], members=[front.pick("knee")], csv=tmp_path / "two.csv")
    assert list(one.latencies) == ["latency_ms@eager", "latency_ms"]
    assert one.latencies["latency_ms@eager"].searched is None
    assert one.verdict("latency_ms@eager") == ""
    assert set(read_json(tmp_path / "two.machine.json")["calibrations"]) == {"eager", "onnxruntime"}
    (row,) = rows(tmp_path / "two.csv")
    assert "searched_latency_ms@eager" not in row


def test_a_network_that_cannot_be_measured_on_one_target_says_why(front, monkeypatch):
    """A block of one's own is not known in the process that measures, and an ONNX file asks for none."""

    class Doubled(BLOCKS["identity"]):  # type: ignore[misc]
        def forward(self, x):
            return 2 * x

    monkeypatch.setitem(BLOCKS._parts, "doubled", Doubled)
    space = parse("input: image\nbody: {doubled: {}}\nhead: {pool: {}}\n", name="own")
    config = dataclasses.replace(front.config, space=space, objectives=("accuracy",), budgets=())
    record = TrialRecord(0, space.architecture({}), "complete")
    with opened(open_meters(config, front.folder, ["onnxruntime", "eager"])) as meters:
        (one,) = measure_trials(config, [record], front.task, front.folder, meters)
    assert list(one.latencies) == ["latency_ms"]
    assert "cannot be measured" in one.verdict("latency_ms@eager")
    assert one.to_row()["verdict_latency_ms@eager"] == one.problems["latency_ms@eager"]


def test_another_machine_is_a_reason(front):
    write_json(front.folder.machine, {**read_json(front.folder.machine), "cpu": "Z80"})
    (one,) = front.measure(members=[front.pick("knee")])
    assert one.moved[0].endswith("in the search it was Z80")
    again = one.latencies["latency_ms"]
    seen = Measurement.exact(again.file.value / 2)
    twice = Again(again.target, seen, again.file, disturbed=False, drift=0.0)
    slower = type(one)(one.trial, one.blocks, one.weights, {"latency_ms": twice}, moved=one.moved)
    assert slower.verdict("latency_ms").startswith("onnxruntime: +100.0%")
    assert "Z80" in slower.verdict("latency_ms")
    assert slower.to_row()["ratio_latency_ms"] == 2


def test_a_run_without_a_calibration_is_told(front):
    kept = read_json(front.folder.machine)
    write_json(front.folder.machine, {key: value for key, value in kept.items() if key != "calibrations"})
    with pytest.raises(RunError, match="holds no calibration"):
        front.measure()
    front = Front.load(front.folder.path, data=front.task)
    assert front.measure(["onnxruntime:threads=2"], members=[front.pick("knee")])
