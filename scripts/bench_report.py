"""How large is the page of a long search, and how soon is it there? Into results/report/.

A run folder of as many trials as asked for is made up: networks of the space `image`, sampled; latencies, accuracies
and curves drawn at random in the way that they come out of a search; no network is built. Then its page is written,
and opened in a headless Chromium from a file, again and again, each time in a browser context of its own: until the
last chart is drawn and a frame was painted. Needs a `chromium` on the path, and playwright (extra 'test').

    python scripts/bench_report.py read [--trials 2000] [--repeats 7]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from book import rounded, run_commands

from nas.api import Front
from nas.catalog import find_space
from nas.errors import NasError
from nas.measure import describe
from nas.objectives import Budget, Measurement, parse_objective
from nas.records import TrialRecord, mark_front, write_csv, write_json
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.front import front_numbers

OUT = Path("results/report")
BUDGET = "latency_ms<=0.5"
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Return the path of this machine's own Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def make_run(folder: Path, n: int, seed: int = 0, objectives: Sequence[str] = ("accuracy", "latency_ms")) -> Path:
    """Make up a run of `n` trials in a folder that is not there yet, and return it."""
    config = StudyConfig(
        space=find_space("image"), data="fashion_mnist", objectives=tuple(objectives), budgets=(BUDGET,), seed=seed
    )
    rng = np.random.default_rng(seed)
    records, seconds = [], 0.0
    for number in range(n):
        record, took = _trial(number, config.space.sample(rng), rng)
        seconds += took
        records.append(TrialRecord(**{**vars(record), "ended_s": seconds}))
    parsed = [parse_objective(name) for name in objectives]
    folder.mkdir(parents=True)
    config.write(folder / "config.yaml", "0.1.0")
    write_csv(folder / "trials.csv", mark_front(records, front_numbers(records, parsed)), config.columns())
    limits = {"seconds": round(seconds)}
    split = {"all": seconds, "pricing": 0.1 * seconds, "waiting": 0.85 * seconds, "proposing": 0.03 * seconds}
    search = {"began": "", "executor": "local", "workers": 1, "limits": limits, "seconds": split}
    write_json(folder / "machine.json", {**describe(), "searches": [search], "measured": []})
    return folder


def _trial(number: int, arch: Architecture, rng: np.random.Generator) -> tuple[TrialRecord, float]:
    latency = float(np.exp(rng.normal(-2.5, 1.2)))
    half = latency * float(rng.uniform(0.002, 0.03))
    macs = float(round(latency * 3e7 * rng.lognormal(0, 0.3)))
    counts = {"macs": macs, "n_params": float(round(macs / 20)), "size_bytes": float(round(macs / 5 + 3000))}
    counts["peak_bytes"] = float(round(1e4 + macs**0.7))
    prices = {name: Measurement.exact(value) for name, value in counts.items()}
    prices["latency_ms"] = Measurement(latency, latency - half, latency + half)
    budget = Budget.parse(BUDGET)
    if not budget.kept(budget.worst(prices["latency_ms"])):
        reason = f"latency_ms {latency:.4g} breaks {BUDGET}"
        return TrialRecord(number, arch, "over_budget", prices, reason=reason), 0.2
    if rng.random() < 0.03:
        return TrialRecord(number, arch, "failed", prices, reason="the loss is not finite"), 0.5
    share = 1.0 if rng.random() < 0.4 else float(rng.choice([1 / 27, 1 / 9, 1 / 3]))
    end = 0.93 - 0.12 / (1 + 30 * latency) - abs(float(rng.normal(0, 0.03)))
    epochs = np.linspace(0.5, 12 * share, max(2, round(24 * share)))
    curve = tuple((float(e), float(end - 0.4 * np.exp(-e) + rng.normal(0, 0.004))) for e in epochs)
    accuracy = curve[-1][1]
    state, reason = ("complete", "") if share == 1 else ("stopped_early", f"set aside after {epochs[-1]:.3g} epochs")
    seconds = 12 * share * (0.5 + 4 * latency)
    record = TrialRecord(
        number,
        arch,
        state,  # type: ignore[arg-type]
        prices,
        {"accuracy": accuracy, "loss": 1.2 * (1 - accuracy)},
        epochs=float(epochs[-1]),
        train_seconds=seconds,
        reason=reason,
        curve=curve,
        share=share,
    )
    return record, seconds + 0.3


def read(args: argparse.Namespace, scratch: Path) -> None:
    """Write the page of a run of many trials, and open it in Chromium."""
    from playwright.sync_api import sync_playwright

    if (path := chromium()) is None:
        raise NasError(f"there is no Chromium on the path, by any of the names {', '.join(_NAMES)}")
    run = make_run(scratch / "run", args.trials)
    began = time.perf_counter()
    page = Front.load(run).report()
    written_s = time.perf_counter() - began
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        version = browser.version
        for _ in range(args.repeats):
            with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
                tab = context.new_page()
                began = time.perf_counter()
                tab.goto(page.as_uri())
                tab.evaluate(DRAWN)
                seconds.append(time.perf_counter() - began)
        browser.close()
    found = {
        "trials": args.trials,
        "size_bytes": page.stat().st_size,
        "written_s": written_s,
        "opened_s_median": statistics.median(seconds),
        "opened_s_worst": max(seconds),
        "opened_s": seconds,
        "chromium": version,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "report.json", {"machine": describe(), "figures": rounded(found)})
    print(f"{args.trials} trials: {found['size_bytes'] / 1e6:.2f} MB, written in {written_s:.1f} s, opened in ", end="")
    print(f"{statistics.median(seconds):.2f} s (median of {len(seconds)}; worst {max(seconds):.2f} s)")
    print(f"written: {args.out / 'report.json'}")


if __name__ == "__main__":
    run_commands(__doc__, OUT, {read: {"trials": 2000, "repeats": 7}}, None)
