"""What `bench_latency.py` makes of what it read: statistics, and every goal against its figure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from latency_load import MODES

from nas.records import read_json

Row = dict[str, Any]

SLOW_MS, FAST_MS = 4.0, 1.0
"""Nets above and below are judged apart where neighbours train."""

WITHIN = 0.10
"""A prediction within this share of the measured latency counts as right."""

LEVELS = {50: 0.67449, 95: 1.95996}
"""Intervals in percent, and how many standard deviations they reach to each side."""


def calm(values: np.ndarray) -> float:
    """Return the lower decile: what neighbours and bursts leave alone."""
    return float(np.quantile(values, 0.1))


def spread(values: Sequence[float] | np.ndarray) -> Row:
    """Return the median, and the smallest and largest."""
    return {"median": float(np.median(values)), "low": float(np.min(values)), "high": float(np.max(values))}


def kendall(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Return Kendall's tau-b of two readings of the same nets."""
    from scipy.stats import kendalltau

    return float(kendalltau(a, b).statistic)


def pair_taus(readings: np.ndarray) -> np.ndarray:
    """Return Kendall's tau of every two of (n_processes, n_nets) readings."""
    return np.array([kendall(a, b) for a, b in itertools.combinations(readings, 2)])


def deviations_percent(readings: np.ndarray) -> np.ndarray:
    """Return how far each of (n_processes, n_nets) readings is from the net's median over the processes."""
    return 100 * np.abs(readings / np.median(readings, axis=0) - 1)


def bias_percent(ratios: np.ndarray, seed: int = 0, resamples: int = 2000) -> Row:
    """Return the median of (n_repetitions, n_nets) ratios less 1, with its 95 % interval, in percent.

    The interval is a bootstrap over repetitions, which is what the nets of one repetition have in common. `worst` is
    the largest of the nets' own medians, by size.
    """
    drawn = np.random.default_rng(seed).integers(len(ratios), size=(resamples, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=(1, 2)), (0.025, 0.975))
    by_net = np.median(ratios, axis=0)
    worst = by_net[np.argmax(np.abs(by_net - 1))]
    median, low, high, worst = (100 * (x - 1) for x in (np.median(ratios), low, high, worst))
    return {"median": float(median), "low": float(low), "high": float(high), "worst": float(worst)}


def table(rows: Sequence[Row], column: str, down: str, across: str = "net") -> tuple[np.ndarray, list[Any]]:
    """Return (n_down, n_across) values of a column, and what is across; rows that are not whole are left out."""
    found: dict[Any, dict[Any, float]] = {}
    for row in rows:
        found.setdefault(row[down], {})[row[across]] = row[column]
    names = list(dict.fromkeys(row[across] for row in rows))
    whole = [values for values in found.values() if len(values) == len(names)]
    return np.array([[values[name] for name in names] for values in whole]).reshape(-1, len(names)), names


def ranking(rows: Sequence[Row], macs: Mapping[str, int]) -> Row:
    """Return, by mode and protocol, how well processes agree: `to_ours` is with the medians of ours in calm."""
    found: Row = {}
    ours_idle = None
    for mode, protocol in dict.fromkeys((row["mode"], row["protocol"]) for row in rows):
        readings, nets = table([r for r in rows if (r["mode"], r["protocol"]) == (mode, protocol)], "ms", "process")
        if len(readings) < 2:
            continue
        medians = np.median(readings, axis=0)
        ours_idle = dict(zip(nets, medians, strict=True)) if ours_idle is None else ours_idle  # the first there is
        ours = np.array([ours_idle[net] for net in nets])
        taus, deviations = pair_taus(readings), deviations_percent(readings)
        found.setdefault(mode, {})[protocol] = {
            "processes": len(readings),
            **{"tau_median": float(np.median(taus)), "tau_min": float(taus.min())},
            **{f"deviation_p{q}": float(np.quantile(deviations, q / 100)) for q in (50, 95)},
            "deviation_max": float(deviations.max()),
            **{"tau_to_ours": kendall(medians, ours), "bias_to_ours": float(100 * (np.median(medians / ours) - 1))},
        }
    if ours_idle:
        found["tau_macs"] = kendall(list(ours_idle.values()), [macs[net] for net in ours_idle])
        found["ms"] = spread(list(ours_idle.values()))
    return found


def truth(rows: Sequence[Row], calibration_ms: float) -> Row:
    """Return the protocol's figure over what the net takes alone, by net, in ms and in units of the reference net.

    A machine drifts: its ms are those of the moment, the protocol's are those of the calibration. In units of the
    reference net that ran alone just before and after, both are of the same moment. `again` is what the net takes alone
    in another process over that: how far such a figure can be trusted at all.
    """
    nets: dict[str, Row] = {}
    for net in dict.fromkeys(row["net"] for row in rows):
        mine = [row for row in rows if row["net"] == net]
        nets[net] = {
            "weights_kb": mine[0]["weights_kb"],
            "alone_ms": float(np.median([row["alone_ms"] for row in mine])),
            "again": spread([row["alone_again_ms"] / row["alone_ms"] for row in mine]),
            "ms": spread([row["ms"] / row["alone_ms"] for row in mine]),
            "reference": spread([row["ms"] / calibration_ms / (row["alone_ms"] / row["reference_ms"]) for row in mine]),
            "medians": spread(
                [row["ms"] / calibration_ms / (row["alone_median_ms"] / row["reference_median_ms"]) for row in mine]
            ),
        }
    worst: Row = {}
    for unit in ("ms", "reference", "medians"):
        off = [100 * (net[unit]["median"] - 1) for net in nets.values()]
        worst[unit] = {"worst_percent": max(off, key=abs), "median_percent": float(np.median(off))}
    drift = spread([row["reference_ms"] / calibration_ms for row in rows])
    return {"rounds": len({row["round"] for row in rows}), **worst, "reference_over_calibration": drift, "nets": nets}


def beside(rows: Sequence[Row], rates: Sequence[Row]) -> Row:
    """Return the bias of slow and fast nets by what the trainers do, against idle in the same repetition."""
    idle, nets = table([row for row in rows if row["mode"] == "idle"], "ms", "repetition")
    found: Row = {"repetitions": len(idle)}
    ms = np.median(idle, axis=0)
    found["idle_ms"] = dict(zip(nets, ms.tolist(), strict=True))
    for mode in dict.fromkeys(row["mode"] for row in rows):
        mine = [row for row in rows if row["mode"] == mode]
        # Of idle itself, how much two repetitions differ anyway.
        ratios = idle / ms if mode == "idle" else table(mine, "ms", "repetition")[0] / idle
        kinds = {"slow": ms > SLOW_MS, "fast": ms < FAST_MS}
        found[mode] = {kind: bias_percent(ratios[:, which]) for kind, which in kinds.items() if which.any()}
        found[mode]["by_cpu_time"] = sum(row["clock"] == "cpu" for row in mine) / len(mine)
    if rates:
        kept = [row["batches_per_s_measured"] / row["batches_per_s_alone"] for row in rates]
        n = [row["measurements_per_s"] for row in rates]
        found["trainers"] = {
            "batches_per_s_alone": spread([row["batches_per_s_alone"] for row in rates]),
            "batches_per_s_measured": spread([row["batches_per_s_measured"] for row in rates]),
            "measurements_per_s": spread(n),
            "lost_ms_per_measurement": spread([1e3 * (1 - k) / m for k, m in zip(kept, n, strict=True)]),
        }
    return found


PARTS = ("export_ms", "structure_ms", "latency_ms", "macs_ms", "params_ms", "peak_ms")
"""What a whole price consists of."""


def price(rows: Sequence[Row]) -> Row:
    """Return median and 90 % quantile of the whole price of some candidates, and of the parts of that of others."""
    costs = {name: np.array([row[name] for row in rows]) for name in rows[0] if name.endswith("_ms")}
    costs["parts_ms"] = np.sum([costs[part] for part in PARTS], axis=0)
    costs["parts_and_build_ms"] = costs["parts_ms"] + costs["draw_and_build_ms"]
    found: Row = {k: {"median": float(np.median(c)), "p90": float(np.quantile(c, 0.9))} for k, c in costs.items()}
    differ = sum(row["macs"] != row["fast_macs"] for row in rows)
    ratio = float(np.median(costs["macs_ms"] / costs["fast_macs_ms"]))
    return {"nets": len(rows), **found, "fast_macs_differ": differ, "fast_macs_times_faster": ratio}


def shipped(rows: Sequence[Row]) -> Row:
    """Return how far the latency of a shipped file is from the searched one, all data together and each."""
    found: Row = {}
    for data in ("all", *dict.fromkeys(row["data"] for row in rows)):
        mine = [row for row in rows if data in ("all", row["data"])]
        off = np.array([100 * (row["file_ms"] / row["ms"] - 1) for row in mine])
        size = np.abs(off)
        overlap = [row["low"] <= row["file_high"] and row["file_low"] <= row["high"] for row in mine]
        found[data] = {
            "files": len(mine),
            **{f"deviation_p{q}": float(np.quantile(size, q / 100)) for q in (50, 95)},
            **{"deviation_max": float(size.max()), "bias": float(np.median(off))},
            "intervals_overlap": float(np.mean(overlap)),
        }
    found["reasons"] = [f"{row['data']}, trial {row['trial']}: {row['differs']}" for row in rows if row["differs"]]
    return found


# ---------------------------------------------------------------- predictor


def judge_prediction(y: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Row:
    """Return how good predictions of log latencies are: (n,) true, mean, standard deviation."""
    inside = {f"coverage_{level}": float(np.mean(np.abs(y - mean) <= reach * std)) for level, reach in LEVELS.items()}
    right = np.abs(np.expm1(mean - y)) <= WITHIN
    return {"within_10": float(right.mean()), "tau": kendall(y, mean), **inside}


def plain_features(rows: Sequence[Row]) -> np.ndarray:
    """Return log MACs and log parameters of candidates: (n, 2)."""
    return np.log1p([[row["macs"], row["n_params"]] for row in rows])


def linear(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict by least squares in log MACs alone."""
    slope, level = np.polyfit(x[:, 0], y, 1)
    std = np.std(y - (slope * x[:, 0] + level), ddof=2)
    return slope * new[:, 0] + level, np.full(len(new), std)


def nearest(x: np.ndarray, y: np.ndarray, new: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Predict the mean of the `k` nearest in log MACs and log parameters, each in units of its own spread."""
    scale = x.std(axis=0)
    distance = np.linalg.norm((new[:, None] - x[None]) / scale, axis=-1)
    near = y[np.argsort(distance, axis=1)[:, :k]]
    return near.mean(axis=1), near.std(axis=1, ddof=1)


BASELINES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "linear in log MACs": linear,
    "3 nearest in MACs and parameters": nearest,
}


def predictor(rows: Sequence[Row]) -> Row:
    """Return median and range over seeds, by who predicts and how many were learned."""
    found: Row = {}
    for by, learned in dict.fromkeys((row["by"], row["learned"]) for row in rows):
        mine = [row for row in rows if (row["by"], row["learned"]) == (by, learned)]
        columns = [c for c in mine[0] if c not in ("seed", "learned", "by") and mine[0][c] != ""]
        found.setdefault(by, {})[str(learned)] = {c: spread([row[c] for row in mine]) for c in columns}
    return found


# ---------------------------------------------------------------- the report


@dataclass(frozen=True)
class Goal:
    """A figure that has to keep a limit.

    Attributes:
        place: keys to the figure in NAME.json's figures, NAME first.
        sense: ">=", or "<=" for the size of the figure.
        also: keys, beside the figure, of others that are told with it.
    """

    says: str
    place: tuple[str, ...]
    sense: str
    limit: float
    unit: str = ""
    also: tuple[str, ...] = ()

    def line(self, files: Mapping[str, Row]) -> str:
        """Return one row of the report."""
        *above, last = self.place
        beside: Any = files
        for key in above:
            beside = beside.get(key, {}) if isinstance(beside, Mapping) else {}
        value = beside.get(last)
        wanted = f"{self.sense} {self.limit:g}{self.unit}"
        if value is None:
            return f"| {self.says} | {wanted} | not measured | |"
        kept = value >= self.limit if self.sense == ">=" else abs(value) <= self.limit
        told = ", ".join(f"{key} {beside[key]:.4g}" for key in self.also if key in beside)
        figure = f"{value:.4g}{self.unit} ({told})" if told else f"{value:.4g}{self.unit}"
        return f"| {self.says} | {wanted} | {figure} | {'yes' if kept else 'NO'} |"


def _agree(mode: str, words: str) -> list[Goal]:
    place, dev = ("ranking", mode, "ours"), ("deviation_p50", "deviation_max", "processes")
    return [
        Goal(
            f"ranking {words}: Kendall tau, least of two processes",
            (*place, "tau_min"),
            ">=",
            0.99,
            "",
            ("tau_median",),
        ),
        Goal(f"ranking {words}: deviation p95", (*place, "deviation_p95"), "<=", 2, " %", dev),
    ]


def _bias(mode: str, words: str) -> list[Goal]:
    return [
        Goal(
            f"{words}: bias of {kind} nets, median",
            ("beside", mode, kind, "median"),
            "<=",
            3,
            " %",
            ("low", "high", "worst"),
        )
        for kind in ("slow", "fast")
    ]


GOALS = (
    *_agree("idle", "idle"),
    *_agree("pausing", "with both cores busy"),
    *_agree("deaf", "with trainers that do not pause"),
    Goal(
        "truth, units of the reference: worst net",
        ("truth", "reference", "worst_percent"),
        "<=",
        3,
        " %",
        ("median_percent",),
    ),
    Goal(
        "truth, ms of the calibration: worst net", ("truth", "ms", "worst_percent"), "<=", 3, " %", ("median_percent",)
    ),
    *_bias("pausing", "two trainers that pause"),
    *_bias("deaf", "two that do not, CPU time"),
    *_bias("unseen", "two unseen, wall clock"),
    Goal("whole price, median", ("price", "whole_ms", "median"), "<=", 80, " ms", ("p90",)),
    Goal(
        "shipped file against search, p95",
        ("shipped", "all", "deviation_p95"),
        "<=",
        3,
        " %",
        ("deviation_p50", "deviation_max", "intervals_overlap", "files"),
    ),
    Goal(
        "predictor, 100 learned: within 10 %",
        ("predictor", "ours", "100", "within_10", "median"),
        ">=",
        0.9,
        "",
        ("low", "high"),
    ),
    Goal(
        "predictor, 100 learned: Kendall tau",
        ("predictor", "ours", "100", "tau", "median"),
        ">=",
        0.95,
        "",
        ("low", "high"),
    ),
    Goal(
        "predictor, 100 learned: coverage of 95 % intervals",
        ("predictor", "ours", "100", "coverage_95", "median"),
        ">=",
        0.9,
        "",
        ("low", "high"),
    ),
    Goal(
        "300 candidates screened",
        ("predictor", "ours", "100", "screen_300_ms", "median"),
        "<=",
        100,
        " ms",
        ("low", "high"),
    ),
)
"""Those of issue 5, and beside them what has no goal of its own but the same limit."""


def report(folder: Path) -> list[str]:
    """Return the table of goals, and what else the files in `folder` tell, as lines of Markdown."""
    files = {path.stem: read_json(path).get("figures", {}) for path in sorted(folder.glob("*.json"))}
    lines = ["| what | goal | figure | kept |", "|---|---|---|---|", *(goal.line(files) for goal in GOALS), ""]
    for mode in MODES:
        for protocol, found in files.get("ranking", {}).get(mode, {}).items():
            lines += _told(f"ranking, {mode}, {protocol}", found)
    for net, found in files.get("truth", {}).get("nets", {}).items():
        size, ms = found["weights_kb"], found["alone_ms"]
        told = {unit: found[unit] for unit in ("again", "ms", "reference", "medians")}
        lines += _told(f"truth, {net} ({size} kB, {ms:.3g} ms)", told)
    lines += _told("trainers that pause", files.get("beside", {}).get("trainers", {}))
    lines += _told("price", files.get("price", {}))
    files_shipped = dict(files.get("shipped", {}))
    reasons = files_shipped.pop("reasons", [])
    for data, found in files_shipped.items():
        lines += _told(f"shipped, {data}", found)
    lines += [f"- shipped, {reason}" for reason in reasons]
    for by, counts in files.get("predictor", {}).items():
        for learned, found in counts.items():
            lines += _told(f"predictor, {by}, {learned} learned", found)
    return lines


def _told(name: str, found: Row) -> list[str]:
    """Return one line of figures, each with what it ranges over or its 90 % quantile; none where there are none."""
    words = []
    for key, value in found.items():
        if isinstance(value, Mapping):
            others = [f"{value[k]:.3g}" for k in ("low", "high", "p90") if k in value]
            words.append(f"{key} {value['median']:.4g} ({' to '.join(others)})")
        else:
            words.append(f"{key} {value:.4g}")
    return [f"- {name}: {', '.join(words)}"] if words else []
