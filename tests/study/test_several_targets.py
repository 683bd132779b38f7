"""A study of several targets, and latencies that decide: what is measured again, what cannot be told apart."""

import csv
import json

import pytest

from nas.api import Front, Study
from nas.objectives import Measurement, parse_objective
from nas.records import TrialRecord, read_csv
from nas.space import Architecture
from nas.space.yaml import parse
from nas.study.front import close, overlapping
from nas.study.loop import Limits
from nas.study.session import open_search

AT = "latency_ms@eager"


@pytest.fixture(scope="module")
def both(tmp_path_factory, tiny, digits):
    """A run that measures in ONNX Runtime and in eager torch."""
    out = tmp_path_factory.mktemp("both") / "run"
    Study(tiny, digits, ["accuracy", "latency_ms", AT], [f"{AT}<=1000"], out=out, seed=1).search(trials=4)
    return out


def test_each_target_has_its_latency_in_every_file(both):
    for name in ("trials.csv", "front.csv"):
        for row in csv.DictReader((both / name).read_text().splitlines()):
            if row["latency_ms"]:
                assert 0 < float(row[f"{AT}_low"]) <= float(row[AT]) <= float(row[f"{AT}_high"])
                assert float(row[AT]) > float(row["latency_ms"]), "eager torch takes longer, on any machine"
    machine = json.loads((both / "machine.json").read_text())
    assert set(machine["calibrations"]) == set(machine["measured"][0]) == {"onnxruntime", "eager"}


def test_the_front_is_of_all_of_them_and_a_rule_can_name_each(both):
    front = Front.load(both)
    assert front.pick(f"best:{AT}").metrics[AT] == min(m.metrics[AT] for m in front)
    assert front.pick(f"best:accuracy where {AT}<=1000").metrics["accuracy"] == max(
        m.metrics["accuracy"] for m in front
    )
    assert list(front.to_dataframe()[AT]) == [m.metrics[AT] for m in front]
    assert front.pick("best:latency_ms@onnxruntime where latency_ms@eager:threads=1<=1000").record.on_front
    assert len(Front.load(both, budgets=["latency_ms@eager:threads=1<=1000"])) == len(front)
    front.plot()


def test_a_resume_measures_with_both_calibrations(both, tiny, digits):
    before = json.loads((both / "machine.json").read_text())["calibrations"]
    study = Study.resume(both, task=digits)
    with open_search(study.config, study.folder, Limits(trials=4), task=digits, resume=True) as opened:
        meters = opened.evaluator.pricer.meters
        assert {str(m.target): m.calibration.to_dict() for m in meters.values()} == before
        known = next(r for r in read_csv(study.folder.trials) if r.state == "complete")
        assert opened.evaluator.candidate(known.arch).prices[AT].value == pytest.approx(known.prices[AT].value)


def test_the_shipped_file_is_measured_on_each(both, digits):
    shipped = Front.load(both, data=digits).pick("knee").export(overwrite=True)
    assert [again.target for again in shipped.latencies] == ["onnxruntime", "eager"]
    assert {"searched_ms", "file_ms_low", "searched_ms@eager", "file_ms@eager_high"} <= set(shipped.to_row())


OBJECTIVES = [parse_objective(name) for name in ("accuracy", "latency_ms", "n_params")]


def trial(number, accuracy, latency, half, n_params=100):
    prices = {
        "latency_ms": Measurement(latency, latency - half, latency + half),
        "n_params": Measurement.exact(n_params),
    }
    return TrialRecord(number, Architecture.of({}), "complete", prices, {"accuracy": accuracy})


@pytest.mark.parametrize(
    ("rival", "decides"),
    [
        (trial(1, 0.9, 1.05, 0.04), True),  # as good in all else: chance says who is faster
        (trial(1, 0.8, 1.05, 0.04), True),  # worse in all else: dominated if it is slower, on the front if faster
        (trial(1, 0.9, 1.05, 0.04, n_params=90), True),
        (trial(1, 0.9, 1.2, 0.04), False),  # intervals apart
        (trial(1, 0.95, 1.05, 0.04, n_params=110), False),  # each better in something: both stay whatever the latency
    ],
)
def test_a_rival_is_close_where_the_interval_decides_dominance(rival, decides):
    mine = trial(0, 0.9, 1.0, 0.05)
    assert close(mine, [rival], OBJECTIVES) == ({"latency_ms": [1.05]} if decides else {})
    assert bool(close(rival, [mine], OBJECTIVES)) == decides


def test_one_network_keeps_one_price_and_one_place_on_the_front(tmp_path, digits):
    space = parse(
        "input: image\nbody: {conv: {width: 8, stride: 2}}\nhead: {pool: {dropout: {float: [0.0, 0.5]}}}\n"
        "training: {epochs: 1, optimizer: {sgd: {lr: {float: [0.01, 1.0], log: true}}}}\n"
    )
    study = Study(space, digits, out=tmp_path / "run", sampler="random", subset=0.3)
    study.search(trials=3)
    front = study.search(trials=5)
    assert len({r.prices["latency_ms"] for r in front.records}) == 1
    assert len({m.metrics["accuracy"] for m in front}) == 1


def test_the_same_measurement_decides_nothing():
    assert close(trial(0, 0.9, 1.0, 0.05), [trial(1, 0.8, 1.0, 0.05)], OBJECTIVES) == {}


def test_overlap_is_mutual_and_touching_counts():
    a, b, c = trial(0, 0.9, 1.0, 0.1), trial(1, 0.9, 1.2, 0.1), trial(2, 0.9, 1.45, 0.1)
    assert overlapping([a, b, c]) == {0: [1], 1: [0]}
    assert overlapping([a, c]) == {}
