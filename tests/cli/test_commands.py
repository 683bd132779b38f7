"""What the commands do and print when all is well; in this process, on real runs."""

import csv
import importlib
import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_run import BUDGET, TINY, snapshot

from nas import api
from nas.catalog import find_space, shipped
from nas.cli.search import _go_on, _limits_of, _too_long, _workers_of
from nas.errors import NasError
from nas.records import read_csv
from nas.space import Space
from nas.space.yaml import parse
from nas.study import session
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.loop import TOO_LONG, Limits

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def at(nas, tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def ok(result):
    assert result.exit_code == 0, (result.output, result.exception)
    return result


# --- search ---------------------------------------------------------------------------------------------------------

SEARCH = ["search", "tiny.yaml", "-o", "accuracy", "-o", "n_params", "-n", "2", "--subset", "0.3"]


def test_a_search_writes_into_its_run_folder_alone(nas, at):
    before = snapshot(at)
    result = ok(nas(*SEARCH, "-b", BUDGET))
    after = snapshot(at)
    new = after.keys() - before.keys()
    assert {name for name in new if not name.startswith("results/tiny-001/")} == {"results", "results/tiny-001"}
    assert {name: after[name] for name in before} == before
    assert not [name for name in new if "/." in name or name.endswith(".part")], "no locks, no scratch, no halves"
    assert (at / "results/tiny-001/front.png").read_bytes().startswith(PNG)
    assert result.stdout.splitlines()[-1].startswith("results in results/tiny-001: front.csv (")
    for needle in ("tiny: 60 combinations", "digits: 1150 to train on, 288 to choose by", "n_params (minimize)"):
        assert needle in result.stderr
    assert "budgets    n_params<=2000" in result.stderr
    assert "all trials done. " in result.stderr
    assert "nas retrain results/tiny-001 --pick knee" in result.stderr
    ok(nas(*SEARCH))
    assert (at / "results/tiny-002/front.csv").exists(), "a second run gets a folder of its own"


def test_quiet_says_where_the_results_are_and_nothing_else(nas, at):
    result = ok(nas(*SEARCH, "--out", "r", "--quiet"))
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("results in r: ")


def test_verbose_says_a_line_for_every_trial(nas, at):
    result = ok(nas(*SEARCH, "--out", "r", "--verbose", "-b", BUDGET, "--sampler", "random", "-n", "6"))
    records = read_csv(at / "r" / "trials.csv")
    lines = [line for line in result.stderr.splitlines() if line.startswith("trial ")]
    assert [line.split(" |")[0] for line in lines] == [f"trial {r.number}: {r.state}" for r in records]
    assert all(r.reason in line for r, line in zip(records, lines, strict=True))
    assert "\x1b" not in result.output, "no colours and no cursor where output goes to a file"


def test_what_is_not_given_to_a_resume_is_taken_from_the_run(nas, at):
    ok(nas(*SEARCH, "--out", "r", "--seed", "4", "--sampler", "random", "--trial-time-limit", "5m", "--epochs", "2"))
    before = RunFolder("r").read_config()
    result = ok(nas("search", "--resume", "--out", "r", "-n", "3", "-v"))
    assert "resumed    " in result.stderr
    assert RunFolder("r").read_config() == before
    assert before.trial_time_limit_s == 300
    trained = [r for r in read_csv(at / "r" / "trials.csv") if r.train_seconds]
    assert len(trained) == 3
    assert all(r.epochs == 2 for r in trained if r.state == "complete")


def test_a_warm_start_says_what_it_uses_and_is_kept(nas, at, run):
    before = snapshot(run)
    n = sum(r.state == "complete" for r in read_csv(run / "trials.csv"))
    said = f"warm start {n} of {n} complete trials of run can be used\n"
    assert said in ok(nas(*SEARCH, "--out", "r", "-o", "loss", "-o", "macs", "--warm-start", "run")).stderr
    assert snapshot(run) == before
    run.rename(at / "moved")
    assert said in ok(nas("search", "--resume", "--out", "r", "-n", "3")).stderr
    assert RunFolder("r").read_config().warm_start == ("run",)
    assert "--warm-start RUN" in ok(nas("search", "--help")).stdout


def test_a_resume_keeps_the_time_limit_of_a_trial(nas, at):
    """`--resume` without one must not bring in the default of a search without any limit."""
    (at / "tiny.yaml").write_text(TINY.replace(", 1.0e+12", ""))  # none diverges
    ok(nas(*SEARCH, "--out", "r", "-n", "1", "--trial-time-limit", "12.5s", "--time-limit", "60s"))
    result = ok(nas("search", "--resume", "--out", "r", "-n", "2", "--time-limit", "60s"))
    assert "12 s for one training (--trial-time-limit)" in result.stderr
    assert RunFolder("r").read_config().trial_time_limit_s == 12.5


def test_a_search_without_a_result_says_why(nas, at):
    result = nas(*SEARCH, "--out", "r", "--trial-time-limit", "0.0001s")
    assert result.exit_code == 2
    assert "one training may take 0.0001 s: 100% of them would take longer" in result.stderr
    assert "--trial-time-limit" in result.stderr
    assert len(read_csv(at / "r" / "front.csv")) == 0


def test_a_budget_that_nothing_keeps(nas, at):
    result = nas(*SEARCH, "--out", "r", "-b", "n_params<=2", "--sampler", "random")
    assert result.exit_code == 2
    assert "none of 60 candidates keeps every budget" in result.stderr
    assert "n_params<=2: kept by 0% of them; the smallest value seen is " in result.stderr
    assert "Traceback" not in result.output
    assert len(read_csv(at / "r" / "trials.csv")) == 60, "what was priced is recorded all the same"


def test_most_of_a_search_refused_for_the_time_of_one_training_says_what_would_help():
    over = SimpleNamespace(
        state="over_budget", reason=f"{TOO_LONG} 23 s (17 s at least), and one training may take 12 s"
    )
    other = SimpleNamespace(state="over_budget", reason="latency_ms 3 is over 2")
    done = SimpleNamespace(state="complete", reason="")
    said = _too_long([over, over, over, other, done], 12.0)
    assert "3 of 5 networks were not begun" in said
    assert "longer than one may (12 s)" in said
    assert "--trial-time-limit" in said
    assert _too_long([over, over, other, done], 12.0) == "", "half of them"
    assert _too_long([other, other], 12.0) == _too_long([over], None) == _too_long([], 12.0) == ""


def test_a_search_on_data_of_ones_own(nas, at):
    import numpy as np

    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 1, 6, 6)).astype(np.float32) + y[:, None, None, None]
    np.savez(at / "mine.npz", x_train=x, y_train=y, classes=np.array(["a", "b", "c"]))
    # Prices that are counted: which two networks are trained must not hang on a measurement (some cannot train here).
    result = ok(nas(*SEARCH[:6], "--data", "mine.npz", "-n", "2", "--out", "r", "-b", BUDGET))
    assert "mine: 48 to train on, 12 to choose by, shape (1, 6, 6), 3 classes" in result.stderr
    assert "no test set: nas retrain will need the same data with one (--data)" in result.stderr
    assert "next: nas export r --pick knee\n" in result.stderr
    no_test = nas("retrain", "r")
    assert no_test.exit_code == 2
    assert "the data have no test set" in no_test.stderr
    assert not (at / "r" / "retrained").exists()


def test_ctrl_c_before_the_search_began(nas, at, monkeypatch):
    """While the data are read, for instance: no traceback, and the exit code of an interrupt."""

    def struck(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("nas.study.session.load_data", struck)
    before = snapshot(at)
    result = nas(*SEARCH, "--out", "r")
    assert (result.exit_code, result.stderr) == (130, "nas: interrupted\n")
    assert snapshot(at) == before


# --- front ----------------------------------------------------------------------------------------------------------


def test_front_shows_a_row_for_each_network_cheapest_first(nas, run):
    result = ok(nas("front", "run"))
    front = sorted((r for r in read_csv(run / "trials.csv") if r.on_front), key=lambda r: r.metrics["n_params"])
    rows = [line.split() for line in result.stdout.splitlines() if line.split() and line.split()[0].isdigit()]
    assert [int(row[0]) for row in rows] == [r.number for r in front]
    assert [row[1] for row in rows] == [f"{r.metrics['accuracy']:.4f}" for r in front]
    assert result.stdout.count("(knee)") == 1
    assert result.stderr == ""
    assert "latency_ms" in result.stdout


def test_front_under_another_budget_is_the_front_of_what_keeps_it(nas, run):
    records = [r for r in read_csv(run / "trials.csv") if r.state == "complete"]
    smallest = min(r.metrics["n_params"] for r in records)
    result = ok(nas("front", "run", "--budget", f"n_params<={smallest:.0f}", "--csv", "small.csv"))
    kept = read_csv(run.parent / "small.csv")
    assert {r.metrics["n_params"] for r in kept} == {smallest}
    assert max(r.metrics["accuracy"] for r in records if r.metrics["n_params"] == smallest) == max(
        r.metrics["accuracy"] for r in kept
    )
    assert f"small.csv: {len(kept)} network" in result.stderr


RULES = ["knee", "best:accuracy", "best:n_params", "best:accuracy where n_params<=300", "closest"]


@pytest.mark.parametrize("rule", [*RULES, "closest:accuracy=0.9,n_params=200 where latency_ms<=50"])
def test_pick_shows_one_network(nas, run, front, rule):
    result = ok(nas("front", "run", "--pick", rule, "--csv", "one.csv"))
    (one,) = read_csv(run.parent / "one.csv")
    assert one.number == front.pick(rule).record.number
    rows = [line for line in result.stdout.splitlines() if line.split() and line.split()[0].isdigit()]
    assert len(rows) == 1
    assert rows[0].split()[0] == str(one.number)


def test_several_picks_are_shown_in_their_order_and_once(nas, run, front):
    rules = ["best:accuracy", "best:n_params", "best:accuracy"]
    ok(nas("front", "run", *(word for rule in rules for word in ("--pick", rule)), "--csv", "some.csv"))
    expected = list(dict.fromkeys(front.pick(rule).record.number for rule in rules))
    assert [r.number for r in read_csv(run.parent / "some.csv")] == expected


def test_a_front_is_sorted_by_any_figure(nas, run, front):
    ok(nas("front", "run", "--sort", "accuracy", "--csv", "sorted.csv"))
    values = [r.metrics["accuracy"] for r in read_csv(run.parent / "sorted.csv")]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(front)


def test_pick_looks_among_what_keeps_the_budget(nas, run):
    records = [r for r in read_csv(run / "trials.csv") if r.state == "complete"]
    smallest = min(r.metrics["n_params"] for r in records)
    ok(nas("front", "run", "--budget", f"n_params<={smallest:.0f}", "--pick", "best:accuracy", "--csv", "one.csv"))
    assert read_csv(run.parent / "one.csv")[0].metrics["n_params"] == smallest


def test_a_trial_is_picked_where_nothing_keeps_the_budget(nas, run, front):
    number = front.pick("knee").record.number
    result = ok(nas("front", "run", "--budget", "latency_ms<=1e-9", "--pick", f"trial:{number}"))
    assert result.stderr == ""
    assert [line for line in result.stdout.splitlines() if line.split()[:1] == [str(number)]]


def test_the_csv_and_the_picture_of_a_front(nas, run):
    ok(nas("front", "run", "--csv", "front.csv", "--plot", "front.png"))
    records = {r.number: r for r in read_csv(run / "front.csv")}
    assert {r.number: r for r in read_csv(run.parent / "front.csv")} == records, "it can be read like the run's own"
    assert (run.parent / "front.png").read_bytes().startswith(PNG)


def test_looking_changes_nothing(nas, run):
    before = snapshot(run)
    ok(nas("front", "run"))
    ok(nas("front", "run", "--pick", "knee"))
    assert snapshot(run) == before


# --- retrain and export ---------------------------------------------------------------------------------------------


def test_retrain_says_mean_interval_and_the_size_of_the_test_set_and_repeats_nothing(nas, run, front):
    number = front.pick("best:accuracy").record.number
    folder = run / f"retrained/trial-{number:05d}"
    command = ["retrain", "run", "--pick", "best:accuracy", "--workers", "1"]
    result = ok(nas(*command, "--seeds", "2", "--epochs", "2"))
    found = json.loads((folder / "retrained.json").read_text())
    assert f"{found['test_accuracy_mean']:.4f} (mean of 2 seeds, 95 % interval [" in result.stdout
    assert f"{found['test_accuracy_low']:.4f}, {found['test_accuracy_high']:.4f}]" in result.stdout
    assert "359 samples" in result.stdout
    assert f"{found['searched_validation_accuracy']:.4f} on validation data" in result.stdout
    assert f"{found['gap']:+.4f}: " in result.stdout
    for seed in (0, 1):
        said = f"trial {number}, seed {seed + 1} of 2: test accuracy {found['seeds'][seed]['scores']['accuracy']:.4f}"
        assert said in result.stderr
    assert {p.name for p in folder.iterdir()} == {
        *("seed-0.pt", "seed-1.pt", "retrained.json", "model_card.json", "model_card.md")
    }
    before = snapshot(run)
    again = ok(nas(*command, "--seeds", "2"))
    assert "2 are trained already; --overwrite trains them again" in again.stderr
    assert again.stdout == result.stdout
    other = nas(*command, "--epochs", "1")
    assert other.exit_code == 2
    assert "training.epochs: 1 instead of 2" in other.stderr
    assert snapshot(run) == before
    one = ok(nas(*command, "--seeds", "1", "--epochs", "1", "--overwrite"))
    assert "no interval" in one.stdout
    assert "nan" not in one.stdout
    assert json.loads((folder / "retrained.json").read_text())["test_accuracy_low"] is None
    assert not (folder / "seed-1.pt").exists(), "weights of no retraining that is told of"


def test_retrain_of_several_prints_a_row_for_each_and_the_front_shows_them(nas, run, front):
    one, two = (front.pick(rule).record.number for rule in ("best:accuracy", "best:n_params"))
    assert one != two
    rules = ["--pick", "best:accuracy", "--pick", "best:n_params", "--pick", f"trial:{one}"]
    result = ok(nas("retrain", "run", *rules, "--seeds", "2", "--epochs", "1", "--workers", "1"))
    rows = [line.split() for line in result.stdout.splitlines() if line.split() and line.split()[0].isdigit()]
    assert [int(row[0]) for row in rows[:2]] == [one, two]
    assert [row["trial"] for row in csv.DictReader((run / "retrained.csv").read_text().splitlines())] != []
    ok(nas("export", "run", "--pick", f"trial:{one}"))
    shown = ok(nas("front", "run")).stdout
    assert "test" in shown.splitlines()[1]
    (row,) = (line for line in shown.splitlines() if line.split()[:1] == [str(one)])
    mean = json.loads((run / f"retrained/trial-{one:05d}/retrained.json").read_text())["test_accuracy_mean"]
    assert f"{mean:.4f} [" in row
    assert row.rstrip().endswith("exported)")
    assert shown.count("exported") == 1


def test_members_are_those_that_dominate_most(nas, run, front):
    result = ok(nas("retrain", "run", "--members", "2", "--seeds", "1", "--epochs", "1", "--workers", "1"))
    trained = {int(path.name.removeprefix("trial-")) for path in (run / "retrained").glob("trial-*")}
    assert trained == {m.record.number for m in front.spread(2)}
    assert "no interval" not in result.stdout
    assert "--members" not in result.stderr
    many = ok(nas("retrain", "run", "--members", "50", "--seeds", "1", "--epochs", "1", "--workers", "1"))
    assert f"--members 50: {len(front.spread(50))} of the {len(front)} networks of the front" in many.stderr


def test_one_of_several_that_fails_is_exit_code_1(nas, run, monkeypatch):
    real = api.Front.pick

    def broken(self, rule):
        member = real(self, rule)
        values = member.record.arch.values | {"training.optimizer.sgd.lr": 1e12}
        arch = self.config.space.architecture(values)
        return member if rule != "knee" else replace(member, record=replace(member.record, arch=arch, number=99))

    monkeypatch.setattr(api.Front, "pick", broken)
    rules = ["--pick", "knee", "--pick", "best:accuracy"]
    result = nas("retrain", "run", *rules, "--seeds", "1", "--epochs", "1", "--workers", "1")
    assert result.exit_code == 1
    assert "trial 99 failed: seed 1: diverged" in result.stderr
    assert "one seed" in result.stdout


def test_ctrl_c_says_that_nothing_is_lost(nas, run, monkeypatch):
    def struck(self, trial, seed, log):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("nas.cli.retrain")._Telling, "epoch", struck)
    result = nas("retrain", "run", "--workers", "1")
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.stderr
    assert "Traceback" not in result.stderr


def test_export_of_one_and_of_all(nas, run, front):
    number = front.pick("knee").record.number
    result = ok(nas("export", "run"))
    assert "keeps every budget" in result.stdout
    assert (run / f"exports/trial-{number:05d}.onnx").exists()
    before = snapshot(run)
    again = nas("export", "run", "--pick", "knee")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert snapshot(run) == before
    ok(nas("export", "run", "--front", "--overwrite"))
    assert {p.stem for p in (run / "exports").glob("*.onnx")} == {f"trial-{m.record.number:05d}" for m in front}
    rows = list(csv.DictReader((run / "exports/exports.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == [m.record.number for m in front]
    assert all(float(row["file_ms_low"]) <= float(row["file_ms"]) <= float(row["file_ms_high"]) for row in rows)
    rules = ["--pick", "best:accuracy", "--pick", "best:n_params"]
    ok(nas("export", "run", *rules, "--out", "both"))
    assert len(list((run.parent / "both").glob("*.onnx"))) == len(front.pick_all(rules[1::2]))
    ok(nas("export", "run", "--pick", "knee", "--out", "mine/net.onnx"))
    assert (run.parent / "mine/net.onnx").exists()
    for folder in ("mine", "."):  # that is there
        ok(nas("export", "run", "--pick", "knee", "--out", folder))
        assert (run.parent / folder / f"trial-{number:05d}.onnx").is_file()


def test_a_file_from_before_a_retraining_is_told_until_it_is_replaced(nas, run, front):
    number = front.pick("knee").record.number
    retrain = ["retrain", "run", "--pick", "knee", "--seeds", "1", "--epochs", "1", "--workers", "1"]
    assert ok(nas(*retrain)).stderr.splitlines()[-1] == f"next: nas export run --pick trial:{number}"
    ok(nas("export", "run", "--pick", "knee"))
    assert "retrained" not in ok(nas("front", "run")).stdout
    ok(nas(*retrain, "--overwrite"))
    assert "retrained" not in ok(nas("front", "run")).stdout, "it has the weights of a retraining"
    (run / f"exports/trial-{number:05d}.onnx").unlink()
    (run / "retrained").rename(run.parent / "aside")
    ok(nas("export", "run", "--pick", "knee", "--overwrite"))
    (run.parent / "aside").rename(run / "retrained")
    assert "exported before it was retrained" in " ".join(ok(nas("front", "run", "--pick", "knee")).stdout.split())
    (command,) = ok(nas(*retrain)).stderr.splitlines()[-1:]
    assert command == f"next: nas export run --pick trial:{number} --overwrite"
    ok(nas(*command.removeprefix("next: nas ").split()))
    assert "retrained" not in ok(nas("front", "run")).stdout


def test_what_is_exported_is_found_where_a_run_is_moved_to(nas, run, front):
    ok(nas("export", "run", "--pick", "knee"))
    moved = run.rename(run.parent / "a run")
    (row,) = csv.DictReader((moved / "exports/exports.csv").read_text().splitlines())
    assert (moved / "exports" / row["file"]).is_file()
    assert (moved / "exports" / row["example"]).is_file()
    result = ok(nas("export", "a run", "--pick", "knee", "--overwrite"))
    assert len((moved / "exports/exports.csv").read_text().splitlines()) == 2
    assert f"python 'a run/exports/{row['example']}' " in result.stdout


def test_export_of_the_front_writes_all_or_nothing(nas, run, front):
    """One file in the way is found before the others are written."""
    last = front.members[-1].record.number
    (run / "exports").mkdir()
    (run / f"exports/trial-{last:05d}.onnx").write_text("mine")
    before = snapshot(run)
    result = nas("export", "run", "--front")
    assert result.exit_code == 2
    assert f"trial-{last:05d}.onnx exists already" in result.stderr
    assert snapshot(run) == before


def test_the_table_of_exports_keeps_what_was_exported_before(nas, run, front):
    first, last = (front.members[i].record.number for i in (0, -1))
    assert first != last
    for number in (first, last):
        ok(nas("export", "run", "--pick", f"trial:{number}"))
    ok(nas("export", "run", "--pick", f"trial:{first}", "--overwrite"))
    rows = list(csv.DictReader((run / "exports/exports.csv").read_text().splitlines()))
    assert sorted(int(row["trial"]) for row in rows) == sorted([first, last])


def test_a_broken_budget_is_exit_code_1(nas, run):
    """A limit on the latency that was kept in the search, and is not on the file: here, since it was edited."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("- n_params<=2000", "- latency_ms<=0.000001"))
    result = nas("export", "run")
    assert result.exit_code == 1
    assert "breaks latency_ms<=1e-06" in " ".join(result.stdout.split())
    assert list((run / "exports").glob("*.onnx")), "the file is there: it is right, only slow"


# --- space ----------------------------------------------------------------------------------------------------------


def test_space_alone_names_those_shipped(nas):
    lines = ok(nas("space")).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_space_is_printed_and_read_back(nas, tmp_path, name):
    space = find_space(name)
    tree = ok(nas("space", name, "--samples", "2")).stdout
    assert tree.count("\nsample ") == 2
    assert f"{len(space.slots)} parameters in all" in tree
    (tmp_path / "again.yaml").write_text(ok(nas("space", name, "--yaml")).stdout)
    assert Space.from_yaml(tmp_path / "again.yaml") == space
    namespace: dict = {}
    exec(ok(nas("space", name, "--python")).stdout, namespace)
    assert namespace["space"] == space


def test_the_tree_and_its_size_by_hand(nas, at):
    """1 or 2 blocks of 3 convolutions or an identity: 4 + 16 networks; three learning rates make 60."""
    result = ok(nas("space", "tiny.yaml", "--samples", "1", "--seed", "3"))
    for needle in ("repeated, an integer from 1 to 2", "width: one of 4, 8, 64", "20 networks", "60 combinations"):
        assert needle in result.stdout, result.stdout
    sample = result.stdout.split("sample 0\n")[1]
    values = dict(line.strip().split(" = ") for line in sample.splitlines())
    assert values.keys() <= parse(TINY).slots.keys()
    assert ok(nas("space", "tiny.yaml", "--samples", "1", "--seed", "3")).stdout == result.stdout
    assert ok(nas("space", "tiny.yaml", "--samples", "1", "--seed", "4")).stdout != result.stdout


def test_unchecked_shows_a_space_of_parts_that_are_not_here(nas, at):
    (at / "other.yaml").write_text(TINY.replace("conv:", "mine:"))
    assert nas("space", "other.yaml").exit_code == 2
    assert "mine:" in ok(nas("space", "other.yaml", "--unchecked")).stdout


@pytest.mark.parametrize("command", [[], ["search"], ["front"], ["retrain"], ["export"], ["space"]])
def test_help(nas, command):
    result = ok(nas(*command, "--help"))
    assert result.stdout.startswith("Usage: ")
    assert max(map(len, result.stdout.splitlines())) <= 110


def test_a_resume_without_limits_has_those_of_the_last_search(tmp_path):
    assert _limits_of(None) == _limits_of(str(tmp_path)) == (80, 180.0, None)
    searches = [{"limits": {"trials": 8, "seconds": 60.0}}, {"limits": {"plateau": 5}}, {}]
    (tmp_path / "machine.json").write_text(json.dumps({"searches": searches}))
    assert _limits_of(str(tmp_path)) == (None, None, 5)


def test_a_resume_has_the_workers_of_the_last_search_on_this_machine(nas, run, monkeypatch):
    def caught(*args, workers, **more):
        raise NasError(f"with {workers} workers")

    monkeypatch.setattr(session, "open_search", caught)
    resume = ["search", "--resume", "--out", "run"]
    assert "with None workers" in nas(*resume).stderr
    machine = json.loads((run / "machine.json").read_text())
    machine["searches"] += [{"workers": 3, "executor": "local"}, {"workers": 8, "executor": "ray"}]
    (run / "machine.json").write_text(json.dumps(machine))
    assert "with 3 workers" in nas(*resume, "-n", 20).stderr
    assert "with 2 workers" in nas(*resume, "-w", 2).stderr
    assert "with None workers" in nas(*resume, "--executor", "ray").stderr


@pytest.mark.parametrize(
    ("searches", "workers"),
    [
        ([], None),
        ([{"workers": 3}, {"workers": 1}], None),
        ([{"workers": 3}, {}], 3),
        ([{"workers": "many"}, {"workers": None}], None),
        ([{"workers": 10**6}], api.MOST_WORKERS),
    ],
    ids=str,
)
def test_workers_that_a_run_kept(tmp_path, searches, workers):
    assert _workers_of(None) is None
    assert _workers_of(str(tmp_path)) is None
    (tmp_path / "machine.json").write_text(json.dumps({"searches": searches}))
    assert _workers_of(str(tmp_path)) == workers


def test_the_command_that_goes_on_can_be_given_as_it_is_printed(own_parts):
    """Its words are quoted, and code is named again."""
    opened = SimpleNamespace(
        limits=Limits(None, 900.0, 5),
        folder=RunFolder("a run"),
        evaluator=SimpleNamespace(config=StudyConfig(space=parse(TINY), data="mine.py:load(size=3)")),
        ledger=SimpleNamespace(completed=[0]),
    )
    printed = _go_on(opened, "15 m", 2, "ray:a b", "sqlite:///c d.db", ["mlflow:e f", "tensorboard"])
    assert shlex.split(printed) == [
        *("nas", "search", "--resume", "--out", "a run", "--time-limit", "15 m", "--plateau", "5", "--workers", "2"),
        *("--executor", "ray:a b", "--storage", "sqlite:///c d.db", "--track", "mlflow:e f", "--track", "tensorboard"),
        *("--data", "mine.py:load(size=3)"),
    ]
    opened.limits = Limits(7, None, None)
    short = _go_on(opened, None, None, "local", None, ())
    assert short == "nas search --resume --out 'a run' --trials 7 --data 'mine.py:load(size=3)'"
