"""Precision as a choice of the space: priced, judged and shipped as the file that it names."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

import nas
from nas.build import build
from nas.errors import NasError, SpaceError
from nas.export import export_onnx
from nas.export.quantize import run_file
from nas.measure import RUNTIMES, Meter
from nas.measure.price import Pricer, network_key
from nas.metrics import Judge
from nas.objectives import PRICES
from nas.records import read_csv
from nas.space import Architecture
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.deploy import calibration, judge_file, precision_of, write_quantised
from nas.study.evaluate import Evaluator
from nas.study.jobs import Job
from nas.study.work import work
from nas.training import evaluate

SPACE = """\
input: image
stem: {conv: {width: 16, stride: 2}}
body: {choice: {conv: {width: [48, 64], stride: 2}, lstm: {hidden: 48}}}
head: {pool: {}}
training: {epochs: 1, batch_size: 32, optimizer: {adamw: {lr: 0.005}}}
deploy: {precision: [fp32, int8_dynamic, int8_static]}
"""
MINE = parse(SPACE, name="mine")


def arch(precision: str, block: str = "conv") -> Architecture:
    fields = {"body.conv.width": 48} if block == "conv" else {}
    return MINE.architecture({"body": block, **fields, "deploy.precision": precision})


@pytest.fixture(scope="module")
def evaluator(digits, tmp_path_factory) -> Evaluator:
    meters = {"latency_ms": Meter.calibrated(RUNTIMES["onnxruntime"]())}
    pricer = Pricer(meters, digits.in_shape, tmp_path_factory.mktemp("scratch"), samples=calibration(digits, 1))
    return Evaluator(StudyConfig(space=MINE, seed=1), digits, pricer)


def test_the_precision_is_float32_unless_it_is_said(tiny):
    assert precision_of(MINE, arch("int8_static")) == "int8_static"
    assert precision_of(tiny, tiny.sample(np.random.default_rng(0))) == "fp32"
    fixed = parse(SPACE.replace("[fp32, int8_dynamic, int8_static]", "int8_dynamic"))
    assert precision_of(fixed, fixed.sample(np.random.default_rng(0))) == "int8_dynamic"


def test_calibration_samples_are_of_the_training_set_alone(digits):
    found = calibration(digits, seed=3)
    assert found.shape == (256, 1, 8, 8)
    known = {x.tobytes() for x in digits.x_train.numpy()}
    assert all(x.tobytes() in known for x in found)
    np.testing.assert_array_equal(found, calibration(digits, seed=3))
    assert not np.array_equal(found, calibration(digits, seed=4))
    few = dataclasses.replace(digits, x_train=digits.x_train[:9], y_train=digits.y_train[:9])
    np.testing.assert_array_equal(calibration(few, seed=0), few.x_train.numpy())


def test_a_file_is_judged_as_a_module_is(digits, tmp_path):
    torch.manual_seed(0)
    network = build(MINE, arch("fp32"), digits.in_shape, 10).eval()
    export_onnx(network, digits.in_shape, tmp_path / "net.onnx")
    pauses = []
    found = judge_file(tmp_path / "net.onnx", digits.x_val, digits.y_val, Judge(), lambda: pauses.append(1))
    expected = evaluate(network, digits.x_val, digits.y_val)
    assert found["accuracy"] == expected["accuracy"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert len(pauses) == -(-len(digits.x_val) // 512)


def test_two_precisions_build_the_same_network_and_are_two_candidates(evaluator):
    plain, static = evaluator.candidate(arch("fp32")), evaluator.candidate(arch("int8_static"))
    assert (plain.problem, static.problem) == ("", "")
    (network, training), (other, same) = plain.key.split("-"), static.key.split("-")
    assert network != other, "or one would be taken for a duplicate of the other"
    assert training == same
    built = [build(MINE, arch(p), (1, 8, 8), 10) for p in ("fp32", "int8_static")]
    assert built[0].signature() == built[1].signature()
    assert network_key(built[0]) == network
    assert network_key(built[1], "int8_static") == other


def test_what_is_counted_stays_and_what_is_weighed_is_the_quantised_file(evaluator):
    plain, static = (evaluator.candidate(arch(p)).prices for p in ("fp32", "int8_static"))
    assert set(plain) == set(static) == set(PRICES)
    for name in ("macs", "n_params"):
        assert plain[name] == static[name]
    assert static["peak_bytes"].value < plain["peak_bytes"].value
    assert static["size_bytes"].value < 0.7 * plain["size_bytes"].value
    assert static["latency_ms"] != plain["latency_ms"]
    assert list(Path(evaluator.pricer.scratch).iterdir()) == []


def test_a_network_without_anything_to_quantise_is_a_failed_trial_with_its_reason(evaluator):
    found = evaluator.candidate(arch("int8_dynamic", "conv"))
    record = found.record(0, [])
    assert record is not None
    assert record.state == "failed"
    assert "nothing in it can be quantised as int8_dynamic" in record.reason
    assert evaluator.candidate(arch("int8_dynamic", "lstm")).problem == ""
    assert list(Path(evaluator.pricer.scratch).iterdir()) == []


@pytest.mark.parametrize(("precision", "block"), [("int8_static", "conv"), ("int8_dynamic", "lstm")])
def test_accuracy_and_loss_are_those_of_the_file(evaluator, digits, tmp_path, precision, block):
    outcome = work(evaluator.config, digits, Job(number=3, arch=arch(precision, block), rung=0), lambda told: None)
    assert (outcome.ended, outcome.state) == ("rung", None)
    network = build(MINE, arch(precision, block), (1, 8, 8), 10)
    network.load_state_dict(torch.load(io.BytesIO(outcome.weights), weights_only=True))
    path = tmp_path / "net.onnx"
    write_quantised(network, digits.in_shape, path, precision, calibration(digits, evaluator.config.seed))
    scores = judge_file(path, digits.x_val, digits.y_val, Judge())
    assert outcome.scores == scores
    assert outcome.scores["loss"] != evaluate(network, digits.x_val, digits.y_val)["loss"]
    assert outcome.scores["accuracy"] == pytest.approx(outcome.curve[-1][1], abs=0.05), "the curve is of float32"
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert list(Path(evaluator.pricer.scratch).iterdir()) == []


def test_a_file_that_cannot_be_written_is_a_failed_trial(evaluator, monkeypatch):
    wrong = np.zeros((4, 1, 5, 8), np.float32)
    monkeypatch.setattr("nas.study.deploy.calibration", lambda task, seed: wrong)
    job = Job(number=4, arch=arch("int8_static"), rung=0)
    outcome = work(evaluator.config, evaluator.task, job, lambda told: None)
    assert (outcome.ended, outcome.weights) == ("failed", None)
    assert "cannot be quantised as int8_static" in outcome.reason
    assert outcome.epochs == 1


def test_a_target_without_int8_is_told_before_anything_is_written(digits, tmp_path):
    study = nas.Study(MINE, digits, ["accuracy", "latency_ms"], out=tmp_path / "run", runtime="eager")
    with pytest.raises(SpaceError, match=r"deploy\.precision: int8_dynamic and int8_static .* target eager"):
        study.search(trials=1)
    assert list(tmp_path.iterdir()) == []


def test_a_search_over_precisions_end_to_end(digits, tmp_path):
    """Searched, told from each other, exported in their own precision and in another one."""
    study = nas.Study(
        MINE, digits, ["accuracy", "size_bytes"], out=tmp_path / "run", sampler="random", seed=2, trial_time_limit=60
    )
    front = study.search(trials=6)
    assert {r.arch.values["deploy.precision"] for r in front.records if r.state == "complete"} >= {
        "fp32",
        "int8_static",
    }
    assert read_csv(tmp_path / "run" / "trials.csv")[0].arch.values["deploy.precision"]
    member = next(m for m in front if m.record.arch.values["deploy.precision"] == "int8_static")
    assert member.summary.endswith(", int8_static")
    shipped = member.export()
    assert Path(shipped.file).name == f"trial-{member.record.number:05d}.onnx"
    assert shipped.precision == "int8_static"
    assert shipped.score_file == pytest.approx(member.metrics["accuracy"], abs=1e-9), "what the search saw, shipped"
    model = onnx.load(shipped.file)
    assert {p.key: p.value for p in model.metadata_props}["precision"] == "int8_static"
    assert any(w.data_type == TensorProto.INT8 for w in model.graph.initializer)
    right = run_file(Path(shipped.file), digits.x_val.numpy()).argmax(1) == digits.y_val.numpy()
    assert right.mean() == pytest.approx(shipped.score_file)
    plain = member.export(precision="fp32")
    assert Path(plain.file).name == f"trial-{member.record.number:05d}.fp32.onnx"
    assert plain.speedup == 1.0
    assert plain.latencies[0].searched is None, "the search measured another file"
    with pytest.raises(NasError, match="exists already"):
        member.export()
