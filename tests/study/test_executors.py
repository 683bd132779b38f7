"""Executors: every job has one outcome, whatever happens to its process; and no process outlives its driver."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import stub_work
from stub_work import job, prepare

from nas.errors import DataError, RunError
from nas.study.executors import worker
from nas.study.executors.here import Here
from nas.study.executors.local import Local

PROC = Path("/proc")
HERE = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
"""What a script has to find."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
SECONDS = 60
"""After which something hangs."""


def ignore(progress):
    pass


def gone(pid: int) -> bool:
    """Whether a process has ended; that of a dead parent may wait for whoever takes it over."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {SECONDS} s: {what}"
        time.sleep(0.01)


def results(executor, jobs, between=lambda: None) -> list:
    """Run jobs, as many at a time as there are slots, and return all outcomes as they come."""
    jobs, outcomes, at_work = list(jobs), [], 0
    end = time.monotonic() + SECONDS
    while jobs or at_work:
        while jobs and at_work < executor.slots:
            executor.submit(jobs.pop(0))
            at_work += 1
        between()
        new = executor.wait(5.0)
        at_work -= len(new)
        outcomes += new
        assert time.monotonic() < end, f"{at_work} jobs have no outcome"
    return outcomes


def pids(executor) -> dict[int, int]:
    """Return the processes of all slots, by slot."""
    found: dict[int, int] = {}
    while len(found) < executor.slots:
        jobs = [job(n, "sleep", seconds=0.02) for n in range(executor.slots)]
        found |= {o.scores["slot"]: o.scores["pid"] for o in results(executor, jobs)}
    return found


@pytest.fixture(autouse=True)
def no_main(monkeypatch):
    """Leave out the import of the tests' own main module: half of what a process takes to start."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def local(told):
    """Two processes. A test may kill them, since they are replaced."""
    with Local(prepare, 2, told.append) as executor:
        yield executor


@pytest.fixture(params=["here", "local"])
def executor(request, told):
    told.clear()
    return Here(prepare, told.append) if request.param == "here" else request.getfixturevalue("local")


# --- what all executors promise --------------------------------------------------------------------------------------


def test_each_job_has_one_outcome_that_is_its_own(executor):
    outcomes = results(executor, [job(n, padding=n, send=n) for n in range(20)])
    assert sorted(o.number for o in outcomes) == list(range(20))
    for o in outcomes:
        sent = job(o.number, padding=o.number, send=o.number)
        assert (o.rung, o.ended, len(o.state or b""), o.scores["received"]) == (
            sent.rung,
            "rung",
            o.number,
            len(sent.state),
        )


def test_progress_is_told_in_order_by_the_calling_thread_and_before_the_outcome(executor, told):
    threads = []
    executor._tell = lambda progress: (told.append(progress), threads.append(threading.current_thread()))
    try:
        executor.submit(job(7, "progress", times=20))
        while not executor.wait(5.0):
            pass
    finally:
        executor._tell = told.append
    assert [(p.number, p.log.epochs) for p in told] == [(7, n + 1.0) for n in range(20)]
    assert set(threads) == {threading.current_thread()}


def test_where_nothing_is_under_way_there_is_nothing_to_wait_for(executor):
    assert list(executor.wait()) == []


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("TrialFailed", "diverged in epoch 2", "diverged in epoch 2"),
        ("MemoryError", "", "out of memory"),
        ("MemoryError", "2 GB", "out of memory: 2 GB"),
    ],
)
def test_what_ends_a_trial_alone_is_its_outcome(executor, kind, text, reason):
    (outcome,) = results(executor, [job(5, "fail", kind=kind, text=text)])
    assert (outcome.number, outcome.rung, outcome.ended, outcome.reason) == (5, 2, "failed", reason)


def test_an_error_of_ours_keeps_its_kind_and_text(executor):
    executor.submit(job(1, "fail", kind="DataError", text="digits: no such file"))
    with pytest.raises(DataError, match=r"^digits: no such file$"):
        executor.wait()
    assert list(executor.wait()) == []


def test_a_mistake_is_named_and_told_whole(executor):
    executor.submit(job(1, "fail", kind="KeyError", text="width"))
    with pytest.raises(RunError, match=r"(?s)^trial 1: KeyError: 'width'\n.*stub_work\.py.*in fail"):
        executor.wait()
    assert [o.number for o in results(executor, [job(2)])] == [2]


def test_an_outcome_that_cannot_be_sent_is_a_mistake_too(local):
    local.submit(job(1, "answer_badly"))
    with pytest.raises(RunError, match=r"^trial 1: \w+: .*pickle"):
        local.wait()
    assert [o.number for o in results(local, [job(2)])] == [2]


def test_what_runs_beside_a_mistake_has_its_outcome(local):
    local.submit(job(1, "fail", kind="KeyError", text="width"))
    local.submit(job(2, "sleep", seconds=0.1))
    outcomes, raised = [], 0
    while not (outcomes and raised):
        try:
            outcomes += local.wait()
        except RunError:
            raised += 1
    assert [o.number for o in outcomes] == [2]
    assert raised == 1
    assert list(local.wait()) == []


# --- processes: how they start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [0, -1, 100_000])
def test_a_number_of_processes_that_is_none(slots):
    with pytest.raises(RunError, match=f"workers: must be a whole number from 1 to .*, got {slots}"):
        Local(prepare, slots, ignore)


def test_all_get_ready_beside_each_other(tmp_path):
    with Local(partial(stub_work.prepare_together, tmp_path, 3), 3, ignore) as executor:
        assert sorted(pids(executor)) == [0, 1, 2]


def test_they_stay_and_have_one_thread_and_the_driver_keeps_its_own(local, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with Local(prepare, 1, ignore) as executor:
        outcomes = results(executor, [job(n) for n in range(5)])
    assert {o.scores["threads"] for o in outcomes} == {1}
    assert len({o.scores["pid"] for o in outcomes}) == 1
    assert dict(os.environ) == before


def test_starting_them_needs_no_torch():
    code = (
        "import sys, nas.study.executors.here, nas.study.executors.local; print(*{'torch', 'optuna'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_ctrl_c_is_for_the_driver(local):
    before = pids(local)
    for pid in before.values():
        os.kill(pid, signal.SIGINT)
    assert pids(local) == before


INTERRUPTED = """\
import signal, sys
sys.path[:0] = {path!r}
from stub_work import job, prepare
from nas.study.executors.local import Local

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda number, frame: None)
    with Local(prepare, 2, print) as executor:
        print("go", flush=True)
        outcomes = []
        for n in range(2):
            executor.submit(job(n, "sleep", seconds=0.2))
        while len(outcomes) < 2:
            outcomes += executor.wait()
        print(*((outcome.ended, outcome.scores["interrupts_blocked"]) for outcome in outcomes))
"""


@linux
def test_nor_does_ctrl_c_reach_them_while_they_start(tmp_path):
    path = tmp_path / "driver.py"
    path.write_text(INTERRUPTED.format(path=HERE))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, path], text=True, start_new_session=True, **pipes) as driver:
        assert driver.stdout.readline() == "go\n"
        while driver.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGINT)
            time.sleep(0.02)
        assert (driver.stdout.read(), driver.stderr.read()) == ("('rung', True) ('rung', True)\n", "")


def test_a_job_for_which_nobody_is_ready_yet_loses_the_time_it_waits(tmp_path):
    with Local(partial(stub_work.prepare_after, 0.3, tmp_path), 1, ignore) as executor:
        executor.submit(job(1, limits={"seconds_left": 50.0}))
        assert list(executor.wait(0.0)) == []
        (outcome,) = executor.wait()
    assert outcome.scores["seconds_left"] < 49.75


# --- processes: how they die -----------------------------------------------------------------------------------------

KILL = {"do": "send_signal", "signal": int(signal.SIGKILL)}
DEATHS = {
    "kill": (KILL, "its process ended by SIGKILL, as the system does"),
    "segfault": ({"do": "segfault"}, "its process ended by SIGSEGV"),
    "abort": ({"do": "send_signal", "signal": int(signal.SIGABRT)}, "its process ended by SIGABRT"),
    "exit": ({"do": "leave", "code": 3}, "its process ended with exit code 3"),
    "exit at once": ({"do": "leave_at_once", "code": 0}, "its process ended with exit code 0"),
    "with a child": ({"do": "leave_a_child"}, "its process ended by SIGKILL"),
}


@pytest.mark.parametrize(("how", "reason"), DEATHS.values(), ids=DEATHS)
def test_a_death_at_work_is_an_outcome_and_the_process_is_replaced(local, how, reason):
    (outcome,) = results(local, [job(4, **how)])
    assert (outcome.number, outcome.rung, outcome.ended) == (4, 1, "died")
    assert outcome.reason.startswith(reason)
    assert {o.ended for o in results(local, [job(n) for n in range(4)])} == {"rung"}


def test_a_death_between_jobs_goes_unnoticed(local):
    before = pids(local)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not {*before.values()} & {p.pid for p in multiprocessing.active_children()}, "they were killed")
    assert {o.ended for o in results(local, [job(n) for n in range(4)])} == {"rung"}
    assert not {*pids(local).values()} & {*before.values()}


def test_under_random_kills_each_job_has_one_outcome():
    rng = np.random.default_rng(0)
    kinds = [{"do": "answer"}, {"do": "sleep", "seconds": 0.02}, {"do": "progress", "times": 5}, *DEATHS.values()]
    plain = [kind if isinstance(kind, dict) else kind[0] for kind in kinds if kind is not DEATHS["with a child"]]
    weights = np.array([8, 8, 8, *[1] * (len(plain) - 3)])
    drawn = rng.choice(len(plain), 42, p=weights / weights.sum())
    jobs = [job(n, **plain[k], padding=int(rng.integers(500_000))) for n, k in enumerate(drawn)]
    told: list = []
    known: set[int] = set()

    def strike():
        if known and rng.random() < 0.15:
            with contextlib.suppress(ProcessLookupError):
                os.kill(known.pop(), signal.SIGKILL)

    with Local(prepare, 3, told.append) as executor:
        outcomes = []
        for at in range(0, len(jobs), 6):
            new = results(executor, jobs[at : at + 6], strike)
            known = {o.scores["pid"] for o in new if o.scores}
            outcomes += new
    assert Counter(o.number for o in outcomes) == Counter(range(42))
    for o in outcomes:
        assert o.rung == o.number % 3
        if drawn[o.number] < 3:
            assert o.ended == "rung" or o.reason.startswith("its process ended by SIGKILL")
        else:
            assert o.ended == "died"
    assert sum(o.ended == "rung" for o in outcomes) > 20
    whole = {o.number for o in outcomes if o.ended == "rung" and drawn[o.number] == 2}
    assert all([p.log.epochs for p in told if p.number == n] == [1, 2, 3, 4, 5] for n in whole)


# --- processes: how they fail to get ready ---------------------------------------------------------------------------


def test_two_deaths_while_getting_ready_are_an_accident(tmp_path):
    with Local(partial(stub_work.prepare_or_die, tmp_path, 2, KILL), 2, ignore) as executor:
        assert {o.ended for o in results(executor, [job(n) for n in range(4)])} == {"rung"}
        assert executor._deaths == 0  # they were in a row, and the row has ended
    assert len(list(tmp_path.iterdir())) == 2


ALWAYS = {
    "kill": (KILL, r"the process ended by SIGKILL.*\n.*fewer workers"),
    "memory": ({"do": "fail", "kind": "MemoryError", "text": ""}, "out of memory\n.*fewer workers"),
    "mistake": ({"do": "fail", "kind": "ValueError", "text": "no"}, "ValueError: no\n"),
}


@pytest.mark.parametrize(("how", "text"), ALWAYS.values(), ids=ALWAYS)
def test_three_deaths_while_getting_ready_end_it(tmp_path, how, text):
    with Local(partial(stub_work.prepare_or_die, tmp_path, 99, how), 1, ignore) as executor:
        executor.submit(job(1))
        with pytest.raises(RunError, match=f"^getting ready to train: {text}"):
            executor.wait()
    assert len(list(tmp_path.iterdir())) == 3


def test_what_the_user_can_mend_is_not_tried_again(tmp_path):
    how = {"do": "fail", "kind": "DataError", "text": "digits: no such file"}
    with Local(partial(stub_work.prepare_or_die, tmp_path, 99, how), 1, ignore) as executor:
        executor.submit(job(1))
        with pytest.raises(DataError, match=r"^digits: no such file$"):
            executor.wait()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_search_that_has_begun_goes_on_with_the_processes_it_has(tmp_path):
    flag = tmp_path / "flag"
    with Local(partial(stub_work.prepare_unless, flag), 2, ignore) as executor:
        before = pids(executor)
        flag.touch()
        os.kill(before[1], signal.SIGKILL)
        outcomes = results(executor, [job(n, "sleep", seconds=0.01) for n in range(4)])
        until(lambda: executor.wait(0.01) == [] and executor._deaths >= 3, "one slot rests")
        outcomes += results(executor, [job(n) for n in range(4)])
        assert {o.scores["pid"] for o in outcomes if o.ended == "rung"} == {before[0]}
        os.kill(before[0], signal.SIGKILL)
        with pytest.raises(RunError, match=r"^getting ready to train: ValueError: the disk is gone\n"):
            results(executor, [job(n) for n in range(3)])  # the first may be what it dies of


SCRIPT = """\
import sys
open(sys.argv[1], "a").write("imported ")
sys.path[:0] = {path!r}
from stub_work import job, prepare
from nas.errors import NasError
from nas.study.executors.local import Local

def main():
    try:
        with Local(prepare, 2, print) as executor:
            executor.submit(job(1))
            print(*(outcome.ended for outcome in executor.wait()))
    except NasError as error:
        print(error)

{start}
"""


def script(start: str) -> str:
    return SCRIPT.format(path=HERE, start=start)


@pytest.mark.parametrize("start", ["if __name__ == '__main__': main()", "main()"], ids=["guarded", "not guarded"])
def test_a_script_is_imported_by_each_process(tmp_path, start):
    path, times = tmp_path / "mine.py", tmp_path / "times"
    path.write_text(script(start))
    done = subprocess.run([sys.executable, path, times], capture_output=True, text=True, timeout=SECONDS)
    if start == "main()":
        assert done.stdout.startswith(
            f"{path}: each process that trains imports it first, and that ended with exit code 1"
        )
        assert "if __name__ == '__main__':" in done.stdout
    else:
        assert done.stdout == "rung\n"
    assert done.stderr == ""
    assert len(times.read_text().split()) == 3  # by itself and two processes: what fails is not tried again


def test_a_script_that_is_no_file_is_told_to_be_one():
    done = subprocess.run(
        [sys.executable, "-", os.devnull], input=script("main()"), capture_output=True, text=True, timeout=SECONDS
    )
    assert "write what starts the search into a file, under: if __name__ == '__main__':" in done.stdout


# --- processes: how they are given up --------------------------------------------------------------------------------


def test_silence_for_much_longer_than_its_limit_fails_a_trial(local, monkeypatch):
    monkeypatch.setattr(worker, "_SILENT_S", 0.1)
    before = pids(local)
    (outcome,) = results(local, [job(1, "hang", limits={"trial_limit_s": 0.1})])
    assert (outcome.number, outcome.ended) == (1, "failed")
    assert outcome.reason.startswith("time limit of 0.1 s: its process did not answer for ")
    assert len({*pids(local).values()} - {*before.values()}) == 1


def test_a_trial_that_is_heard_of_is_left_to_mind_its_limit_itself(local, monkeypatch):
    monkeypatch.setattr(worker, "_SILENT_S", 1.5)
    limits = {"trial_limit_s": 0.1}
    (outcome,) = results(local, [job(1, "progress", times=20, pause=0.1, limits=limits)])
    assert outcome.ended == "rung"


def test_no_answer_after_the_end_of_the_run_is_the_end_of_a_job(local, monkeypatch):
    monkeypatch.setattr(worker, "_GRACE_S", 0.1)
    asked = job(1, "hang", limits={"seconds_left": 0.1})
    (outcome,) = results(local, [asked])
    assert (outcome.number, outcome.ended, outcome.state) == (1, "time", asked.state)
    assert {o.ended for o in results(local, [job(n) for n in range(4)])} == {"rung"}


def test_nor_does_a_job_wait_for_a_process_beyond_the_end_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_GRACE_S", 0.1)
    with Local(partial(stub_work.prepare_after, 1000, tmp_path), 1, ignore) as executor:
        (outcome,) = results(executor, [job(1, limits={"seconds_left": 0.1})])
    assert outcome.ended == "time"


@linux
def test_a_process_that_is_stopped_is_not_spoken_to_for_ever(local, monkeypatch):
    monkeypatch.setattr(worker, "_TRANSFER_S", 0.3)
    for pid in pids(local).values():
        os.kill(pid, signal.SIGSTOP)
    outcomes = results(local, [job(n, padding=20_000_000) for n in range(2)])
    assert {o.ended for o in outcomes} == {"died"}


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_large_states_go_both_ways_at_once(local):
    size = 20_000_000
    outcomes = results(local, [job(n, padding=size, send=size) for n in range(4)])
    assert [len(o.state) for o in outcomes] == [size] * 4
    assert all(o.scores["received"] > size for o in outcomes)


@linux
def test_memory_stays_flat_over_hundreds_of_jobs():
    size = 1_000_000
    with Local(prepare, 1, ignore) as executor:
        outcomes = results(executor, [job(n, padding=size, send=size) for n in range(300)])
        idle = results(executor, [job(n) for n in range(2)])
    used = [o.scores["rss_mb"] for o in outcomes]
    assert max(used[50:]) < max(used[:50]) + 5  # keeping every state, or every tenth, would cost 250 MB, or 25
    assert idle[-1].scores["rss_mb"] < max(used[:50])


# --- processes: how they end -----------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("do", ["answer", "sleep", "hang"])
def test_closing_ends_all_of_them_whatever_they_do(do):
    executor = Local(prepare, 2, ignore)
    processes = pids(executor)
    if do != "answer":
        for n in range(2):
            executor.submit(job(n, do, seconds=1000))
        executor.wait(0.2)
    executor.close()
    assert not any((PROC / str(pid)).exists() for pid in processes.values())  # no zombies either
    executor.close()
    assert list(executor.wait()) == []
    with pytest.raises(ValueError, match="closed"):
        executor.submit(job(1))


@linux
def test_closing_ends_those_that_are_getting_ready(tmp_path):
    executor = Local(partial(stub_work.prepare_after, 1000, tmp_path), 2, ignore)
    until(lambda: len(list(tmp_path.iterdir())) == 2, "they get ready")
    executor.close()
    assert not any((PROC / path.name).exists() for path in tmp_path.iterdir())


@linux
def test_an_executor_that_is_forgotten_ends_its_processes():
    executor = Local(prepare, 2, ignore)
    processes = pids(executor)
    del executor
    assert not any((PROC / str(pid)).exists() for pid in processes.values())


DRIVER = """\
import os, sys, time
from functools import partial
from pathlib import Path
sys.path[:0] = {path!r}
import stub_work
from nas.study.executors.local import Local

if __name__ == "__main__":
    folder, prepare, do = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    told = []
    executor = Local(eval(prepare, vars(stub_work) | dict(partial=partial, folder=folder)), 2, told.append)
    if do:
        for n in range(2):
            executor.submit(stub_work.job(n, do, times=2, pause=1000))
        while len(told) < 2:
            executor.wait(0.1)
    print("go", flush=True)
    time.sleep(1000)
"""

LIVES = {
    "idle": ("partial(prepare_after, 0.0, folder)", ""),
    "getting ready": ("partial(prepare_after, 1000, folder)", ""),
    "holding the interpreter": ("partial(prepare_after, 0.0, folder)", "hang"),
    "idle, not ended by the kernel": ("partial(prepare_unbound, folder)", ""),
    "at work, not ended by the kernel": ("partial(prepare_unbound, folder)", "progress"),
}


@linux
@pytest.mark.parametrize(("how", "do"), LIVES.values(), ids=LIVES)
def test_no_process_outlives_a_driver_that_was_killed(tmp_path, how, do):
    path, folder = tmp_path / "driver.py", tmp_path / "pids"
    folder.mkdir()
    path.write_text(DRIVER.format(path=HERE))
    command = [sys.executable, path, folder, how, do]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "go\n"
            until(lambda: len(list(folder.iterdir())) == 2, "they get ready")
            processes = [int(path.name) for path in folder.iterdir()]
            assert not any(gone(pid) for pid in processes)
        finally:
            driver.kill()
    for pid in processes:
        until(lambda pid=pid: gone(pid), "it outlives its driver")
