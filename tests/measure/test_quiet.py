"""Who measures has the machine, and whatever dies on either side, the other goes on. With real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from nas.errors import NasError
from nas.measure import quiet
from nas.measure.quiet import Pause, measuring, thread_clock

pytestmark = pytest.mark.skipif(not quiet.CAN_PAUSE, reason="this system has no flock(2)")

ROOT = Path(__file__).parents[2]

TRAINER = """
import sys, time
from nas.measure.quiet import Pause
path, batch_s, longest_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
with Pause(longest_s=longest_s) as pause, open(path, "r+b", buffering=0) as count:
    for n in range(1, 1_000_000):
        pause()
        count.seek(0)
        count.write(b"%d" % n)
        time.sleep(batch_s)
"""

MEASURER = """
import sys
from nas.measure.quiet import measuring
with measuring() as quiet:
    print(quiet, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A machine of our own: what else runs on this one has no part in the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path / f"nas-{os.getuid()}"
    tempfile.tempdir = None


@pytest.fixture
def start():
    """Start Python on a source text; what is still alive at the end is killed."""
    with contextlib.ExitStack() as stack:

        def start(source, *arguments):
            command = [sys.executable, "-c", source, *map(str, arguments)]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


class Trainer:
    """A process that counts its batches in a file; with its first batch open."""

    def __init__(self, start, path, batch_s=0.002, longest_s=60.0):
        self.path = path
        path.write_text("0")
        self.process = start(TRAINER, path, batch_s, longest_s)
        self.advances(20.0)

    def count(self):
        return int(self.path.read_text())

    def advances(self, within_s):
        before, end = self.count(), time.monotonic() + within_s
        while self.count() == before:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < end, f"no batch within {within_s} s"
            time.sleep(0.002)

    def stands_still(self, for_s):
        before = self.count()
        time.sleep(for_s)
        assert self.count() == before


def test_trainers_stand_still_while_somebody_measures(start, tmp_path):
    trainers = [Trainer(start, tmp_path / f"{i}") for i in range(2)]
    for _ in range(3):
        with measuring(patience_s=20) as is_quiet:
            assert is_quiet
            before = [t.count() for t in trainers]
            time.sleep(0.2)
            assert [t.count() for t in trainers] == before
        for trainer in trainers:
            trainer.advances(5)


def test_a_trainer_that_starts_meanwhile_waits(start, tmp_path):
    with measuring():
        (tmp_path / "count").write_text("0")
        process = start(TRAINER, tmp_path / "count", 0.002, 60)
        time.sleep(1.0)
        assert process.poll() is None
        assert (tmp_path / "count").read_text() == "0"


def test_a_killed_measurement_lets_trainers_go_on(start, tmp_path):
    trainer, measurer = Trainer(start, tmp_path / "count"), start(MEASURER)
    assert measurer.stdout.readline() == "True\n"
    trainer.stands_still(0.1)
    measurer.kill()
    trainer.advances(5)
    with measuring(timeout_s=5):
        pass


def test_a_killed_trainer_is_not_waited_for(start, tmp_path):
    trainer = Trainer(start, tmp_path / "count", batch_s=60)
    with measuring(patience_s=0.1) as is_quiet:
        assert not is_quiet
    trainer.process.kill()
    started = time.monotonic()
    with measuring(patience_s=20) as is_quiet:
        assert is_quiet
    assert time.monotonic() - started < 10


def test_a_batch_without_end_is_waited_for_no_longer_than_said(start, tmp_path):
    trainer = Trainer(start, tmp_path / "count")
    trainer.process.send_signal(signal.SIGSTOP)  # Ctrl-Z
    started = time.monotonic()
    with measuring(patience_s=0.3) as is_quiet:
        waited = time.monotonic() - started
    assert is_quiet or 0.3 <= waited < 5  # it may have been stopped just between two batches
    trainer.process.send_signal(signal.SIGCONT)
    trainer.advances(5)


def test_a_trainer_waits_no_longer_than_said_and_anew_for_the_next(start, tmp_path):
    trainer, measurer = Trainer(start, tmp_path / "count", longest_s=0.5), start(MEASURER)
    assert measurer.stdout.readline() == "True\n"
    trainer.stands_still(0.1)
    trainer.advances(5)
    for _ in range(20):  # no half second before each batch
        trainer.advances(0.45)
    measurer.communicate("\n")
    trainer.advances(5)
    trainer.advances(5)  # at the second it has seen that nobody measures
    with measuring(patience_s=20) as is_quiet:
        assert is_quiet
        trainer.stands_still(0.1)


def test_one_measures_at_a_time(start, tmp_path):
    source = """
import sys, time
from nas.measure.quiet import measuring
with open(sys.argv[1], "ab", buffering=0) as log:
    for _ in range(20):
        with measuring():
            log.write(b"(")
            time.sleep(0.003)
            log.write(b")")
"""
    processes = [start(source, tmp_path / "log") for _ in range(3)]
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
    assert (tmp_path / "log").read_text() == "()" * 60


def test_who_waits_in_vain_is_told_for_whom(start, place):
    measurer = start(MEASURER)
    assert measurer.stdout.readline() == "True\n"
    told = rf"nas-\d+/turn: process {measurer.pid} still measures after 0\.2 s of waiting.*\n  wait for that process"
    with pytest.raises(NasError, match=told), measuring(timeout_s=0.2):
        pass
    measurer.communicate("\n")
    with measuring(timeout_s=5) as is_quiet:
        assert is_quiet
        with pytest.raises(NasError, match=rf"process {os.getpid()} \(this one\)"), measuring(timeout_s=0):
            pass


def test_an_error_while_measuring_ends_it():
    with pytest.raises(LookupError), measuring():
        raise LookupError
    with measuring(timeout_s=0) as is_quiet:
        assert is_quiet


def test_a_closed_pause_disturbs_nobody():
    pause = Pause()
    with pause:
        pause()
        with measuring(patience_s=0) as is_quiet:
            assert not is_quiet
    with measuring(patience_s=0) as is_quiet:
        assert is_quiet
    pause()  # opened again
    with measuring(patience_s=0) as is_quiet:
        assert not is_quiet
    del pause  # forgotten
    with measuring(patience_s=0) as is_quiet:
        assert is_quiet


def test_one_trainer_in_each_thread():
    counts, stop = [0, 0, 0], threading.Event()

    def train(i):
        with Pause() as pause:
            while not stop.is_set():
                pause()
                counts[i] += 1
                time.sleep(0.001)

    threads = [threading.Thread(target=train, args=(i,)) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            with measuring(patience_s=20) as is_quiet:
                assert is_quiet
                before = counts.copy()
                time.sleep(0.05)
                assert counts == before
            time.sleep(0.05)
            assert all(now > then for now, then in zip(counts, before, strict=True))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_real_training_pauses_and_comes_to_the_same():
    import torch

    from nas.data import load_task
    from nas.training import TrainConfig, fit, torch_seeded

    task, results = load_task("digits"), []

    def train(pause):
        with torch_seeded(0):
            net = torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
            )
        val = (task.x_val, task.y_val)
        config = TrainConfig(epochs=5)
        found = fit(net, task.x_train, task.y_train, config, seed=0, evaluate_on=val, between_batches=pause)
        results.append([(log.train_loss, log.scores) for log in found.curve])
        return found

    train(None)
    with Pause() as pause, contextlib.ExitStack() as measurement:
        calls = 0

        def after_some_batches():
            nonlocal calls
            calls += 1
            if calls == 12:  # the batch that is open ends in this very thread: nothing to wait for
                measurement.enter_context(measuring(patience_s=0))
                threading.Timer(0.3, measurement.close).start()
            pause()

        found = train(after_some_batches)
    assert results[0] == results[1]
    assert 0.25 < pause.waited_s < 10
    assert found.train_seconds == found.curve[-1].train_seconds
    assert calls == 5 * (-(-len(task.x_train) // 128) + -(-len(task.x_val) // 512))


FORKED = """
import os, sys, time
from nas.measure.quiet import Pause, measuring
who, child_s = sys.argv[1], float(sys.argv[2])
with measuring() if who == "measurer" else Pause() as pause:
    if who == "trainer":
        pause()
    child = os.fork()
    if child:
        time.sleep(60)
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(child_s)
os.write(1, b"left\\n")
"""


@pytest.mark.parametrize("who", ["measurer", "trainer"])
def test_a_forked_child_that_ends_leaves_its_parents_locks_alone(start, who):
    parent = start(FORKED, who, 0.0)
    assert int(parent.stdout.readline()) != parent.pid
    assert parent.stdout.readline() == "left\n"
    if who == "measurer":
        with pytest.raises(NasError, match=f"process {parent.pid} "), measuring(timeout_s=0.2):
            pass
    else:
        with measuring(patience_s=0.2) as is_quiet:
            assert not is_quiet


@pytest.mark.parametrize("who", ["measurer", "trainer"])
def test_a_forked_child_does_not_hold_what_its_dead_parent_held(start, who):
    parent = start(FORKED, who, 60.0)
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        with measuring(timeout_s=5, patience_s=5) as is_quiet:
            assert is_quiet
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("what", ["open to others", "a link", "a file", "in nothing"])
def test_a_folder_that_cannot_be_trusted_is_told(place, tmp_path, monkeypatch, what):
    if what == "open to others":
        place.mkdir()
        place.chmod(0o755)
    elif what == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "theirs")
    elif what == "a file":
        place.write_text("")
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(NasError, match=r"nas-\d+: .*\n  remove it, or set TMPDIR"), measuring():
        pass
    with pytest.raises(NasError, match=r"nas-\d+: .*\n  remove it, or set TMPDIR"):
        Pause()


def test_a_lock_that_is_a_link_is_not_followed(place, tmp_path):
    place.mkdir(mode=0o700)
    (place / "turn").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NasError, match="turn: cannot be locked"), measuring():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_the_folder_is_for_the_user_alone(place):
    with measuring():
        assert place.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o777 for path in place.iterdir()} == {"turn": 0o600, "batch": 0o600}


def test_without_flock_nothing_pauses_and_nothing_is_called_quiet(start, place):
    source = """
import sys
sys.modules["fcntl"] = None  # as on Windows: importing it raises ImportError
from nas.measure.quiet import CAN_PAUSE, Pause, measuring
with Pause() as pause, measuring() as quiet:
    pause()
    print(CAN_PAUSE, quiet, pause.waited_s)
"""
    assert start(source).communicate(timeout=60) == ("False False 0.0\n", "")
    assert not place.exists()


BYTES = np.random.default_rng(0).bytes(200_000)


def test_the_clock_of_a_thread_sees_its_own_work_alone():
    clock = thread_clock(lambda: zlib.compress(BYTES))
    assert clock is not None
    started = clock()
    time.sleep(0.1)
    other = threading.Thread(target=zlib.compress, args=(BYTES * 20,))
    other.start()
    other.join()
    assert clock() - started < 50_000_000  # what the other one took is several times this
    zlib.compress(BYTES)
    assert clock() - started > 1_000_000


def test_the_clock_of_a_thread_is_not_for_what_others_compute():
    def run():
        thread = threading.Thread(target=zlib.compress, args=(BYTES,))
        thread.start()
        thread.join()

    assert thread_clock(run) is None
    assert thread_clock(lambda: zlib.compress(BYTES), run) is None


def test_the_clock_of_a_thread_is_right_for_our_runtime():
    from nas.measure import RUNTIMES, reference

    assert thread_clock(RUNTIMES["onnxruntime"]().prepare(reference.model(), reference.IN_SHAPE)) is not None


def test_a_clock_that_is_too_coarse_is_none(monkeypatch):
    monkeypatch.setattr(time, "thread_time_ns", lambda: time.monotonic_ns() // 15_600_000 * 15_600_000)
    assert thread_clock() is None


def test_what_a_call_costs(record_property):
    with Pause() as pause:
        times = []
        for _ in range(5000):
            started = time.perf_counter_ns()
            pause()
            times.append(time.perf_counter_ns() - started)
    tenth, half = np.quantile(times, [0.1, 0.5]) / 1000
    record_property("pause_us", float(half))
    print(f"a pause with nobody measuring: {half:.2f} us, in calm {tenth:.2f}")  # pytest -s shows it


def test_a_pause_waits_no_longer_than_the_run_lasts():
    with Pause(deadline=time.monotonic() + 0.2) as pause, measuring():
        pause()
    assert 0.1 < pause.waited_s < 30
