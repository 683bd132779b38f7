"""The first lines of a page: what was searched, on what, how long, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.counts import power_of_ten
from nas.durations import readable
from nas.objectives import Objective
from nas.records import TrialRecord, summary
from nas.report.elements import Markup, element
from nas.report.labels import figure, head, kind
from nas.report.story import Story

_MOST_CLASSES = 12


def headline(story: Story) -> Markup:
    """Return the header of the page."""
    return element(
        "header",
        element("p", f"pareto-nas {story.version} · {story.run}", class_="kicker"),
        element("h1", f"{story.space.name} on {story.data}"),
        element("p", _searched(story), class_="lead"),
        element("p", _data(story.networks.get("data", {})), class_="quiet"),
        _tiles(story),
    )


def searched_seconds(story: Story) -> float:
    """Return how long the searches of the run took; of a run that kept no times, how long its trainings did."""
    spans = [_seconds(search).get("all", 0.0) for search in story.machine.get("searches", [])]
    return sum(spans) or max((r.ended_s for r in story.records), default=0.0) or trained_seconds(story.records)


def trained_seconds(records: Sequence[TrialRecord]) -> float:
    """Return the seconds of training of these trials."""
    return sum(r.train_seconds for r in records)


def _seconds(search: Mapping[str, Any]) -> Mapping[str, float]:
    found = search.get("seconds", {})
    return found if isinstance(found, Mapping) else {}


def _searched(story: Story) -> str:
    wanted = " and ".join(map(_wanted, story.objectives))
    limits = f", under {' and '.join(map(str, story.budgets))}" if story.budgets else ""
    combinations, continuous = story.space.count()
    size = f"{combinations:,}" if combinations < 10**7 else f"about 10{_raised(power_of_ten(combinations))}"
    further = f" and {continuous} continuous parameters" if continuous else ""
    return f"Networks with {wanted}{limits}, searched among {size} combinations{further}."


def _wanted(objective: Objective) -> str:
    word = "high" if objective.direction == "maximize" else "low"
    enough = "" if objective.enough is None else f" ({figure(objective.name, objective.enough)} is enough)"
    return f"{word} {head(objective.name)}{enough}"


def _raised(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    shape = " × ".join(map(str, data.get("in_shape", [])))
    classes, targets = ([str(name) for name in data.get(key, [])] for key in ("classes", "targets"))
    said = f"{len(classes)} classes" if classes else "numbers to predict"
    names = classes or targets
    named = f": {', '.join(names)}" if 0 < len(names) <= _MOST_CLASSES else ""
    return (
        f"{data.get('n_train', 0):,} samples of shape {shape} to train on, {data.get('n_val', 0):,} to choose by; "
        f"{said}{named}."
    )


def _tiles(story: Story) -> Markup:
    front, tiles = story.front, []
    named = {r.number: r for r in front}
    for objective in story.objectives[:3]:
        if front:
            best = min(front, key=lambda r: objective.plain_loss(r.metrics[objective.name]))
            tiles.append(_tile(story, _superlative(objective), best, objective))
    if story.knee in named and len(story.objectives) > 1:
        tiles.append(_tile(story, "at the knee", named[story.knee], story.objectives[0], "knee"))
    counted = {state: story.count(state) for state in ("stopped_early", "over_budget", "duplicate", "failed")}
    rest = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counted.items() if n)
    said = f"of {len(story.records)} trials; {rest}" if rest else f"of {len(story.records)} trials"
    tiles.append(_plain_tile("trained to the end", f"{story.count('complete')}", said))
    seconds = searched_seconds(story)
    if seconds:
        cpu = str(story.machine.get("cpu") or "")
        kept = "searches" in story.machine
        tiles.append(
            _plain_tile("searched for" if kept else "trained for", readable(seconds), f"on {cpu}" if cpu else "")
        )
    return element("div", *tiles, class_="tiles")


def _superlative(objective: Objective) -> str:
    if objective.direction == "maximize":
        return f"best {head(objective.name)}"
    word = {"count": "fewest", "bytes": "smallest"}.get(kind(objective.name), "lowest") if objective.cheap else "lowest"
    return f"{word} {head(objective.name)}"


def _named(objective: Objective, value: float) -> str:
    """Return a figure with its name, where its unit does not tell what it is."""
    shown = figure(objective.name, value)
    return {"ms": shown, "bytes": shown, "count": f"{shown} {head(objective.name)}"}.get(
        kind(objective.name), f"{head(objective.name)} {shown}"
    )


def _tile(story: Story, name: str, record: TrialRecord, first: Objective, mark: str = "") -> Markup:
    others = [o for o in story.objectives if o is not first]
    said = ", ".join(_named(o, record.metrics[o.name]) for o in others)
    words = summary(story.space.resolve(record.arch))
    value = figure(first.name, record.metrics[first.name])
    return _plain_tile(name, value, " · ".join(filter(None, (f"trial {record.number}", said))), words, mark)


def _plain_tile(name: str, value: str, said: str, words: str = "", mark: str = "") -> Markup:
    return element(
        "div",
        element("span", name, class_="name"),
        element("strong", value),
        element("span", said, class_="said"),
        *([element("span", words, class_="words")] if words else []),
        class_=f"tile {mark}".strip(),
    )
