"""What the processes in test_executors.py run instead of trainings. No torch: they start in a fraction of a second."""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import nas.errors
from nas.space import Architecture
from nas.study.jobs import Job, Outcome, Progress
from nas.training.log import EpochLog


def job(number: int, do: str = "answer", *, padding: int = 0, limits: dict | None = None, **options) -> Job:
    """Return a job that has `run` do something; `padding` bytes go along."""
    state = json.dumps({"do": do, **options}).encode() + b"\n" + bytes(padding)
    return Job(number=number, arch=Architecture.of({}), rung=number % 3, state=state, **(limits or {}))


# --- how a process gets ready ----------------------------------------------------------------------------------------


def prepare(slot: int):
    """Do so at once."""
    return lambda job, tell: run(slot, job, tell)


def prepare_together(folder: Path, slots: int, slot: int):
    """Wait for all the others."""
    (folder / str(slot)).touch()
    while len(list(folder.iterdir())) < slots:
        time.sleep(0.01)
    return prepare(slot)


def prepare_after(seconds: float, folder: Path, slot: int):
    """Take a while."""
    (folder / str(os.getpid())).touch()
    time.sleep(seconds)
    return prepare(slot)


def prepare_or_die(folder: Path, times: int, how: dict, slot: int):
    """Do `how` instead, the first `times` times it is called in whatever process."""
    for n in range(times):
        with contextlib.suppress(FileExistsError):
            (folder / f"died-{n}").mkdir()
            DO[how["do"]](how, None, lambda progress: None)
    return prepare(slot)


def prepare_unless(flag: Path, slot: int):
    """Raise where there is a file."""
    if flag.exists():
        raise ValueError("the disk is gone")
    return prepare(slot)


def prepare_unbound(folder: Path, slot: int):
    """Ask the kernel not to end this process with its driver."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    return prepare_after(0.0, folder, slot)


# --- how it works ----------------------------------------------------------------------------------------------------


def run(slot: int, job: Job, tell) -> Outcome:
    """Do what the job says, then answer with some facts, and as many bytes as it asks for."""
    options = json.loads(job.state.split(b"\n", 1)[0])
    DO[options["do"]](options, job, tell)
    facts = {
        "pid": os.getpid(),
        "slot": slot,
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)),
        "rss_mb": resident_mb(),
        "received": len(job.state),
        "seconds_left": job.seconds_left,
        "interrupts_blocked": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    }
    if options["do"] == "answer_badly":
        facts["made of"] = lambda: None
    state = bytes(options.get("send", 0)) or None
    return Outcome(number=job.number, rung=job.rung, ended="rung", scores=facts, state=state)


def answer(options, job, tell):
    """Nothing else."""


def sleep(options, job, tell):
    time.sleep(options["seconds"])


def progress(options, job, tell):
    for n in range(options["times"]):
        tell(Progress(job.number, EpochLog(n + 1.0, 0.5, None, 0.1)))
        time.sleep(options.get("pause", 0.0))


def send_signal(options, job, tell):
    os.kill(os.getpid(), options["signal"])
    time.sleep(1000)


def segfault(options, job, tell):
    ctypes.string_at(0)


def leave(options, job, tell):
    sys.exit(options["code"])


def leave_at_once(options, job, tell):
    os._exit(options["code"])


def fail(options, job, tell):
    """Raise an exception of that name."""
    kind = options["kind"]
    raise (getattr(nas.errors, kind, None) or getattr(__builtins__, kind, None) or __builtins__[kind])(options["text"])


def leave_a_child(options, job, tell):
    """Die while a child has all the files open that this process has."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def hang(options, job, tell):
    """Neither end when asked to, nor let any other thread of this process run."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(Progress(job.number, EpochLog(0.0, 0.5, None, 0.1)))
    ctypes.PyDLL(None).sleep(1000)


DO = {
    f.__name__: f
    for f in (
        answer,
        sleep,
        progress,
        send_signal,
        segfault,
        leave,
        leave_at_once,
        fail,
        leave_a_child,
        hang,
    )
}
DO["answer_badly"] = answer


def resident_mb() -> float:
    """Return how much memory of this process is in use now, in MB; 0 where nobody tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0
