"""Story -> what the page's script reads: JSON by columns, short enough for thousands of trials."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas.errors import SpaceError
from nas.objectives import PRICES, parse_objective
from nas.records import TrialRecord, summary
from nas.report.importance import importances
from nas.report.labels import head, kind, label
from nas.report.story import Story
from nas.space import Tree

STATES = ("complete", "stopped_early", "over_budget", "duplicate", "failed")

_POINTS = 24
"""Of a curve at most; more cannot be seen at its size."""

_DIGITS = 5


def payload(story: Story) -> dict[str, Any]:
    """Return all that is drawn, as JSON-able values; what is not known is None.

    Cost: about 1 ms for each trial, most of it to say its blocks in words; and see `importances`.
    """
    names = figure_names(story)
    texts = Texts()
    trees = {r.number: _tree(story, r) for r in story.records}
    trials = {
        "number": [r.number for r in story.records],
        "state": [STATES.index(r.state) for r in story.records],
        "front": [int(r.on_front) for r in story.records],
        "words": [texts.at(summary(tree) if tree else "") for tree in trees.values()],
        "reason": [texts.at(r.reason) for r in story.records],
        "share": [_short(r.share) for r in story.records],
        "epochs": [_short(r.epochs) for r in story.records],
        "seconds": [_short(r.train_seconds) for r in story.records],
        "figures": {name: [_short(r.metrics.get(name)) for r in story.records] for name in names},
        "intervals": {name: [_interval(r, name) for r in story.records] for name in names if kind(name) == "ms"},
    }
    return {
        "trials": trials,
        "texts": texts.list,
        "states": list(STATES),
        "figures": [_figure(story, name) for name in names],
        "budgets": [{"name": b.objective, "limit": b.limit, "text": str(b)} for b in story.budgets],
        "knee": story.knee,
        "alike": {str(number): list(others) for number, others in story.alike.items()},
        "curve": {"label": f"validation {head(story.judged)}", "kind": kind(story.judged)},
        "curves": {str(r.number): _curve(r) for r in story.records if len(r.curve) > 1},
        "trace": _trace(story),
        "latencies": _latencies(story),
        "importances": importances(story.space, story.records, story.objectives),
        "members": {str(r.number): _member(story, r, trees[r.number]) for r in story.front},
    }


def to_script(value: object) -> str:
    """Return JSON that may stand in a script element of a page, whatever is in its texts.

    >>> to_script({"name": "</script><!--", "loss": math.nan})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003c!--","loss":null}'
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def figure_names(story: Story) -> list[str]:
    """Return the figures that trials of this run have: objectives first, then all other prices and scores."""
    known = {name for r in story.records for name in r.metrics}
    further = [name for name in sorted(known) if name not in PRICES]
    first = [o.name for o in story.objectives]
    return [name for name in dict.fromkeys([*first, *PRICES, *further]) if name in known]


class Texts:
    """Texts that many trials share, each kept once."""

    def __init__(self) -> None:
        self.list: list[str] = []
        self._known: dict[str, int] = {}

    def at(self, text: str) -> int:
        """Return where a text is in the list."""
        if text not in self._known:
            self._known[text] = len(self.list)
            self.list.append(text)
        return self._known[text]


def _figure(story: Story, name: str) -> dict[str, Any]:
    objective = parse_objective(name)
    return {
        "name": name,
        "label": label(objective),
        "head": head(name),
        "kind": kind(name),
        "up": objective.direction == "maximize",
        "cheap": objective.cheap,
        "objective": name in [o.name for o in story.objectives],
    }


def _interval(record: TrialRecord, name: str) -> list[float | None] | None:
    price = record.prices.get(name)
    return None if price is None or price.low == price.high else [_short(price.low), _short(price.high)]


def _curve(record: TrialRecord) -> list[list[float | None]]:
    points = record.curve
    if len(points) > _POINTS:
        step = (len(points) - 1) / (_POINTS - 1)
        points = tuple(points[round(i * step)] for i in range(_POINTS))
    return [[_short(epochs) for epochs, _ in points], [_short(value) for _, value in points]]


def _latencies(story: Story) -> str:
    """Say of how many samples the latencies are; of each, where they differ."""
    words = {name: "one sample" if n == 1 else f"a batch of {n}" for name, n in story.batches.items()}
    if len(set(words.values())) > 1:
        return ", ".join(f"{head(name)} of {of}" for name, of in words.items())
    return f"latencies of {next(iter(words.values()), 'one sample')}"


def _trace(story: Story) -> dict[str, Any]:
    """Return the hypervolume where it grew: after which trial, and after how many seconds where that is kept."""
    ended = {r.number: r.ended_s for r in story.records}
    timed = bool(story.trace) and all(ended[number] > 0 for number, _ in story.trace)
    points: list[list[float | None]] = []
    for at, (number, volume) in enumerate(story.trace, start=1):
        if not points or volume != points[-1][3] or at == len(story.trace):
            points.append([at, number, _short(ended[number]) if timed else None, volume])
    n_box, reference = story.box
    return {
        "points": [[*point[:3], _short(point[3])] for point in points],
        "timed": timed,
        "box": {"trials": n_box, "reference": {name: _short(value) for name, value in reference.items()}},
    }


def _member(story: Story, record: TrialRecord, tree: Mapping[str, Tree]) -> dict[str, Any]:
    built = story.networks.get("networks", {}).get(str(record.number))
    chosen = {name: tree[name] for name in ("training", "deploy") if tree.get(name)}
    return {
        "blocks": built if isinstance(built, list) else list(_blocks(tree)),
        "built": isinstance(built, list),
        "training": [
            [path, _short(record.epochs) if path == "training.epochs" else value]  # --epochs overrules the space
            for path, value in _flat(chosen, "")
        ],
    }


def _blocks(tree: Mapping[str, Tree]) -> Iterable[dict[str, Any]]:
    """Yield the blocks of a tree with what was chosen for them; nothing but building them tells more."""
    for section in ("stem", "body", "head"):
        yield from _parts(tree.get(section, []), section)


def _parts(here: Tree, path: str) -> Iterable[dict[str, Any]]:
    if isinstance(here, list):
        for i, child in enumerate(here):
            yield from _parts(child, f"{path}.{i}")
    elif isinstance(here, dict):
        for name, fields in here.items():
            yield {"path": path, "name": name, "fields": fields if isinstance(fields, dict) else {}}
    else:
        yield {"path": path, "name": str(here), "fields": {}}


def _flat(here: Tree, path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(here, dict) and here:
        for name, child in here.items():
            yield from _flat(child, f"{path}.{name}" if path else str(name))
    else:
        yield path, "" if here == {} else here


def _tree(story: Story, record: TrialRecord) -> dict[str, Tree]:
    try:
        return story.space.resolve(record.arch)
    except SpaceError:  # a table that somebody edited: its figures can be shown all the same
        return {}


def _short(value: float | None) -> float | None:
    """Return a figure with as many digits as are read."""
    if value is None or not math.isfinite(value):
        return None
    if float(value).is_integer() and abs(value) < 10**12:
        return int(value)
    return float(f"{value:.{_DIGITS}g}")


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
