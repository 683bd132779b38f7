"""All prices of a network at once, and the machine they were taken on."""

import json
import platform
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.errors import NasError
from nas.measure import Meter, describe, price_module
from nas.measure.runtimes import OnnxRuntime
from nas.objectives import PRICES


@pytest.fixture(scope="module")
def meter() -> Meter:
    return Meter.calibrated(OnnxRuntime())


def test_every_price_and_no_other(meter: Meter, tmp_path: Path):
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    )
    module[0].requires_grad_(False)  # frozen parameters are parameters
    prices = price_module(module, (3, 6, 6), meter, tmp_path / "net.onnx")
    assert tuple(prices) == PRICES
    assert prices["macs"].value == 36 * 8 * 27 + 8 * 36 * 5
    assert prices["n_params"].value == (8 * 27 + 8) + 2 * 8 + (8 * 36 * 5 + 5)
    assert prices["size_bytes"].value == (tmp_path / "net.onnx").stat().st_size > 4 * 1600
    latency = prices["latency_ms"]
    assert 0 < latency.low <= latency.value <= latency.high
    assert all(p.low == p.value == p.high for name, p in prices.items() if name != "latency_ms")
    assert module.training


def test_shared_parameters_count_once(meter: Meter, tmp_path: Path):
    shared = nn.Linear(4, 4)
    prices = price_module(nn.Sequential(shared, nn.ReLU(), shared), (4,), meter, tmp_path / "net.onnx")
    assert (prices["n_params"].value, prices["macs"].value) == (20, 32)


def test_what_cannot_be_exported_has_no_price(meter: Meter, tmp_path: Path):
    class Strange(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i1(x)

    with pytest.raises(NasError, match="Strange"):
        price_module(Strange(), (4,), meter, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_described_and_nobody_is_named():
    machine = json.loads(json.dumps(describe()))
    assert {"date", "cpu", "cores", "ram_gb", "load_average", "os", "python", "torch", "onnxruntime", "numpy"} == set(
        machine
    )
    assert machine["cores"] >= 1
    assert machine["torch"] in torch.__version__
    values = [str(v) for v in machine.values()]
    assert platform.node() not in values
    assert not any(str(Path.home()) in v for v in values if len(str(Path.home())) > 1)
