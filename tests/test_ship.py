"""What ships: an ONNX file that was compared with torch and measured again, and says what it is."""

import csv
import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import nas
from nas.build import build
from nas.catalog import find_space
from nas.cli import main
from nas.cli.export import export
from nas.errors import NasError, RunError
from nas.export import export_checked
from nas.export.quantize import PRECISIONS
from nas.measure import open_meter
from nas.objectives import OBJECTIVES, Measurement
from nas.rng import generator
from nas.ship import exported_path, load_network, measure_again, ship, write_table
from nas.ship.verdict import doubts as doubts_of
from nas.space.yaml import parse


def outputs(path, x: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": x.numpy()})[0]


@pytest.mark.parametrize("rule", ["knee", "best:accuracy", "best:n_params"])
def test_the_file_gives_what_torch_gives_at_any_batch(front, digits, tmp_path, rule):
    member = front.pick(rule)
    shipped = member.export(tmp_path / "net.onnx")
    network = member.network()
    for n in (1, 2, 7, 100):
        with torch.no_grad():
            expected = network(digits.x_val[:n]).numpy()
        np.testing.assert_allclose(outputs(tmp_path / "net.onnx", digits.x_val[:n]), expected, rtol=1e-4, atol=1e-5)
    assert shipped.max_difference < 1e-4
    assert shipped.size_bytes == (tmp_path / "net.onnx").stat().st_size
    right = outputs(tmp_path / "net.onnx", digits.x_val).argmax(1) == digits.y_val.numpy()
    assert right.mean() == pytest.approx(member.metrics["accuracy"], abs=1 / len(right))


def test_the_file_says_what_it_is(front, digits, tmp_path):
    member = front.pick("knee")
    member.export(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    (entry,) = model.graph.input
    axes = [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim]
    assert (entry.name, axes) == ("input", ["batch", 1, 8, 8])
    kept = {p.key: p.value for p in model.metadata_props}
    assert kept["made_by"].startswith("pareto-nas 0.")
    assert kept["data"] == "digits"
    assert json.loads(kept["classes"]) == [str(i) for i in range(10)]
    assert json.loads(kept["in_shape"]) == [1, 8, 8]
    assert (json.loads(kept["mean"]), json.loads(kept["std"])) == (list(digits.mean), list(digits.std))
    assert kept["trial"] == str(member.record.number)
    assert kept["weights"] == "searched"
    assert kept["architecture"] == member.record.arch.to_json()


def test_retrained_weights_come_before_searched_ones(front, digits, tmp_path):
    member = front.pick("best:accuracy")
    assert member.export(tmp_path / "searched.onnx").weights == "searched"
    found = member.retrain(seeds=2, epochs=3)
    assert member.export(tmp_path / "retrained.onnx").weights == "retrained"
    x, y = digits.test()
    right = outputs(tmp_path / "retrained.onnx", x).argmax(1) == y.numpy()
    assert right.mean() == pytest.approx(found.values[0], abs=1 / len(y)), "those of seed 0"
    assert not np.allclose(outputs(tmp_path / "searched.onnx", x[:2]), outputs(tmp_path / "retrained.onnx", x[:2]))


def test_a_dominated_trial_ships_once_it_is_retrained(front, tmp_path):
    record = next(r for r in front.records if r.state == "complete" and not r.on_front)
    member = front.pick(f"trial:{record.number}")
    with pytest.raises(RunError, match=rf"no weights of trial {record.number} .*retrain .* --pick trial:"):
        member.export(tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
    member.retrain(seeds=1, epochs=1)
    assert member.export(tmp_path / "net.onnx").weights == "retrained"


def test_a_file_is_not_overwritten_unless_asked(front, tmp_path):
    (tmp_path / "net.onnx").write_text("mine")
    with pytest.raises(NasError, match=r"net\.onnx exists already"):
        front.pick("knee").export(tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_text() == "mine"
    front.pick("knee").export(tmp_path / "net.onnx", overwrite=True)
    onnx.load(tmp_path / "net.onnx")


def test_into_a_folder_it_goes_under_its_usual_name(front, tmp_path):
    member = front.pick("knee")
    name = f"trial-{member.record.number:05d}.onnx"
    assert member.export(tmp_path).file == str(tmp_path / name)
    with pytest.raises(NasError, match=rf"{name} exists already"):
        member.export(tmp_path)
    (tmp_path / "net.onnx").mkdir()
    for overwrite in (False, True):  # who writes that means the file
        with pytest.raises(NasError, match=r"net\.onnx is a directory, which no file replaces"):
            member.export(tmp_path / "net.onnx", overwrite=overwrite)


def test_another_tokenizer_is_not_replaced_unless_asked(front, digits, tmp_path):
    """Its ids would mean something else to the network that it belongs to; the same is there after another format."""
    recipe = {"tokenizer": {"vocab": {"schön": 1}}}
    front._task = dataclasses.replace(digits, recipe=recipe)
    member, path, beside = front.pick("knee"), tmp_path / "net.onnx", tmp_path / "net.tokenizer.json"
    for other in ('{"vocab": {"kalt": 1}}', "no tokenizer"):
        beside.write_text(other)
        with pytest.raises(NasError, match=r"net\.tokenizer\.json exists already, and is another tokenizer"):
            member.export(path)
        assert beside.read_text() == other
        assert not path.exists()
    member.export(path, overwrite=True)
    assert json.loads(beside.read_text(encoding="utf-8")) == recipe["tokenizer"]
    for part in (path, tmp_path / "net.onnx.example.py"):
        part.unlink()
    member.export(path)


def test_without_a_name_it_goes_into_the_run_folder(front):
    member = front.pick("knee")
    shipped = member.export()
    assert shipped.file == str(front.folder.path / "exports" / f"trial-{member.record.number:05d}.onnx")
    name = f"trial-{member.record.number:05d}.onnx"
    there = sorted(p.name for p in front.folder.exports.iterdir() if not p.name.startswith("."))
    assert there == ["exports.csv", name, f"{name}.example.py"]


def test_the_latency_is_measured_again_in_the_unit_of_the_search(front):
    """The same file, the same calibration: a second reading within a factor of three, on the busiest machine."""
    member = front.pick("best:n_params")
    shipped = member.export()
    (again,) = shipped.latencies
    assert again.target == "onnxruntime"
    assert again.searched == member.record.prices["latency_ms"]
    assert again.file.low <= again.file.value <= again.file.high
    assert 1 / 3 < again.file.value / again.searched.value < 3


@pytest.mark.parametrize(
    ("budgets", "kept", "verdict"),
    [
        ((), True, "no budget was set"),
        (("latency_ms<=1000", "n_params<=1M"), True, "keeps every budget"),
        (("latency_ms<=1e-6", "n_params<=1M"), False, "breaks latency_ms<=1e-06 ("),
        (("n_params<=1",), False, "breaks n_params<=1 ("),
        (("size_bytes<=1", "macs<=1"), False, "breaks size_bytes<=1 ("),
    ],
)
def test_the_verdict(front, tmp_path, budgets, kept, verdict):
    config = dataclasses.replace(front.config, budgets=budgets)
    record = front.pick("knee").record
    shipped = ship(config, record, front.task, front.folder, front.meters(), path=tmp_path / "net.onnx")
    assert shipped.kept == kept
    assert shipped.verdict.startswith(verdict)


def test_metadata_do_not_count_against_a_budget_on_size(front, tmp_path):
    record = front.pick("knee").record
    config = dataclasses.replace(front.config, budgets=(f"size_bytes<={record.metrics['size_bytes']:.0f}",))
    shipped = ship(config, record, front.task, front.folder, front.meters(), path=tmp_path / "net.onnx")
    assert shipped.size_bytes > record.metrics["size_bytes"]
    assert shipped.kept


@pytest.fixture
def convolutional(front):
    """A member with a convolution, which static quantisation takes and dynamic leaves alone."""
    return next(m for m in front if "conv" in m.summary)


def test_a_quantised_file_is_judged_beside_torch_and_beside_float32(convolutional, digits, tmp_path):
    plain = convolutional.export(tmp_path / "plain.onnx")
    shipped = convolutional.export(tmp_path / "net.onnx", precision="int8_static")
    assert (plain.precision, shipped.precision) == ("fp32", "int8_static")
    assert plain.score_file == plain.score_torch == shipped.score_torch
    assert plain.score_torch == pytest.approx(convolutional.metrics["accuracy"], abs=1e-9)
    expected, found = (outputs(tmp_path / f"{name}.onnx", digits.x_val) for name in ("plain", "net"))
    assert shipped.score_file == np.mean(found.argmax(1) == digits.y_val.numpy())
    assert shipped.max_difference == pytest.approx(np.abs(found - expected).max(), rel=1e-2)
    assert shipped.max_difference > plain.max_difference
    assert shipped.latencies[0].searched is None, "that of another file"
    assert shipped.differs == ""
    assert (plain.speedup, shipped.speedup > 0) == (1.0, True)
    assert (shipped.speedup <= 1) == ("times the speed of fp32" in shipped.verdict)
    assert "worth" not in plain.verdict
    kept = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert kept["precision"] == "int8_static"
    assert kept["classes"] == json.dumps([str(i) for i in range(10)])
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
        *("net.onnx", "net.onnx.example.py", "plain.onnx", "plain.onnx.example.py")
    ]


def test_a_file_of_another_precision_says_so_in_its_name(convolutional):
    config, record, folder = convolutional.front.config, convolutional.record, convolutional.front.folder
    name = f"trial-{record.number:05d}"
    named = {p: exported_path(config, record, folder, p).name for p in (None, *PRECISIONS)}
    assert named == {
        **dict.fromkeys((None, "fp32"), f"{name}.onnx"),
        "int8_dynamic": f"{name}.int8_dynamic.onnx",
        "int8_static": f"{name}.int8_static.onnx",
    }
    assert convolutional.export(precision="int8_static").file == str(folder.exports / named["int8_static"])


def test_a_quantised_file_that_cannot_be_leaves_nothing_and_replaces_nothing(convolutional, tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(NasError, match="nothing in it can be quantised as int8_dynamic"):
        convolutional.export(path, precision="int8_dynamic")
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(NasError, match=r"net\.onnx exists already"):
        convolutional.export(path, precision="int8_static")
    assert path.read_text() == "mine"
    convolutional.export(path, precision="int8_static", overwrite=True)
    onnx.load(path)


def test_a_run_on_torch_modules_has_no_int8_files(convolutional, tmp_path):
    front, path = convolutional.front, tmp_path / "net.onnx"
    meters = {"latency_ms": open_meter("eager")}
    with pytest.raises(NasError, match=r"eager runs torch modules.*int8_static"):
        ship(front.config, convolutional.record, front.task, front.folder, meters, path=path, precision="int8_static")
    assert not path.exists()


def test_the_table_tells_precision_and_both_accuracies(convolutional, tmp_path):
    shipped = [convolutional.export(tmp_path / f"{p}.onnx", precision=p) for p in ("fp32", "int8_static")]
    write_table(tmp_path / "exports.csv", shipped)
    rows = list(csv.DictReader((tmp_path / "exports.csv").read_text().splitlines()))
    assert [row["precision"] for row in rows] == ["fp32", "int8_static"]
    assert [float(row["score_torch"]) for row in rows] == [s.score_torch for s in shipped]
    assert [float(row["score_file"]) for row in rows] == [s.score_file for s in shipped]


def test_the_command_quantises_what_it_can_and_names_what_it_cannot(front, tmp_path):
    """A front with networks that have convolutions, and one that has none."""
    option = next(p for p in export.params if p.name == "quantize")
    assert tuple(option.type.choices) == PRECISIONS
    possible = [m.record.number for m in front if "conv" in m.summary]
    assert 0 < len(possible) < len(front)
    command = ["export", str(front.folder.path), "--front", "--quantize", "int8_static", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert [p.name for p in sorted((tmp_path / "out").glob("*.onnx"))] == sorted(
        f"trial-{number:05d}.int8_static.onnx" for number in possible
    )
    missing = next(m.record.number for m in front if m.record.number not in possible)
    assert (
        f"trial {missing}, onnx: trial-{missing:05d}.int8_static.onnx: nothing in it can be quantised" in result.stderr
    )
    assert "accuracy (torch)" in result.stdout
    alone = CliRunner().invoke(main, [*command[:2], "--pick", f"trial:{missing}", "--quantize", "int8_static"])
    assert alone.exit_code == 2
    assert alone.stderr.startswith("nas: trial-")


@pytest.mark.parametrize(
    ("speedup", "torch_accuracy", "accuracy", "doubts"),
    [
        (1.3, 0.95, 0.945, ""),
        (1.3, 0.95, 0.96, ""),
        (0.9, 0.95, 0.95, "0.90 times the speed of fp32"),
        (1.3, 0.95, 0.935, "accuracy 0.9350 instead of 0.9500"),
        (1.0, 0.95, 0.90, "1.00 times the speed of fp32, accuracy 0.9000 instead of 0.9500"),
    ],
)
def test_what_speaks_against_an_int8_file(speedup, torch_accuracy, accuracy, doubts):
    assert doubts_of(speedup, OBJECTIVES["accuracy"], torch_accuracy, accuracy) == doubts


def test_weights_that_are_not_of_this_network(front):
    one, other = front.members[0].record, front.members[-1].record
    assert one.arch != other.arch
    front.folder.checkpoint(one.number).write_bytes(front.folder.checkpoint(other.number).read_bytes())
    with pytest.raises(RunError, match=f"not the weights of trial {one.number}"):
        load_network(front.config, one, front.task, front.folder)


@pytest.mark.parametrize(
    ("name", "in_shape"), [("digits", (1, 8, 8)), ("image", (1, 28, 28)), ("image_conv", (3, 32, 32)),
                           ("sequence", (25, 12)), ("mlp", (9,))]
)  # fmt: skip
def test_whatever_a_shipped_space_holds_can_be_shipped(tmp_path, name, in_shape):
    """Eight random networks of each, as they are at the start of their training: same outputs at batch 1 and 7."""
    space, rng = find_space(name), generator(1, "ship", name)
    for i in range(8):
        arch = space.sample(rng)
        network = build(space, arch, in_shape, 5)
        x = torch.randn(7, *in_shape, generator=torch.Generator().manual_seed(i))
        network.train()(x.repeat(3, *(1 for _ in in_shape)))  # norms that are no identities
        assert export_checked(network, in_shape, tmp_path / f"{i}.onnx", x) < 1e-3, arch.to_json()


def test_the_metadata_are_enough_to_use_a_file_of_uint8_images(tmp_path):
    """Raw values in, the accuracy of the search out, by hand."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    x = rng.integers(0, 120, (300, 1, 6, 6), dtype=np.uint8) + (y * 110).astype(np.uint8)[:, None, None, None]
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.array(["dark", "light"])[y])
    body = "body: {conv: {width: 8}}\nhead: {pool: {dropout: [0.0, 0.1]}}"
    space = parse(f"input: image\n{body}\ntraining: {{epochs: 3, batch_size: 32}}")
    front = nas.Study(space, tmp_path / "data.npz", ["accuracy"], out=tmp_path / "run").search(trials=1)
    front[0].export(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    meta = session.get_modelmeta().custom_metadata_map
    mean, std = (np.array(json.loads(meta[key])).reshape(-1, 1, 1) for key in ("mean", "std"))
    z = (x * json.loads(meta["scale"]) - mean) / std
    logits = session.run(None, {"input": z.astype(np.float32)})[0]
    found = np.array(json.loads(meta["classes"]))[logits.argmax(1)]
    assert np.mean(found == np.array(["dark", "light"])[y]) > 0.95


class Reader:
    """A meter whose processes read the same network differently; it notes how often one was ended."""

    target, disturbed, closed = "onnxruntime", 0, 0

    def __init__(self, *values: float) -> None:
        self.values, self.drifts = list(values), []

    def read(self) -> Measurement:
        self.drifts.append(0.0)
        value = self.values.pop(0)
        return Measurement(value, value * 0.999, value * 1.001)

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("values", "counts", "closed"),
    [
        ((1.02, 9.0), 1.02, 0),  # within 3 %: read once
        ((1.10, 1.01, 1.02), 1.02, 2),
        ((0.90, 0.91, 1.50), 0.91, 2),  # it is off, whatever one process says
    ],
)
def test_a_latency_that_is_off_is_read_in_three_processes_and_the_middle_one_counts(values, counts, closed):
    meter = Reader(*values)
    again = measure_again(Measurement(1.0, 0.999, 1.001), meter, meter.read)
    assert (again.file.value, meter.closed) == (counts, closed)
    assert bool(again.differs) == (abs(counts - 1) > 0.03)


def test_without_a_searched_latency_it_is_read_once():
    meter = Reader(5.0)
    assert measure_again(None, meter, meter.read).file.value == 5.0
