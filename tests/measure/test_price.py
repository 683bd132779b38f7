"""Each different network is measured once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nas.build import Network, build_tree
from nas.measure import RUNTIMES, Meter
from nas.measure.price import Pricer, network_key
from nas.objectives import PRICES, Measurement, Prices


def net(width: int = 8, dropout: float = 0.0) -> Network:
    tree = {"body": [{"conv": {"width": width}}], "head": {"pool": {"dropout": dropout}}}
    return build_tree(tree, (1, 8, 8), 10)


@pytest.fixture(scope="module")
def pricer(tmp_path_factory: pytest.TempPathFactory) -> Pricer:
    return Pricer(
        {"latency_ms": Meter.calibrated(RUNTIMES["onnxruntime"]())}, (1, 8, 8), tmp_path_factory.mktemp("scratch")
    )


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
    fresh = Pricer(pricer.meters, (1, 8, 8), tmp_path / "does not exist")
    fresh.remember(network_key(net()), known)
    assert fresh.price(net()) is known


def test_what_is_known_is_looked_up_without_measuring(pricer: Pricer, tmp_path: Path) -> None:
    fresh = Pricer(pricer.meters, (1, 8, 8), tmp_path / "does not exist")
    assert fresh.known(net()) is None
    fresh.remember(network_key(net()), pricer.price(net()))
    assert fresh.known(net()) is pricer.price(net())


def test_a_runtime_of_torch_modules_gets_the_network_it_runs(pricer: Pricer, tmp_path: Path) -> None:
    eager = Pricer({"latency_ms": Meter.calibrated(RUNTIMES["eager"]())}, (1, 8, 8), tmp_path)
    found = eager.price(net())
    assert 0 < found["latency_ms"].low <= found["latency_ms"].value
    assert {name: found[name] for name in PRICES if name != "latency_ms"} == {
        name: pricer.price(net())[name] for name in PRICES if name != "latency_ms"
    }
    assert list(tmp_path.iterdir()) == []


class Script:
    """A meter that says what it is told to, and notes what it was asked."""

    takes = "onnx"

    def __init__(self, *answers: Measurement) -> None:
        self.answers, self.limits = list(answers), []

    def measure(self, path: Path, in_shape: tuple[int, ...], limits: Sequence[float] = ()) -> Measurement:
        self.limits.append(list(limits))
        return self.answers.pop(0)


def test_every_target_has_its_own_latency(tmp_path: Path) -> None:
    here, there = Measurement(1.0, 0.9, 1.1), Measurement(3.0, 2.9, 3.1)
    meters = {"latency_ms": Script(here), "latency_ms@other": Script(there)}
    found = Pricer(meters, (1, 8, 8), tmp_path).price(net())  # type: ignore[arg-type]
    assert (found["latency_ms"], found["latency_ms@other"]) == (here, there)
    assert set(found) == {*PRICES, "latency_ms@other"}


def test_a_budget_is_told_to_the_meter_it_belongs_to(tmp_path: Path) -> None:
    meters = {"latency_ms": Script(Measurement(1, 1, 1)), "latency_ms@other": Script(Measurement(1, 1, 1))}
    Pricer(meters, (1, 8, 8), tmp_path, {"latency_ms@other": [2.0]}).price(net())  # type: ignore[arg-type]
    assert (meters["latency_ms"].limits, meters["latency_ms@other"].limits) == ([[]], [[2.0]])


def test_measuring_again_adds_to_what_was_known_for_all_that_are_built_alike(tmp_path: Path) -> None:
    meter, other = Script(Measurement(1.0, 0.9, 1.1), Measurement(1.2, 1.15, 1.25)), Script(Measurement(5, 5, 5))
    meters = {"latency_ms": meter, "latency_ms@other": other}
    pricer = Pricer(meters, (1, 8, 8), tmp_path, {"latency_ms": [2.0]})  # type: ignore[arg-type]
    pricer.price(net(dropout=0.0))
    pricer.price(net(dropout=0.3))
    sharp = pricer.sharpen(net(dropout=0.3), {"latency_ms": [1.05]})
    assert meter.limits == [[2.0], [2.0, 1.05]]
    assert pricer.price(net(dropout=0.0)) is pricer.price(net(dropout=0.3)) is sharp
    latency = sharp["latency_ms"]
    assert latency.value == pytest.approx((1.0 * 1 + 1.2 * 4) / 5)  # half as wide counts four times
    assert latency.high - latency.low == pytest.approx(0.2), "no surer than the two readings agree"
    assert sharp["latency_ms@other"].value == 5
    assert other.answers == []


def test_what_is_kept_is_known_again_whatever_else_is_built_of_the_same_file(tmp_path: Path) -> None:
    kept: list[tuple[str, Prices]] = []
    meters = {"latency_ms": Script(Measurement(1.0, 0.9, 1.1), Measurement(1.1, 1.0, 1.2))}
    first = Pricer(meters, (1, 8, 8), tmp_path, keep=lambda key, prices: kept.append((key, prices)))  # type: ignore[arg-type]
    first.price(net())
    sharp = first.sharpen(net(), {"latency_ms": [1.0]})
    later = Pricer({"latency_ms": Script()}, (1, 8, 8), tmp_path)  # type: ignore[dict-item]  # a meter with no answer
    for key, prices in kept:
        later.remember(key, prices)
    assert later.price(net(dropout=0.3)) == sharp
