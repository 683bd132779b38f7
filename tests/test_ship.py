"""What ships: an ONNX file that was compared with torch and measured again, and says what it is."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import nas
from nas.build import build
from nas.catalog import find_space
from nas.errors import NasError, RunError
from nas.export import export_checked
from nas.rng import generator
from nas.ship import load_network, ship
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
    assert right.mean() == pytest.approx(found.accuracies[0], abs=1 / len(y)), "those of seed 0"
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


def test_without_a_name_it_goes_into_the_run_folder(front):
    member = front.pick("knee")
    shipped = member.export()
    assert shipped.file == str(front.folder.path / "exports" / f"trial-{member.record.number:05d}.onnx")
    assert [p.name for p in front.folder.exports.iterdir()] == [f"trial-{member.record.number:05d}.onnx"]


def test_the_latency_is_measured_again_in_the_unit_of_the_search(front):
    """The same file, the same calibration: a second reading within a factor of three, on the busiest machine."""
    member = front.pick("best:n_params")
    shipped = member.export()
    assert shipped.searched_ms == member.metrics["latency_ms"]
    assert shipped.file_ms_low <= shipped.file_ms <= shipped.file_ms_high
    assert 1 / 3 < shipped.file_ms / shipped.searched_ms < 3


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
    shipped = ship(config, record, front.task, front.folder, front.meter(), path=tmp_path / "net.onnx")
    assert shipped.kept == kept
    assert shipped.verdict.startswith(verdict)


def test_metadata_do_not_count_against_a_budget_on_size(front, tmp_path):
    record = front.pick("knee").record
    config = dataclasses.replace(front.config, budgets=(f"size_bytes<={record.metrics['size_bytes']:.0f}",))
    shipped = ship(config, record, front.task, front.folder, front.meter(), path=tmp_path / "net.onnx")
    assert shipped.size_bytes > record.metrics["size_bytes"]
    assert shipped.kept


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
    """As the README shows it: raw values in, the accuracy of the search out, without this package."""
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
