"""Searches whose trainings are judged on the way: who goes on, from where, and what the files say of it."""

import dataclasses
import json
import math

import numpy as np
import optuna
import pytest
import torch

import nas
from nas.objectives import LATENCY
from nas.pareto import worst_of_interest
from nas.records import read_csv
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.front import FEW, hypervolume_trace
from nas.study.loop import Limits, Quiet
from nas.study.promote import next_to_promote, to_finish
from nas.study.session import open_search
from nas.study.work import _rung_scores
from nas.training.log import EpochLog
from nas.training.loop import FitResult

SPACE = """\
input: image
body:
  repeat: {int: [1, 2]}
  block: {choice: {conv: {width: {int: [4, 16]}, stride: 2}, identity: {}}}
head: {pool: {}}
training:
  epochs: 9
  batch_size: 64
  optimizer: {sgd: {lr: {float: [0.03, 0.5], log: true}}}
"""
RUNGS = ("1/9", "1/3")


def config_of(**options) -> StudyConfig:
    given = {"objectives": ("accuracy", "n_params"), "subset": 0.8, "rungs": RUNGS, "sampler": "random", "seed": 4}
    return StudyConfig(space=parse(SPACE, name="small"), **{**given, **options})


def search(config, folder, limits, digits, watcher=None, resume=False, workers=1):
    with open_search(
        config, RunFolder(folder), limits, task=digits, resume=resume, watcher=watcher, workers=workers
    ) as opened:
        return opened, opened.run()


def told(record) -> dict:
    """Everything of a trial that no clock has a part in."""
    prices = {name: m for name, m in record.prices.items() if name != LATENCY}
    clocks = dict.fromkeys(("train_seconds", "epoch_seconds", "epoch_seconds_predicted", "ended_s"))
    return {**vars(record), "prices": prices, "arch": record.arch.to_json(), **clocks}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    return search(config_of(), tmp_path_factory.mktemp("whole") / "run", Limits(trials=12), digits)[0]


def test_most_are_stopped_and_the_rest_is_trained_in_full(whole):
    trained = [r for r in whole.records if r.rung]
    assert len(trained) == whole.trained == 12
    by_rung = {rung: [r for r in trained if r.rung >= rung] for rung in (1, 2, 3)}
    assert len(by_rung[1]) == 12
    assert 12 // 3 <= len(by_rung[2]) <= 2 * 12 // 3
    assert 1 <= len(by_rung[3]) <= 2 * len(by_rung[2]) // 3 + 1
    for r in trained:
        assert r.state == ("complete" if r.rung == 3 else "stopped_early")
        assert r.epochs == pytest.approx({1: 1, 2: 3, 3: 9}[r.rung], abs=0.2)
        assert r.share == pytest.approx(r.epochs / 9)
        assert len(r.rung_scores) == r.rung
        assert r.scores == r.rung_scores[-1]
        assert r.curve[-1] == (r.epochs, r.scores["accuracy"])
        assert [epochs for epochs, _ in r.curve] == sorted({epochs for epochs, _ in r.curve})
        assert r.epoch_seconds > 0
        assert r.epoch_seconds_predicted > 0
        assert bool(r.reason) == r.paused == (r.state == "stopped_early")


def test_what_an_exhausted_space_has_begun_is_finished(tmp_path, digits):
    """Five networks: at the first rung one of them earns the second, and nobody the end."""
    space = parse(
        "input: image\nbody: {conv: {width: [4, 7, 10, 13, 16], stride: 2}}\nhead: pool\n"
        "training: {epochs: 9, batch_size: 64, optimizer: {sgd: {lr: 0.2}}}",
        name="few",
    )
    config = dataclasses.replace(config_of(), space=space)
    for resume in (False, True):
        found, ended = search(config, tmp_path / "run", Limits(trials=80), digits, resume=resume)
        assert (ended, found.trained) == ("exhausted", 5)
        assert found.front()
        assert to_finish(found.ledger.standings(), found.ledger.expected()) == []


def test_a_rung_that_ends_where_the_one_before_does_stands_as_it_did_there():
    a, c = {"accuracy": 0.1}, {"accuracy": 0.3}
    curve = (EpochLog(0.5, 1.0, a, 1.0, 0), EpochLog(1.0, 1.0, c, 2.0, 2))
    found = FitResult("rung", "", 1.0, 2.0, curve, None)
    assert _rung_scores(found, 3, 0, c) == (a, a, c)


def test_nobody_is_left_who_should_have_gone_on(whole):
    assert next_to_promote(whole.ledger.standings()) is None


def test_the_front_is_of_full_trainings_alone(whole):
    assert whole.front()
    assert all(whole.ledger.get(number).share == 1 for number in whole.front())


def test_the_files_say_how_far_each_came(whole):
    for row, record in zip(read_csv(whole.folder.trials), whole.records, strict=True):
        assert (row.rung, row.state) == (record.rung, record.state)
        assert row.share == pytest.approx(record.share, abs=1e-3)
        assert row.epochs == pytest.approx(record.epochs, rel=1e-3)
        assert row.epoch_seconds_predicted == pytest.approx(record.epoch_seconds_predicted, rel=1e-3)
    states = {r.number for r in whole.records if r.paused}
    assert {int(p.stem.removeprefix("trial-")) for p in whole.folder.paused.iterdir()} == states
    assert StudyConfig.read(whole.folder.config).rungs == RUNGS


def test_what_is_set_aside_says_so_in_optuna(whole):
    url = f"sqlite:///{whole.folder.path}/study.db"
    trials = optuna.load_study(study_name="small", storage=url).trials
    for trial, record in zip(trials, whole.records, strict=True):
        kept = json.loads(trial.user_attrs["record"])
        assert kept["state"] == record.state
        assert (trial.state.name == "RUNNING") == record.paused


def test_going_on_from_a_checkpoint_is_as_if_nothing_had_been(whole, digits):
    """The trial that came furthest, trained in one go."""
    best = next(r for r in whole.records if r.rung == 3)
    from nas.study.jobs import Job
    from nas.study.work import work

    outcome = work(whole.evaluator.config, digits, Job(number=best.number, arch=best.arch, rung=2), lambda p: None)
    assert outcome.scores == best.scores
    assert outcome.curve == best.curve


class Strike(Quiet):
    """Ctrl-C at the `n`th word of progress."""

    def __init__(self, n: int) -> None:
        self.left = n

    def progress(self, number, log):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("n", [1, 7, 15, 22])
def test_interrupted_anywhere_it_goes_on_as_it_would_have(whole, tmp_path, digits, n):
    _, ended = search(config_of(), tmp_path / "run", Limits(trials=12), digits, Strike(n))
    assert ended == "interrupted"
    again, ended = search(config_of(), tmp_path / "run", Limits(trials=12), digits, resume=True)
    assert ended == "trials"
    assert {told(r)["arch"] for r in again.records} == {told(r)["arch"] for r in whole.records}
    same = [(told(a), told(b)) for a, b in zip(again.records, whole.records, strict=True) if a.rung == b.rung]
    assert len(same) >= 10, "promotions may come in another order"
    for mine, theirs in same:
        assert mine == theirs


def test_more_trials_promote_some_that_were_set_aside(tmp_path, digits):
    few, _ = search(config_of(seed=1), tmp_path / "run", Limits(trials=8), digits)
    aside = {r.number: r for r in few.records if r.paused}
    more, _ = search(config_of(seed=1, rungs=("auto",)), tmp_path / "run", Limits(trials=24), digits, resume=True)
    assert more.trained == 24
    gone_on = [r for r in more.records if r.number in aside and r.rung > aside[r.number].rung]
    assert gone_on
    for r in gone_on:
        assert r.rung_scores[: aside[r.number].rung] == aside[r.number].rung_scores
        assert r.curve[: len(aside[r.number].curve)] == aside[r.number].curve


def test_a_sampler_hears_of_what_was_stopped_as_it_is_expected_to_end(whole):
    seen = {o.number: o for o in whole.ledger.seen()}
    assert len(seen) == len(whole.records)
    worst = worst_of_interest(1 - whole.ledger.get(number).scores["accuracy"] for number in whole.front())
    for r in whole.records:
        if r.state == "complete":
            error = math.log(min(1 - r.scores["accuracy"], worst))
            assert seen[r.number].losses == (pytest.approx(error), r.prices["n_params"].value)
        elif r.state == "stopped_early":
            assert seen[r.number].state == "complete"
            assert math.log(1e-3) <= seen[r.number].losses[0] <= 0
            assert seen[r.number].losses[1] == r.prices["n_params"].value


@pytest.mark.parametrize("damage", ["lost", "empty", "cut short"])
def test_a_checkpoint_that_is_gone_costs_the_training_and_not_the_trial(whole, tmp_path, digits, damage):
    few, _ = search(config_of(), tmp_path / "run", Limits(trials=6), digits)
    for path in few.folder.paused.iterdir():
        if damage == "lost":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-100])
    more, ended = search(config_of(), tmp_path / "run", Limits(trials=12), digits, resume=True)
    assert (ended, more.trained) == ("trials", 12)
    assert {r.state for r in more.records if r.rung} == {"complete", "stopped_early"}
    for mine, theirs in zip(more.records, whole.records, strict=True):
        n = min(mine.rung, theirs.rung)
        assert mine.rung_scores[:n] == theirs.rung_scores[:n]


def test_beyond_its_room_the_least_promising_are_trained_anew(whole, tmp_path, digits, monkeypatch):
    largest = max(path.stat().st_size for path in whole.folder.paused.iterdir())
    monkeypatch.setattr(RunFolder, "most_paused_bytes", int(2.5 * largest))
    found, _ = search(config_of(), tmp_path / "run", Limits(trials=12), digits)
    kept = [path.stat().st_size for path in found.folder.paused.iterdir()]
    assert len(kept) < sum(r.paused for r in found.records)
    assert sum(kept) <= 2.5 * largest
    assert [told(r) for r in found.records] == [told(r) for r in whole.records]
    monkeypatch.setattr(RunFolder, "most_paused_bytes", 0)
    found.folder.trim_states(found._nearest_first)
    assert not list(found.folder.paused.iterdir())
    further, _ = search(config_of(), tmp_path / "run", Limits(trials=15), digits, resume=True)
    assert len({r.number for r in further.records if r.state == "complete"}) >= len(found.front())
    assert next_to_promote(further.ledger.standings()) is None


def test_the_weights_of_the_front_are_those_that_were_judged(whole, digits):
    from nas.api import Front
    from nas.training import evaluate

    for member in Front.load(whole.folder.path, data=digits):
        scores = evaluate(member.network(), digits.x_val, digits.y_val)
        assert scores["accuracy"] == pytest.approx(member.metrics["accuracy"])


def test_a_front_that_no_longer_grows_ends_the_search(tmp_path, digits):
    found, ended = search(config_of(rungs=("none",)), tmp_path / "run", Limits(plateau=4), digits)
    assert ended == "plateau"
    trace = [volume for _, volume in hypervolume_trace(found.ledger.completed, found.objectives)]
    assert len(trace) == found.trained >= FEW + 3
    assert trace[-1] <= trace[-5] * 1.001, "the last four added nothing"


@pytest.mark.slow
def test_workers_find_what_one_process_finds(whole, tmp_path, digits):
    """Every trial of the same architecture and number ends the same; and the order alone may differ."""
    several, ended = search(config_of(), tmp_path / "run", Limits(trials=12), digits, workers=2)
    assert (ended, several.trained) == ("trials", 12)
    assert not several.folder.shared.exists()
    known = {(r.number, r.arch): r for r in whole.records}
    both = [(r, known[r.number, r.arch]) for r in several.records if (r.number, r.arch) in known]
    assert len(both) >= 3
    for mine, theirs in both:
        n = min(mine.rung, theirs.rung)
        assert mine.rung_scores[:n] == theirs.rung_scores[:n]
    for number in several.front():
        torch.load(several.folder.checkpoint(number), weights_only=True)


def test_a_rung_at_half_the_resolution(tmp_path, digits):
    config = dataclasses.replace(config_of(), rungs=("1/9,resolution=0.5", "1/3,subset=0.5"))
    found, ended = search(config, tmp_path / "run", Limits(trials=6), digits)
    assert (ended, found.trained) == ("trials", 6)
    assert found.front()


def test_rungs_that_end_at_one_batch_are_all_reached(tmp_path):
    """Two batches in all, three rungs: who earned the second stands there without another batch."""
    x = np.random.default_rng(0).random((60, 1, 6, 6), dtype=np.float32)
    np.savez(tmp_path / "few.npz", x_train=x, y_train=np.arange(60) % 2)
    space = parse(
        "input: image\nbody: {conv: {width: [4, 5, 6, 7]}}\nhead: pool\ntraining: {epochs: 1, batch_size: 32}"
    )
    study = nas.Study(space, tmp_path / "few.npz", ["accuracy", "macs"], rungs=["0.1", "0.3"], out=tmp_path / "run")
    front = study.search(trials=3)
    assert len(front) >= 1
    assert {r.rung for r in front.records if r.state == "complete"} == {3}
