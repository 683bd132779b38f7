"""Quantised files on trained networks: they load, decide as torch does, are smaller, and what cannot be is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.build import Network, build_tree
from nas.data import Task
from nas.errors import NasError
from nas.export import export_onnx
from nas.export.quantize import PRECISIONS, quantize, run_file
from nas.training import TrainConfig, fit

CONV, POOL, LAST = {"conv": {"width": 16, "stride": 2}}, {"pool": {}}, {"last": {}}
TREES = {
    "conv": {"stem": CONV, "body": [{"conv": {"width": 48, "stride": 2}}], "head": POOL},
    "conv, silu": {"stem": CONV, "body": [{"conv": {"width": 48, "stride": 2, "act": "silu"}}], "head": POOL},
    "resblock": {"stem": CONV, "body": [{"resblock": {"width": 32}}], "head": POOL},
    "separable": {"stem": CONV, "body": [{"separable": {"width": 64}}, {"separable": {"width": 64}}], "head": POOL},
    "mbconv": {"stem": CONV, "body": [{"mbconv": {"width": 24, "expand": 4, "se": True}}], "head": POOL},
    "conv1d": {"body": [{"conv1d": {"width": 48}}, {"conv1d": {"width": 48, "act": "gelu"}}], "head": POOL},
    "lstm": {"stem": CONV, "body": [{"lstm": {"hidden": 48}}], "head": LAST},
    "gru": {"body": [{"gru": {"hidden": 24}}], "head": LAST},
    "rnn": {"body": [{"rnn": {"hidden": 24}}], "head": LAST},
    "transformer": {"stem": CONV, "body": [{"transformer": {"dim": 48, "heads": 2}}], "head": POOL},
    "tokens": {"stem": {"project": {"width": 48}}, "body": [{"transformer": {"dim": 48, "heads": 2}}], "head": POOL},
    "dense": {"body": [{"dense": {"width": 96}}, {"dense": {"width": 96}}], "head": POOL},
}
LAYERS = {
    # dynamic, static: how many layers are quantised; 0 where the mode has nothing to do
    "conv": (0, 2),
    "conv, silu": (0, 2),
    "resblock": (0, 4),  # the stem, two, and the one that widens the skip
    "separable": (0, 5),
    "mbconv": (0, 6),  # two of them in the squeeze-and-excite
    "conv1d": (0, 2),
    "lstm": (1, 1),
    "gru": (0, 0),
    "rnn": (0, 0),
    "transformer": (4, 1),  # query-key-value, out, and two dense ones
    "tokens": (4, 0),
    "dense": (2, 2),
}
MODES = PRECISIONS[1:]
POSSIBLE = [(kind, MODES[i]) for kind, counts in LAYERS.items() for i in (0, 1) if counts[i]]


@pytest.fixture(scope="module")
def file(digits: Task, tmp_path_factory):
    """Trained once each, when first asked for: random weights mislead."""
    folder, made = tmp_path_factory.mktemp("trained"), {}

    def make(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(0)
            network: Network = build_tree(TREES[kind], digits.in_shape, digits.n_outputs)
            config = TrainConfig.from_tree({"epochs": 2, "batch_size": 32, "optimizer": {"adamw": {"lr": 0.005}}})
            fit(network, digits.x_train, digits.y_train, config, seed=0)
            made[kind] = folder / f"{kind}.onnx"
            export_onnx(network, digits.in_shape, made[kind], metadata={"trial": "17"})
        return made[kind]

    return make


@pytest.fixture(scope="module")
def samples(digits: Task) -> np.ndarray:
    return digits.x_train[:64].numpy()


@pytest.mark.parametrize(("kind", "precision"), POSSIBLE)
def test_a_quantised_network_decides_as_it_did(file, samples, digits, tmp_path, capfd, monkeypatch, kind, precision):
    monkeypatch.chdir(tmp_path)  # where a careless library leaves its files
    source, path = file(kind), tmp_path / "net.onnx"
    assert quantize(source, path, precision, samples) == LAYERS[kind][MODES.index(precision)]
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")
    onnx.checker.check_model(onnx.load(path))
    x = digits.x_val.numpy()
    expected, found = run_file(source, x), run_file(path, x)
    assert np.mean(expected.argmax(1) == found.argmax(1)) > 0.95
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.15 * expected.std()
    assert run_file(path, x[:1]).shape == (1, 10)
    assert run_file(path, x[:7]).shape == (7, 10)


@pytest.mark.parametrize(
    ("kind", "precision", "share"),
    [
        *(("conv", "int8_static", 0.6), ("resblock", "int8_static", 0.5), ("dense", "int8_static", 0.4)),
        *(("lstm", "int8_dynamic", 0.5), ("tokens", "int8_dynamic", 0.6), ("dense", "int8_dynamic", 0.4)),
    ],
)
def test_the_file_is_smaller(file, samples, tmp_path, kind, precision, share):
    quantize(file(kind), tmp_path / "net.onnx", precision, samples)
    assert (tmp_path / "net.onnx").stat().st_size < share * file(kind).stat().st_size


@pytest.mark.parametrize(
    ("kind", "precision"), [(kind, MODES[i]) for kind, counts in LAYERS.items() for i in (0, 1) if not counts[i]]
)
def test_what_holds_nothing_to_quantise_is_refused(file, samples, tmp_path, kind, precision):
    """Silence would be a float file that says it is int8."""
    words = rf"{kind}\.onnx: nothing in it can be quantised as {precision}: .*\n.*leave {precision} out"
    with pytest.raises(NasError, match=words):
        quantize(file(kind), tmp_path / "net.onnx", precision, samples)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "precision"), [("mbconv", "int8_static"), ("tokens", "int8_dynamic")])
def test_the_same_samples_give_the_same_bytes(file, samples, tmp_path, kind, precision):
    for name in ("a", "b"):
        quantize(file(kind), tmp_path / name, precision, samples)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ranges_come_from_the_samples(file, samples, digits, tmp_path):
    """Calibrated on samples a tenth as large, the network no longer sees differences beyond them."""
    quantize(file("conv"), tmp_path / "well.onnx", "int8_static", samples)
    quantize(file("conv"), tmp_path / "badly.onnx", "int8_static", samples / 10)
    x = digits.x_val.numpy()
    expected = run_file(file("conv"), x)
    well, badly = (np.abs(run_file(tmp_path / f"{name}.onnx", x) - expected).mean() for name in ("well", "badly"))
    assert badly > 5 * well


@pytest.mark.parametrize(("kind", "precision"), POSSIBLE)
def test_products_of_two_fit_16_bits(file, samples, tmp_path, kind, precision):
    """255 x 64 + 255 x 64 < 2**15: what a processor without VNNI adds up in 16 bits is not cut."""
    quantize(file(kind), tmp_path / "net.onnx", precision, samples)
    weights = [onnx.numpy_helper.to_array(w) for w in onnx.load(tmp_path / "net.onnx").graph.initializer]
    whole = [w for w in weights if w.dtype == np.int8 and w.ndim >= 2]
    assert whole
    assert max(np.abs(w.astype(int)).max() for w in whole) <= 64


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("precision", MODES)
def test_what_a_mode_would_slow_down_stays_as_it_is(file, samples, tmp_path, precision):
    """Dynamic convolutions and static attention run slower than in float32."""
    quantize(file("transformer"), tmp_path / "net.onnx", precision, samples)
    found = operators(tmp_path / "net.onnx")
    assert "ConvInteger" not in found
    if precision == "int8_static":
        assert found.count("QuantizeLinear") <= 4, "around one convolution and what follows it"


def test_metadata_are_kept(file, samples, tmp_path):
    for kind, precision in (("conv", "int8_static"), ("lstm", "int8_dynamic")):
        quantize(file(kind), tmp_path / "net.onnx", precision, samples)
        kept = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
        assert kept["trial"] == "17"


@pytest.mark.parametrize("precision", MODES)
def test_a_failure_leaves_the_old_file(file, samples, tmp_path, precision):
    path, bad = tmp_path / "net.onnx", tmp_path / "bad.onnx"
    path.write_bytes(b"old")
    bad.write_bytes(b"no model")
    with pytest.raises(NasError, match=r"bad\.onnx: ONNX Runtime cannot load it"):
        quantize(bad, path, precision, samples)
    with pytest.raises(NasError, match="nothing in it"):
        quantize(file("gru"), path, precision, samples)
    if precision == "int8_static":
        with pytest.raises(NasError, match=r"conv\.onnx: cannot be quantised as int8_static: "):
            quantize(file("conv"), path, precision, samples[:, :, :5])
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.onnx", "net.onnx"]


def test_a_file_runs_in_parts(file, digits):
    x = digits.x_val[:50].numpy()
    np.testing.assert_allclose(run_file(file("conv"), x, batch=7), run_file(file("conv"), x), rtol=1e-5, atol=1e-6)
    with pytest.raises(NasError, match=r"conv\.onnx: cannot be run on samples of shape \(1, 5, 8\)"):
        run_file(file("conv"), x[:, :, :5])
