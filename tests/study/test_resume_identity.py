"""Whose study it is: a run goes on with its own alone, wherever its folder is, and one that never began is gone."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import yaml
from tiny_run import TINY, snapshot

from nas.errors import NasError, RunError
from nas.measure import open_meter
from nas.measure.apart import MeterApart
from nas.study import session
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.loop import Limits, Quiet
from nas.study.session import open_search


@pytest.fixture(scope="module")
def calibration():
    with open_meter("onnxruntime") as meter:
        return meter.calibration.to_dict()


@pytest.fixture(autouse=True)
def at_once(monkeypatch, calibration):
    """No latency is an objective here: answer in the measuring process's place."""
    answers = {"calibration": calibration, "measurement": [1.0, 0.9, 1.1], "drift": 0.0}
    monkeypatch.setattr(MeterApart, "_ask", lambda self, request: answers)


@pytest.fixture
def search(tiny, digits):
    """Search so many trials in a folder, and return how many were trained."""

    def go(path: Path, url: str | None = None, *, trials: int = 1, resume: bool = False, seed: int = 1, **more) -> int:
        folder = RunFolder(path)
        made = StudyConfig(space=tiny, objectives=("accuracy", "n_params"), subset=0.3, sampler="random", seed=seed)
        config = folder.read_config() if resume else made
        limits = Limits(trials=trials)
        more = {"task": digits, **more}
        with open_search(config, folder, limits, storage_url=url, resume=resume, **more) as opened:
            opened.run()
        return opened.trained

    return go


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/shared.db"


def forget(path: Path, url: str) -> None:
    """Make a run as it was made before runs had ids."""
    config = path / "config.yaml"
    plain = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({k: v for k, v in plain.items() if k not in ("run_id", "study_name")}))
    storage = optuna.storages.RDBStorage(url)
    study = optuna.load_study(study_name=optuna.get_all_study_names(url)[0], storage=storage)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql(
            f"DELETE FROM study_user_attributes WHERE key = 'run_id' AND study_id = {study._study_id}"
        )
    storage.engine.dispose()


# --- whose study it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", ["", "x", "y"])
def test_another_runs_storage_is_refused_and_nothing_is_touched(tmp_path, search, old):
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in "xy"}
    for seed, (name, where) in enumerate(urls.items()):
        search(tmp_path / name / "run", where, trials=2, seed=seed)
    if old:
        forget(tmp_path / old / "run", urls[old])
    x, y = (tmp_path / name / "run" / "config.yaml" for name in "xy")
    before, trials = snapshot(tmp_path / "y"), optuna.load_study(study_name="run", storage=urls["x"]).trials
    with pytest.raises(RunError, match="is the run") as caught:
        search(tmp_path / "y" / "run", urls["x"], trials=3, resume=True)
    ids = [StudyConfig.read(path).run_id or "without an id" for path in (y, x)]
    assert ids[0] != ids[1]
    for said in (*ids, str(tmp_path / "y" / "run"), "x.db", "--storage"):
        assert said in str(caught.value)
    assert snapshot(tmp_path / "y") == before
    assert optuna.load_study(study_name="run", storage=urls["x"]).trials == trials


def test_every_run_has_an_id_of_its_own_which_a_resume_keeps(tmp_path, search):
    search(tmp_path / "a")
    search(tmp_path / "b")
    first, second = (StudyConfig.read(tmp_path / name / "config.yaml") for name in "ab")
    assert len(first.run_id) == len(second.run_id) == 32
    assert first.run_id != second.run_id
    assert first.differences(second) == [], "an id is no difference in what is searched"
    assert first == second
    assert search(tmp_path / "a", trials=2, resume=True) == 2
    again = StudyConfig.read(tmp_path / "a" / "config.yaml")
    assert (again.run_id, again.study_name) == (first.run_id, first.study_name)


def test_a_config_that_was_read_from_a_run_makes_another_run(tmp_path, search, digits):
    search(tmp_path / "a")
    config = StudyConfig.read(tmp_path / "a" / "config.yaml")
    with open_search(config, RunFolder(tmp_path / "b"), Limits(trials=1), task=digits) as opened:
        assert opened.evaluator.config.run_id != config.run_id


def test_a_study_keeps_its_name_wherever_its_folder_goes(tmp_path, search, url):
    search(tmp_path / "007", url)
    shutil.move(tmp_path / "007", tmp_path / "d2")
    assert search(tmp_path / "d2", url, trials=2, resume=True) == 2
    assert optuna.get_all_study_names(url) == ["007"]
    trials = csv.DictReader((tmp_path / "d2" / "trials.csv").read_text().splitlines())
    assert sum(row["state"] == "complete" for row in trials) >= 1


@pytest.mark.parametrize("name", ["run", "1e5", "007", "yes", "1.5", "null", "0x1f", "2026-01-01", "12_3", "a: b", "~"])
def test_a_name_that_looks_like_something_else_is_read_as_it_was_written(tmp_path, tiny, name):
    config = StudyConfig(space=tiny, run_id=name, study_name=name)
    config.write(tmp_path / "config.yaml", "0.1.0")
    back = StudyConfig.read(tmp_path / "config.yaml")
    assert (back.run_id, back.study_name) == (name, name)


def test_a_renamed_space_leaves_the_study_where_it_was(tmp_path, search, digits):
    search(tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    config = folder.read_config()
    config = replace(config, space=replace(config.space, name="other"))
    with open_search(config, folder, Limits(trials=2), task=digits, resume=True) as opened:
        assert opened.trained == 1


@pytest.mark.parametrize("external", [True, False])
def test_runs_from_before_ids_go_on_as_they_did(tmp_path, search, url, external):
    search(tmp_path / "run", url if external else None)
    forget(tmp_path / "run", url if external else f"sqlite:///{tmp_path}/run/study.db")
    assert search(tmp_path / "run", url if external else None, trials=2, resume=True) == 2
    assert search(tmp_path / "run", url if external else None, trials=3, resume=True) == 3


def test_a_name_that_is_taken_in_the_storage_says_what_helps(tmp_path, search, url):
    search(tmp_path / "run", url)
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match="choose another name of the run folder with --out"):
        search(tmp_path / "other" / "run", url)
    assert list((tmp_path / "other").iterdir()) == []
    assert search(tmp_path / "run", url, trials=2, resume=True) == 2, "the study of that name was left alone"


# --- a run that never began -----------------------------------------------------------------------------------------


def fails(*args, **kwargs):
    raise NasError("planted")


@pytest.mark.parametrize(
    ("step", "external"),
    [
        ("training_process", True),
        ("opened", True),
        ("calibrate", True),
        ("calibrate", False),
        ("make_sampler", True),
        ("_executor", True),
        ("_executor", False),
    ],
)
def test_what_fails_before_the_search_leaves_nothing(tmp_path, search, url, monkeypatch, step, external):
    where = url if external else None
    with monkeypatch.context() as patch:
        if step == "make_sampler":  # called once to try the sampler out, before anything is made
            patch.setattr(session, "_try_out", lambda *args: None)
        patch.setattr(session, step, fails)
        with pytest.raises(NasError, match="planted"):
            search(tmp_path / "run", where)
    assert not (tmp_path / "run").exists()
    assert not external or optuna.get_all_study_names(url) == []
    assert search(tmp_path / "run", where) == 1


def test_a_folder_that_was_there_stays(tmp_path, search, monkeypatch):
    (tmp_path / "run").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(session, "calibrate", fails)
        with pytest.raises(NasError, match="planted"):
            search(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    assert search(tmp_path / "run") == 1


def test_ctrl_c_while_it_calibrates_leaves_nothing(tmp_path, search, url, monkeypatch):
    def struck(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "calibrate", struck)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", url)
    assert not (tmp_path / "run").exists()
    assert optuna.get_all_study_names(url) == []


@pytest.mark.parametrize("external", [True, False])
def test_a_resume_that_fails_takes_nothing_away(tmp_path, search, url, monkeypatch, external):
    where = url if external else None
    search(tmp_path / "run", where, trials=2)
    before = {path: now for path, now in snapshot(tmp_path / "run").items() if path != "study.db"}
    for step in ("calibrate", "_executor"):
        with monkeypatch.context() as patch:
            patch.setattr(session, step, fails)
            with pytest.raises(NasError, match="planted"):
                search(tmp_path / "run", where, trials=3, resume=True)
        after = snapshot(tmp_path / "run")
        assert {path: now for path, now in after.items() if path != "study.db"} == before
    assert search(tmp_path / "run", where, trials=3, resume=True) == 3


class FailsAfter(Quiet):
    """Stops a search with an error once so many of its trials were trained."""

    def __init__(self, trials: int) -> None:
        self.trials = trials

    def training(self, number, candidate, search):
        if search.trained == self.trials:
            raise RunError("planted")


@pytest.mark.parametrize("trials", [0, 1])
def test_a_run_is_kept_from_its_first_trial_on(tmp_path, search, url, trials):
    """The search itself fails, as where no worker can be started: with nothing found, nothing is left."""
    with pytest.raises(RunError, match="planted"):
        search(tmp_path / "run", url, trials=2, watcher=FailsAfter(trials))
    assert (tmp_path / "run").exists() == bool(trials)
    assert optuna.get_all_study_names(url) == (["run"] if trials else [])


def test_a_study_that_somebody_queued_a_trial_in_is_kept(tmp_path, search, url, monkeypatch):
    def queued(meters, storage, folder):
        storage.study.enqueue_trial({"body.repeat": 1})
        fails()

    monkeypatch.setattr(session, "calibrate", queued)
    with pytest.raises(NasError, match="planted"):
        search(tmp_path / "run", url)
    assert optuna.get_all_study_names(url) == ["run"]
    assert (tmp_path / "run" / "config.yaml").exists(), "what goes on with it stays too"


@pytest.mark.slow
def test_a_script_without_a_main_guard_can_be_mended_and_run_again(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    body = (
        "from nas.api import Study\n"
        "{guard}Study('tiny.yaml', 'digits', ['accuracy', 'n_params'], out='run').search(trials=1, workers=2)\n"
    )
    script = tmp_path / "search.py"
    script.write_text(body.format(guard=""))
    bare = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert bare.returncode != 0
    assert "__main__" in bare.stderr
    assert not (tmp_path / "run").exists()
    script.write_text(body.format(guard="if __name__ == '__main__': "))
    again = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "trials.csv").exists()
