"""What `bench_training.py` makes of what it read: statistics, and every goal against its figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from latency_figures import Goal, kendall, spread

from nas.pareto import hypervolume
from nas.records import read_json

Row = dict[str, Any]

OURS = "ours"
USUAL, USUAL_LOADED, USUAL_ALONE = "usual", "usual, two loader workers", "usual, one thread"
ABLATIONS = ("bfloat16", "allocator", "channels_last", "fused", "resident data")

LEVELS = (0.5, 0.75, 0.9, 1.0)
"""Shares of the hypervolume at the end of a search without rungs; who reaches them when?"""

FOLDS = 2000
"""Resamples of a bootstrap."""


# ---------------------------------------------------------------- hypervolume within a box


@dataclass(frozen=True)
class Box:
    """What a front is judged within: its best corner counts 1, its worst 0. Latency is on a log scale."""

    error: tuple[float, float]
    ms: tuple[float, float]

    def hypervolume(self, errors: Sequence[float], ms: Sequence[float]) -> float:
        """Return the share of the box that is dominated; in [0, 1]. What is better than the best edge is on it.

        >>> Box((0.05, 0.20), (0.02, 2.0)).hypervolume([0.125, 0.3], [0.2, 0.01])
        0.25
        """
        return round(hypervolume(self.points(errors, ms), np.ones(2)), 6)

    def points(self, errors: Sequence[float], ms: Sequence[float]) -> np.ndarray:
        """Return (n, 2): where networks are between the best edges, 0, and the worst, 1."""
        (best_error, worst_error), (best_ms, worst_ms) = self.error, self.ms
        loss = (np.asarray(errors, float) - best_error) / (worst_error - best_error)
        log = np.log(np.asarray(ms, float) / best_ms) / np.log(worst_ms / best_ms)
        return np.maximum(np.stack([loss, log], axis=1), 0.0) if len(loss) else np.empty((0, 2))


BOXES = {
    "fashion_mnist": Box((0.05, 0.20), (0.02, 2.0)),
    "digits": Box((0.0, 0.2), (0.003, 0.1)),
    "spoken_digits": Box((0.0, 0.3), (0.01, 1.0)),
}
"""By data set. That of Fashion-MNIST is the one that searches by others were judged within."""


# ---------------------------------------------------------------- throughput


def throughput(rows: Sequence[Row]) -> Row:
    """Return samples per core-second of each network, how often ours is of the others', and the least of each group.

    Ratios are of one repetition, whose variants were read one after the other; then the median and the range.
    """
    nets: Row = {}
    groups: Row = {}
    for net, group in dict.fromkeys((row["net"], row["group"]) for row in rows):
        rates: dict[str, dict[int, float]] = {}
        for row in rows:
            if row["net"] == net:
                rates.setdefault(row["variant"], {})[row["repeat"]] = row["samples"] / row["core_seconds"]
        found: Row = {f"{variant}, samples per s": spread([*mine.values()]) for variant, mine in rates.items()}
        for variant, mine in rates.items():
            both = sorted(mine.keys() & rates.get(OURS, {}).keys())
            if variant != OURS and both:
                found[f"times {variant}"] = spread([rates[OURS][i] / mine[i] for i in both])
        nets[net] = found
        if (ratio := found.get(f"times {USUAL}")) is not None:
            least = groups.setdefault(group, {**ratio, "net": net})
            if ratio["median"] < least["median"]:
                groups[group] = {**ratio, "net": net}
    return {"groups": groups, "nets": nets}


# ---------------------------------------------------------------- rungs


def rungs(rows: Sequence[Row], n: int) -> Row:
    """Return how well each rung ranks the first `n` networks, by Kendall's tau with the accuracy of a full training.

    Also of the raw weights; of the better half alone, which is what is left to be ranked later; and what share of the
    best third at the end is in the best third at the rung: those are promoted.
    """
    trained = sorted({row["candidate"] for row in rows if row["state"] == "trained"})[:n]
    at = {(row["candidate"], row["rung"]): row for row in rows if row["state"] == "trained"}
    n_rungs = 1 + max((rung for _, rung in at), default=-1)
    final = np.array([at[c, n_rungs - 1]["accuracy"] for c in trained])
    made: Row = {"networks": len(trained), "states": _counted(rows), "rungs": {}}
    for rung in range(n_rungs - 1):
        here = np.array([at[c, rung]["accuracy"] for c in trained])
        raw = np.array([at[c, rung]["raw_accuracy"] for c in trained])
        better = final >= np.median(final)
        low, high = bootstrap(lambda i, here=here: kendall(here[i], final[i]), len(trained))  # type: ignore[misc]
        third = max(1, len(trained) // 3)
        best = set(np.argsort(-final, kind="stable")[:third])
        promoted = set(np.argsort(-here, kind="stable")[:third])
        made["rungs"][str(rung)] = {
            "share": at[trained[0], rung]["share"],
            "tau": kendall(here, final),
            "tau_low": low,
            "tau_high": high,
            "tau_raw": kendall(raw, final),
            "tau_better_half": kendall(here[better], final[better]),
            "best_third_kept": len(best & promoted) / third,
        }
    if n_rungs > 1:
        made |= {"lowest": made["rungs"]["0"], "before_last": made["rungs"][str(n_rungs - 2)]}
    return made


def _counted(rows: Sequence[Row]) -> dict[str, int]:
    states = {row["candidate"]: row["state"] for row in rows}
    return {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}


def bootstrap(statistic: Callable[[np.ndarray], float], n: int, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a statistic of indices of `n` things, by drawing them anew."""
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(n, size=n)) for _ in range(FOLDS)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


# ---------------------------------------------------------------- recipe


def recipe(rows: Sequence[Row]) -> Row:
    """Return test accuracies in percent by network, and how far ours is above the better peer, in points."""
    nets: Row = {}
    for net in dict.fromkeys(row["net"] for row in rows):
        by: dict[str, list[float]] = {}
        for row in rows:
            if row["net"] == net:
                by.setdefault(row["by"], []).append(100 * row["test_accuracy"])
        found: Row = {name: spread(mine) | {"mean": float(np.mean(mine))} for name, mine in by.items()}
        peers = [float(np.mean(mine)) for name, mine in by.items() if name != OURS]
        if peers and OURS in by:
            found["above_better_peer"] = float(np.mean(by[OURS])) - max(peers)
        nets[net] = found
    above = [found["above_better_peer"] for found in nets.values() if "above_better_peer" in found]
    return {"nets": nets, **({"worst_above_better_peer": min(above)} if above else {})}


def tuned(rows: Sequence[Row]) -> Row:
    """Return the mean validation accuracy of each learning rate over the networks, in percent, by recipe."""
    found: Row = {}
    for by, lr in dict.fromkeys((row["by"], row["lr"]) for row in rows):
        mine = [100 * row["accuracy"] for row in rows if (row["by"], row["lr"]) == (by, lr)]
        found.setdefault(by, {})[f"{lr:g}"] = float(np.mean(mine))
    return found


# ---------------------------------------------------------------- searches


def parallel(rows: Sequence[Row]) -> Row:
    """Return by data set how many times the trainings, and the seconds of training, two workers do in the same time."""
    found: Row = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        at = {(row["workers"], row["repeat"]): row for row in rows if row["data"] == data}
        pairs = [(at[1, repeat], two) for (workers, repeat), two in at.items() if workers == 2 and (1, repeat) in at]
        pairs = [(one, two) for one, two in pairs if one["trials"]]  # none: the time was too short to say anything
        if pairs:
            found[data] = {
                "trials_per_minute_1": spread([60 * one["trials"] / one["seconds"] for one, _ in pairs]),
                "trials_per_minute_2": spread([60 * two["trials"] / two["seconds"] for _, two in pairs]),
                "times_the_trials": spread([_per_s(two, "trials") / _per_s(one, "trials") for one, two in pairs]),
                "times_the_work": spread(
                    [_per_s(two, "train_seconds") / _per_s(one, "train_seconds") for one, two in pairs]
                ),
            }
    return found


def _per_s(row: Row, what: str) -> float:
    return float(row[what]) / float(row["seconds"])


QUARTER = "auto, a quarter of the time"
"""What searches with rungs are called that are given a quarter of the time."""


def multifidelity(rows: Sequence[Row]) -> Row:
    """Return by data set what share of the time rungs take to reach what a search without them had at its end.

    And at shares of that hypervolume (`LEVELS`). Where it is not reached within the search's time, that time counts,
    and the ratio is too small; `reached` says in which share of the seeds it was reached. `quarter_over_none`: the
    hypervolume at the end of a search with rungs that was given a quarter of the time, over that of the one in full; a
    search plans its time, so what it has after a quarter of a longer one is not what it has when that is all there is.
    """
    found: Row = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        traces: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for row in rows:
            if row["data"] == data:
                trace = traces.setdefault((row["rungs"], row["seed"]), [])
                trace.append((row["seconds"], row["hypervolume"]))
        worth = [seed for name, seed in traces if name == "none" and traces[name, seed][-1][1] > 0]
        seeds = sorted(seed for seed in worth if ("auto", seed) in traces)
        pairs = [(traces["none", seed], traces["auto", seed]) for seed in seeds]
        if not pairs:
            continue
        made: Row = {
            "seeds": len(pairs),
            "hypervolume_none": spread([none[-1][1] for none, _ in pairs]),
            "hypervolume_auto": spread([auto[-1][1] for _, auto in pairs]),
        }
        for level in LEVELS:
            ratios, reached = [], []
            for none, auto in pairs:
                wanted = level * none[-1][1]
                when = seconds_to(auto, wanted)
                reached.append(when is not None)
                ratios.append((auto[-1][0] if when is None else when) / (seconds_to(none, wanted) or none[-1][0]))
            made[f"time_ratio_{level:g}"] = {**spread(ratios), "reached": float(np.mean(reached))}
        ratios = [
            traces[QUARTER, seed][-1][1] / traces["none", seed][-1][1] for seed in worth if (QUARTER, seed) in traces
        ]
        if ratios:
            as_good = float(np.mean([ratio >= 1 for ratio in ratios]))
            made["quarter_over_none"] = {**spread(ratios), "as_good": as_good, "seeds": len(ratios)}
        found[data] = made
    return found


def seconds_to(trace: Sequence[tuple[float, float]], hypervolume: float) -> float | None:
    """Return when a trace of (seconds, hypervolume) first has so much; None: never.

    >>> seconds_to([(1.0, 0.1), (4.0, 0.3), (9.0, 0.5)], 0.2)
    4.0
    """
    return next((seconds for seconds, found in trace if found >= hypervolume - 1e-9), None)


# ---------------------------------------------------------------- the report


def _faster(group: str, words: str, times: float) -> Goal:
    place = ("throughput", "groups", group, "median")
    return Goal(f"{words}: times the usual loop per core-second, least", place, ">=", times, "", ("low", "high"))


def _sooner(data: str) -> Goal:
    place = ("multifidelity", data, "time_ratio_1", "median")
    return Goal(f"rungs, {data}: share of the time", place, "<=", 0.25, "", ("low", "high", "reached"))


def _in_a_quarter(data: str) -> Goal:
    place = ("multifidelity", data, "quarter_over_none", "median")
    return Goal(f"rungs in a quarter of the time, {data}: hypervolume over full", place, ">=", 1.0, "", ("low", "high"))


GOALS = (
    _faster("conv", "small conv nets", 4),
    _faster("mbconv", "MBConv", 4),
    _faster("mlp", "MLPs", 15),
    _faster("recurrent", "LSTM and GRU", 2),
    _faster("transformer", "Transformer", 2),
    Goal("lowest rung: Kendall tau", ("rungs", "lowest", "tau"), ">=", 0.6, "", ("tau_low", "tau_high", "tau_raw")),
    Goal(
        "rung before the last: Kendall tau",
        ("rungs", "before_last", "tau"),
        *(">=", 0.8, ""),
        ("tau_low", "tau_high", "tau_raw"),
    ),
    Goal("recipe: above the better hand-tuned script", ("recipe", "worst_above_better_peer"), ">=", -0.2, " points"),
    Goal(
        "two workers: times the trainings, digits",
        ("parallel", "digits", "times_the_trials", "median"),
        *(">=", 1.8, ""),
        ("low", "high"),
    ),
    Goal(
        "two workers: times the trainings, Fashion-MNIST",
        ("parallel", "fashion_mnist", "times_the_trials", "median"),
        *(">=", 1.8, ""),
        ("low", "high"),
    ),
    *(_sooner(data) for data in BOXES),
    *(_in_a_quarter(data) for data in BOXES),
)
"""What training many networks has to keep."""


def report(folder: Path) -> list[str]:
    """Return the table of goals, and what else the files in `folder` tell, as lines of Markdown."""
    files = {path.stem: read_json(path).get("figures", {}) for path in sorted(folder.glob("*.json"))}
    lines = ["| what | goal | figure | kept |", "|---|---|---|---|", *(goal.line(files) for goal in GOALS), ""]
    parts = (("throughput", "nets"), ("rungs", "rungs"), ("recipe", "nets"), ("parallel",), ("multifidelity",))
    for name, *keys in parts:
        found = files.get(name, {})
        for key in keys:
            found = found.get(key, {})
        for of, told in found.items():
            lines.append(f"- {name}, {of}: {', '.join(_told(key, value) for key, value in told.items())}")
    return lines


def _told(key: str, value: Any) -> str:
    """Return a figure with what it ranges over."""
    if isinstance(value, Mapping):
        return f"{key} {value['median']:.4g} ({value['low']:.3g} to {value['high']:.3g})"
    return f"{key} {value:.4g}"
