"""What a command points out on stderr while it does what it was told."""

import dataclasses
import json
import re
import time
from types import SimpleNamespace

import pytest
from tiny_run import TINY

from nas.cli.search import _counts, _crowd, _where_it_went
from nas.objectives import Measurement
from nas.records import TrialRecord, read_csv, write_csv
from nas.study import session
from nas.study.folder import RunFolder


@pytest.fixture
def stopped(run) -> int:
    """A trial of the copied run, as if others had gone on after a tenth of its training."""
    folder, records = RunFolder(run), read_csv(run / "trials.csv")
    number = next(r.number for r in records if r.state == "complete" and not r.on_front)
    early = {"state": "stopped_early", "share": 0.1, "paused": True}
    records = [dataclasses.replace(r, **early) if r.number == number else r for r in records]
    write_csv(run / "trials.csv", records, folder.read_config().columns())
    return number


def test_a_stopped_trial_is_chosen_and_said_to_be_one(nas, run, stopped):
    said = f"trial {stopped} was stopped after 10 % of its training: its accuracy in the search is of then"
    rule = f"trial:{stopped}"
    front = nas("front", run, "--pick", rule)
    assert (front.exit_code, front.stderr) == (0, f"{said}\n")
    retrained = nas("retrain", run, "--pick", rule, "--seeds", 1, "--epochs", 1)
    assert retrained.exit_code == 0, retrained.output
    assert retrained.stderr.splitlines().count(said) == 1
    assert ", 10 % of its training" in retrained.stdout
    exported = nas("export", run, "--pick", rule)
    assert exported.exit_code == 0, exported.output
    assert exported.stderr.splitlines().count(said) == 1


def test_nothing_is_said_of_a_complete_trial(nas, run, stopped):
    assert nas("front", run, "--pick", "knee").stderr == ""
    assert nas("front", run).stderr == ""


def test_the_list_of_complete_trials_leaves_the_stopped_one_out(nas, run, stopped):
    complete = [r.number for r in read_csv(run / "trials.csv") if r.state == "complete"]
    result = nas("front", run, "--pick", "trial:99")
    assert result.exit_code == 2
    assert re.search(r"complete trials: (.+)$", result.stderr)[1].split(", ") == [str(n) for n in complete]
    assert stopped not in complete


COST = {"n_params": Measurement.exact(10)}


def ended(*records: tuple[str, bool]) -> SimpleNamespace:
    made = [TrialRecord(i, None, state, COST, paused=paused) for i, (state, paused) in enumerate(records)]
    return SimpleNamespace(records=[*made, *[TrialRecord(99, None, "failed")] * (len(made) > 3)])


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no trials"),
        (
            [("complete", False)] * 2 + [("over_budget", False)],
            "2 trained: 2 to the end; 1 not trained: 1 over budget",
        ),
        ([("complete", False), ("stopped_early", False)], "2 trained: 1 to the end, 1 stopped early (given up)"),
        (
            [("stopped_early", True)],
            "1 trained: 1 stopped early (set aside: a search resumed for more trials may go on with it)",
        ),
        (
            [("stopped_early", True)] * 2 + [("stopped_early", False), ("failed", False), ("duplicate", False)],
            "4 trained: 3 stopped early (1 given up, 2 set aside: a search resumed for more trials may go on with "
            "them), 1 failed; 2 not trained: 1 duplicate, 1 could not be built or priced",
        ),
    ],
)
def test_trials_are_counted_by_what_became_of_them(records, said):
    assert _counts(ended(*records)) == said


@pytest.mark.parametrize(
    ("workers", "cores", "said"),
    [
        (None, 2, ""),
        (2, 2, ""),
        (4, 2, ""),
        (8, None, ""),
        (8, 2, "8 workers on 2 cores: they take turns, and share the memory; --workers 2 is enough"),
        (3, 1, "3 workers on 1 core: they take turns, and share the memory; --workers 1 is enough"),
    ],
)
def test_far_more_workers_than_cores_are_noticed(workers, cores, said):
    assert _crowd(workers, cores) == said


@pytest.mark.parametrize(("options", "times"), [((), 1), (("--quiet",), 0)])
def test_a_search_with_far_too_many_workers_says_so_once(nas, tmp_path, monkeypatch, options, times):
    """With the search itself in this process: 900 workers would take their time."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    real = session.open_search
    monkeypatch.setattr(session, "open_search", lambda *args, workers, **rest: real(*args, workers=1, **rest))
    args = ("search", "tiny.yaml", "-o", "accuracy", "-n", 1, "--subset", 0.1, "--workers", 900)
    result = nas(*args, *options)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("900 workers on ") == times


def short(*, limit: float | None = 20.0, completed: int = 0, trained: int = 0, **spent: float) -> SimpleNamespace:
    """A search that has ended, of which the closing lines tell."""
    seconds = {"loading": 0.0, "calibrating": 0.0, "pricing": 0.0, "proposing": 0.0, "waiting": 0.0, **spent}
    return SimpleNamespace(
        limits=SimpleNamespace(seconds=limit),
        ledger=SimpleNamespace(completed=[None] * completed),
        started=time.monotonic() - 21.0,
        trained_here=trained,
        seconds=lambda: seconds,
    )


def test_a_search_without_a_network_says_what_its_time_went_into():
    said = _where_it_went(short(loading=14.0, calibrating=1.25, pricing=4.0, waiting=0.5)).splitlines()
    assert said[0] == (
        "no network was trained to the end in 21 s: 14 s loading the data, 4 s building and pricing candidates, "
        "1.2 s calibrating latencies, 0.5 s training"
    )
    assert said[1] == "  give more time, such as --time-limit 200s, or --trials instead of a time"
    assert "--time-limit 60s" in _where_it_went(short(waiting=20.0, trained=2)), "of which none came to its end"
    assert _where_it_went(short(completed=1, loading=20.0)) == ""
    assert _where_it_went(short(limit=None, loading=20.0)) == ""


def test_what_it_says_is_what_the_search_kept(nas, tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = nas("search", tmp_path / "tiny.yaml", "--out", tmp_path / "short", "--time-limit", "0.001s")
    assert result.exit_code == 1
    assert "no network was trained to the end in" in result.stderr
    kept = json.loads((tmp_path / "short" / "machine.json").read_text())["searches"][0]["seconds"]
    assert kept["calibrating"] > 0.0
    assert sum(kept.values()) - kept["all"] <= kept["all"]
