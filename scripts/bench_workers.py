"""How busy does one driver keep many processes, and what does handing over a job cost?

    python scripts/bench_workers.py [--slots 64] [--seconds 60]

Trainings are sleeps of 2 to 20 s (log-uniform, in mean 7.8 s): with nothing to compute, more processes than cores are
no burden, and what is measured is the driver. Before each job it computes for 30 ms, as long as a proposal with its
price takes, and with all slots taken it computes the next one ahead, as a search does. Its share is that of slots x
time in which a job ran, from the first moment that all slots had one to the last job's beginning.

Also: the time until all processes are ready, the round trip of a job that does nothing, with and without 20 MB of
state both ways, and the time from the death of a process to the first answer of its successor. Writes
results/training/workers.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nas.measure import describe
from nas.records import write_json
from nas.rng import generator
from nas.space import Architecture
from nas.study.executors.local import Local
from nas.study.jobs import Job, Outcome, Runner, Tell

OUT = Path("results/training/workers.json")
SHORTEST_S, LONGEST_S = 2.0, 20.0
PROPOSAL_S = 0.03
STATE_BYTES = 20_000_000


def prepare(slot: int) -> Runner:
    """Get ready to sleep."""
    return sleep


def sleep(job: Job, tell: Tell) -> Outcome:
    """Sleep, and answer from when to when, with the state that came; die where the architecture says so."""
    options = job.arch.values
    if options.get("die"):
        os._exit(1)
    began = time.monotonic()
    time.sleep(float(options.get("seconds", 0.0)))
    scores = {"began": began, "ended": time.monotonic(), "pid": os.getpid()}
    return Outcome(number=job.number, rung=0, ended="rung", scores=scores, state=job.state)


def sleeping(number: int, seconds: float = 0.0, *, state: bytes | None = None, die: bool = False) -> Job:
    """Return a job that does."""
    return Job(number=number, arch=Architecture.of({"seconds": seconds, "die": die}), rung=0, state=state)


def compute(seconds: float) -> None:
    """Keep the core busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def start(executor: Local) -> float:
    """Return the seconds until every slot has answered, from now."""
    began, seen = time.monotonic(), set[float]()
    for n in range(executor.slots):
        executor.submit(sleeping(n))
    while len(seen) < executor.slots:
        for outcome in executor.wait():
            if outcome.scores["pid"] not in seen:
                seen.add(outcome.scores["pid"])
            executor.submit(sleeping(0, 0.05))
    drain(executor)
    return time.monotonic() - began


def drain(executor: Local) -> None:
    """Wait until nothing is under way."""
    while executor.wait():
        pass


def busy(executor: Local, seconds: float) -> dict[str, float]:
    """Return how busy all slots are kept for so many seconds, and how many jobs that took."""
    rng = generator(0, "durations")
    began, number, at_work, ahead = time.monotonic(), 0, 0, False
    outcomes: list[Outcome] = []
    last = full = 0.0
    proposing = 0.0
    while at_work or not outcomes:
        while at_work < executor.slots and time.monotonic() < began + seconds:
            if not ahead:
                compute(PROPOSAL_S)
                proposing += PROPOSAL_S
            ahead = False
            executor.submit(sleeping(number, float(np.exp(rng.uniform(np.log(SHORTEST_S), np.log(LONGEST_S))))))
            number, at_work, last = number + 1, at_work + 1, time.monotonic()
            full = full or (last if at_work == executor.slots else 0.0)
        if not ahead and time.monotonic() < began + seconds:
            compute(PROPOSAL_S)
            proposing += PROPOSAL_S
            ahead = True
        new = executor.wait()
        at_work -= len(new)
        outcomes += new
    spans = np.array([(o.scores["began"], o.scores["ended"]) for o in outcomes]).clip(full, last)
    return {
        "seconds": round(last - full, 1),
        "jobs": len(outcomes),
        "busy_share": round(float((spans[:, 1] - spans[:, 0]).sum() / (executor.slots * (last - full))), 4),
        "driver_proposing_share": round(proposing / (last - began), 3),
    }


def milliseconds(what: Callable[[], object], times: int) -> float:
    """Return the median."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds) * 1e3, 2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    found: dict[str, object] = {"machine": describe(), "slots": options.slots, "proposal_ms": PROPOSAL_S * 1e3}
    with Local(prepare, options.slots, lambda progress: None) as executor:
        found["start_s"] = round(start(executor), 1)
        found |= busy(executor, options.seconds)

    def trip(job: Job) -> None:
        executor.submit(job)
        executor.wait()

    with Local(prepare, 1, lambda progress: None) as executor:
        trip(sleeping(0))
        found["round_trip_ms"] = milliseconds(lambda: trip(sleeping(0)), 500)
        found["round_trip_20_mb_ms"] = milliseconds(lambda: trip(sleeping(0, state=bytes(STATE_BYTES))), 20)
        found["replaced_ms"] = milliseconds(lambda: (trip(sleeping(0, die=True)), trip(sleeping(0))), 5)
    print(found)
    write_json(OUT, found)


if __name__ == "__main__":
    main()
