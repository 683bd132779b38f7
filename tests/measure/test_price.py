"""Each different network is measured once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.build import Network, build_tree
from nas.measure import RUNTIMES, Meter
from nas.measure.price import Pricer, network_key
from nas.objectives import PRICES


def net(width: int = 8, dropout: float = 0.0) -> Network:
    tree = {"body": [{"conv": {"width": width}}], "head": {"pool": {"dropout": dropout}}}
    return build_tree(tree, (1, 8, 8), 10)


@pytest.fixture(scope="module")
def pricer(tmp_path_factory: pytest.TempPathFactory) -> Pricer:
    return Pricer(Meter.calibrated(RUNTIMES["onnxruntime"]()), (1, 8, 8), tmp_path_factory.mktemp("scratch"))


def test_the_same_network_with_other_weights_has_the_same_price(pricer: Pricer) -> None:
    assert pricer.price(net()) is pricer.price(net())


def test_what_has_no_effect_at_inference_does_not_change_the_price(pricer: Pricer) -> None:
    assert network_key(net(dropout=0.0)) != network_key(net(dropout=0.3))
    assert pricer.price(net(dropout=0.0)) is pricer.price(net(dropout=0.3))


def test_another_network_has_another_price(pricer: Pricer) -> None:
    narrow, wide = pricer.price(net(8)), pricer.price(net(64))
    assert set(narrow) == set(wide) == set(PRICES)
    assert narrow["macs"].value == 8 * 8 * 8 * 9 + 8 * 10
    assert wide["n_params"].value > narrow["n_params"].value


def test_nothing_is_left_in_the_scratch_folder(pricer: Pricer) -> None:
    pricer.price(net(24))
    assert list(Path(pricer.scratch).iterdir()) == []


def test_what_was_measured_before_is_not_measured_again(pricer: Pricer, tmp_path: Path) -> None:
    known = pricer.price(net())
    fresh = Pricer(pricer.meter, (1, 8, 8), tmp_path / "does not exist")
    fresh.remember(network_key(net()), known)
    assert fresh.price(net()) is known


def test_what_is_known_is_looked_up_without_measuring(pricer: Pricer, tmp_path: Path) -> None:
    fresh = Pricer(pricer.meter, (1, 8, 8), tmp_path / "does not exist")
    assert fresh.known(net()) is None
    fresh.remember(network_key(net()), pricer.price(net()))
    assert fresh.known(net()) is pricer.price(net())


def test_a_runtime_of_torch_modules_gets_the_network_it_runs(pricer: Pricer, tmp_path: Path) -> None:
    eager = Pricer(Meter.calibrated(RUNTIMES["eager"]()), (1, 8, 8), tmp_path)
    found = eager.price(net())
    assert 0 < found["latency_ms"].low <= found["latency_ms"].value
    assert {name: found[name] for name in PRICES if name != "latency_ms"} == {
        name: pricer.price(net())[name] for name in PRICES if name != "latency_ms"
    }
    assert list(tmp_path.iterdir()) == []
