"""A real tiny search on digits: states, numbers, files, budgets, failures, and going on where it stopped."""

import contextlib
import csv
import dataclasses
import json
import math
import time
from pathlib import Path

import optuna
import pytest
import torch

from nas.errors import BudgetError, NasError, RunError
from nas.records import TrialRecord, read_json
from nas.space import Architecture, Space
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.front import front_numbers
from nas.study.jobs import Outcome
from nas.study.limits import free_memory, memory_limit, training_process
from nas.study.loop import Limits, Quiet, Search
from nas.study.seconds import Seconds
from nas.study.session import open_search

FLOAT = """\
input: image
body: {conv: {width: [4, 8, 12], stride: 2}}
head: {pool: {}}
training: {epochs: 2, batch_size: 64, optimizer: {sgd: {lr: {float: [0.01, 0.5], log: true}}}}
"""


def config_of(space: Space, **options) -> StudyConfig:
    return StudyConfig(**{"space": space, "objectives": ("accuracy", "n_params"), "subset": 0.3, **options})


def search(config, folder, limits, digits, watcher=None, resume=False):
    """Run a search to its end; return it and how it ended."""
    with open_search(config, RunFolder(folder), limits, task=digits, resume=resume, watcher=watcher) as opened:
        return opened, opened.run()


def told(record: TrialRecord) -> dict:
    """Everything of a trial that no clock has a part in."""
    prices = {name: m for name, m in record.prices.items() if name != "latency_ms"}
    clocks = dict.fromkeys(("train_seconds", "epoch_seconds", "epoch_seconds_predicted", "ended_s"))
    return {**vars(record), "prices": prices, "arch": record.arch.to_json(), **clocks}


def trials_of(folder, name="tiny") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/study.db").trials


# --- what a finished run looks like ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records(finished):
    return RunFolder(finished).read()[1]


def test_every_state_has_what_belongs_to_it(records):
    assert [r.number for r in records] == list(range(len(records)))
    assert {r.state for r in records} == {"complete", "over_budget", "duplicate", "failed"}
    trained = [r for r in records if r.state == "complete" or (r.state == "failed" and r.train_seconds)]
    assert len(trained) == 14
    for r in records:
        assert set(r.prices) == {"latency_ms", "macs", "n_params", "size_bytes", "peak_bytes"}
        assert (r.prices["n_params"].value > 2000) == (r.state == "over_budget")
        assert bool(r.train_seconds) == (r.state in ("complete", "failed")), "trained: complete and diverged ones alone"
        assert bool(r.reason) == (r.state != "complete")
        assert set(r.scores) == (
            {"accuracy", "loss", "balanced_accuracy", "macro_f1"} if r.state in ("complete", "duplicate") else set()
        ) or (r.state == "duplicate" and records[r.duplicate_of].state == "failed")


def test_over_budget_is_never_trained_and_says_by_how_much(records):
    over = [r for r in records if r.state == "over_budget"]
    assert over
    for r in over:
        assert (r.train_seconds, r.epochs, r.scores) == (0.0, 0, {})
        assert r.reason == f"n_params {r.prices['n_params'].value:.4g} breaks n_params<=2000"


def test_a_training_that_diverges_is_a_failed_trial_with_its_reason(records):
    failed = [r for r in records if r.state == "failed"]
    assert failed
    assert all("diverged" in r.reason and r.arch.values["training.optimizer.sgd.lr"] == 1e12 for r in failed)
    assert all(r.state != "complete" for r in records if r.arch.values["training.optimizer.sgd.lr"] == 1e12)


def test_a_duplicate_has_the_result_of_its_twin(records):
    duplicates = [r for r in records if r.state == "duplicate"]
    assert duplicates
    for r in duplicates:
        twin = records[r.duplicate_of]
        assert twin.number < r.number
        assert twin.state in ("complete", "failed")
        assert r.arch != twin.arch
        assert (r.scores, r.prices, r.epochs) == (twin.scores, twin.prices, 0)
        assert f"trial {twin.number}" in r.reason


def test_no_two_trained_networks_are_alike(finished):
    kept = [json.loads(t.user_attrs["record"]) for t in trials_of(finished)]
    keys = [k["key"] for k in kept if k["state"] in ("complete", "failed") and k["key"]]
    assert len(set(keys)) == len(keys) == 14


def test_optuna_reads_the_study_and_finds_our_front(finished, records):
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{finished}/study.db")
    assert study.metric_names == ["accuracy", "n_params", "latency_ms"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    states = {"complete": "COMPLETE", "over_budget": "PRUNED", "duplicate": "PRUNED", "failed": "FAIL"}
    for trial, record in zip(study.trials, records, strict=True):
        assert trial.state.name == states[record.state]
        assert trial.params == record.arch.values
        if record.state == "complete":
            assert trial.values == [record.metrics[n] for n in ("accuracy", "n_params", "latency_ms")]
    ours = [r.number for r in records if r.on_front]
    assert sorted(t.number for t in study.best_trials) == ours
    assert ours


def test_the_files_of_a_run(finished, records, tiny):
    names = {p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file()}
    weights = {f"checkpoints/trial-{r.number:05d}.pt" for r in records if r.on_front}
    files = {"config.yaml", "machine.json", "study.db", "trials.csv", "front.csv", "front.png", "prices.jsonl"}
    files |= {"networks.json"}
    assert names == files | weights
    rows = list(csv.DictReader((finished / "trials.csv").read_text().splitlines()))
    assert list(rows[0])[:14] == [
        "trial",
        "state",
        "on_front",
        "accuracy",
        "latency_ms",
        "latency_ms_low",
        "latency_ms_high",
        "macs",
        "n_params",
        "size_bytes",
        "epochs",
        "train_seconds",
        "fingerprint",
        "architecture",
    ]
    assert list(rows[0])[-len(tiny.slots) :] == list(tiny.slots)
    front = list(csv.DictReader((finished / "front.csv").read_text().splitlines()))
    assert front == [row for row in rows if row["on_front"] == "true"]
    for row in rows:
        if row["body.repeat"] == "1":
            assert row["body.1"] == row["body.1.conv.width"] == ""
    machine = json.loads((finished / "machine.json").read_text())
    assert machine["cores"] >= 1
    assert machine["calibrations"]["onnxruntime"]["reference_ms"] > 0
    (measured,) = machine["measured"]
    assert measured["onnxruntime"]["measurements"] >= len({row["latency_ms"] for row in rows if row["latency_ms"]}) >= 2
    assert measured["onnxruntime"]["reference_drift_low"] <= measured["onnxruntime"]["reference_drift"]


def test_the_config_is_enough_to_go_on(finished, tiny):
    config = StudyConfig.read(finished / "config.yaml")
    assert config.space == tiny
    assert config.budgets == ("n_params<=2000",)
    config.write(finished.parent / "again.yaml", "0")
    assert StudyConfig.read(finished.parent / "again.yaml") == config
    (finished.parent / "again.yaml").unlink()


def test_checkpoints_are_the_weights_that_were_judged(front, digits):
    from nas.training import evaluate

    for member in front:
        scores = evaluate(member.network(), digits.x_val, digits.y_val)
        assert scores["accuracy"] == pytest.approx(member.metrics["accuracy"])
        assert scores["loss"] == pytest.approx(member.metrics["loss"], rel=1e-5)


def test_the_test_set_has_no_part_in_a_search(tmp_path, tiny, digits):
    """Without a test set, and with one of nothing but NaN, the very same search."""
    x, y = digits._test
    spoilt = [dataclasses.replace(digits, _test=t) for t in (None, (x * math.nan, y * 0))]
    runs = []
    for i, task in enumerate((digits, *spoilt)):
        found, _ = search(config_of(tiny, seed=3), tmp_path / str(i), Limits(trials=2), task)
        runs.append([told(r) for r in found.records])
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        ({"objectives": ("accuracy", "macs")}, True),
        ({"budgets": ("macs<=1M",)}, True),
        ({"budgets": ("n_params<=5k",)}, False),
    ],
)
def test_multiply_adds_of_all_candidates_are_counted_without_any_latency_too(tmp_path, tiny, digits, asked, counted):
    with open_search(config_of(tiny, **asked), RunFolder(tmp_path / "run"), Limits(trials=1), task=digits) as opened:
        assert (opened.sampler.screen is not None) == counted


class Leaving:
    """An executor of which the machine leaves, as often as it is told."""

    def __init__(self, executor, times, blameless):
        self.executor, self.left, self.blameless, self.gone = executor, times, blameless, []
        self.slots, self.apart = executor.slots, executor.apart

    def submit(self, job):
        self.left -= 1
        (self.gone.append if self.left >= 0 else self.executor.submit)(job)

    def wait(self):
        gone, self.gone = self.gone, []
        died = [Outcome(number=j.number, rung=j.rung, ended="died", blameless=self.blameless) for j in gone]
        return died or self.executor.wait()


@pytest.mark.parametrize(("blameless", "state"), [(True, "complete"), (False, "failed")])
def test_two_deaths_are_a_trial_s_own_but_not_those_of_machines_that_left(tmp_path, tiny, digits, blameless, state):
    with open_search(config_of(tiny), RunFolder(tmp_path / "run"), Limits(trials=1), task=digits) as opened:
        opened.executor = Leaving(opened.executor, 3 if blameless else 2, blameless)
        opened.run()
        assert [r.state for r in opened.records] == [state]


def test_a_resumed_search_limits_a_training_by_all_the_time_it_had(tmp_path, tiny, digits):
    config = config_of(tiny, sampler="random")
    with open_search(config, RunFolder(tmp_path / "run"), Limits(trials=1, seconds=600), task=digits) as opened:
        assert opened.trial_limit_s == 60
        opened._searched_before = 1000.0  # as of a run that was gone on with
        assert opened.trial_limit_s == 160


def test_a_sampler_is_told_losses_and_what_a_price_breaks(tmp_path, tiny, digits):
    """Every loss is minimised, whatever the user asked for; what is over budget says by how much of the limit."""
    config = config_of(tiny, sampler="random", seed=1, budgets=("n_params<=300",), objectives=("accuracy", "n_params"))
    with open_search(config, RunFolder(tmp_path / "run"), Limits(trials=10, seconds=600), task=digits) as opened:
        told_, propose = [], opened.sampler.propose

        def listening(seen, pending, price, rng):
            assert all(a is b for a, b in zip(told_, seen, strict=False)), "the same objects each time"
            told_[:] = seen
            arch = propose(seen, pending, price, rng)
            prices = opened.evaluator.candidate(arch).prices
            asked = price(arch)
            assert asked.losses == (None, prices["n_params"].value)
            assert asked.violation == max(0.0, (prices["n_params"].value - 300) / 300)
            assert asked.excess == (pytest.approx(math.log(prices["n_params"].value / 300), abs=1e-12),)
            return arch

        opened.sampler.propose = listening
        opened.run()
    assert {o.state for o in told_} == {"complete", "over_budget", "failed"}
    for o, r in zip(told_, opened.records, strict=False):
        assert (o.arch, o.number) == (r.arch, r.number)
        n_params = r.prices["n_params"].value
        assert o.excess == (pytest.approx(math.log(n_params / 300), abs=1e-12),)
        assert (o.excess[0] <= 0) == (o.violation == 0)
        assert (o.cost, o.source) == (r.train_seconds or None, "")
        if r.scores:
            error = pytest.approx(math.log(1 - r.scores["accuracy"]))
            assert (o.state, o.losses, o.violation) == ("complete", (error, n_params), 0.0)
        else:
            assert o.state == ("over_budget" if n_params > 300 else "failed")
            assert o.losses == (None, n_params)
            assert o.violation == max(0.0, (n_params - 300) / 300)


def test_what_follows_from_the_records_is_kept_up_with_them(tmp_path, tiny, digits):
    """After every trial, and after a resume: the front, the count and what samplers see, as computed from scratch."""

    class Watcher(Quiet):
        checked = 0

        def recorded(self, record, search):
            self.check(search)

        def check(self, search):
            self.checked += 1
            assert search.front() == front_numbers(search.records, search.objectives)
            assert [r.number for r in search.records] == sorted(r.number for r in search.records)
            assert [o.number for o in search.ledger.seen()] == [r.number for r in search.records]
            assert [o.arch for o in search.ledger.seen()] == [r.arch for r in search.records]
            trained = [r for r in search.records if r.state == "complete" or (r.state == "failed" and r.train_seconds)]
            assert search.trained == len(trained)

    watcher = Watcher()
    config = config_of(tiny, sampler="random", seed=1, budgets=("n_params<=2000",))
    search(config, tmp_path / "run", Limits(trials=5), digits, watcher)
    with open_search(config, RunFolder(tmp_path / "run"), Limits(trials=8), task=digits, resume=True) as opened:
        watcher.check(opened)
        assert (opened.trained, opened.trained_here) == (5, 0)
        opened.watcher = watcher
        opened.run()
    assert watcher.checked == len(opened.records) + 1


# --- how trials end -------------------------------------------------------------------------------------------------


def test_a_trial_that_takes_too_long_fails_and_the_search_goes_on(tmp_path, tiny, digits, monkeypatch):
    monkeypatch.setattr("nas.study.seconds.TrainingTimes.full", lambda self, arch: Seconds())  # nobody can tell
    config = config_of(tiny, trial_time_limit_s=1e-6)
    found, ended = search(config, tmp_path / "run", Limits(trials=3), digits)
    failed = [r for r in found.records if r.state == "failed"]
    assert ended == "trials"
    assert len(failed) == 3
    assert all("time limit" in r.reason and r.train_seconds > 0 for r in failed)
    assert [t.state.name for t in trials_of(tmp_path / "run") if t.number in [r.number for r in failed]] == ["FAIL"] * 3
    assert found.front() == []
    assert (tmp_path / "run" / "front.csv").read_text().count("\n") == 1


def test_a_training_that_is_sure_to_take_too_long_is_not_begun(tmp_path, tiny, digits):
    with pytest.raises(
        BudgetError, match=r"may take 1e-06 s: 100% of them would take longer, the shortest .* [0-9.e-]+ s"
    ):
        search(config_of(tiny, trial_time_limit_s=1e-6), tmp_path / "run", Limits(trials=3), digits)
    rows = list(csv.DictReader((tmp_path / "run" / "trials.csv").read_text().splitlines()))
    assert rows
    for row in rows:
        assert (row["state"], row["epochs"]) == ("over_budget", "")
        assert "one training may take 1e-06 s" in row["reason"]
        assert float(row["epoch_seconds_predicted"]) > 1e-6


def test_what_would_have_trained_too_long_is_proposed_again_where_it_may(tmp_path, tiny, digits):
    config = config_of(tiny, trial_time_limit_s=1e-6)
    with pytest.raises(BudgetError):
        search(config, tmp_path / "run", Limits(trials=3), digits)
    refused = {r.arch for r in RunFolder(tmp_path / "run").read()[1]}
    longer = dataclasses.replace(config, trial_time_limit_s=60.0)
    found, ended = search(longer, tmp_path / "run", Limits(trials=3), digits, resume=True)
    assert (ended, found.trained) == ("trials", 3)
    assert {r.arch for r in found.records if r.state == "complete"} <= refused
    assert len([o for o in found.ledger.seen() if o.arch in refused]) < len(found.records)


class Crash(Quiet):
    """Something goes wrong at the first word of progress on one trial."""

    def __init__(self, number: int, error: BaseException) -> None:
        self.number, self.error = number, error

    def progress(self, number, log):
        if number == self.number:
            raise self.error


def test_a_trial_that_ends_the_search_each_time_has_failed(tmp_path, digits):
    run, config = tmp_path / "run", config_of(parse(FLOAT, name="tiny"), sampler="random")
    for n in range(3):
        with pytest.raises(RunError, match="planted"):
            search(config, run, Limits(trials=4), digits, Crash(2, OSError("planted")), resume=n > 0)
        assert RunFolder(run).begun() == (2, n + 1)
    found, ended = search(config, run, Limits(trials=4), digits, Crash(2, OSError("planted")), resume=True)
    assert (ended, found.trained) == ("trials", 4)
    failed = found.ledger.get(2)
    assert (failed.state, failed.reason) == ("failed", "the search ended 3 times while it was trained")
    assert trials_of(run)[2].state.name == "FAIL"
    assert found.folder.begun() is None


def test_ctrl_c_is_not_counted_against_what_was_trained(tmp_path, digits):
    run, config = tmp_path / "run", config_of(parse(FLOAT, name="tiny"), sampler="random")
    for n in range(3):
        assert search(config, run, Limits(trials=4), digits, Crash(2, KeyboardInterrupt()), resume=n > 0)[1] == (
            "interrupted"
        )
    found, ended = search(config, run, Limits(trials=4), digits, resume=True)
    assert ended == "trials"
    assert found.ledger.get(2).state == "complete"


def test_a_training_is_not_lost_where_it_cannot_be_measured_again(tmp_path, digits, monkeypatch):
    monkeypatch.setattr("nas.study.loop.close", lambda *of: {"latency_ms": [1.0]})

    def gone(self, record, limits):
        raise error

    monkeypatch.setattr("nas.study.evaluate.Evaluator.sharpen", gone)
    config, error = config_of(parse(FLOAT, name="tiny"), sampler="random"), NasError("the connection was lost")
    found, ended = search(config, tmp_path / "run", Limits(trials=3), digits)
    assert (ended, [r.state for r in found.records]) == ("trials", ["complete"] * 3)
    error = RunError("nothing can be measured")
    with pytest.raises(RunError, match="nothing can be measured"):
        search(config, tmp_path / "run", Limits(trials=4), digits, resume=True)
    found, _ = search(config, tmp_path / "run", Limits(trials=4), digits, resume=True)
    assert [r.state for r in found.records] == ["complete"] * 4
    assert [t.state.name for t in trials_of(tmp_path / "run")] == ["COMPLETE"] * 4


def test_networks_that_are_built_alike_keep_one_price(tmp_path, digits):
    config = config_of(parse(FLOAT, name="tiny"), objectives=("accuracy", "latency_ms"))
    with open_search(config, RunFolder(tmp_path / "run"), Limits(trials=1), task=digits) as opened:
        evaluator = opened.evaluator
        first, twin = (Architecture.of({"body.conv.width": 8, "training.optimizer.sgd.lr": lr}) for lr in (0.05, 0.1))
        before = evaluator.candidate(first).prices
        assert evaluator.candidate(twin).prices == before
        limits = {"latency_ms": [before["latency_ms"].value]}
        found = evaluator.sharpen(TrialRecord(0, first, "complete", before), limits)
        assert found.prices["latency_ms"] != before["latency_ms"]
        assert evaluator.candidate(first).prices == evaluator.candidate(twin).prices == found.prices


def test_what_is_to_end_a_search_is_kept_from_its_beginning(tmp_path, tiny, digits):
    folder = RunFolder(tmp_path / "run")
    with open_search(config_of(tiny), folder, Limits(2, 3600.0), task=digits) as opened:
        (begun,) = read_json(folder.machine)["searches"]
        opened.run()
    (ended,) = read_json(folder.machine)["searches"]
    assert begun["limits"] == ended["limits"] == {"trials": 2, "seconds": 3600.0}
    assert begun["seconds"]["all"] < ended["seconds"]["all"]


def test_a_sampler_that_asks_for_prices_is_ended_with_the_time(tmp_path, tiny, digits):
    with open_search(config_of(tiny), RunFolder(tmp_path / "run"), Limits(seconds=3600.0), task=digits) as opened:
        asked = []

        class Asks:
            def propose(self, seen, at_work, price, rng):
                for _ in range(100):
                    asked.append(tiny.sample(rng))
                    price(asked[-1])
                    opened.limits = Limits(seconds=1e-9)
                return asked[0]

        opened.sampler = Asks()
        with contextlib.suppress(BudgetError):  # where the first one is over the budget
            assert opened.run() == "time"
    assert len(asked) == 2


def test_a_network_beyond_all_memory_is_a_failed_trial(tmp_path, digits):
    space = parse(
        "input: image\nbody: {dense: {width: [4, 8, 100000000000], dropout: [0.0, 0.1, 0.2]}}\nhead: {pool: {}}\n"
        "training: {epochs: 1}"
    )  # the large one's weights are 25 TB
    config = config_of(space, sampler="random", seed=0, budgets=("macs<=1G",))
    found, ended = search(config, tmp_path / "run", Limits(trials=6), digits)
    failed = [r for r in found.records if r.state == "failed"]
    assert (ended, found.trained) == ("trials", 6)
    assert failed
    assert all(r.reason.startswith("cannot be priced: out of memory") and not r.train_seconds for r in failed)
    assert {r.arch.values["body.dense.width"] for r in failed} == {10**11}
    told_ = {o.number: o for o in found.ledger.seen()}
    for r in failed:
        known, price = told_[r.number], found._price(r.arch)
        assert (known.state, known.violation, known.excess) == ("failed", math.inf, (math.inf,))
        assert (price.violation, price.excess) == (math.inf, (math.inf,))


class StopAt(Quiet):
    """Ends a search after so many records: by its deadline."""

    def __init__(self, records: int) -> None:
        self.records = records

    def recorded(self, record, search):
        if len(search.records) >= self.records:
            search.limits = Limits(search.limits.trials, 1e-9)


def test_memory_beyond_what_is_free_is_refused_for_the_while():
    if not Path("/proc/meminfo").exists():
        pytest.skip("there is no /proc/meminfo here")
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_limit(free_memory()):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        with pytest.raises(RuntimeError, match="memory"):
            torch.empty(int(0.97 * free), dtype=torch.uint8)
        assert torch.zeros(1000).sum() == 0
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_replaces_a_process_has_its_share_of_memory(monkeypatch):
    """And not a share of what the others have left."""
    if not Path("/proc/meminfo").exists():
        pytest.skip("there is no /proc/meminfo here")
    import resource

    share = free_memory(4)
    monkeypatch.setattr("nas.study.limits._available_bytes", lambda: 10**6)
    with memory_limit(0):
        (used, _) = resource.getrlimit(resource.RLIMIT_DATA)
    with training_process(4, share):
        (limit, _) = resource.getrlimit(resource.RLIMIT_DATA)
    assert limit - used == pytest.approx(share, rel=0.1)


def test_a_budget_that_nothing_keeps_ends_the_search_with_figures(tmp_path, digits):
    config = config_of(parse(FLOAT, name="float"), budgets=("n_params<=50", "macs<=1G"), sampler="random")
    with pytest.raises(BudgetError) as caught:
        search(config, tmp_path / "run", Limits(trials=1), digits)
    lines = str(caught.value).splitlines()
    assert lines[0] == "none of 200 candidates keeps every budget:"
    assert lines[1].strip() == "n_params<=50: kept by 0% of them; the smallest value seen is 94"
    assert lines[2].strip().startswith("macs<=1000000000: kept by 100% of them; the smallest value seen is 616")
    rows = list(csv.DictReader((tmp_path / "run" / "trials.csv").read_text().splitlines()))
    assert len(rows) == 200
    assert {row["state"] for row in rows} == {"over_budget"}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_small_space_of_which_nothing_keeps_the_budget_says_so_too(tmp_path, digits, sampler):
    space = parse(FLOAT.replace("{float: [0.01, 0.5], log: true}", "[0.1, 0.2]"))
    config = config_of(space, budgets=("n_params<=50",), sampler=sampler)
    with pytest.raises(BudgetError, match=r"none of 6 candidates .*\n.*smallest value seen is 94"):
        search(config, tmp_path / "run", Limits(trials=1), digits)


def test_the_time_over_before_anything_kept_the_budget_says_so_too(tmp_path, digits):
    config = config_of(parse(FLOAT), budgets=("n_params<=50",), sampler="random")
    with pytest.raises(BudgetError, match=r"none of 5 candidates"):
        search(config, tmp_path / "run", Limits(seconds=60), digits, watcher=StopAt(5))


def test_a_space_that_is_exhausted_ends_the_search(tmp_path, digits):
    space = parse(FLOAT.replace("{float: [0.01, 0.5], log: true}", "[0.1, 0.2]").replace("epochs: 2", "epochs: 1"))
    found, ended = search(config_of(space), tmp_path / "run", Limits(trials=100), digits)
    assert ended == "exhausted"
    assert len(found.records) == found.trained == 6


# --- the same seed, the same search; and on from where it stopped ---------------------------------------------------


class Stop(Quiet):
    """Ends a search in the middle of training trial `number`, by its deadline or by Ctrl-C."""

    def __init__(self, number: int, how: str) -> None:
        self.number, self.how = number, how

    def training(self, number, candidate, search: Search):
        if number >= self.number and self.how == "deadline":
            search.limits = Limits(search.limits.trials, time.monotonic() - search.started)
        self.now = number

    def progress(self, number, log):
        if self.now >= self.number and self.how == "ctrl-c":
            raise KeyboardInterrupt


@pytest.mark.parametrize(("sampler", "how"), [("tpe(n_startup=3)", "deadline"), ("random", "ctrl-c")])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, digits, sampler, how):
    config = config_of(parse(FLOAT, name="float"), sampler=sampler, seed=5, budgets=("n_params<=200",))
    whole, ended = search(config, tmp_path / "whole", Limits(trials=7), digits)
    assert ended == "trials"
    trained = [r.number for r in whole.records if r.train_seconds]

    stopped, ended = search(config, tmp_path / "parts", Limits(trials=7), digits, Stop(trained[2], how))
    assert ended == {"deadline": "time", "ctrl-c": "interrupted"}[how]
    trials = trials_of(tmp_path / "parts", "float")
    assert [t.number for t in trials if t.state.name == "RUNNING"] == [trained[2]]
    assert len(stopped.records) == len(trials) - 1

    # Once more, and at once again: the same trial is interrupted twice.
    search(config, tmp_path / "parts", Limits(trials=7), digits, Stop(trained[2], how), resume=True)
    assert [t.state.name for t in trials_of(tmp_path / "parts", "float")].count("RUNNING") == 1

    parts, ended = search(config, tmp_path / "parts", Limits(trials=7), digits, resume=True)
    assert ended == "trials"
    assert [told(r) for r in parts.records] == [told(r) for r in whole.records]
    assert parts.front() == whole.front()
    for number in whole.front():
        one, other = (torch.load(s.folder.checkpoint(number), weights_only=True) for s in (whole, parts))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_seed_is_another_search(tmp_path, tiny, digits):
    runs = [search(config_of(tiny, seed=seed), tmp_path / str(seed), Limits(trials=3), digits)[0] for seed in (0, 1)]
    assert [r.arch for r in runs[0].records] != [r.arch for r in runs[1].records]


def test_more_trials_of_a_finished_run_are_what_it_would_have_done(tmp_path, tiny, digits):
    whole, _ = search(config_of(tiny), tmp_path / "whole", Limits(trials=4), digits)
    search(config_of(tiny), tmp_path / "parts", Limits(trials=2), digits)
    parts, _ = search(config_of(tiny), tmp_path / "parts", Limits(trials=4), digits, resume=True)
    assert [told(r) for r in parts.records] == [told(r) for r in whole.records]
    nothing, ended = search(config_of(tiny), tmp_path / "parts", Limits(trials=4), digits, resume=True)
    assert (ended, nothing.trained, nothing.trained_here) == ("trials", 4, 0)


def test_the_calibration_is_kept_over_a_resume(run, tiny, digits):
    before = json.loads((run / "machine.json").read_text())["calibrations"]["onnxruntime"]
    config = StudyConfig.read(run / "config.yaml")
    with open_search(config, RunFolder(run), Limits(trials=1), task=digits, resume=True) as opened:
        assert opened.evaluator.pricer.meters["latency_ms"].calibration.to_dict() == before
        known = opened.records[0]
        network_prices = opened.evaluator.candidate(known.arch).prices
    assert network_prices == known.prices, "a network that was measured is not measured again"


@pytest.fixture(scope="module")
def four_trials(tmp_path_factory, tiny, digits):
    return search(config_of(tiny, seed=2), tmp_path_factory.mktemp("four") / "run", Limits(trials=4), digits)[0]


@pytest.mark.parametrize("after", ["start", "finish", "save_checkpoint", "prune_checkpoints", "write_results"])
def test_a_blow_at_any_moment_costs_nothing_that_was_finished(four_trials, tmp_path, tiny, digits, after):
    """Struck down right after each step that writes: the resumed run is what it would have been, weights included."""

    def struck(*args, **kwargs):
        result = step(*args, **kwargs)
        if opened.trained >= 1:
            raise KeyboardInterrupt
        return result

    config = config_of(tiny, seed=2)
    with open_search(config, RunFolder(tmp_path / "parts"), Limits(trials=4), task=digits) as opened:
        owner = opened.storage if hasattr(opened.storage, after) else opened.folder
        step = getattr(owner, after)
        setattr(owner, after, struck)
        with contextlib.suppress(KeyboardInterrupt):  # writing the results at the end is struck once more
            assert opened.run() == "interrupted"
    parts, ended = search(config, tmp_path / "parts", Limits(trials=4), digits, resume=True)
    assert ended == "trials"
    assert [told(r) for r in parts.records] == [told(r) for r in four_trials.records]
    assert {p.name for p in parts.folder.checkpoints.iterdir()} == {f"trial-{n:05d}.pt" for n in parts.front()}


def test_what_a_killed_search_was_measuring_is_cleared_away(run, digits):
    (run / ".price-abc").mkdir()
    (run / ".price-abc" / "network.onnx").write_bytes(b"half")
    search(StudyConfig.read(run / "config.yaml"), run, Limits(trials=1), digits, resume=True)
    assert not list(run.glob(".price-*"))


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": parse(FLOAT, name="float")}, "space: float (another tree) instead of tiny"),
        ({"objectives": ("accuracy", "macs")}, "objectives: accuracy, macs instead of accuracy, n_params, latency_ms"),
        ({"budgets": ()}, "budgets: "),
        ({"seed": 2}, "seed: 2 instead of 1"),
        ({"sampler": "tpe"}, "sampler: tpe instead of random"),
        ({"epochs": 3}, "epochs: 3 instead of None"),
    ],
)
def test_a_resume_with_something_else_is_refused(run, digits, change, said):
    config = dataclasses.replace(StudyConfig.read(run / "config.yaml"), **change)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(RunError) as caught:
        search(config, run, Limits(trials=20), digits, resume=True)
    assert said in str(caught.value)
    assert str(run) in str(caught.value)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_how_long_a_trial_may_take_may_change(run, digits):
    config = dataclasses.replace(StudyConfig.read(run / "config.yaml"), trial_time_limit_s=9.0)
    assert search(config, run, Limits(trials=14), digits, resume=True)[1] == "trials"


def test_a_second_search_in_the_same_folder_is_refused(tmp_path, tiny, digits):
    with open_search(config_of(tiny), RunFolder(tmp_path / "run"), Limits(trials=1), task=digits) as opened:
        for resume in (False, True):
            with pytest.raises(RunError, match="another search is at work" if resume else "--resume"):
                search(config_of(tiny), tmp_path / "run", Limits(trials=1), digits, resume=resume)
        assert opened.run() == "trials"
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_resume_without_a_study_says_what_is_missing(run, digits):
    (run / "study.db").unlink()
    with pytest.raises(RunError, match=r"study\.db"):
        search(StudyConfig.read(run / "config.yaml"), run, Limits(trials=1), digits, resume=True)
    assert not (run / "study.db").exists(), "nothing is made by a resume that is refused"


def test_another_storage(tmp_path, tiny, digits):
    """Two runs in one storage, by the names of their folders; and no study.db in them."""
    url = f"sqlite:///{tmp_path}/shared.db"

    def go(name, resume=False, trials=1):
        folder = RunFolder(tmp_path / name)
        limits = Limits(trials=trials)
        with open_search(config_of(tiny), folder, limits, task=digits, storage_url=url, resume=resume) as opened:
            opened.run()
        return opened

    go("a")
    go("b")
    assert go("a", resume=True, trials=2).trained == 2
    assert not list(tmp_path.glob("*/study.db"))
    assert set(optuna.get_all_study_names(url)) == {"a", "b"}
    (tmp_path / "other").mkdir()
    with (
        pytest.raises(RunError, match="a study called 'a' exists already"),
        open_search(config_of(tiny), RunFolder(tmp_path / "other" / "a"), Limits(), task=digits, storage_url=url),
    ):
        pass
    assert not (tmp_path / "other" / "a").exists(), "nothing was written"


@pytest.mark.parametrize(
    ("url", "said"),
    [("sqlite:////nowhere/at/all/study.db", "there is no folder"), ("notadialect://x", "kind"), ("nonsense", "no URL")],
)
def test_a_storage_that_cannot_be_opened(tmp_path, tiny, digits, url, said):
    opening = open_search(config_of(tiny), RunFolder(tmp_path / "run"), Limits(), task=digits, storage_url=url)
    with pytest.raises(RunError, match=said), opening:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_somebody_else_queued_is_left_alone(run, digits):
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{run}/study.db")
    study.enqueue_trial({"body.repeat": 1})
    n = len(study.trials)
    found, _ = search(StudyConfig.read(run / "config.yaml"), run, Limits(trials=15), digits, resume=True)
    assert found.trained == 15
    assert len(found.records) > n - 1
    assert [t.number for t in trials_of(run) if t.state.name == "WAITING"] == [n - 1]


def test_the_front_is_of_complete_trials_alone(finished):
    config, records = RunFolder(finished).read()
    objectives = config.parsed_objectives()
    front = front_numbers(records, objectives)
    assert front == [r.number for r in records if r.on_front]
    assert front_numbers([r for r in records if r.state != "complete"], objectives) == []
    losses = {r.number: [o.loss(r.metrics[o.name]) for o in objectives] for r in records if r.state == "complete"}
    for number, mine in losses.items():
        beaten = any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in losses.values()
        )
        assert beaten == (number not in front)


def test_the_same_data_by_another_name_are_the_same_and_changed_ones_are_not(run, digits):
    config = dataclasses.replace(StudyConfig.read(run / "config.yaml"), data="elsewhere/digits.npz")
    search(config, run, Limits(trials=1), digits, resume=True)
    assert StudyConfig.read(run / "config.yaml").data == "elsewhere/digits.npz"
    changed = dataclasses.replace(digits, y_val=digits.y_val.flip(0))
    with pytest.raises(RunError, match="made on other data"):
        search(config, run, Limits(trials=20), changed, resume=True)


def test_what_was_priced_and_not_trained_is_not_measured_again(tmp_path, digits, monkeypatch):
    import nas.measure.price as price

    measured = []
    count = price.count
    monkeypatch.setattr(price, "count", lambda *args: measured.append(1) or count(*args))
    space = parse(FLOAT.replace("[4, 8, 12]", "{int: [4, 60]}"), name="wide")
    config = config_of(space, sampler="tpe(n_startup=3)", budgets=("n_params<=400",))
    search(config, tmp_path / "run", Limits(trials=3), digits)
    first = len(measured)
    assert first > 15  # the survey
    kept = (tmp_path / "run" / "prices.jsonl").read_text().splitlines()
    assert kept
    with (tmp_path / "run" / "prices.jsonl").open("a") as file:
        file.write('{"network": "cut sho')
    search(config, tmp_path / "run", Limits(trials=4), digits, resume=True)
    assert len(measured) - first <= 5  # what the one proposal priced


def test_where_trials_alone_are_counted_no_sampler_hears_of_seconds(tmp_path, digits):
    with open_search(config_of(parse(FLOAT)), RunFolder(tmp_path / "run"), Limits(trials=2), task=digits) as opened:
        opened.run()
        assert all(r.train_seconds for r in opened.records)
        assert [o.cost for o in opened.ledger.seen()] == [None, None]
