"""The benchmark of prices: its statistics have known answers, its files go on where they stopped, its trainers obey."""

import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_latency as bench
import latency_figures as figures
import latency_load as load
import latency_nets as nets

from nas.measure import reference
from nas.measure.quiet import measuring
from nas.records import write_json

# ---------------------------------------------------------------- statistics


def test_readings_that_swap_one_of_six_pairs():
    readings = np.array([[1.0, 2, 3, 4], [1.0, 2, 3, 4], [1.1, 2, 4.1, 4]])
    assert figures.pair_taus(readings) == pytest.approx([1, 2 / 3, 2 / 3])  # 5 of 6 pairs agree: (5 - 1) / 6
    assert figures.deviations_percent(readings)[0] == pytest.approx([0, 0, 0, 0])
    assert figures.deviations_percent(readings)[2] == pytest.approx([10, 0, 100 * 1.1 / 3, 0])


def test_a_bias_is_found_with_an_interval_over_repetitions():
    repetition = np.array([[0.98], [1.0], [1.02], [1.01], [0.99]])
    found = figures.bias_percent(repetition * [1.05, 1.05, 1.2])
    assert found["median"] == pytest.approx(5, abs=1.1)
    assert found["worst"] == pytest.approx(20)
    assert found["low"] < 5 < found["high"]
    exact = figures.bias_percent(np.full((4, 2), 0.97))
    assert [exact[k] for k in ("median", "low", "high", "worst")] == pytest.approx([-3] * 4)


def test_the_lower_decile_and_the_range():
    assert figures.calm(np.arange(11.0)) == 1
    assert figures.spread([3.0, 1.0, 2.0]) == {"median": 2, "low": 1, "high": 3}


def test_a_table_leaves_out_what_is_not_whole():
    rows = [{"process": p, "net": n, "ms": 10.0 * p + i} for p in range(3) for i, n in enumerate("ab")]
    found, names = figures.table(rows[:-1], "ms", "process")
    assert names == ["a", "b"]
    assert found.tolist() == [[0, 1], [10, 11]]


def test_predictions_are_judged_by_share_order_and_coverage():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(0, 2, 20_000), rng.uniform(0.05, 0.2, 20_000)
    y = mean + std * rng.standard_normal(20_000)
    honest = figures.judge_prediction(y, mean, std)
    assert honest["coverage_50"] == pytest.approx(0.5, abs=0.02)
    assert honest["coverage_95"] == pytest.approx(0.95, abs=0.01)
    assert figures.judge_prediction(y, mean, std / 2)["coverage_95"] < 0.7
    y = np.log([1.0, 2, 3, 4])
    found = figures.judge_prediction(y, y + np.log([1.09, 0.91, 1.11, 0.89]), np.ones(4))
    assert found["within_10"] == 0.5
    assert found["tau"] == 1


def test_baselines_are_right_where_their_model_is():
    x = np.random.default_rng(0).uniform(5, 15, (40, 2))
    mean, std = figures.linear(x[:30], 2 * x[:30, 0] - 3, x[30:])
    assert mean == pytest.approx(2 * x[30:, 0] - 3)
    assert std == pytest.approx(0, abs=1e-9)
    mean, std = figures.nearest(np.repeat(x, 3, axis=0), np.repeat(x[:, 1], 3), x)
    assert mean == pytest.approx(x[:, 1])
    assert std == pytest.approx(0)


# ---------------------------------------------------------------- the figures of each question


def test_ranking_by_mode_and_protocol_against_ours_in_calm():
    ms = {"a": 1.0, "b": 2.0, "c": 3.0}
    rows = [
        {"mode": mode, "protocol": protocol, "process": p, "net": net, "ms": value * factor * (1 + 0.01 * p)}
        for mode in ("idle", "pausing")
        for protocol, factor in ((bench.OURS, 1.0), (bench.EAGER, -5.0))  # the other way round
        for p in range(3)
        for net, value in ms.items()
    ]
    found = figures.ranking(rows, {"a": 10, "b": 30, "c": 20})
    ours, eager = found["idle"][bench.OURS], found["pausing"][bench.EAGER]
    assert (ours["processes"], ours["tau_min"], ours["tau_to_ours"]) == (3, 1, 1)
    assert ours["deviation_max"] == pytest.approx(1, abs=0.02)
    assert (eager["tau_min"], eager["tau_to_ours"]) == (1, -1)
    assert found["tau_macs"] == pytest.approx(1 / 3)
    assert "idle" not in figures.ranking([row for row in rows if row["process"] == 0], {})


def test_truth_in_units_of_the_reference_knows_no_drift():
    rows = [
        {"round": r, "net": net, "weights_kb": 20, "ms": 2.0 * bias}
        | {"alone_ms": 2.0 * speed, "alone_median_ms": 2.2 * speed, "alone_again_ms": 2.0 * speed * (1 + r / 10)}
        | {"reference_ms": 0.04 * speed, "reference_median_ms": 0.044 * speed}
        for r, speed in enumerate((1.0, 1.25, 1.25))  # the machine slows down after the calibration
        for net, bias in (("right", 1.0), ("wrong", 1.05))
    ]
    found = figures.truth(rows, 0.04)
    assert found["reference"]["worst_percent"] == pytest.approx(5)
    assert found["medians"]["worst_percent"] == pytest.approx(5)
    assert found["ms"]["worst_percent"] == pytest.approx(-20)
    assert found["reference_over_calibration"]["median"] == pytest.approx(1.25)
    assert found["nets"]["right"]["again"] == pytest.approx({"median": 1.1, "low": 1.0, "high": 1.2}, abs=0.02)
    assert found["nets"]["right"]["reference"] == pytest.approx({"median": 1, "low": 1, "high": 1})


def test_beside_trainers_slow_and_fast_nets_are_apart():
    factors = {"idle": (1.0, 1.0, 1.0), "pausing": (1.0, 1.01, 1.02), "deaf": (1.1, 1.2, 1.3)}
    rows = [
        {"repetition": r, "mode": mode, "net": net, "ms": ms * factor, "clock": "cpu" if mode == "deaf" else "wall"}
        for r in range(3)
        for mode, each in factors.items()
        for net, ms, factor in zip(("fast", "middle", "slow"), (0.5, 2.0, 5.0), each, strict=True)
    ]
    rates = [{"batches_per_s_alone": 10.0, "batches_per_s_measured": 6.0, "measurements_per_s": 8.0}]
    found = figures.beside(rows, rates)
    assert found["pausing"]["fast"]["median"] == pytest.approx(0)
    assert found["pausing"]["slow"]["median"] == pytest.approx(2)
    assert found["deaf"]["slow"]["worst"] == pytest.approx(30)
    assert (found["idle"]["by_cpu_time"], found["deaf"]["by_cpu_time"]) == (0, 1)
    assert found["trainers"]["lost_ms_per_measurement"]["median"] == pytest.approx(50)  # 40 % of a second over 8


def test_a_price_is_the_sum_of_its_parts():
    costs = dict.fromkeys(figures.PARTS, 1.0) | {"whole_ms": 7.0, "draw_and_build_ms": 3.0, "session_ms": 100.0}
    rows = [costs | {"fast_macs_ms": 0.25, "macs": 5, "fast_macs": other} for other in (5, 5, 6)]
    found = figures.price(rows)
    assert found["parts_ms"] == {"median": 6, "p90": 6}
    assert found["parts_and_build_ms"]["median"] == 9
    assert (found["nets"], found["fast_macs_differ"], found["fast_macs_times_faster"]) == (3, 1, 4)


def test_shipped_files_are_compared_by_data_and_together():
    rows = [
        {"data": data, "trial": 1, "ms": 1.0, "low": 0.99, "high": 1.01, "differs": differs}
        | {"file_ms": ms, "file_low": ms - 0.005, "file_high": ms + 0.005}
        for data, ms, differs in (("a", 1.01, ""), ("a", 0.98, ""), ("b", 1.05, "onnxruntime: +5.0% (why)"))
    ]
    found = figures.shipped(rows)
    assert found["all"]["deviation_max"] == found["b"]["deviation_p95"] == pytest.approx(5)
    assert found["a"]["deviation_p50"] == pytest.approx(1.5)
    assert found["all"]["intervals_overlap"] == pytest.approx(1 / 3)
    assert found["reasons"] == ["b, trial 1: onnxruntime: +5.0% (why)"]


def test_the_predictor_is_compared_over_seeds():
    rows = [
        {"seed": seed, "learned": 100, "by": by, "within_10": share, "screen_300_ms": ms}
        for seed, shares in enumerate(((0.9, 0.2), (0.94, 0.3), (0.95, 0.1)))
        for by, share, ms in zip(("ours", "linear"), shares, (50.0, ""), strict=True)
    ]
    found = figures.predictor(rows)
    assert found["ours"]["100"]["within_10"] == {"median": 0.94, "low": 0.9, "high": 0.95}
    assert found["ours"]["100"]["screen_300_ms"]["median"] == 50
    assert list(found["linear"]["100"]) == ["within_10"]


# ---------------------------------------------------------------- the report

FIGURES = {
    "ranking": {"idle": {"ours": {"tau_min": 0.995, "tau_median": 1.0, "deviation_p95": 2.5}}, "tau_macs": 0.7},
    "truth": {"reference": {"worst_percent": -2.5, "median_percent": 0.1}, "ms": {"worst_percent": -20.0}},
    "beside": {"pausing": {"slow": {"median": -3.5, "low": -4.0, "high": -3.0, "worst": -5.0}}},
    "price": {"whole_ms": {"median": 75.0, "p90": 120.0}, "nets": 100},
    "shipped": {"all": {"deviation_p95": 2.0, "files": 20}, "reasons": ["digits, trial 3: +4.0% (why)"]},
    "predictor": {"ours": {"100": {"within_10": {"median": 0.85, "low": 0.8, "high": 0.9}}}},
}


def test_the_report_sets_every_goal_against_its_figure(tmp_path, capsys):
    for name, made in FIGURES.items():
        write_json(tmp_path / f"{name}.json", {"figures": made})
    bench.main(["report", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "| ranking idle: Kendall tau, least of two processes | >= 0.99 | 0.995 (tau_median 1) | yes |",
        "| ranking idle: deviation p95 | <= 2 % | 2.5 % | NO |",
        "| truth, units of the reference: worst net | <= 3 % | -2.5 % (median_percent 0.1) | yes |",
        "| truth, ms of the calibration: worst net | <= 3 % | -20 % | NO |",
        "| two trainers that pause: bias of slow nets, median | <= 3 % | -3.5 % (low -4, high -3, worst -5) | NO |",
        "| two trainers that pause: bias of fast nets, median | <= 3 % | not measured | |",
        "| whole price, median | <= 80 ms | 75 ms (p90 120) | yes |",
        "| shipped file against search, p95 | <= 3 % | 2 % (files 20) | yes |",
        "| predictor, 100 learned: within 10 % | >= 0.9 | 0.85 (low 0.8, high 0.9) | NO |",
        "- price: whole_ms 75 (120), nets 100",
        "- shipped, digits, trial 3: +4.0% (why)",
        "- predictor, ours, 100 learned: within_10 0.85 (0.8 to 0.9)",
    ):
        assert line in lines
    assert sum("not measured" in line for line in lines) == len(figures.GOALS) - 8


def test_a_report_of_nothing_says_so(tmp_path):
    assert sum("not measured" in line for line in figures.report(tmp_path)) == len(figures.GOALS)


# ---------------------------------------------------------------- the files


def test_a_book_goes_on_where_it_stopped(tmp_path):
    book = bench.Book(tmp_path, "truth", {"seconds": 1.0, "learned": [1]}, fresh=False)
    book.add([{"round": 0, "net": "a, b", "ms": 0.123456789, "differs": ""}])
    assert json.loads(book.json.read_text())["machines"][0]["cores"]
    again = bench.Book(tmp_path, "truth", {"seconds": 1.0, "learned": [1]}, fresh=False)
    assert again.rows == [{"round": 0, "net": "a, b", "ms": 0.12346, "differs": ""}]
    assert again.has(round=0, net="a, b")
    assert not again.has(round=1)
    again.close({"worst": np.float64(1.23456), "nets": {"a": [0.1, 2]}})
    found = json.loads(again.json.read_text())
    assert found["figures"] == {"worst": 1.235, "nets": {"a": [0.1, 2]}}
    assert len(found["machines"]) == 1  # nothing was read the second time


def test_a_book_of_other_settings_is_left_alone(tmp_path):
    bench.Book(tmp_path, "truth", {"seconds": 1.0}, fresh=False).add([{"round": 0}])
    with pytest.raises(SystemExit, match=r"truth\.json: .*\n  begin anew with --fresh"):
        bench.Book(tmp_path, "truth", {"seconds": 2.0}, fresh=False)
    assert bench.Book(tmp_path, "truth", {"seconds": 2.0}, fresh=True).rows == []
    assert bench.Book(tmp_path, "truth", {"seconds": 2.0}, fresh=False).rows == []  # forgotten for good


def test_steps_end_with_the_time_and_say_what_is_left(capsys):
    assert list(bench.steps("ab", 1.0)) == ["a", "b"]
    assert list(bench.steps("ab", -1.0)) == []
    assert "2 steps are left" in capsys.readouterr().out


# ---------------------------------------------------------------- the nets, alone and among trainers


def test_nets_of_every_kind_have_20_kb_to_20_mb_of_weights():
    from nas.build import build_tree

    sizes = {}
    for name, (in_shape, body, head) in nets.NETS.items():
        sizes[name] = 4 * nets.n_parameters(build_tree({"body": body, "head": head}, in_shape, nets.N_OUTPUTS))
    assert len(sizes) >= 12
    assert min(sizes.values()) == pytest.approx(20e3, rel=0.1)
    assert max(sizes.values()) == pytest.approx(20e6, rel=0.1)
    assert np.diff(np.sort(np.log10(list(sizes.values())))).max() < 1  # no decade without one
    assert set(nets.BESIDE) <= set(sizes)


def test_candidates_are_mixed_different_and_the_same_each_time(tmp_path):
    first, again = (nets.write_mixed(tmp_path, 6) for _ in range(2))
    assert first == again
    assert {file.name.split("-")[0] for file in first} == {space for space, _, _ in nets.MIX}
    assert len({file.macs for file in first}) == len(first)


def test_alone_runs_as_often_as_asked_in_another_process(tmp_path):
    path = tmp_path / "reference.onnx"
    path.write_bytes(reference.model())
    first, second = nets.run_alone([(path, reference.IN_SHAPE, 30.0, 7), (path, reference.IN_SHAPE, 0.0, 7)])
    assert len(first) == 7
    assert np.all(first > 0)
    assert len(second) == 0


def test_the_witness_knows_nothing_of_ours():
    assert "nas" not in {line.split()[1].split(".")[0] for line in imports(nets.ALONE)}


def imports(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]


@pytest.fixture
def own_machine(tmp_path, monkeypatch):
    """What else runs on this machine has no part in the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


def test_trainers_do_what_they_are_told_and_end(own_machine):
    def goes_on(trainers: load.Trainers, seconds: float = 20.0) -> bool:
        """Whether batches begin, other than the one that each may have open."""
        before, end = trainers.batches(), time.monotonic() + seconds
        while time.monotonic() < end and trainers.batches() < before + 2:
            time.sleep(0.01)
        return trainers.batches() >= before + 2

    with load.Trainers(1) as trainers:
        (process,) = trainers._processes
        assert not goes_on(trainers, 1.0)  # idle
        trainers.set("pausing")
        assert goes_on(trainers)
        with measuring() as quiet:
            assert quiet
            assert not goes_on(trainers, 1.0)
        assert goes_on(trainers)
        trainers.set("deaf")
        with measuring(patience_s=0.1) as quiet:
            assert not quiet
            assert goes_on(trainers)
        trainers.set("unseen")
        with measuring(patience_s=0.1) as quiet:
            assert quiet
            assert goes_on(trainers)
    assert not process.is_alive()


def test_a_trainer_that_dies_is_told_of(own_machine):
    with load.Trainers(1) as trainers:
        os.kill(trainers._processes[0].pid, 9)
        with pytest.raises(SystemExit, match="a trainer ended"):
            trainers.set("deaf")


def test_goals_name_places_that_the_figures_have():
    """A goal that looks in the wrong place would be 'not measured' for ever."""
    modes, kinds = set(load.MODES), {"slow", "fast"}
    for goal in figures.GOALS:
        name, *keys = goal.place
        if name in ("ranking", "beside"):
            assert keys[0] in modes
            assert keys[1] in (kinds if name == "beside" else set(bench.PROTOCOLS))
        assert math.isfinite(goal.limit)
