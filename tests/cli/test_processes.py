"""The program itself, as its own process: how it answers, and how it dies."""

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from tiny_run import TINY, snapshot

from nas.api import Front
from nas.records import read_csv
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.storage import Storage

NAS = [sys.executable, "-m", "nas"]
FOLDER = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER)}


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['nas', '--help']\n"
        "from nas.cli import main\n"
        "try: main()\n"
        "finally: print(*sorted({n.split('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, cwd="/")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not loaded & {"torch", "numpy", "pandas", "optuna", "matplotlib", "onnxruntime", "sklearn", "scipy", "rich"}


def test_a_front_is_shown_without_torch(finished):
    code = (
        f"import sys; sys.argv = ['nas', 'front', {str(finished)!r}]\n"
        "from nas.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert "(knee)" in done.stdout


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{shlex.join(NAS)} space image --unchecked --samples 500 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


# A search that is struck down in the middle, and goes on.


def start(folder: Path, *args: str) -> subprocess.Popen:
    """Start a search of long trainings, and wait until one is finished and another one runs."""
    (folder / "tiny.yaml").write_text(TINY.replace(", 1.0e+12", "").replace("epochs: 1", "epochs: 15"))
    command = [*NAS, "search", "tiny.yaml", "-o", "accuracy", "-o", "n_params", "--out", "run", *args]
    child = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        states = [state for _, state in states_of(folder)]
        if "COMPLETE" in states and states[-1] == "RUNNING":
            return child
        time.sleep(0.02)
    child.kill()
    pytest.fail(f"no trial was finished: {child.communicate()}")


def states_of(folder: Path) -> list[tuple[int, str]]:
    """The numbers and states of the trials in the study, read past the program."""
    if not (folder / "run" / "study.db").exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{folder}/run/study.db?mode=ro", uri=True, timeout=5)) as db:
            return db.execute("select number, state from trials order by number").fetchall()
    except sqlite3.OperationalError:  # not made yet, or locked
        return []


def records_of(folder: Path) -> dict[int, object]:
    """The finished trials, as the study keeps them."""
    config = StudyConfig.read(folder / "run" / "config.yaml")
    url = f"sqlite:///{folder}/run/study.db"
    storage = Storage(url, config.space.name, config.space, config.parsed_objectives(), resume=True)
    return {record.number: record for record in storage.load()[0]}


def check_whole(folder: Path, before: dict[int, object]) -> None:
    """Nothing that was finished is lost or changed, nothing is there twice, and what is not finished is set aside."""
    after = records_of(folder)
    for number, record in before.items():
        assert after[number] == record or (record.paused and after[number].share > record.share)
    assert sorted(after) == list(range(len(after)))
    assert len({r.arch for r in after.values()}) == len(after)
    for number, state in states_of(folder):
        assert optuna.trial.TrialState[state].is_finished() != after[number].paused
    rows = read_csv(folder / "run" / "trials.csv")
    assert [r.number for r in rows] == sorted(after)
    folder_of_run = RunFolder(folder / "run")
    front = [r.number for r in rows if r.on_front]
    assert [n for n in after if folder_of_run.checkpoint(n).exists()] == front
    assert not [name for name in snapshot(folder / "run") if name.startswith(".") or name.endswith(".part")]


@pytest.mark.slow
def test_a_kill_loses_the_running_trial_alone_and_resume_runs_it_again(tmp_path, nas):
    child = start(tmp_path, "--trials", "50", "--quiet")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    states = states_of(tmp_path)
    before = records_of(tmp_path)
    running = [number for number, state in states if state == "RUNNING" and number not in before]
    assert len(running) <= 1, "none where a trial that was set aside had just been taken up again"
    assert sorted([*before, *running]) == [number for number, _ in states]
    trained = sum(r.train_seconds > 0 for r in before.values())

    result = nas("search", "--resume", "--out", "run", "--trials", trained + 2)
    assert result.exit_code == 0, result.output
    assert f"{len(before)} trials known, {len(running)} interrupted to run again" in result.stderr
    check_whole(tmp_path, before)
    assert all(records_of(tmp_path)[number].state in ("complete", "stopped_early") for number in running)


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_the_command_it_prints_goes_on(tmp_path, nas):
    child = start(tmp_path, "--trials", "50")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "interrupted; nothing finished is lost" in err
    assert out.splitlines()[-1].startswith("results in run: front.csv (")
    before = records_of(tmp_path)
    assert [r.number for r in read_csv(tmp_path / "run" / "trials.csv")] == sorted(before)
    (again,) = [line for line in err.splitlines() if line.startswith("go on with: ")]
    command = shlex.split(again.removeprefix("go on with: "))
    assert command == ["nas", "search", "--resume", "--out", "run", "--trials", "50"]

    trained = sum(r.train_seconds > 0 for r in before.values())
    result = nas(*command[1:-1], trained + 1)
    assert result.exit_code == 0, result.output
    check_whole(tmp_path, before)


OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path

import nas.training.loop, nas.study.session
used = next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmData"))
limit = used * 1024 + 1_000_000_000
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from nas.cli import main
main("search large.yaml -o accuracy -o n_params --trials 3 --out run --sampler random".split())
"""


@pytest.mark.slow
def test_a_training_that_needs_more_memory_than_there_is_fails_and_the_search_goes_on(tmp_path):
    """1 GB for a layer that is small by itself, and makes 3 GB of activations in a batch of all samples."""
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc/self/status here")
    (tmp_path / "large.yaml").write_text(
        "input: image\nbody: {conv: {width: [4, 10000], kernel: 1, act: [relu, silu, gelu]}}\nhead: {pool: {}}\n"
        "training: {epochs: 1, batch_size: 1150}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    records = read_csv(tmp_path / "run" / "trials.csv")
    by_width = {w: [r for r in records if r.arch.values["body.conv.width"] == w] for w in (4, 10000)}
    assert by_width[4]
    assert by_width[10000]
    assert all(r.state == "complete" for r in by_width[4])
    for r in by_width[10000]:
        assert (r.state, bool(r.train_seconds)) == ("failed", True)
        assert r.reason.startswith("out of memory")


# A retraining that is killed in the middle, and goes on.


@pytest.mark.slow
def test_a_killed_retraining_goes_on_to_the_same_end(run, finished, digits, tmp_path):
    """Killed with two workers, ended here with none: what is there in the end is what one go leaves."""
    whole = Front.load(shutil.copytree(finished, tmp_path / "whole"), data=digits).pick("knee").retrain(2, epochs=8)
    program = "import nas.retrain.drive as drive; drive._CHECKPOINT_S = 0; from nas.cli import main; main()"
    command = [sys.executable, "-c", program, "retrain", "run", "--seeds", "2", "--epochs", "8", "--workers", "2"]
    child = subprocess.Popen(command, cwd=run.parent, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and child.poll() is None and not list(run.rglob("paused-*.pt")):
        time.sleep(0.005)
    child.kill()
    assert child.wait(10) == -signal.SIGKILL, child.stderr.read()
    child.stderr.close()
    assert not list(run.rglob("retrained.json"))
    told = []
    found = Front.load(run, data=digits).pick("knee").retrain(2, on_epoch=lambda seed, log: told.append(seed))
    assert 0 < len(told) < 2 * 8, "it went on with what was kept"
    for one, other in zip(whole.weights, found.weights, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not [path for path in (run / "retrained").rglob("*") if path.name in (".lock", ".data", "unfinished")]
