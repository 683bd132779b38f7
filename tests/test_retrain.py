"""The chosen networks in full: all data but the test set, several seeds, and what is known of their accuracy."""

import csv
import dataclasses
import html
import json
import math
import os
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from scipy import stats
from tiny_run import snapshot

from nas.build import build
from nas.errors import DataError, NasError, RunError, TrialFailed
from nas.metrics import Judge
from nas.objectives import OBJECTIVES
from nas.plugins import PluginId
from nas.records import TrialRecord, write_json
from nas.retrain import Retrained, drive, read_retrained, retrain
from nas.retrain.card import page
from nas.retrain.clock import TimeLimit, ends_in, share_that_fits
from nas.retrain.drive import Member, Retraining, Training
from nas.retrain.folder import RetrainFolder
from nas.retrain.plan import Plan, epochs_that_fit, epochs_within
from nas.retrain.recipe import read_recipe
from nas.retrain.result import SeedResult
from nas.retrain.watch import Unwatched
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.deploy import calibration, judge_file, write_quantised
from nas.study.folder import RunFolder
from nas.study.jobs import Outcome
from nas.training import evaluate, fit

# --- figures --------------------------------------------------------------------------------------------------------


def retrained(values: tuple[float, ...], n_test: int = 400, metric: str = "accuracy") -> Retrained:
    return Retrained(
        trial=3,
        folder=Path("trial-00003"),
        metric=OBJECTIVES[metric],
        n_test=n_test,
        seeds=tuple(SeedResult(i, {"accuracy": value, "loss": value}) for i, value in enumerate(values)),
        epochs=2,
        searched=0.8,
    )


def test_the_interval_by_hand():
    """Mean .90, standard deviation .02 over 4 seeds: .90 +- 3.182 * .02 / 2, with t(.975, 3) = 3.182."""
    found = retrained((0.88, 0.88, 0.92, 0.92))
    deviation = math.sqrt(4 * 0.02**2 / 3)
    low, high = found.interval
    assert found.mean == pytest.approx(0.90)
    assert (high - low) / 2 == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert (low + high) / 2 == pytest.approx(0.90)


def test_the_interval_agrees_with_scipy():
    accuracies = tuple(np.random.default_rng(0).normal(0.9, 0.01, 7))
    low, high = stats.t.interval(0.95, 6, loc=np.mean(accuracies), scale=stats.sem(accuracies))
    assert retrained(accuracies).interval == pytest.approx((low, high))


def test_one_seed_has_no_interval():
    found = retrained((0.9,))
    assert all(math.isnan(end) for end in found.interval)
    assert found.to_dict()["test_accuracy_mean"] == 0.9


def test_an_accuracy_lies_between_0_and_1_and_a_loss_does_not():
    assert retrained((0.99, 1.0)).interval[1] == 1.0
    assert retrained((0.99, 1.0), metric="loss").interval[1] > 1.0
    assert retrained((0.1, 1.0), metric="loss").interval[0] == 0.0, "but not below the best there can be"


def test_the_sampling_error_is_that_of_a_binomial():
    """Wilson's intervals: [.8256, .9448] of 90 in 100, and [.9286, 1] of 50 in 50, where the usual one has no width."""
    assert retrained((0.9, 0.9), n_test=100).sampling_error == pytest.approx((0.9448 - 0.8256) / 2, abs=1e-4)
    assert retrained((1.0,), n_test=50).sampling_error == pytest.approx((1 - 0.9286) / 2, abs=1e-4)
    assert math.isnan(retrained((0.9, 0.9), metric="loss").sampling_error)


@pytest.mark.parametrize(("metric", "gap"), [("accuracy", 0.1), ("loss", -0.1)])
def test_the_gap_is_above_0_where_the_search_saw_it_better(metric, gap):
    assert retrained((0.7,), metric=metric).gap == pytest.approx(gap)


def test_what_version_0_1_0_wrote_is_read(tmp_path):
    kept = {"trial": 3, "test_samples": 9, "test_accuracies": [0.5, 0.7], "test_losses": [1.0, 2.0], "epochs": 4}
    (tmp_path / "retrained.json").write_text(json.dumps({**kept, "searched_validation_accuracy": None}))
    found = read_retrained(tmp_path)
    assert (found.values, found.mean, found.epochs) == ((0.5, 0.7), 0.6, 4)
    assert math.isnan(found.gap)
    assert read_retrained(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["{}", "[]", '{"trial": 1, "metric": "speed"}', "{"])
def test_a_file_that_is_none_of_ours_is_said_to_be(tmp_path, text):
    (tmp_path / "retrained.json").write_text(text)
    with pytest.raises(NasError, match=r"retrained\.json|speed"):
        read_retrained(tmp_path)


# --- one network ----------------------------------------------------------------------------------------------------


@pytest.fixture
def best(front):
    return front.pick("best:accuracy")


@pytest.fixture
def train(front, best, tmp_path):
    """Retrain the best network into a run folder of its own, which is given by a name."""

    def train(name="one", task=None, record=None, config=None, **options) -> Retrained:
        run = RunFolder(tmp_path / name)
        return retrain(config or front.config, [record or best.record], task or front.task, run, **options)[0]

    return train


def weights_of(found: Retrained) -> list[dict[str, torch.Tensor]]:
    return [torch.load(path, weights_only=True) for path in found.weights]


def assert_same(one: Retrained, two: Retrained) -> None:
    """Weights and figures, bit for bit."""
    assert [seed.scores for seed in one.seeds] == [seed.scores for seed in two.seeds]
    assert [seed.confusion for seed in one.seeds] == [seed.confusion for seed in two.seeds]
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_result(train):
    one, two = (train(name, seeds=2, epochs=2) for name in ("one", "two"))
    assert_same(one, two)
    assert len({seed.scores["loss"] for seed in one.seeds}) == 2, "another seed is another training"


def test_what_is_told_is_what_the_weights_do_on_the_test_set(front, best, digits):
    found = best.retrain(seeds=2, epochs=2)
    x, y = digits.test()
    assert found.n_test == len(y) == 359
    network = best.network()  # the weights of seed 0
    scores = evaluate(network, x, y)
    assert scores["accuracy"] == found.values[0]
    assert scores["loss"] == pytest.approx(found.seeds[0].scores["loss"], rel=1e-6)
    kept = json.loads((front.folder.retrained_trial(best.record.number) / "retrained.json").read_text())
    assert [seed["scores"]["accuracy"] for seed in kept["seeds"]] == list(found.values)
    assert kept["test_samples"] == 359
    assert kept["searched_validation_accuracy"] == best.metrics["accuracy"]
    confusion = np.array(found.seeds[0].confusion)
    assert (confusion.sum(axis=1) == np.bincount(y, minlength=10)).all(), "rows are the classes"
    assert confusion.trace() / 359 == found.values[0]
    predicted = network(x).argmax(1).numpy()
    assert confusion[3, 5] == ((y.numpy() == 3) & (predicted == 5)).sum()


def test_it_trains_on_training_and_validation_data_for_three_times_the_epochs(front, best, digits, train):
    """The same by hand: all 1,438 samples that are not the test set's, whatever share the search was trained on."""
    config = dataclasses.replace(front.config, subset=0.3)
    found = train(config=config, seeds=1)
    assert found.epochs == 3

    from nas.rng import torch_seed
    from nas.study.work import train_config
    from nas.training import torch_seeded

    number = best.record.number
    with torch_seeded(torch_seed(config.seed, "retrained weights", number, 0)):
        network = build(config.space, best.record.arch, digits.in_shape, digits.n_outputs)
    x, y = torch.cat([digits.x_train, digits.x_val]), torch.cat([digits.y_train, digits.y_val])
    assert len(x) == 1438
    whole = dataclasses.replace(train_config(config, best.record.arch), subset=1.0, epochs=3)
    fit(network, x, y, whole, seed=torch_seed(config.seed, "retraining", number, 0))
    (kept,) = weights_of(found)
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


def test_the_test_set_judges_and_has_no_part_in_the_training(digits, train):
    x, y = digits._test
    spoilt = dataclasses.replace(digits, _test=(x[::-1].copy(), y))  # right images, wrong labels
    one, two = train("one", seeds=1), train("two", spoilt, seeds=1)
    (a,), (b,) = weights_of(one), weights_of(two)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert one.values != two.values


def test_what_a_run_is_searched_for_is_what_is_told(front, best, train):
    config = dataclasses.replace(front.config, objectives=("n_params", "loss"))
    found = train(config=config, seeds=1, epochs=1)
    assert found.metric.name == "loss"
    assert found.mean == found.seeds[0].scores["loss"]
    assert found.searched == best.record.scores["loss"]
    prices_alone = dataclasses.replace(front.config, objectives=("n_params",))
    assert train("prices", config=prices_alone, seeds=1, epochs=1).metric.name == "accuracy"


def test_what_is_refused(best, digits, train, tmp_path):
    with pytest.raises(NasError, match="seeds must be an integer of at least 1, got 0"):
        best.retrain(seeds=0)
    with pytest.raises(NasError, match="epochs must be an integer of at least 1, got 0"):
        best.retrain(epochs=0)
    with pytest.raises(NasError, match="workers must be an integer from 1 to 1,000, got 0"):
        best.retrain(workers=0)
    with pytest.raises(DataError, match="no test set"):
        train(task=dataclasses.replace(digits, _test=None))
    assert not (tmp_path / "one").exists()


# --- interrupted, and again -----------------------------------------------------------------------------------------


class Struck(Unwatched):
    """Interrupts after so many epochs, and notes which were told."""

    def __init__(self, after: int | None = None) -> None:
        self.epochs: list[tuple[int, int, float]] = []
        self.failures: dict[int, str] = {}
        self._after = after

    def epoch(self, trial, seed, log):
        self.epochs.append((trial, seed, log.epochs))
        if len(self.epochs) == self._after:
            raise KeyboardInterrupt

    def failed(self, trial, reason):
        self.failures[trial] = reason


@pytest.fixture
def at_every_epoch(monkeypatch):
    """A checkpoint at the end of every epoch, however short that is."""
    monkeypatch.setattr(drive, "_CHECKPOINT_S", 0.0)


def test_it_goes_on_from_the_last_checkpoint_to_the_same_end(train, at_every_epoch, tmp_path):
    whole = train("whole", seeds=2, epochs=4)
    again = partial(train, "broken", seeds=2, epochs=4)
    for after in (3, 3):  # in the third epoch of the first seed; then in the first one of the second
        with pytest.raises(KeyboardInterrupt):
            again(watcher=Struck(after))
        assert not (tmp_path / "broken/retrained.csv").exists()
    assert not list((tmp_path / "broken/retrained").glob(".*")), "no lock, no data"
    rest = Struck()
    found = again(watcher=rest)
    assert [(seed, epoch) for _, seed, epoch in rest.epochs] == [(1, float(e)) for e in (1, 2, 3, 4)]
    assert_same(whole, found)
    assert found.train_seconds > 0
    assert not list(found.folder.glob("unfinished*"))


def test_a_damaged_checkpoint_costs_time_and_changes_nothing(train, at_every_epoch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("broken", seeds=1, epochs=3, watcher=Struck(3))
    (state,) = (tmp_path / "broken").rglob("paused-0.pt")
    state.write_bytes(state.read_bytes()[:-7])
    rest = Struck()
    found = train("broken", seeds=1, epochs=3, watcher=rest)
    assert len(rest.epochs) == 3
    assert_same(train("whole", seeds=1, epochs=3), found)


class Killed(BaseException):
    """What no handler of ours expects."""


def test_killed_at_any_file_it_is_whole_or_goes_on(train, monkeypatch, tmp_path):
    """Before each file that is put in place, one after the other; an earlier retraining is there all the time."""
    first, second = train("spare", seeds=2, epochs=1), train("other", seeds=1, epochs=2)
    run, replace = tmp_path / "run", Path.replace
    left = 0

    def struck(self, target):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return replace(self, target)

    for moment in range(100):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(tmp_path / "spare", run)
        left = moment
        monkeypatch.setattr(Path, "replace", struck)
        try:
            train("run", seeds=1, epochs=2, overwrite=True)
        except Killed:
            monkeypatch.setattr(Path, "replace", replace)
        else:
            break
        kept = read_retrained(run / "retrained" / first.folder.name)
        assert kept.values in (first.values, second.values), "what is told is one retraining or the other"
        anew = tmp_path / "anew"
        shutil.rmtree(anew, ignore_errors=True)
        shutil.copytree(run, anew)
        with pytest.raises(KeyboardInterrupt):
            train("anew", seeds=1, epochs=2, overwrite=True, watcher=Struck(1))
        kept_anew = read_retrained(anew / "retrained" / first.folder.name)
        assert_same(first if kept_anew.values == first.values else second, kept_anew)
        assert_same(second, train("anew", seeds=1, epochs=2, overwrite=True))
        begun = list(run.rglob("plan.json"))
        found = train("run", seeds=1, epochs=2, overwrite=not begun and kept.epochs == 1)
        assert_same(second, found)
        assert snapshot(found.folder).keys() == snapshot(second.folder).keys()
    assert 8 < moment < 50, "there is more than that to be struck at"


@pytest.fixture
def half_way(digits, train, at_every_epoch, tmp_path):
    """A retraining on other data, killed when one seed was done and the other half; its folder."""
    other = dataclasses.replace(digits, y_train=digits.y_train.flip(0))
    with pytest.raises(KeyboardInterrupt):
        train("broken", other, seeds=2, epochs=2, watcher=Struck(4))
    (plan,) = (tmp_path / "broken").rglob("plan.json")
    assert {"seed-0.json", "paused-1.pt"} < {path.name for path in plan.parent.iterdir()}
    return plan.parent


def test_what_is_left_of_one_that_was_dropped_is_not_taken_for_the_next_ones(train, half_way, monkeypatch):
    """Killed while it is removed, when the plan is gone and a checkpoint, which does not know its data, is not."""
    rmtree = shutil.rmtree

    def killed(path, **options):
        if Path(path).name.startswith("unfinished") and Path(path).exists():
            (Path(path) / "plan.json").unlink()
            raise Killed
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        train("broken", seeds=2, epochs=2, overwrite=True)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    found = train("broken", seeds=2, epochs=2)
    assert_same(train("whole", seeds=2, epochs=2), found)
    assert not list(found.folder.glob("unfinished*"))


def test_what_an_earlier_version_left_without_a_plan_is_nobodys(train, half_way):
    (half_way / "plan.json").unlink()
    assert_same(train("whole", seeds=2, epochs=2), train("broken", seeds=2, epochs=2))


def test_a_seed_of_another_plan_is_not_taken(train):
    first = train(seeds=1, epochs=1)
    folder, plan = RetrainFolder(first.folder), Plan(**first.plan)
    folder.begin(plan, anew=True)
    folder.keep(plan, dataclasses.replace(first.seeds[0], seed=1), b"")
    assert folder.trained(plan).keys() == {0, 1}
    other = plan.of_other_epochs(2)
    assert folder.trained(other) == {}
    write_json(folder.unfinished / "plan.json", dataclasses.asdict(other))
    assert folder.trained(other) == {}


def test_a_damaged_seed_is_trained_again_and_changes_nothing(train, at_every_epoch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("broken", seeds=3, epochs=2, watcher=Struck(5))
    (figures,) = (tmp_path / "broken").rglob("seed-0.json")
    figures.write_bytes(b"")
    rest = Struck()
    found = train("broken", seeds=3, epochs=2, watcher=rest)
    assert {seed for _, seed, _ in rest.epochs} == {0, 2}
    assert_same(train("whole", seeds=3, epochs=2), found)


def test_a_damaged_result_that_was_not_put_in_place_yet_is_made_again(train, tmp_path):
    whole = train("whole", seeds=1, epochs=1)
    folder = RetrainFolder(tmp_path / "broken/retrained" / whole.folder.name)
    plan = Plan(**whole.plan)
    folder.begin(plan, anew=True)
    folder.keep(plan, whole.seeds[0], whole.weights[0].read_bytes())
    for content in (b"", b"{}"):
        (folder.unfinished / "retrained.json").write_bytes(content)
        folder.recover()
        assert folder.finished() is None
    assert_same(whole, train("broken", seeds=1))
    assert snapshot(folder.path).keys() == snapshot(whole.folder).keys()


def test_a_seed_is_on_the_disk_before_its_checkpoint_goes(train, monkeypatch, tmp_path):
    found = train(seeds=1, epochs=1)
    folder, plan = RetrainFolder(tmp_path / "other"), Plan(**found.plan)
    events, sync, replace, unlink = [], os.fsync, Path.replace, Path.unlink

    def synced(descriptor):
        events.append("synced")
        sync(descriptor)

    def replaced(self, target):
        events.append(target.name)
        return replace(self, target)

    def gone(self, missing_ok=False):
        events.append(f"{self.name} gone")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(Path, "unlink", gone)
    folder.begin(plan, anew=True)
    folder.save_state(0, b"half-way")
    folder.keep(plan, found.seeds[0], b"weights")
    assert events == [
        *("synced", "plan.json", "synced", "paused-0.pt"),
        *("synced", "seed-0.pt", "synced", "seed-0.json", "paused-0.pt gone"),
    ]


# --- again, with something else ---------------------------------------------------------------------------------


def test_what_is_finished_is_not_trained_again(front, best):
    first = best.retrain(seeds=2, epochs=2)
    before = snapshot(front.folder.path)
    for options in ({"seeds": 2, "epochs": 2}, {"seeds": 1}, {"seeds": 2}):
        epochs = []
        again = best.retrain(**options, on_epoch=lambda seed, log, told=epochs: told.append(seed))
        assert (again.values, epochs) == (first.values, [])
    assert snapshot(front.folder.path) == before


def test_more_seeds_are_added_to_those_that_are_there(train):
    whole = train("whole", seeds=3, epochs=2)
    train("grown", seeds=1, epochs=2)
    rest = Struck()
    grown = train("grown", seeds=3, watcher=rest)
    assert {seed for _, seed, _ in rest.epochs} == {1, 2}
    assert grown.epochs == 2, "what is not said is as before"
    assert_same(whole, grown)


def test_other_settings_are_refused_with_the_remedy(train, digits, at_every_epoch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(seeds=2, epochs=3, watcher=Struck(4))
    before = snapshot(tmp_path)
    with pytest.raises(RunError, match=r"is half-way through .*\n  training\.epochs: 2 instead of 3\n.*--overwrite"):
        train(seeds=2, epochs=2)
    x, y = digits._test
    other = dataclasses.replace(digits, _test=(x[:-1], y[:-1]))
    with pytest.raises(RunError, match="other test data"):
        train(task=other, seeds=2)
    other = dataclasses.replace(digits, x_train=digits.x_train[:-9], y_train=digits.y_train[:-9])
    with pytest.raises(RunError, match="other training data"):
        train(task=other, seeds=2)
    assert snapshot(tmp_path) == before
    assert train(seeds=2).epochs == 3
    with pytest.raises(RunError, match="was retrained already, with something else"):
        train(seeds=2, epochs=2)
    assert train(seeds=1, epochs=2, overwrite=True).epochs == 2
    assert [p.name for p in (tmp_path / "one").rglob("seed-*.pt")] == ["seed-0.pt"]


def test_a_retraining_that_fails_leaves_the_earlier_one(front, best, train, tmp_path):
    train(seeds=1, epochs=1)
    before = snapshot(tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        train(overwrite=True, watcher=Struck(1))
    values = best.record.arch.values | {"training.optimizer.sgd.lr": 1e12}
    diverging = dataclasses.replace(best.record, arch=front.config.space.architecture(values))
    with pytest.raises(TrialFailed, match=rf"trial {best.record.number}: seed 1: diverged"):
        train(record=diverging, overwrite=True)
    assert snapshot(tmp_path / "one") == before


def test_a_retraining_of_version_0_1_0_is_only_replaced(best, front):
    folder = front.folder.retrained_trial(best.record.number)
    folder.mkdir(parents=True)
    kept = {"trial": best.record.number, "test_samples": 9, "test_accuracies": [0.5], "test_losses": [1.0], "epochs": 4}
    (folder / "retrained.json").write_text(json.dumps({**kept, "searched_validation_accuracy": 0.5}))
    with pytest.raises(RunError, match=r"by version 0\.1\.0.*--overwrite does it again"):
        best.retrain(seeds=1, epochs=1)
    assert best.retrain(seeds=1, epochs=1, overwrite=True).n_test == 359


def test_a_damaged_result_is_told_before_any_training_and_can_be_replaced(best, front):
    best.retrain(seeds=1, epochs=1)
    path = front.folder.retrained_trial(best.record.number) / "retrained.json"
    path.write_text("{}")
    other = next(m for m in front if m.record.number != best.record.number)
    for member in (best, other):
        with pytest.raises(RunError, match=r"retrained\.json: not a retraining of ours"):
            member.retrain(seeds=1, epochs=1)
    assert best.retrain(seeds=1, epochs=1, overwrite=True).n_test == 359


def test_two_at_a_time_in_one_run_are_refused(best, front):
    front.folder.retrained.mkdir()
    with (
        FileLock(front.folder.retrained / ".lock"),
        pytest.raises(RunError, match="another retraining is at work in this run"),
    ):
        best.retrain(seeds=1, epochs=1)
    assert len(best.retrain(seeds=1, epochs=1).seeds) == 1


# --- several networks -----------------------------------------------------------------------------------------------


def test_the_front_and_its_table(front):
    told = Struck()
    models = front.retrain(seeds=2, epochs=1, watcher=told)
    assert [m.trial for m in models] == [m.record.number for m in front]
    assert len(told.epochs) == 2 * len(front)
    rows = list(csv.DictReader((front.folder.path / "retrained.csv").read_text().splitlines()))
    assert {int(row["trial"]) for row in rows} == {m.trial for m in models}
    means = [float(row["test_accuracy"]) for row in rows]
    assert means == sorted(means, reverse=True)
    by_trial = {int(row["trial"]): row for row in rows}
    for model in models:
        row = by_trial[model.trial]
        low, high = model.interval
        assert (float(row["test_accuracy_low"]), float(row["test_accuracy_high"])) == (low, high)
        assert float(row["latency_ms_low"]) <= float(row["latency_ms"]) <= float(row["latency_ms_high"])
        assert int(row["n_params"]) == model.member.metrics["n_params"]
        assert (front.folder.path / row["weights"]).exists()
        assert model.member.retrained == read_retrained(model.folder)
    assert len(front.retrain([front[0]], seeds=1)) == 1, "as it is"
    assert len((front.folder.path / "retrained.csv").read_text().splitlines()) == 1 + len(front), "all of the run"


def test_one_that_fails_does_not_stop_the_others(front, best):
    values = best.record.arch.values | {"training.optimizer.sgd.lr": 1e12}
    bad = dataclasses.replace(best.record, number=77, arch=front.config.space.architecture(values))
    told = Struck()
    found = retrain(front.config, [bad, best.record], front.task, front.folder, seeds=2, epochs=1, watcher=told)
    assert [one.trial for one in found] == [best.record.number]
    assert told.failures.keys() == {77}
    assert "diverged" in told.failures[77]
    assert not front.folder.retrained_trial(77).exists()


def test_a_process_that_dies_once_is_replaced_and_twice_is_the_networks_own_fault(train, monkeypatch, at_every_epoch):
    whole = train("whole", seeds=2, epochs=2)

    class Dying(drive.Here):
        deaths = 1
        died = 0

        def wait(self, timeout_s=None):
            job = self._jobs[0]
            if job.seed == 1 and job.rung == 1 and Dying.died < Dying.deaths:
                Dying.died += 1
                self._jobs.popleft()
                return (Outcome(number=job.number, rung=job.rung, ended="died", reason="its process ended by SIGKILL"),)
            return super().wait(timeout_s)

    monkeypatch.setattr(drive, "Here", Dying)
    assert_same(whole, train("once", seeds=2, epochs=2))
    assert Dying.died == 1
    Dying.deaths, Dying.died = 2, 0
    with pytest.raises(TrialFailed, match="seed 2: its process ended by SIGKILL"):
        train("twice", seeds=2, epochs=2)


@pytest.mark.slow
def test_workers_change_nothing_and_go_on_with_what_another_number_began(train, at_every_epoch, tmp_path):
    """In processes of their own: their weights are those of this one."""
    whole = train("whole", seeds=3, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        train("apart", seeds=3, epochs=3, workers=1, watcher=Struck(2))
    rest = Struck()
    found = train("apart", seeds=3, epochs=3, workers=2, watcher=rest)
    assert_same(whole, found)
    assert (found.trial, 0, 1.0) not in rest.epochs, "that was done before"
    assert {seed for _, seed, _ in rest.epochs} == {0, 1, 2}
    assert not list((tmp_path / "apart/retrained").glob(".*"))


# --- another recipe than the search's -------------------------------------------------------------------------------


def test_fields_of_training_take_the_place_of_those_searched(front, best, train):
    searched = train("as searched", seeds=1, epochs=2)
    recipe = {"optimizer": {"sgd": {"lr": 0.05}}, "label_smoothing": 0.1}
    found = train("otherwise", seeds=1, epochs=2, training=recipe)
    trained, before = found.plan["training"], searched.plan["training"]
    assert trained["optimizer"]["sgd"]["lr"] == 0.05
    assert trained["label_smoothing"] == 0.1
    same = set(trained) - {"optimizer", "label_smoothing"}
    assert {name: trained[name] for name in same} == {name: before[name] for name in same}
    card = json.loads((found.folder / "model_card.json").read_text())
    assert "sgd" in str(card["training"])
    assert train("otherwise", seeds=2, epochs=2).plan["training"] == trained, "goes on as it was begun"
    with pytest.raises(RunError) as refused:
        train("otherwise", seeds=2, epochs=2, training={"optimizer": "rmsprop", "label_smoothing": 0.2})
    lines = [line.strip() for line in str(refused.value).splitlines()]
    assert lines[1:3] == [
        "training.optimizer: rmsprop instead of sgd",
        "training.label_smoothing: 0.2 instead of 0.1",
    ]


def test_the_command_of_a_card_trains_with_the_same_recipe(train):
    def words(found: Retrained) -> list[str]:
        return shlex.split(json.loads((found.folder / "model_card.json").read_text())["reproduce"])

    found = train(seeds=1, epochs=2, training={"optimizer": {"sgd": {"lr": 1e-5}}, "schedule": "onecycle"})
    said = words(found)
    recipe = read_recipe(said[said.index("--training") + 1])
    assert recipe.keys() == {"optimizer", "schedule"}, "what is as it was searched is not said"
    assert_same(found, train("again", seeds=1, epochs=2, training=recipe))
    assert "--training" not in words(train("searched", seeds=1, epochs=2))


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ({"epochs": 9}, "training.epochs: the epochs are said by --epochs"),
        ({"subset": 0.5}, "training.subset: a retraining takes all samples"),
        ({"optimizer": "sdg"}, "training.optimizer: .*sgd"),
        ({"optimizer": {"sgd": {"lr": -1}}}, "training.optimizer.sgd.lr must be in"),
        ({"augment": "timeshift"}, "training.augment: .* is for tokens data"),
        ({"mixpu": 0.2}, "training: .*mixup"),
    ],
)
def test_a_recipe_that_cannot_be_names_the_field_before_anything_is_begun(train, tmp_path, recipe, why):
    with pytest.raises(NasError, match=why):
        train("refused", seeds=1, training=recipe)
    assert not list((tmp_path / "refused").rglob("*.pt"))


def test_a_recipe_is_read_from_yaml(tmp_path):
    (tmp_path / "recipe.yaml").write_text("training:\n  optimizer: {adamw: {lr: 1e-3}}\n  mixup: 0.2\n")
    assert read_recipe(str(tmp_path / "recipe.yaml")) == {"optimizer": {"adamw": {"lr": 0.001}}, "mixup": 0.2}
    assert read_recipe(" {mixup: 0}") == {"mixup": 0}
    for text, why in (
        ("{optimizer: !!python/name:os.system }", "a tag is not allowed"),
        ("{optimizer", "not YAML"),
        (str(tmp_path / "nowhere.yaml"), "cannot be read: No such file"),
        ("optimizer=sgd", "cannot be read"),
        ("{1: 2}", "fields of training are wanted"),
    ):
        with pytest.raises(NasError, match=why):
            read_recipe(text)


# --- what ships in 8 bits -------------------------------------------------------------------------------------------

EIGHT_BITS = """\
input: image
stem: {conv: {width: 16, stride: 2}}
body: {conv: {width: 48, stride: 2}}
head: {pool: {}}
training: {epochs: 1, batch_size: 32, optimizer: {adamw: {lr: 0.005}}}
deploy: {precision: [fp32, int8_static]}
"""


@pytest.fixture
def eight_bits(train):
    """Retrain a network that ships as int8_static, with one seed."""
    config = StudyConfig(space=parse(EIGHT_BITS, name="eight bits"), objectives=("accuracy", "size_bytes"), seed=1)
    arch = config.space.architecture({"deploy.precision": "int8_static"})
    record = TrialRecord(5, arch, "complete", scores={"accuracy": 0.9, "loss": 0.5}, epochs=1, share=1.0)
    return partial(train, config=config, record=record, seeds=1, epochs=1)


def test_what_ships_in_8_bits_is_judged_as_that_file(eight_bits, digits, tmp_path):
    """The same by hand, with the ranges of an export: from samples of the search's training set."""
    found = eight_bits()
    network = build(parse(EIGHT_BITS), eight_bits.keywords["record"].arch, digits.in_shape, 10)
    network.load_state_dict(weights_of(found)[0])
    write_quantised(network, digits.in_shape, tmp_path / "net.onnx", "int8_static", calibration(digits, 1))
    x, y = digits.test()
    expected = judge_file(tmp_path / "net.onnx", x, y, Judge())
    assert found.seeds[0].scores == expected
    assert expected["loss"] != evaluate(network, x, y)["loss"]
    confusion = np.array(found.seeds[0].confusion)
    assert (confusion.sum(axis=1) == np.bincount(y, minlength=10)).all()
    assert confusion.trace() / 359 == found.mean
    assert "figures of int8_static files" in (found.folder / "model_card.md").read_text()


def test_figures_of_float32_and_of_8_bits_are_not_mixed(eight_bits):
    """An earlier version judged float32 whatever ships, and its plans do not say so."""
    path = eight_bits().folder / "retrained.json"
    kept = json.loads(path.read_text())
    del kept["plan"]["precision"]
    path.write_text(json.dumps(kept))
    with pytest.raises(RunError, match="with something else:\n  precision: int8_static instead of fp32\n"):
        eight_bits(seeds=2)
    assert eight_bits(overwrite=True).plan["precision"] == "int8_static"


def test_a_file_that_cannot_be_written_is_the_networks_failure(eight_bits, monkeypatch):
    wrong = np.zeros((4, 1, 5, 8), np.float32)
    monkeypatch.setattr("nas.study.deploy.calibration", lambda task, seed: wrong)
    with pytest.raises(TrialFailed, match=r"trial 5: seed 1: .*cannot be quantised as int8_static"):
        eight_bits()


# --- a time limit ---------------------------------------------------------------------------------------------------


def timed(front, epoch_seconds: float, number: int = 3) -> TrialRecord:
    return dataclasses.replace(front[0].record, number=number, epoch_seconds=epoch_seconds)


def test_the_epochs_that_fit_by_hand(front):
    """100 s, nine tenths of them in two turns: 45 s each, of epochs that take 2.5 s on 1,250 samples for 2 on 1,000."""
    fit = partial(epochs_that_fit, larger=1.25, workers=1, limit_s=100.0)
    assert fit(timed(front, 2.0), trainings=2) == 18
    assert fit(timed(front, 9.0), trainings=2) == 4
    assert fit(timed(front, 2.0), trainings=2, most=7) == 7
    assert fit(timed(front, 1e-6), trainings=2) == 300
    assert fit(timed(front, 2.0), trainings=5, workers=4, limit_s=106.0) == 18, "two turns, after a start of 6 s"


def test_a_time_limit_that_leaves_no_epoch_says_what_would(front):
    fit = partial(epochs_that_fit, larger=1.0, trainings=3, workers=1)
    with pytest.raises(NasError, match=r"trial 3: an epoch takes 1 min 00 s; of 10 s .*\n  give 3 min 20 s at least"):
        fit(timed(front, 60.0), limit_s=10.0)
    assert fit(timed(front, 60.0), limit_s=200.0) == 1
    with pytest.raises(NasError, match="how long an epoch of it takes is not known"):
        fit(timed(front, 0.0), limit_s=10.0)


def test_a_time_limit_chooses_the_epochs_once(front, train, slow_epochs):
    found = train(record=timed(front, 1.0), seeds=1, time_limit_s=6.0)
    assert 1 <= found.epochs < 6
    assert train(record=timed(front, 2.0), seeds=1, time_limit_s=6.0).epochs == found.epochs, "as it was begun"
    assert train(record=timed(front, 2.0), seeds=1).epochs == found.epochs
    with pytest.raises(RunError, match=r"training\.epochs: \d+ instead of"):
        train(record=timed(front, 0.1), seeds=1, time_limit_s=12.0)


def test_what_has_been_spent_is_no_longer_there(front):
    assert epochs_that_fit(timed(front, 1.0), larger=1.0, trainings=1, workers=1, limit_s=100.0, spent_s=50.0) == 45
    with pytest.raises(NasError, match="give 51 s at least"):
        epochs_that_fit(timed(front, 0.9), larger=1.0, trainings=1, workers=1, limit_s=50.0, spent_s=49.9)


def test_what_does_not_fit_into_a_time_limit_leaves_its_time_to_the_others(front):
    """Of 100 s nine tenths in four turns are 22 s each: too little for an epoch of 60 s. Without it, and without the
    one that nobody knows, they are 45 s: four epochs of 10 s, not two."""
    records = [timed(front, seconds, number) for number, seconds in enumerate([1.0, 60.0, 10.0, 0.0])]
    fitting, refused = epochs_within(records, dict.fromkeys(range(4), 1), workers=1, larger=1.0, limit_s=100.0)
    assert fitting == {0: 45, 2: 4}
    assert {number: str(error).split("; ")[0] for number, error in refused.items()} == {
        3: "trial 3: how long an epoch of it takes is not known",
        1: "trial 1: an epoch takes 1 min 00 s",
    }
    assert epochs_within(records[:1], {0: 1, 1: 1}, workers=8, larger=1.0, limit_s=106.0) == ({0: 90}, {})


def test_one_that_does_not_fit_into_a_time_limit_is_told_and_the_others_go_on(front):
    slow, fast = timed(front, 1000.0, number=77), timed(front, 0.01)
    told = Struck()
    limited = partial(retrain, front.config, task=front.task, run=front.folder, seeds=1, epochs=1, time_limit_s=60.0)
    assert [one.trial for one in limited([slow, fast], watcher=told)] == [fast.number]
    assert told.failures.keys() == {77}
    assert re.match(r"an epoch takes .*\n  give .* at least, fewer networks or fewer seeds", told.failures[77])
    assert not front.folder.retrained_trial(77).exists()
    with pytest.raises(NasError, match="trial 77: an epoch takes"):
        limited([slow])


def test_a_job_knows_the_time_limit_of_its_command_so_that_one_that_hangs_is_ended(front, train, monkeypatch):
    limits = []

    class Noting(drive.Here):
        def submit(self, job):
            limits.append(job.trial_limit_s)
            super().submit(job)

    monkeypatch.setattr(drive, "Here", Noting)
    train("limited", record=timed(front, 0.1), seeds=1, epochs=1, time_limit_s=60.0)
    train("free", seeds=1, epochs=1)
    assert limits == [60.0, None]


class Told(Unwatched):
    def __init__(self):
        self.other, self.over = [], []

    def planned_again(self, trial, epochs, before):
        self.other.append((epochs, before))

    def late(self, seconds, limit_s):
        self.over.append((seconds, limit_s))


@pytest.fixture
def slow_epochs(monkeypatch):
    """Have each epoch seem to take a second: half of the limits below are over before a network is half trained."""
    spent = [0.0]

    def fit_slowly(*args, **options):
        found = fit(*args, **options)
        before = 0 if options["state"] is None else options["state"].stretches
        spent[0] += found.epochs - before
        state = None if found.state is None else dataclasses.replace(found.state, train_seconds=found.epochs)
        return dataclasses.replace(found, train_seconds=found.epochs, state=state)

    monkeypatch.setattr("nas.retrain.work.fit", fit_slowly)
    monkeypatch.setattr(TimeLimit, "spent_s", property(lambda limit: spent[0]))
    return spent


def test_a_plan_that_is_too_long_is_made_again_and_ends_in_time(front, train, slow_epochs):
    """27 s of 30 for epochs that should take half a second: 26 for each of two seeds. Two take a second each, and 28 s
    are left, of which nineteen twentieths are for 13 epochs of each."""
    told = Told()
    found = train(record=timed(front, 0.4), seeds=2, time_limit_s=30.0, watcher=told)
    assert told.other == [(13, 26)]
    assert found.epochs == 13
    assert slow_epochs[0] == 2 + 2 * 13
    assert told.over == []
    assert_same(found, train("said", record=timed(front, 0.4), seeds=2, epochs=13))
    card = json.loads((found.folder / "model_card.json").read_text())
    assert card["training"]["time_limit"]["epochs_first_planned"] == 26
    assert "13 epochs instead of 26" in (found.folder / "model_card.md").read_text()
    again = train(record=timed(front, 0.4), seeds=2, time_limit_s=30.0)
    assert again.epochs == found.epochs, "what is finished stays"


def test_what_cannot_be_held_is_said_with_the_figure(front, train, slow_epochs, monkeypatch):
    monkeypatch.setattr(drive, "_LITTLE", -1.0)  # nothing is begun again
    told = Told()
    found = train(record=timed(front, 0.4), seeds=1, time_limit_s=10.0, watcher=told)
    assert (found.epochs, told.other, told.over) == (17, [], [(17.0, 10.0)])
    page = (found.folder / "model_card.md").read_text()
    assert "- It was done 17 s after the command began, 70% over its time limit." in page


def test_a_plan_that_holds_is_left_alone(front, train, slow_epochs):
    told = Told()
    found = train(record=timed(front, 0.8), seeds=2, time_limit_s=20.0, watcher=told)
    assert (found.epochs, told.other, told.over) == (8, [], [])
    assert "time limit" not in (found.folder / "model_card.md").read_text()


def test_a_plan_that_is_much_too_short_is_made_again(front, train, slow_epochs):
    """36 s of 40 for epochs that should take five seconds: 3 for each of two seeds, which take a second each."""
    told = Told()
    found = train(record=timed(front, 4.0), seeds=2, time_limit_s=40.0, watcher=told)
    ((longer, before),) = told.other
    assert before == 3
    assert longer == found.epochs > 12
    assert told.over == []
    assert slow_epochs[0] <= 40
    assert_same(found, train("said", record=timed(front, 4.0), seeds=2, epochs=longer))
    assert f"less time than in the search: {longer} epochs instead of 3" in (found.folder / "model_card.md").read_text()
    capped = train("capped", record=timed(front, 4.0), seeds=2, time_limit_s=400.0, epochs=5, watcher=told)
    assert capped.epochs == 5


def test_a_network_of_which_a_seed_is_done_keeps_its_epochs(front, train, slow_epochs):
    train(record=timed(front, 0.9), seeds=1, time_limit_s=20.0, epochs=5)
    told = Told()
    found = train(record=timed(front, 0.9), seeds=2, time_limit_s=20.0, epochs=5, watcher=told)
    slow_epochs[0] = 100.0
    assert (len(found.seeds), found.epochs, told.other) == (2, 5, [])


def test_what_was_trained_by_a_plan_that_is_replaced_meanwhile_is_dropped(front, best, train, tmp_path):
    plan = Plan(**train(seeds=1, epochs=2).plan)
    folder = RetrainFolder(tmp_path / "other")
    member = Member(best.record, folder, None, plan, None, {}, wanted=1, most=300)
    training = Training(member, seed=0, epoch_s=1.0)
    assert training.job(1).train.epochs == 2
    member.plan = plan.of_other_epochs(1)
    training.begin_again()
    retraining = Retraining(front.config, [member], front.task, RunFolder(tmp_path), None, 2, Unwatched())
    for outcome in ({"ended": "rung", "weights": b"of two epochs"}, {"ended": "failed"}, {"ended": "died"}):
        assert retraining._goes_on(training, Outcome(number=1, rung=1, **outcome))
    assert (member.seeds, member.failed, training.done, training.deaths) == ({}, "", 0, 0)
    assert not folder.path.exists()
    assert training.job(2).train.epochs == 1


def test_when_trainings_end_by_hand():
    assert ends_in([], slots=2) == 0.0
    assert ends_in([5.0, 1.0, 1.0, 1.0], slots=2) == 5.0
    assert ends_in([1.0, 1.0, 1.0, 5.0], slots=2) == 6.0
    assert share_that_fits(lambda share: [8 * share, 8 * share, 8 * share], 2, 8.0) == pytest.approx(0.5, abs=1e-4)
    assert share_that_fits(lambda share: [1.0 + share], 1, 0.5) == 0.0
    assert share_that_fits(lambda share: [share], 1, 5.0) == 1.0
    assert share_that_fits(lambda share: [share], 1, 5.0, most=8.0) == pytest.approx(5.0, abs=1e-4)


# --- the model and its card -----------------------------------------------------------------------------------------


def test_a_model_is_exported_as_it_was_judged(front, best, tmp_path):
    model = best.retrain(seeds=1, epochs=1)
    shipped = model.export(tmp_path / "model.onnx")
    assert (shipped.weights, shipped.trial) == ("retrained", best.record.number)
    assert sum(p.numel() for p in model.network().parameters()) == best.metrics["n_params"]


def test_the_card_says_what_was_found(front, best):
    model = best.retrain(seeds=2, epochs=1)
    card = json.loads((model.folder / "model_card.json").read_text())
    assert card["metrics"]["test_mean"] == model.mean
    assert card["metrics"]["test_interval_95"] == list(model.interval)
    own = card["metrics"]["of_these_weights"]
    assert sum(map(sum, own["confusion"])) == model.n_test
    right = own["accuracy_by_class"]
    assert right["3"] == own["confusion"][3][3] / sum(own["confusion"][3])
    assert card["data"]["trained_on"] == 1438
    assert card["architecture"]["parameters"] == dict(best.record.arch.values)
    assert card["prices"]["measured"]["latency_ms"]["target"] == "onnxruntime"
    assert card["budgets"] == [{"budget": "n_params<=2000", "value": best.metrics["n_params"], "kept": True}]
    page = (model.folder / "model_card.md").read_text()
    for said in (
        f"{model.mean:.4f}",
        best.summary,
        "n_params<=2000: kept",
        "nas export",
        "## Intended use",
        "0 | 1 | 2",
    ):
        assert said in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    assert str(front.folder.path.parent) not in page + json.dumps(card), "no path of this machine"


def test_the_commands_of_a_card_name_the_code_that_they_need(front, best, train):
    plugin = PluginId("my blocks.py", "0" * 16, "", ())
    config = dataclasses.replace(front.config, plugins=(plugin,), data="/home/me/mine.py:load(size=3)")
    card = json.loads((train(config=config, seeds=1, epochs=1).folder / "model_card.json").read_text())
    for command in (card["export"], card["reproduce"]):
        assert shlex.split(command)[-4:] == ["--plugin", "my blocks.py", "--data", "mine.py:load(size=3)"]
    assert "data='mine.py:load(size=3)'" in card["load"]
    assert "nas.load_plugin('my blocks.py')" in page(card)
    assert "Predicted is one of 10 classes: 0, 1, 2" in page(card)


def test_a_card_says_what_a_gap_comes_of(best):
    card = json.loads((best.retrain(seeds=1, epochs=2).folder / "model_card.json").read_text())
    searched, than = card["metrics"]["validation_in_the_search"], "on the test set than in the search"
    for gap, epochs, words in (
        (0.3, 1, f"worse {than}, which chose it by those validation data"),
        (-0.3, 1, f"better {than}, now that it was trained for 2 epochs"),
        (-0.3, 2, f"better {than}, now that it was trained on all samples"),
        (-1e-4, 1, "no more than the chance error of the test set"),
    ):
        card["metrics"]["gap"], searched["epochs"] = gap, epochs
        assert f"- Gap {gap:+.4f}: {words}." in page(card).splitlines()
        after = "after 1 epoch: " if epochs == 1 else "after 2 epochs: "
        assert f"- In the search, on validation data {after}" in page(card)
    del searched["epochs"]
    assert "Gap" not in page(card), "a card of before is as it was, so that it is not taken for changed by hand"


def test_what_the_user_wrote_into_a_card_is_kept(best):
    model = best.retrain(seeds=1, epochs=1)
    page = model.folder / "model_card.md"
    asked = next(line for line in page.read_text().splitlines() if line.startswith("To be written"))
    page.write_text(page.read_text().replace(asked, "For sorting post, by a person."))
    best.retrain(seeds=2)
    again = page.read_text()
    assert "For sorting post, by a person." in again
    assert "mean of 2 seeds" in again
    assert not list(page.parent.glob("model_card.edited*"))
    page.write_text(edited := again.replace("## Data", "## Our data"))
    best.retrain(seeds=3)
    assert (page.parent / "model_card.edited-001.md").read_text() == edited
    assert "For sorting post, by a person." in page.read_text()
    assert "## Data" in page.read_text()


def test_a_name_of_the_users_makes_no_column_line_or_html_of_a_card(best):
    card = json.loads((best.retrain(seeds=1, epochs=1).folder / "model_card.json").read_text())
    names = ["a|b", "c\nd", "<img src=x>", "[e](f)", "R&D", "&lt;", "`g", "h\\", "*i*", "no_j"]
    own = card["metrics"]["of_these_weights"]
    card["data"]["classes"] = names
    own["accuracy_by_class"] = dict(zip(names, own["accuracy_by_class"].values(), strict=True))
    lines = page(card).splitlines()
    begin = lines.index("Test samples by class (rows) and by the class these weights take them for:") + 2
    head, *rows = (line.split("|") for line in lines[begin : begin + 12])
    assert {len(row) for row in rows} == {len(head)} == {14}
    shown = [name.replace("\n", " ") for name in names]
    assert [html.unescape(cell).strip() for cell in head[2:-2]] == shown
    assert [html.unescape(row[1]).strip() for row in rows[1:]] == shown
    assert not re.search(r"<img|\[e]|`g|\*i\*", page(card))
    assert "R&D" in page(card)
    assert "no_j" in page(card)
