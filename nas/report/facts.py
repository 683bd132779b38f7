"""The parts of a page that are tables: where time went, what mattered, what was shipped, how to get it all again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas.durations import readable
from nas.objectives import OBJECTIVES
from nas.report.elements import Markup, bar, element, listing, section, table
from nas.report.headline import searched_seconds, trained_seconds
from nas.report.labels import figure, head, kind
from nas.report.story import Story

_STATES = {
    "complete": "trained to the end",
    "stopped_early": "stopped early",
    "failed": "failed",
    "over_budget": "over budget, never trained",
    "duplicate": "equal to another, not trained again",
}

_DRIVER = {
    "waiting": ("waiting for trainings", "training (in the search's own process)"),
    "pricing": ("building and pricing candidates", "building and pricing candidates"),
    "proposing": ("choosing what to try next", "choosing what to try next"),
}

_FILE_MS = r"file_ms(@.*(?<!_low)(?<!_high))?"
"""Columns of exports.csv with a latency, not the ends of its interval."""

_NOTHING = 0.005
"""Seconds that are not worth a word."""


def time_spent(story: Story) -> Markup:
    """Return where the time went: training, by what became of it, and the search's own process."""
    total = trained_seconds(story.records)
    rows = []
    for state, words in _STATES.items():
        these = [r for r in story.records if r.state == state]
        if these:
            seconds = trained_seconds(these)
            share = seconds / total if total else 0.0
            spent = readable(seconds) if seconds else "–"
            rows.append([words, len(these), spent, f"{share:.0%}", bar(share, state)])
    parts: list[object] = [
        table(
            "Training, by what became of it",
            ["trials that were", "trials", "time", "share", ""],
            rows,
            (1, 2, 3),
            "rows",
        )
    ]
    searches = [s for s in story.machine.get("searches", []) if s.get("seconds", {}).get("all")]
    if searches:
        parts.append(_driver(searches, total))
    else:
        parts.append(
            element("p", "The version that made this run did not keep what else the time went into.", class_="quiet")
        )
    return section("time", "Where the time went", element("div", *parts, class_="pair"))


def _driver(searches: Sequence[Mapping[str, Any]], trained: float) -> Markup:
    spent = {name: sum(float(s["seconds"].get(name, 0.0)) for s in searches) for name in ("all", *_DRIVER)}
    alone = all(s.get("workers", 1) == 1 for s in searches)
    rest = spent["all"] - sum(spent[name] for name in _DRIVER)
    parts = [(name, words[alone], spent[name]) for name, words in _DRIVER.items()]
    parts.append(("rest", "loading, calibrating, writing", max(rest, 0.0)))
    rows = [
        [words, readable(s) if s > _NOTHING else "–", f"{s / spent['all']:.0%}", bar(s / spent["all"], name)]
        for name, words, s in parts
    ]
    capacity = sum(float(s["seconds"].get("all", 0.0)) * s.get("workers", 1) for s in searches)
    said = f"The search's own process, {readable(spent['all'])}"
    found = table(said, ["went into", "time", "share", ""], rows, (1, 2), "rows")
    if alone:
        return found
    workers = ", ".join(sorted({str(s.get("workers", 1)) for s in searches}))
    note = f"Workers ({workers} at a time) trained {trained / capacity:.0%} of the time that they were there."
    return Markup(found + element("p", note, class_="quiet"))


def what_mattered(importances: Sequence[Mapping[str, Any]]) -> Markup:
    """Return how much each parameter told the best trials from the rest, an objective each."""
    parts = []
    for one in importances:
        name = head(one["name"])
        if one["why"]:
            parts.append(element("div", element("h3", name), element("p", f"Not told: {one['why']}.", class_="quiet")))
            continue
        largest = max(share for _, share, _ in one["shares"])
        rows = [[element("code", path), f"{share:.1%}", n, bar(share / largest)] for path, share, n in one["shares"]]
        chosen = f", evenly chosen of {one['of']}" if one["n"] < one["of"] else ""
        caption = f"{name}: what told the best {one['best']} of {one['n']} trials{chosen} from all of them"
        parts.append(table(caption, ["parameter", "share", "trials", ""], rows, (1, 2), "rows"))
    note = (
        "Conditional PED-ANOVA (Optuna): how differently a parameter is distributed among the best trials, weighted by "
        "how often it exists there; beside it, how many trials have it at all. It describes the trials of this search, "
        "which went where it was promising, not causes. Prices do not depend on how a network is trained."
    )
    parts_ = element("div", *parts, class_="pair")
    return section("importances", "What mattered", parts_, element("p", note, class_="quiet"))


def shipped(story: Story) -> Markup:
    """Return what became of networks after the search: files, and accuracies on the test set; "" where nothing did."""
    parts = []
    if story.exports:
        rows = [_export(row) for row in story.exports]
        judged = next((row["metric"] for row in story.exports if row.get("metric")), "accuracy")  # of version 0.1.0
        names = [
            "trial",
            "format",
            "weights",
            "precision",
            f"{judged} torch → file",
            "latency searched → file (ms)",
            "size",
            "verdict",
        ]
        parts.append(table("Exported files, each compared with torch and measured again", names, rows, (0, 4, 5, 6)))
    if story.retrained:
        metric = str(story.retrained[0].get("metric", "accuracy"))
        rows = [_retraining(one, metric) for one in story.retrained]
        names = [
            "trial",
            f"test {metric}, mean",
            "95 % interval over seeds",
            "seeds",
            "epochs",
            "in the search (validation)",
        ]
        parts.append(table("Retrained on all data, judged once on the test set", names, rows, (0, 1, 2, 3, 4, 5)))
    return section("shipped", "From the search to the file", *parts) if parts else Markup("")


def _export(row: Mapping[str, str]) -> list[object]:
    latency = "; ".join(_latency(row, name) for name in row if re.fullmatch(_FILE_MS, name) and row[name])
    verdict = "; ".join(filter(None, (row.get("verdict", ""), row.get("differs", ""))))
    torch, file = (row.get(f"score_{of}") or row.get(f"accuracy_{of}") for of in ("torch", "file"))  # the latter: 0.1.0
    score = " → ".join(_score(row.get("metric", ""), value) for value in (torch, file))
    size = row.get("size_bytes", "")
    size = figure("size_bytes", float(size)) if size.isdecimal() else size
    form = row.get("format") or "onnx"  # of version 0.1.0, which knew no other
    form += f", batch {row['batch']}" if row.get("batch", "any") not in ("any", "") else ""
    what = [row.get("trial", ""), form, row.get("weights", ""), row.get("precision", "")]
    return [*what, score, latency, size, verdict]


def _latency(row: Mapping[str, str], name: str) -> str:
    """Return a latency of an exported file beside the searched one; its target, where it is not the run's first.

    A file of another format than the search measured has no searched latency of its target.
    """
    target = name.partition("@")[2]
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    interval = f" [{_number(low)}, {_number(high)}]" if low and high else ""
    searched = row.get(name.replace("file_ms", "searched_ms", 1))
    before = f"{_number(searched)} → " if searched else ""
    return f"{before}{_number(row.get(name))}{interval}" + (f" on {target}" if target else "")


def _retraining(one: Mapping[str, Any], metric: str) -> list[object]:
    low, high = one.get(f"test_{metric}_low"), one.get(f"test_{metric}_high")
    interval = "one seed" if low is None or high is None else f"{_score(metric, low)} to {_score(metric, high)}"
    searched = _score(metric, one.get(f"searched_validation_{metric}"))
    trained = one.get("seeds", one.get("test_accuracies"))  # the latter of version 0.1.0
    seeds = len(trained) if isinstance(trained, list) else "–"
    return [
        one.get("trial", ""),
        _score(metric, one.get(f"test_{metric}_mean")),
        interval,
        seeds,
        one.get("epochs", ""),
        searched,
    ]


def again(story: Story) -> Markup:
    """Return how the run was made, on what, and how steady the machine was meanwhile."""
    parts: list[object] = [
        element("p", "The search as it was given:"),
        _shell(story.commands),
    ]
    if any("space.yaml" in command for command in story.commands):
        parts.append(element("p", "space.yaml is the space below, saved under that name.", class_="quiet"))
    kept = story.machine
    if "searches" not in kept:
        said = "How long it was to search (--trials, --time-limit) was not kept by the version that made this run."
        parts.append(element("p", said, class_="quiet"))
    if story.next:
        parts += [element("p", "And from here:"), _shell(story.next)]
    names = {"date": "date", "cpu": "processor", "cores": "cores", "ram_gb": "memory (GB)", "os": "system"}
    versions = [f"{name} {kept[name]}" for name in ("python", "torch", "onnxruntime", "numpy") if kept.get(name)]
    pairs = [(words, kept[name]) for name, words in names.items() if kept.get(name)]
    pairs.append(("versions", ", ".join(filter(None, (f"pareto-nas {story.version}".strip(), *versions)))))
    seconds = searched_seconds(story)
    pairs += [("searched for", readable(seconds))] if seconds else []
    parts.append(listing(pairs))
    if rows := _calibrations(kept):
        names_ = ["target", "reference net", "at the calibration (ms)"]
        parts.append(table("Calibrations: what a latency is a ratio to", names_, rows, (2,)))
    if rows := _drifts(kept):
        names_ = ["search", "target", "measurements", "disturbed", "drift of the reference", "nine tenths within"]
        parts.append(table("How steady the machine was", names_, rows, (0, 2, 3, 4, 5)))
    space = element("pre", element("code", story.space.to_yaml()), tabindex="0")
    parts.append(element("details", element("summary", "The space, as YAML"), space))
    return section("again", "How to get it again", *parts)


def _shell(commands: Sequence[str]) -> Markup:
    """Return commands to be copied; on a narrow screen lines end between words, not behind the hyphen of an option."""
    lines = [Markup(" ".join(element("span", word, class_="word") for word in c.split(" "))) for c in commands]
    return element("pre", element("code", Markup("\n".join(lines))), tabindex="0")


def _calibrations(machine: Mapping[str, Any]) -> list[list[object]]:
    kept = machine.get("calibrations")
    if not isinstance(kept, Mapping):
        kept = {"": machine["calibration"]} if isinstance(machine.get("calibration"), Mapping) else {}
    return [
        [target or c.get("runtime", ""), c.get("reference", ""), _number(c.get("reference_ms"))]
        for target, c in kept.items()
        if isinstance(c, Mapping)
    ]


def _drifts(machine: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for i, search in enumerate(machine.get("measured", []), start=1):
        for target, found in search.items():
            drift, low, high = (found.get(f"reference_drift{end}") for end in ("", "_low", "_high"))
            within = "" if low is None or high is None else f"{low:+.1%} to {high:+.1%}"
            said = "" if drift is None else f"{drift:+.1%}"
            rows.append([i, target, found.get("measurements", ""), found.get("disturbed", ""), said, within])
    return rows


def _score(metric: str, value: object) -> str:
    """Return what a file says of how good a network is: digits behind the point say little of a value in units."""
    return _number(value, ".4g" if metric in OBJECTIVES and kind(metric) == "value" else ".4f")


def _number(value: object, form: str = ".4g") -> str:
    """Return a figure of a file, which may be anything."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "–"
    return format(number, form) if math.isfinite(number) else "–"
