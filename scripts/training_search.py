"""Run `nas search` as a user does, and watch what it finds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from book import read_rows
from training_figures import BOXES, Box
from training_nets import SPOKEN, data_root

_EVERY = 0.2
"""Seconds between two looks at the trials."""

_GRACE = 180.0
"""Seconds that a search may take beyond its time before it is ended."""


NAS = (sys.executable, "-m", "nas")
"""The command `nas`, in `environment`. The console script may be another installation's; this is the code beside us."""


def environment() -> dict[str, str]:
    """Return the environment in which the code beside us is found first."""
    here = str(Path(__file__).parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}


@dataclass(frozen=True)
class Asked:
    """A search on a data set of `BOXES`; `options` are further ones of `nas search`."""

    data: str
    seed: int
    seconds: float
    options: tuple[str, ...] = ()

    def command(self, out: Path, scratch: Path) -> list[str]:
        """Return the command line."""
        space, data = data_of(self.data, scratch)
        call = ["search", space, "--data", data, "--quiet", "--out", str(out), "--seed", str(self.seed)]
        return [*NAS, *call, "--time-limit", f"{self.seconds:g}s", *self.options]


def data_of(name: str, scratch: Path, n_train: int = 12_500, n_test: int = 500) -> tuple[str, str]:
    """Return the space and the --data of a data set; of Fashion-MNIST, unless whole, the first images, written once.

    Of `n_train` images a search keeps a fifth to judge by.
    """
    if name == "fashion_mnist_whole":
        return "image", "fashion_mnist"
    if name == "digits":
        return "digits", "digits"
    if name == "spoken_digits":
        return "sequence", str(data_root() / SPOKEN)
    path = scratch / "fashion_mnist.npz"
    if not path.exists():
        from nas.data import DATASETS, Reading

        found = DATASETS["fashion_mnist"](Reading(data_root=data_root()))
        x, y, x_test, y_test = found.x_train[:n_train], found.y_train[:n_train], found.x_test, found.y_test
        assert x_test is not None
        assert y_test is not None
        np.savez(path, x_train=x, y_train=y, x_test=x_test[:n_test], y_test=y_test[:n_test])
    return "image", str(path)


def watch(asked: Asked, out: Path, scratch: Path) -> Iterator[tuple[float, list[dict[str, Any]]]]:
    """Run a search to its end, and yield its trials whenever they have changed, with the wall seconds so far.

    The last that is yielded is how the search ended. Of the seconds some are its start: libraries, data, calibration.

    Raises:
        SystemExit: it failed, with what it said.
    """
    call, log = asked.command(out, scratch), scratch / f"{out.name}.log"
    trials, seen, begun = out / "trials.csv", None, time.monotonic()
    with log.open("w") as said, subprocess.Popen(call, stdout=said, stderr=said, env=environment()) as process:
        try:
            while process.poll() is None:
                time.sleep(_EVERY)
                spent = time.monotonic() - begun
                if spent > asked.seconds + _GRACE:
                    raise SystemExit(f"{asked}: {_GRACE:g} s beyond its time and still there")
                if trials.exists() and (stamp := trials.stat().st_mtime_ns) != seen:
                    seen = stamp
                    yield spent, read_rows(trials)
        finally:
            process.kill()
    if process.returncode not in (0, 1) or not trials.exists():  # 1: there is no front
        raise SystemExit(f"{' '.join(call[3:])}\n  ended with {process.returncode}: {log.read_text().strip()[-500:]}")
    yield time.monotonic() - begun, read_rows(trials)


def front_hypervolume(trials: Sequence[dict[str, Any]], box: Box) -> float:
    """Return the hypervolume of the trials that were trained to their end."""
    done = [row for row in trials if row["state"] == "complete"]
    return box.hypervolume([1 - row["accuracy"] for row in done], [row["latency_ms"] for row in done])


def trace(asked: Asked, out: Path, scratch: Path) -> list[tuple[float, float]]:
    """Run a search; return (wall seconds, hypervolume) each time that it grew, and at the end."""
    found: list[tuple[float, float]] = []
    for seconds, trials in watch(asked, out, scratch):
        now = front_hypervolume(trials, BOXES[asked.data])
        last = (seconds, now)
        if not found or now > found[-1][1]:
            found.append(last)
    return found if found[-1] == last else [*found, last]


def work_done(trials: Sequence[dict[str, Any]]) -> tuple[int, float]:
    """Return how many trials were trained, to whatever rung, and the wall seconds of training in all."""
    seconds = [row["train_seconds"] for row in trials if row["train_seconds"] != ""]
    return len(seconds), float(sum(seconds))


def available(names: Sequence[str]) -> list[str]:
    """Return the data sets that are there, and say which are not."""
    there = {"digits": True, "spoken_digits": (data_root() / SPOKEN).is_file()}
    there["fashion_mnist"] = (data_root() / "FashionMNIST").is_dir()
    for name in names:
        if not there[name]:
            print(f"left out: {name}, not in {data_root()}; NAS_TEST_DATA names another folder")
    return [name for name in names if there[name]]
