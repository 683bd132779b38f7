"""No machine is connected to because a run's file names it: every command and method over a run asks for it again."""

import html
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from nas.api import Front, Study
from nas.cli import main
from nas.errors import NasError, RunError
from nas.measure import elsewhere
from nas.study import meters
from nas.study.elsewhere import options_again, read_executor, targets_in
from nas.study.folder import RunFolder

AWAY = "ssh:board/onnxruntime:python=~/venv/bin/python"
REFUSED = "no other machine is connected to because a run's file names it"


class Connected(Exception):
    """Somebody tried to."""


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch):
    def connect(*where, **more):
        raise Connected(*where)

    monkeypatch.setattr(elsewhere, "Link", connect)
    monkeypatch.setattr(elsewhere, "find_spec", lambda name: name)  # the extra ssh is of no matter here
    monkeypatch.setattr(meters, "open_on_ray", connect)


def rewritten(run: Path, **fields) -> Path:
    """Have the run's own files say that it was made with other targets, and keep a calibration of each."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, **fields}, sort_keys=False))
    machine = json.loads((run / "machine.json").read_text())
    kept = machine["calibrations"]["onnxruntime"]
    targets = RunFolder(run).read_config().latencies().values()
    machine["calibrations"] = {target: {**kept, "runtime": "onnxruntime on X"} for target in targets}
    (run / "machine.json").write_text(json.dumps(machine))
    return run


OBJECTIVES = ["accuracy", "n_params", "latency_ms"]
PLACES = {
    "target": {"runtime": AWAY},
    "objective": {"objectives": [*OBJECTIVES, f"latency_ms@{AWAY}"]},
    "budget": {"budgets": ["n_params<=2k", f"latency_ms@{AWAY}<=5"]},
}


def over(place: str) -> list[str]:
    """Return the commands that measure; no trial of the rewritten run knows a further objective, to be picked by."""
    return ["measure"] if place == "objective" else ["measure", "export"]


def said(*words: str) -> str:
    """Return what a command says that is to end with an error of ours."""
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 2, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("place", PLACES)
def test_every_command_over_a_run_asks_for_its_machine(run, place):
    rewritten(run, **PLACES[place])
    for words in (["search", "--trials", "20", "--resume", "--out"], *([command] for command in over(place))):
        told = said(*words, str(run))
        assert REFUSED in told
        assert AWAY in told
    with pytest.raises(RunError, match=REFUSED):
        Study.resume(run).search(trials=20)
    front = Front.load(run)
    for do in (front.meters, front.measure, front[0].export):
        with pytest.raises(RunError, match=REFUSED):
            do()


@pytest.mark.parametrize("place", PLACES)
def test_what_the_message_says_is_enough(run, place):
    rewritten(run, **PLACES[place])
    words = options_again(RunFolder(run).read_config())
    assert shlex.join(words) in said("search", "--resume", "--trials", "20", "--out", str(run))
    result = CliRunner().invoke(main, ["search", "--resume", "--trials", "20", "--out", str(run), *words])
    assert isinstance(result.exception, Connected), result.output
    with pytest.raises(Connected):
        Study.resume(run, targets=[AWAY]).search(trials=20)
    with pytest.raises(Connected):
        Front.load(run).measure([AWAY])
    for command in over(place):
        result = CliRunner().invoke(main, [command, str(run), "--target", AWAY])
        assert isinstance(result.exception, Connected), result.output


def test_another_spelling_names_it_and_another_machine_does_not(run):
    rewritten(run, runtime=AWAY)
    with pytest.raises(Connected):
        Study.resume(run, targets=[f" {AWAY},threads=1"]).search(trials=20)
    for other in ("ssh:bored/onnxruntime:python=~/venv/bin/python", "ssh:board/onnxruntime"):
        with pytest.raises(RunError, match=REFUSED):
            Study.resume(run, targets=[other]).search(trials=20)
        with pytest.raises(NasError):
            Study.resume(run, targets=["latency"]).search(trials=20)


def test_such_a_run_is_read_retrained_and_measured_here_without_it(run):
    rewritten(run, runtime=AWAY)
    named = f"--target '{AWAY}'"
    here = ["--target", "onnxruntime"]
    for command in (["front"], ["report"], ["retrain", "--epochs", "1", "--seeds", "1"], ["export", *here]):
        result = CliRunner().invoke(main, [command[0], str(run), *command[1:]])
        assert result.exit_code == 0, (result.output, result.exception)
        if command[0] == "retrain":
            assert re.search(rf"^next: nas export .*{re.escape(named)}$", result.output, re.M)
    page = html.unescape(re.sub(r"<[^>]+>", "", (run / "report.html").read_text()))
    assert re.search(rf"nas export .*{re.escape(named)}", page)
    (card,) = run.glob("retrained/*/model_card.md")
    assert re.search(rf"^nas export .*{re.escape(named)}$", card.read_text(), re.M)
    (found,) = Front.load(run).measure(["onnxruntime"], members=[Front.load(run)[0]])
    assert [again.target for again in found.latencies.values()] == ["onnxruntime"]


def test_who_has_named_it_in_this_process_need_not_do_it_again(run):
    rewritten(run, runtime=AWAY)
    front = Front.load(run)
    front._targets = (AWAY,)  # as `Study.search` leaves it
    with pytest.raises(Connected):
        front.measure()


def test_a_cluster_is_said_again(run):
    rewritten(run)  # with a calibration of another processor, as a node of a cluster makes it
    told = [said(command, str(run)) for command in ("measure", "export")]
    assert all(REFUSED in one and "give --executor ray, or ray:ADDRESS" in one for one in told)
    with pytest.raises(RunError, match=REFUSED):
        Front.load(run).meters()
    for executor in ("ray", "ray:head:6379"):
        with pytest.raises(Connected):
            Front.load(run).meters(executor=executor)
    for bad in ("slurm", "local:1"):
        with pytest.raises(NasError, match="executor must be local, ray or ray:ADDRESS"):
            read_executor(bad)


def test_the_page_of_a_run_gives_commands_that_name_it(run):
    from nas.study.command import search_commands

    rewritten(run, runtime=AWAY)
    first, again = search_commands(RunFolder(run).read_config(), [{}, {}], "r")
    assert f"--target '{AWAY}'" in first
    assert f"--target '{AWAY}'" in again


def test_targets_are_found_in_all_that_a_user_says():
    found = targets_in(
        "onnxruntime:threads=1", ["accuracy", "latency_ms", "latency_ms@eager"], [f"latency_ms@{AWAY}<=2"]
    )
    assert found == ["onnxruntime", "eager", AWAY]
    assert targets_in() == []
