"""What trackers are told, read back from where they keep it; and that one that fails ends nothing but itself."""

import threading
import time

import numpy as np
import pytest

from nas.api import Study
from nas.errors import NasError
from nas.space.yaml import parse
from nas.study.loop import Quiet
from nas.trackers import tracking
from nas.trackers.tracking import Tracking, make_tracker

SPACE = """\
input: image
body: {conv: {width: [4, 8, 12, 16], stride: 2}}
head: {pool: {}}
training: {epochs: 1, batch_size: 128, optimizer: {sgd: {lr: [0.1, 0.3]}}}
"""


def study(digits, out, **options):
    return Study(parse(SPACE, name="small"), digits, ["accuracy", "n_params"], out=out, sampler="random", **options)


class Recorder:
    """A tracker that remembers what it was told, and fails where it is told to."""

    def __init__(self, fails_at=None):
        self.told, self.fails_at = [], fails_at

    def _note(self, what, *values):
        self.told.append((what, *values, threading.current_thread().name))
        if self.fails_at == what:
            raise ConnectionError("the server is\naway")

    def begin(self, run):
        self._note("begin", run)

    def trial(self, record, standing):
        self._note("trial", record, standing)

    def end(self, ended, files, front):
        self._note("end", ended, files, front)


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setattr(tracking, "make_tracker", lambda spec: made)
    return made


def test_a_tracker_is_told_of_the_run_its_trainings_and_its_end(recorder, digits, tmp_path):
    front = study(digits, tmp_path / "run").search(trials=3, track=["any"])
    kinds = [note[0] for note in recorder.told]
    assert kinds == ["begin", "trial", "trial", "trial", "end"]
    (_, run, thread), *trials, (_, ended, files, table, _) = recorder.told
    assert thread == "track-any"
    assert run.settings["space"] == "small"
    assert run.settings["objectives"] == "accuracy, n_params"
    assert run.run_id
    assert [standing.trained for _, _, standing, _ in trials] == [1, 2, 3]
    assert trials[-1][2].figures["front_size"] == len(front)
    assert ended == "finished"
    assert {path.name for path in files} >= {"front.csv", "front.png", "trials.csv", "config.yaml"}
    assert table.count("\n") == len(front) + 1


@pytest.mark.parametrize("fails_at", ["begin", "trial", "end"])
def test_one_that_fails_says_so_once_and_the_search_goes_on(recorder, digits, tmp_path, fails_at):
    recorder.fails_at = fails_at
    with pytest.warns(UserWarning, match="ends here") as said:
        study(digits, tmp_path / "run").search(trials=1, track=["any"])
    (warning,) = said
    assert str(warning.message) == (
        "--track any ends here, and the search goes on: ConnectionError: the server is away"
    )
    assert [note[0] for note in recorder.told].count(fails_at) == 1
    assert (tmp_path / "run/front.csv").exists()


def test_one_that_hangs_is_not_waited_for(monkeypatch):
    release = threading.Event()

    class Hanging(Recorder):
        def begin(self, run):
            release.wait()

    monkeypatch.setattr(tracking, "make_tracker", lambda spec: Hanging())
    monkeypatch.setattr(tracking, "_LAST_S", 0.05)
    said = []
    with Tracking(["any"], Quiet(), said.append) as found:
        for post in found._posts:
            post.send(lambda tracker: tracker.begin(None))
    release.set()
    (line,) = said
    assert "TimeoutError" in line


def test_one_that_is_slow_is_waited_for(monkeypatch):
    heard = []

    class Slow(Recorder):
        def begin(self, run):
            time.sleep(0.1)
            heard.append(run)

    monkeypatch.setattr(tracking, "make_tracker", lambda spec: Slow())
    monkeypatch.setattr(tracking, "_LAST_S", 0.3)
    said = []
    with Tracking(["any"], Quiet(), said.append) as found:
        for n in range(10):
            found._posts[0].send(lambda tracker, n=n: tracker.begin(n))
    assert heard == list(range(10))
    assert said == []


def test_wrong_ones_are_named_before_anything_begins(digits, tmp_path, monkeypatch):
    with pytest.raises(NasError, match=r"no tracker called 'mlflo'\. Did you mean 'mlflow'"):
        study(digits, tmp_path / "run").search(trials=1, track=["mlflo"])
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(NasError, match=r"--track mlflow: mlflow is not installed; pip install 'pareto-nas\[mlflow\]'"):
        make_tracker("mlflow:sqlite:///x.db")
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf and of numpy, within tensorboard
def test_tensorboard_shows_the_search_and_its_trials(digits, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'pareto-nas[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    own = study(digits, tmp_path / "run")
    own.search(trials=2, track=["tensorboard"])
    front = own.search(trials=3, track=["tensorboard"])  # goes on where it was
    events = EventAccumulator(str(tmp_path / "run/tensorboard"), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert [step for step, _ in scalars["search/hypervolume"]] == [2, 3], "of one trial there is none"
    complete = {r.number: r.metrics for r in front.records if r.state == "complete"}
    for name in ("accuracy", "n_params", "latency_ms"):
        assert dict(scalars[f"trial/{name}"]) == pytest.approx({n: m[name] for n, m in complete.items()}, rel=1e-6)
    assert len(events.Images("front")) == 2
    assert any(tag.startswith("trial/architecture") for tag in events.Tags()["tensors"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries behind mlflow, which differ from version to version
def test_mlflow_has_a_run_for_the_search_and_one_for_each_training(digits, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'pareto-nas[mlflow]'")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    own = study(digits, tmp_path / "run")
    own.search(trials=2, track=[f"mlflow:{uri}"])
    front = own.search(trials=3, track=[f"mlflow:{uri}"])
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("nas")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.run_name == "run"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["objectives"] == "accuracy, n_params"
    assert [m.step for m in client.get_metric_history(parent.info.run_id, "hypervolume")] == [2, 3]
    assert {"front.csv", "front.png", "front.md"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    trials = {int(run.data.tags["nas.trial"]): run for run in runs if run is not parent}
    trained = {r.number: r for r in front.records if r.state in ("complete", "stopped_early")}
    assert trials.keys() == trained.keys()
    for number, record in trained.items():
        data = trials[number].data
        assert data.tags["nas.state"] == record.state
        assert data.params["body.conv.width"] == str(record.arch.values["body.conv.width"])
        assert data.metrics["accuracy"] == pytest.approx(record.metrics["accuracy"])
        assert np.isfinite(data.metrics["train_seconds"])
