"""What does it cost to keep a trial? Ours in each kind of storage, beside Optuna's own way, into results/training/.

A trial of 40 parameters is started and finished as a search does it. Optuna's own way is a transaction for each
parameter, as `study.ask` or `trial.suggest_*` make it, in a storage as Optuna opens it. Both are read in an empty study
and in one of 300 trials, in turns. CPU time is told beside, without what a server takes: on a busy machine it is the
steadier figure, and what the rest is depends on the disk (`sync_ms`). Writes storage.json; takes a minute or more.

    python scripts/bench_storage.py [--folder FOLDER] [--postgresql URL of an empty database]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import create_trial

from nas.measure import describe
from nas.objectives import Measurement, parse_objective
from nas.records import TrialRecord, write_json
from nas.rng import generator
from nas.samplers.optuna import to_distribution
from nas.space import Architecture, Space
from nas.space.yaml import parse
from nas.study.storage import Storage
from nas.study.storages import hide_password

N_PARAMETERS = 40
SIZES = (0, 300)
"""Trials that are in the study already."""

REPEATS = 20
OBJECTIVES = ("accuracy", "latency_ms")
OUT = Path("results/training/storage.json")


def make_space() -> Space:
    """Return a space whose architectures have 40 parameters each."""
    block = "{conv: {width: {int: [8, 64], step: 8}, kernel: [3, 5], stride: [1, 2], act: [relu, silu]}}"
    body = "".join(f"- {block}\n" for _ in range(N_PARAMETERS // 4))
    return parse(f"input: image\nbody:\n{body}head: {{pool: {{}}}}\n", name="forty")


def record(number: int, arch: Architecture, rng: np.random.Generator) -> TrialRecord:
    """Return a trial as a search keeps it: prices, scores, the curve of ten epochs."""
    prices = {name: Measurement(*np.sort(rng.random(3))[[1, 0, 2]]) for name in ("latency_ms", "macs", "n_params")}
    curve = tuple((float(epoch), float(rng.random())) for epoch in range(1, 11))
    scores = {"accuracy": float(rng.random()), "loss": float(rng.random())}
    return TrialRecord(
        number=number,
        arch=arch,
        state="complete",
        prices=prices,
        scores=scores,
        epochs=10.0,
        train_seconds=12.3,
        key="0123456789abcdef-0123456789abcdef",
        curve=curve,
    )


class Ours:
    """A trial as a search writes it: `Storage.start` and `Storage.finish`."""

    def __init__(self, url: str, space: Space) -> None:
        self.space, self.rng = space, generator(0, "bench", "ours")
        self.storage = Storage(url, "ours", space, [parse_objective(name) for name in OBJECTIVES], resume=False)

    def fill(self, n: int) -> None:
        """Add so many trials."""
        for _ in range(n):
            self.storage.reject(record(0, self.space.sample(self.rng), self.rng))

    def start(self) -> Any:
        """Begin a trial."""
        arch = self.space.sample(self.rng)
        return self.storage.start(arch), arch

    def finish(self, begun: Any) -> None:
        """End it."""
        self.storage.finish(record(*begun, self.rng))


class OptunasOwn:
    """Such a trial, drawn at random and written parameter by parameter, in a storage as Optuna opens it."""

    def __init__(self, url: str, space: Space) -> None:
        self.space, self.rng = space, generator(0, "bench", "optuna")
        if url.startswith("journal"):
            self.storage: Any = JournalStorage(JournalFileBackend(url.removeprefix("journal:///")))
        else:
            self.storage = get_storage(url.replace("postgresql://", "postgresql+psycopg://"))
        self.distributions = {path: to_distribution(slot.parameter) for path, slot in space.slots.items()}
        self.study = optuna.create_study(
            storage=self.storage,
            study_name="optuna",
            directions=["maximize", "minimize"],
            sampler=optuna.samplers.RandomSampler(seed=0),
        )

    def fill(self, n: int) -> None:
        """Add so many trials."""
        for _ in range(n):
            arch = self.space.sample(self.rng)
            there = {path: self.distributions[path] for path in arch.values}
            trial = create_trial(params=dict(arch.values), distributions=there, values=list(self.rng.random(2)))
            self.study.add_trial(trial)

    def start(self) -> Any:
        """Begin a trial."""
        arch, trial = self.space.sample(self.rng), self.study.ask(self.distributions)
        trial.set_user_attr("architecture", arch.to_json())
        return trial, arch

    def finish(self, begun: Any) -> None:
        """End it."""
        trial, arch = begun
        trial.set_user_attr("record", record(trial.number, arch, self.rng).to_dict())
        self.study.tell(trial, list(self.rng.random(2)))


def read(ways: dict[str, Any]) -> Iterator[tuple[str, float, float, float]]:
    """Yield way, ms of starting and ms of finishing a trial, and ms of CPU time of both, in turns."""
    for _ in range(REPEATS):
        for name, way in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            begun = way.start()
            middle = time.perf_counter()
            way.finish(begun)
            end, cpu = time.perf_counter(), time.process_time() - cpu
            yield name, (middle - start) * 1e3, (end - middle) * 1e3, cpu * 1e3


def sync_ms(folder: Path) -> float:
    """Return what it takes to have 4 kB on the disk, which each transaction waits for: the median of 50."""
    taken = []
    with (folder / "sync").open("wb") as file:
        for _ in range(50):
            start = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - start) * 1e3)
    return float(np.median(taken))


def bench(url: str, space: Space, folder: Path) -> list[dict[str, Any]]:
    """Return what was read in one storage, a row for each way and size of the study."""
    theirs = url.replace("/study.", "/theirs.")  # another file
    ways: dict[str, Any] = {"ours": Ours(url, space), "optuna's own": OptunasOwn(theirs, space)}
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        for way in ways.values():
            way.fill(size)
        found, sync = list(read(ways)), round(sync_ms(folder), 2)
        for name in ways:
            ms = np.array([taken for way, *taken in found if way == name])
            whole = ms[:, :2].sum(1)
            rows.append(
                {
                    "storage": url.partition(":")[0],
                    "way": name,
                    "trials_before": size,
                    "start_ms": round(float(np.median(ms[:, 0])), 2),
                    "finish_ms": round(float(np.median(ms[:, 1])), 2),
                    "trial_ms": round(float(np.median(whole)), 2),
                    "trial_ms_p90": round(float(np.quantile(whole, 0.9)), 2),
                    "trial_cpu_ms": round(float(np.median(ms[:, 2])), 2),
                    "sync_ms": sync,
                }
            )
            print(*rows[-1].values(), sep="\t", flush=True)
    return rows


def main() -> None:
    """Read them all and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgresql", metavar="URL", help="of an empty database; without it, there is no such row")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; else where temporary files are")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = make_space()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        urls = [f"sqlite:///{folder}/study.db", f"journal:///{folder}/study.log"]
        urls += [given.postgresql] if given.postgresql else []
        print("storage\tway\tbefore\tstart\tfinish\ttrial\tp90\tCPU\tsync, ms", flush=True)
        rows = [row for url in urls for row in bench(url, space, Path(folder))]
        settings = {"n_parameters": N_PARAMETERS, "repeats": REPEATS}
    write_json(given.out, {"settings": settings, "machine": describe(), "rows": rows})
    print(f"{given.out}" + (f", with {hide_password(given.postgresql)}" if given.postgresql else ""))


if __name__ == "__main__":
    main()
