"""The benchmarks of training: their statistics have known answers, their peers do what they say, their books go on."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import bench_training as bench
import book
import expert_search as expert
import judge_models as judging
import training_figures as figures
import training_nets as nets
import training_peers as peers
import training_runs as runs
import training_search as searching
from latency_nets import n_parameters

# ---------------------------------------------------------------- hypervolume


def test_a_box_counts_from_its_worst_corner_to_its_best():
    box = figures.Box((0.05, 0.20), (0.02, 2.0))
    assert box.hypervolume([], []) == 0
    assert box.hypervolume([0.05], [0.02]) == 1
    assert box.hypervolume([0.01], [0.001]) == 1  # better than the box is not more than the box
    assert box.hypervolume([0.125], [0.2]) == pytest.approx(0.25)
    assert box.hypervolume([0.125, 0.05], [0.2, 2.0]) == pytest.approx(0.25)  # on the worst edge: nothing
    assert box.hypervolume([0.125, 0.05], [0.02, 0.2]) == pytest.approx(0.75)


points = st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.001, 10.0)), max_size=12)


@given(points)
def test_the_expert_and_we_judge_a_front_alike(front):
    mine = figures.BOXES["fashion_mnist"].hypervolume([error for error, _ in front], [ms for _, ms in front])
    assert mine == pytest.approx(expert.hypervolume(front), abs=2e-6)


# ---------------------------------------------------------------- figures


def reading(net, variant, repeat, rate):
    row = {"net": net, "group": net.split()[0], "variant": variant, "repeat": repeat}
    return {**row, "samples": 1000, "core_seconds": 1000 / rate, "wall_seconds": 1.0}


def test_ratios_are_of_one_repetition_and_the_least_net_stands_for_its_group():
    rows = [reading("conv a", figures.OURS, i, 100.0 * (i + 1)) for i in range(3)]
    rows += [reading("conv a", figures.USUAL, i, 20.0 * (i + 1)) for i in range(3)]
    rows += [reading("conv b", figures.OURS, 0, 90.0), reading("conv b", figures.USUAL, 0, 30.0)]
    rows += [reading("conv b", "without fused", 0, 60.0), reading("conv b", figures.OURS, 1, 1e9)]
    found = figures.throughput(rows)
    assert found["nets"]["conv a"]["times usual"] == pytest.approx({"median": 5, "low": 5, "high": 5})
    assert found["nets"]["conv a"]["ours, samples per s"] == pytest.approx({"median": 200, "low": 100, "high": 300})
    assert found["nets"]["conv b"]["times without fused"]["median"] == pytest.approx(1.5)
    assert found["groups"]["conv"]["net"] == "conv b"
    assert found["groups"]["conv"]["median"] == pytest.approx(3)


def rung_rows(at_rungs, final):
    rows = []
    for candidate, accuracies in enumerate(zip(*at_rungs, final, strict=True)):
        for rung, accuracy in enumerate(accuracies):
            raw = "" if rung == len(at_rungs) else 1 - accuracy
            row = {"candidate": candidate, "state": "trained", "rung": rung, "share": 3.0 ** (rung - len(at_rungs))}
            rows.append({**row, "accuracy": accuracy, "raw_accuracy": raw})
    return rows


def test_rungs_are_judged_by_the_order_at_the_end(monkeypatch):
    monkeypatch.setattr(figures, "FOLDS", 100)
    final = [0.1 * i for i in range(1, 10)]
    rows = rung_rows([[0.5 * a for a in final], [*final[:7], final[8], final[7]]], final)
    slow = {"candidate": 9, "state": "too slow", "rung": -1, "share": 0.0, "accuracy": "", "raw_accuracy": ""}
    found = figures.rungs([*rows, slow], 9)
    assert found["states"] == {"trained": 9, "too slow": 1}
    assert found["lowest"]["tau"] == 1
    assert found["lowest"]["tau_raw"] == -1
    assert found["lowest"]["tau_low"] == pytest.approx(1)
    assert found["before_last"]["tau"] == pytest.approx(1 - 2 / 36)  # one of 36 pairs is swapped
    assert found["before_last"]["tau_better_half"] == pytest.approx(1 - 2 / 10)
    assert found["before_last"]["best_third_kept"] == 1
    assert list(found["rungs"]) == ["0", "1"]
    assert figures.rungs([*rows, slow], 4)["networks"] == 4


def test_a_bootstrap_covers_what_it_draws_from():
    values = np.random.default_rng(1).normal(3.0, 1.0, 100)
    low, high = figures.bootstrap(lambda i: float(values[i].mean()), 100)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * 0.1, values.mean() + 1.96 * 0.1), abs=0.05)


def test_a_recipe_is_compared_with_the_better_peer_of_each_network():
    accuracies = {("a", "ours"): [0.92, 0.94], ("a", "sgd"): [0.91, 0.91], ("a", "adamw"): [0.935, 0.935]}
    accuracies |= {("b", "ours"): [0.90, 0.90], ("b", "sgd"): [0.89, 0.89]}
    rows = [
        {"net": net, "by": by, "seed": seed, "test_accuracy": a}
        for (net, by), several in accuracies.items()
        for seed, a in enumerate(several)
    ]
    found = figures.recipe(rows)
    assert found["nets"]["a"]["above_better_peer"] == pytest.approx(-0.5)
    assert found["nets"]["b"]["above_better_peer"] == pytest.approx(1)
    assert found["worst_above_better_peer"] == pytest.approx(-0.5)
    assert "worst_above_better_peer" not in figures.recipe(rows[:2])  # nothing to compare with yet


def test_two_workers_are_compared_with_one_of_the_same_repetition():
    rows = [
        {"data": "digits", "workers": 1, "repeat": 0, "trials": 10, "seconds": 60.0, "train_seconds": 50.0},
        {"data": "digits", "workers": 2, "repeat": 0, "trials": 20, "seconds": 80.0, "train_seconds": 120.0},
        {"data": "digits", "workers": 2, "repeat": 1, "trials": 99, "seconds": 60.0, "train_seconds": 1.0},
        {"data": "digits", "workers": 1, "repeat": 2, "trials": 0, "seconds": 60.0, "train_seconds": 0.0},
        {"data": "digits", "workers": 2, "repeat": 2, "trials": 1, "seconds": 60.0, "train_seconds": 1.0},
    ]
    found = figures.parallel(rows)["digits"]
    assert found["times_the_trials"] == pytest.approx({"median": 1.5, "low": 1.5, "high": 1.5})
    assert found["times_the_work"]["median"] == pytest.approx(1.8)
    assert found["trials_per_minute_1"]["median"] == pytest.approx(10)


def traced(data, rungs, seed, trace):
    return [{"data": data, "rungs": rungs, "seed": seed, "seconds": s, "hypervolume": v} for s, v in trace]


def test_rungs_are_as_quick_as_the_time_to_what_the_others_had_at_their_end():
    rows = traced("digits", "none", 0, [(10.0, 0.2), (50.0, 0.4), (100.0, 0.4)])
    rows += traced("digits", "auto", 0, [(5.0, 0.3), (20.0, 0.5), (100.0, 0.6)])
    found = figures.multifidelity(rows)["digits"]
    assert found["time_ratio_1"] == pytest.approx({"median": 0.4, "low": 0.4, "high": 0.4, "reached": 1})
    assert found["time_ratio_0.5"]["median"] == pytest.approx(0.5)
    rows += traced("digits", "none", 1, [(10.0, 0.4), (100.0, 0.4)]) + traced("digits", "auto", 1, [(80.0, 0.1)])
    found = figures.multifidelity(rows)["digits"]
    assert found["seeds"] == 2
    assert found["time_ratio_1"]["reached"] == 0.5
    assert found["time_ratio_1"]["high"] == pytest.approx(8)  # never: its whole time counts
    assert "quarter_over_none" not in found
    rows += traced("digits", figures.QUARTER, 0, [(20.0, 0.1), (25.0, 0.5)])
    rows += traced("digits", figures.QUARTER, 1, [(25.0, 0.3)])
    found = figures.multifidelity(rows)["digits"]["quarter_over_none"]
    assert (found["low"], found["high"]) == pytest.approx((0.75, 1.25))
    assert (found["as_good"], found["seeds"]) == (0.5, 2)


def test_a_report_of_nothing_says_so_and_one_of_figures_says_whether_they_are_kept(tmp_path):
    assert sum("not measured" in line for line in figures.report(tmp_path)) == len(figures.GOALS)
    book_ = book.Book(tmp_path, "throughput", {}, fresh=False)
    book_.add([reading("conv a", variant, 0, rate) for variant, rate in ((figures.OURS, 100), (figures.USUAL, 50))])
    book_.close(figures.throughput(book_.rows))
    lines = figures.report(tmp_path)
    assert any("small conv nets" in line and "| 2 " in line and line.endswith("| NO |") for line in lines)
    assert any(line.startswith("- throughput, conv a: ") for line in lines)


# ---------------------------------------------------------------- the book's commands


def test_a_command_gets_its_options_and_a_folder(tmp_path):
    told = []

    def ask(args: argparse.Namespace, folder: Path) -> None:
        """Ask something."""
        told.append((args.seconds, args.names, args.minutes, args.fresh, args.out, folder.is_dir()))

    book.run_commands("", tmp_path, {ask: {"seconds": 2.0, "names": ["a"]}}, ["ask", "--names", "b", "c", "--fresh"])
    assert told == [(2.0, ["b", "c"], 9.5, True, tmp_path, True)]


def test_turns_begin_with_another_each_time():
    assert [bench.in_turn("abc", repeat) for repeat in (0, 1, 4)] == [list("abc"), list("bca"), list("bca")]


# ---------------------------------------------------------------- networks and peers


def test_networks_have_the_parameters_that_their_names_say_and_blocks_of_their_space():
    for name, net in {**nets.NETS, **nets.CNNS}.items():
        module = net.build()
        x = torch.zeros(2, *net.in_shape)
        assert module(x).shape == (2, 10)
        if name in nets.NETS and name.endswith("k"):
            assert n_parameters(module) == pytest.approx(1000 * int(name.split()[1][:-1]), rel=0.05)
        text = (Path(__file__).parents[1] / "search_spaces" / f"{net.space}.yaml").read_text()
        assert all(f"{kind}:" in text for part in (*net.body, net.stem or {}, net.head) for kind in part)
    first, again, other = (nets.NETS["mlp 64-64"].build(seed) for seed in (0, 0, 1))
    weights = [next(iter(module.parameters())) for module in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_one_cycle_goes_up_and_comes_down_to_nothing():
    factors = [peers.one_cycle(share, 0.25) for share in (0, 0.25, 0.625, 1)]
    assert factors == pytest.approx([0.04, 1, 0.5, 0], abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_every_crop_is_the_image_moved_and_perhaps_mirrored(seed):
    torch.manual_seed(seed)
    x = torch.rand(5, 2, 6, 6)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    chosen = torch.tensor([3, 0, 3])
    found = peers.crop_and_flip(padded, chosen, 6, 6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for image, i in zip(found, chosen, strict=True):
        windows = [padded[i, :, r : r + 6, c : c + 6] for r in range(5) for c in range(5)]
        assert any(torch.equal(image, w) or torch.equal(image, w.flip(2)) for w in windows)


def test_a_series_is_scaled_and_moved_with_zeros_coming_in():
    x = np.arange(1, 13, dtype=np.float16).reshape(1, 2, 6)
    series = peers.Series(x, np.array([7]), np.array([1.0, 7.0]), np.array([2.0, 1.0]), shift=2)
    plain = torch.from_numpy((x[0].T.astype(np.float32) - [1.0, 7.0]) / [2.0, 1.0]).float()
    seen = set()
    for _ in range(50):
        found, label = series[0]
        assert label == 7
        moves = {by: torch.zeros(6, 2) for by in range(-2, 3)}
        for by, moved in moves.items():
            moved[max(by, 0) : 6 + min(by, 0)] = plain[max(-by, 0) : 6 - max(by, 0)]
        (by,) = [by for by, moved in moves.items() if torch.equal(found, moved)]
        seen.add(by)
    assert seen == {-2, -1, 0, 1, 2}


def test_the_usual_loop_sees_so_many_samples_and_learns():
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(40, 3, 5)).astype(np.float32)
    y = (x[:, 0].mean(axis=1) > 0).astype(np.int64)
    series = peers.Series(x, y, np.zeros(3), np.ones(3), shift=0)
    loader = peers.usual_loader(series, 480, 16, workers=0)
    assert sum(len(labels) for _, labels in loader) == 480
    module = nn.Sequential(nn.Flatten(), nn.Linear(15, 32), nn.ReLU(), nn.Linear(32, 2))
    first, second = (peers.usual_loop(module, loader) for _ in range(2))
    assert second < first < 0.75


def test_a_hand_tuned_script_ends_with_its_seconds_and_a_learning_rate_of_nothing():
    x, y = torch.rand(64, 1, 6, 6), torch.zeros(64, dtype=torch.int64)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    recipe = peers.Recipe("sgd", 0.1, 1e-4, batch_size=16, options={"momentum": 0.9, "nesterov": True})
    seen = peers.hand_tuned(module, x, y, recipe, 0.3, seed=0)
    assert seen > 64
    assert peers.accuracy(module, x, y) == 1
    assert not module.training


# ---------------------------------------------------------------- our side


def test_without_a_measure_is_without_it_and_only_then(monkeypatch):
    from nas.training import TrainConfig, learner

    made = []
    plain = learner.make_optimizer
    monkeypatch.setattr(
        learner, "make_optimizer", lambda *given, **named: made.append(plain(*given, **named)) or made[-1]
    )
    config = TrainConfig.from_tree({"epochs": 1, "batch_size": 8})
    x, y = torch.rand(16, 3, 6, 6), torch.zeros(16, dtype=torch.int64)

    def trained(measure):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2))
        with runs.without(measure):
            runs.train(module, x, y, config, seed=0)
        last = module[0].weight.is_contiguous(memory_format=torch.channels_last)
        return last, all(group["fused"] for group in made[-1].param_groups)

    assert trained("ours") == (True, True)
    assert trained("channels_last") == (False, True)
    assert trained("fused") == (True, False)
    assert trained("ours") == (True, True)


def test_readings_are_whole_batches_within_bounds():
    assert runs.size(1000.0, 64) == 1024
    assert runs.size(1.0, 64) == 16 * 64
    assert runs.size(1e9, 128) <= 500_000
    assert runs.size(1e9, 128) % 128 == 0


def test_our_reading_counts_every_pass(monkeypatch):
    seen = []

    class Task:
        x_train, y_train = torch.zeros(100, 784), torch.zeros(100, dtype=torch.int64)

    monkeypatch.setattr(runs, "load", lambda kind: Task)
    monkeypatch.setattr(
        runs, "train", lambda module, x, y, config, seed: seen.append((len(x), len(y), config.epochs, config.augment))
    )
    net = nets.Net("mlp", "mlp", "vector", None, ({"dense": {"width": 8}},), {"pool": {}}, "none", 16)
    run = runs.ours(net, figures.OURS)
    assert run(48) == 48
    assert run(480) == 480
    assert [(n, m, epochs) for n, m, epochs, _ in seen] == [(48, 48, 1), (96, 96, 5)]


# ---------------------------------------------------------------- searches


def test_a_search_is_watched_while_it_runs(tmp_path, monkeypatch):
    head, done = (
        "trial,state,accuracy,latency_ms,train_seconds",
        (
            "0,complete,0.9,0.01,1.5",
            "1,stopped_early,0.99,0.003,0.5",
            "2,over_budget,,9.0,",
            "3,complete,0.95,0.01,2",
        ),
    )
    script = f"""
import os, pathlib, time
lines, trials = [{head!r}], pathlib.Path({str(tmp_path / "run" / "trials.csv")!r})
for line in {done!r}:
    lines.append(line)
    half = trials.with_suffix(".half")
    half.write_text("\\n".join(lines) + "\\n")
    os.replace(half, trials)  # as a search does
    time.sleep(0.25)
"""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(searching, "_EVERY", 0.02)
    monkeypatch.setattr(searching.Asked, "command", lambda self, out, scratch: [sys.executable, "-c", script])
    asked = searching.Asked("digits", 0, 5.0)
    found = searching.trace(asked, tmp_path / "run", tmp_path)
    box = figures.BOXES["digits"]
    first, last = box.hypervolume([0.1], [0.01]), box.hypervolume([0.05], [0.01])
    volumes = [volume for _, volume in found]
    # Who was stopped early is not on the front. On a busy machine, looks come late and may miss the first.
    assert volumes[-1] == last
    assert set(volumes) <= {first, last}
    assert volumes == sorted(volumes)
    assert len(found) in (1, 2, 3)  # the last may be when it grew, too
    *_, (_, trials) = searching.watch(asked, tmp_path / "run", tmp_path)
    assert searching.work_done(trials) == (3, 4.0)


def test_a_search_that_fails_says_what_it_said(tmp_path, monkeypatch):
    call = [sys.executable, "-c", "raise SystemExit('no such option')"]
    monkeypatch.setattr(searching.Asked, "command", lambda self, out, scratch: call)
    monkeypatch.setattr(searching, "_EVERY", 0.02)
    with pytest.raises(SystemExit, match="no such option"):
        list(searching.watch(searching.Asked("digits", 0, 5.0), tmp_path / "run", tmp_path))


def test_the_command_of_a_search(tmp_path):
    asked = searching.Asked("digits", 3, 60.0, ("--workers", "2"))
    command = " ".join(asked.command(tmp_path / "run", tmp_path))
    assert (
        f"search digits --data digits --quiet --out {tmp_path / 'run'} --seed 3 --time-limit 60s --workers 2" in command
    )


# ---------------------------------------------------------------- the expert, and the judge

EVERY_KIND = {
    **{"stem.width": 8, "stem.stride": 2, "blocks": 5, "dropout": 0.1},
    **{"0.kind": "conv", "0.conv.width": 8, "0.conv.kernel": 3, "0.conv.stride": 2},
    **{"1.kind": "mbconv", "1.mbconv.width": 8, "1.mbconv.kernel": 3, "1.mbconv.stride": 1, "1.mbconv.expand": 2},
    **{"2.kind": "lstm", "2.lstm.hidden": 16, "2.lstm.bidirectional": True},
    **{"3.kind": "transformer", "3.transformer.dim": 16, "3.transformer.heads": 2, "3.transformer.ratio": 1},
    **{"4.kind": "mbconv", "4.mbconv.width": 16, "4.mbconv.kernel": 5, "4.mbconv.stride": 2, "4.mbconv.expand": 1},
    **{"optimizer": "sgd", "sgd.lr": 0.1, "sgd.momentum": 0.9, "sgd.decay": 1e-4},
    **{"batch": 64, "smoothing": 0.0, "shift": 2, "flip": True},
}


@pytest.fixture
def exported(tmp_path):
    """A network of every kind of block, trained for a few batches, and its file."""
    import optuna

    torch.manual_seed(0)
    fixed = optuna.trial.FixedTrial(EVERY_KIND)
    module, how = expert.build(fixed), expert.Training.suggest(fixed)
    x, y = torch.randn(128, 1, 28, 28), torch.arange(128) % 10
    assert expert.fit(module, x, y, how, epochs=2.0, seconds=60.0, seed=0) == 2
    path = tmp_path / "17.onnx"
    expert.export(module, path)
    return module, path


def test_the_experts_file_says_how_it_is_fed_and_is_judged_as_its_network_is(exported):
    from nas.measure.onnx_file import OnnxFile

    module, path = exported
    x = np.random.default_rng(0).integers(0, 256, (600, 28, 28), dtype=np.uint8)
    with torch.no_grad():
        logits = module(((torch.from_numpy(x).float() / 255 - expert.MEAN) / expert.STD)[:, None])
    answers = logits.argmax(1).numpy()
    file = OnnxFile.read(path)
    assert judging.accuracy(file, x, answers) > 0.99
    assert judging.accuracy(file, x, (answers + 1) % 10) < 0.01
    assert expert.latency_ms(path, runs=3) > 0


def test_training_ends_with_its_seconds():
    import optuna

    fixed = optuna.trial.FixedTrial(EVERY_KIND)
    module, how = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), expert.Training.suggest(fixed)
    x, y = torch.randn(128, 1, 28, 28), torch.arange(128) % 10
    assert expert.fit(module, x, y, how, epochs=float("inf"), seconds=0.2, seed=0) > 0


def test_members_are_chosen_for_what_they_add():
    class Trial:
        def __init__(self, error, ms):
            self.values = [error, ms]

    front = [Trial(0.199, 0.02), Trial(0.1, 0.1), Trial(0.101, 0.099), Trial(0.06, 1.0)]
    assert expert.choose(front, 2) == [front[1], front[3]]
    assert len(expert.choose(front, 8)) == 4


@pytest.mark.parametrize(("channels", "shape"), [(1, (1, 28, 28)), (28, (28, 28)), (784, (784,))])
def test_inputs_are_scaled_as_the_metadata_say(channels, shape):
    from nas.data.task import standardise

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    mean, std = rng.uniform(0.2, 0.3, channels), rng.uniform(0.3, 0.4, channels)
    wanted = standardise(x.reshape(3, *shape), tuple(mean), tuple(std)).numpy()
    found = judging.scaled(x, 1 / 255, mean.astype(np.float32), std.astype(np.float32)).reshape(wanted.shape)
    assert found == pytest.approx(wanted, abs=1e-5)


def test_fronts_are_compared_by_their_medians():
    rows = [
        {"folder": folder, "file": f"{digest}.onnx", "digest": digest, "ms": ms, "accuracy": accuracy, "size_bytes": 1}
        for folder, digest, accuracy, several in (
            ("ours", "xa", 0.875, (0.2, 0.19, 5.0)),
            ("ours", "xb", 0.80, (0.3, 0.3, 0.3)),
            ("expert", "xa", 0.95, (0.02, 0.02, 0.02)),
        )
        for ms in several
    ]
    found = judging.compare(rows)
    assert found["ours"]["hypervolume"] == pytest.approx(0.25)
    assert found["expert"]["hypervolume"] == 1
    assert [file["on_front"] for file in found["ours"]["files"]] == [True, False]
    assert found["ours"]["best_accuracy_up_to_ms"]["0.1"] is None
    assert found["ours"]["best_accuracy_up_to_ms"]["0.2"] == 0.875
    lines = judging.table(found)
    assert lines[2].startswith("| ours | 2 | 1 | 0.2500 |  |  |  | 0.8750 |")
    assert len({line.count("|") for line in lines}) == 1
    json.dumps(book.rounded(found))
