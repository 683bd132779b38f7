"""Does a search survive whatever kills it? One on digits is killed at random moments: its driver or one of its workers.

    python scripts/kill_search.py [--kills 100] [--seed 0] [--keep FOLDER]

Every other kill is of the driver, and the search is resumed; the others are of a worker, and the search goes on. After
each blow to the driver, and at the end, what lies in the run folder is checked: every trial that was finished is still
there and says the same, none is there twice, no file is cut short, the front is the front of its trials. Writes
results/training/kills.json. Takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import optuna

from nas.measure import describe
from nas.records import TrialRecord, read_csv, write_json
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.front import front_numbers

OUT = Path("results/training/kills.json")
FIRST_S, LAST_S = 0.5, 9.0
"""A blow comes so long after the start or the one before, one at a worker after the workers were started."""


def main() -> None:
    """Kill, resume, check, and write down what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="The run folder, to be looked at afterwards.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(given.keep or scratch) / "run"
        found = besiege(run, given.kills, given.trials, given.workers, random.Random(given.seed))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_json(OUT, {"settings": vars(given), **found, "machine": describe()})
    print(json.dumps(found, indent=2))
    if found["broken"]:
        sys.exit(1)


def besiege(run: Path, kills: int, trials: int, workers: int, rng: random.Random) -> dict[str, object]:
    """Kill a search `kills` times, let it come to its end, and return what was seen."""
    driver, finished, struck, broken = None, {}, Counter(), []
    started = time.monotonic()
    for blow in range(kills):
        driver = driver or start(run, trials, workers)
        if blow % 2:
            wait_for_workers(driver, workers)
        time.sleep(rng.uniform(FIRST_S, LAST_S))
        if driver.poll() is not None:
            raise SystemExit(f"the search ended by itself, with {driver.returncode}:\n{driver.stderr.read()}")
        children = children_of(driver.pid)
        if blow % 2 and children:
            pid, what = rng.choice(children)
            strike(pid)
            struck[what] += 1
        else:
            strike(driver.pid)
            driver.communicate()
            driver = None
            struck["driver"] += 1
            if left := [pid for pid, _ in children if alive(pid, seconds=15)]:
                broken.append(f"blow {blow}: processes {left} outlived their driver")
            broken += [f"blow {blow}: {words}" for words in check(run, finished)]
    trained = sum(r.state in ("complete", "stopped_early") for r in finished.values())
    last = start(run, trained + 10, workers, driver)
    _, said = last.communicate()
    if last.returncode:
        broken.append(f"the last resume ended with {last.returncode}: {said[-2000:]}")
    broken += [f"at the end: {words}" for words in check(run, finished, ended=True)]
    states = Counter(r.state for r in finished.values())
    return {
        "kills": dict(struck),
        "trials": len(finished),
        "states": dict(states),
        "seconds": round(time.monotonic() - started),
        "broken": broken,
    }


def start(run: Path, trials: int, workers: int, before: subprocess.Popen[str] | None = None) -> subprocess.Popen[str]:
    """Begin the search, or go on with it."""
    if before is not None:
        strike(before.pid)
        before.communicate()
    resume = ["--resume"] if (run / "study.db").exists() and (run / "config.yaml").exists() else []
    if not resume and run.exists():
        for path in sorted(run.rglob("*"), reverse=True):  # killed before there was anything to go on with
            path.rmdir() if path.is_dir() else path.unlink()
    command = [str(Path(sys.executable).with_name("nas")), "search", *([] if resume else ["digits"]), "--out", str(run)]
    command += ["--trials", str(trials), "--workers", str(workers), "--quiet", *resume]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def check(run: Path, finished: dict[int, TrialRecord], ended: bool = False) -> list[str]:
    """Return what is wrong in a run folder; take the finished trials in."""
    if not (run / "study.db").exists() or not (run / "config.yaml").exists():
        return [] if not finished else ["the study is gone"]
    broken = []
    config = StudyConfig.read(run / "config.yaml")
    try:
        trials = optuna.load_study(study_name=config.space.name, storage=f"sqlite:///{run}/study.db").get_trials()
    except KeyError:
        return [] if not finished else ["the study is gone"]
    records = {}
    for trial in trials:
        if "record" in trial.user_attrs:
            arch = Architecture.from_json(trial.user_attrs["architecture"])
            records[trial.number] = TrialRecord.from_dict(trial.number, arch, json.loads(trial.user_attrs["record"]))
    for number, before in finished.items():
        now = records.get(number)
        if now is None:
            broken.append(f"trial {number} is gone")
        elif now.share < before.share or (not before.paused and now != before):
            broken.append(f"trial {number} was {before.state} at {before.share:g}, is {now.state} at {now.share:g}")
    finished.update(records)
    trained = [r.key for r in records.values() if r.state in ("complete", "stopped_early")]
    broken += [f"{n} trials train the same network {key}" for key, n in Counter(trained).items() if n > 1]
    if (run / "trials.csv").exists():
        read_csv(run / "trials.csv")  # raises where a line is cut short
    if ended:
        broken += check_end(run, records, config)
    return broken


def check_end(run: Path, records: dict[int, TrialRecord], config: StudyConfig) -> list[str]:
    """Return what is wrong with the files of a search that has come to its end."""
    import torch

    broken, folder = [], RunFolder(run)
    listed = {r.number: r for r in read_csv(folder.trials)}
    if set(listed) != set(records):
        broken.append(f"trials.csv lacks {set(records) - set(listed)} and has {set(listed) - set(records)} too many")
    front = front_numbers(list(records.values()), config.parsed_objectives())
    if front != [r.number for r in read_csv(folder.front)]:
        broken.append("front.csv is not the front of the trials")
    for number in front:
        torch.load(folder.checkpoint(number), weights_only=True)
    broken += [f"{path} was left behind" for path in run.rglob("*.part")]
    return broken


def wait_for_workers(driver: subprocess.Popen[str], workers: int) -> None:
    """Wait until a search has started its workers, or has ended."""
    while driver.poll() is None and sum(kind == "worker" for _, kind in children_of(driver.pid)) < workers:
        time.sleep(0.1)


def children_of(pid: int) -> list[tuple[int, str]]:
    """Return the living children of a process, with what they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
            parent = int(text.rpartition(")")[2].split()[1])
            words = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if parent == pid:
            kind = "worker" if b"spawn_main" in words else "meter" if b"nas.measure" in words else "other"
            found.append((int(path.parent.name), kind))
    return [(child, kind) for child, kind in found if kind != "other"]


def strike(pid: int) -> None:
    """Kill -9; who is gone already is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def alive(pid: int, seconds: float) -> bool:
    """Return whether a process still runs after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    main()
