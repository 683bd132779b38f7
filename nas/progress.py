"""What a search says while it runs: a live table on a terminal, plain lines where output goes elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

from nas.durations import readable
from nas.objectives import OBJECTIVES, Objective, is_latency
from nas.records import TrialRecord
from nas.study.front import relative_hypervolume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.study.evaluate import Candidate
    from nas.study.loop import Search
    from nas.training import EpochLog

_LINE_EVERY = 5.0
"""Seconds between two plain lines, unless --verbose."""


class LineProgress:
    """Plain lines: one every few seconds, or every trial with `verbose`."""

    def __init__(self, out: TextIO, *, verbose: bool = False) -> None:
        self.out, self.verbose = out, verbose
        self._last = 0.0

    def recorded(self, record: TrialRecord, search: Search) -> None:
        """Say how the trial ended (verbose), or how the search stands (now and then)."""
        if self.verbose:
            print(trial_line(record, search.objectives), file=self.out, flush=True)
        elif record.train_seconds and time.monotonic() - self._last > _LINE_EVERY:
            self._last = time.monotonic()
            print(status_line(search), file=self.out, flush=True)

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Nothing: a line a trial is enough."""

    def progress(self, number: int, log: EpochLog) -> None:
        """Nothing."""


class LiveProgress:
    """A table that is redrawn in place; with `verbose` every trial stays above it as a line."""

    def __init__(self, console: Any, *, verbose: bool = False) -> None:
        from rich.live import Live

        self.console, self.verbose = console, verbose
        self._search: Search | None = None
        self._now: dict[int, str] = {}
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def recorded(self, record: TrialRecord, search: Search) -> None:
        """Take the new state in."""
        from rich.text import Text

        self._search = search
        self._now.pop(record.number, None)
        if self.verbose:
            self.console.print(Text(trial_line(record, search.objectives)))  # no markup: an error may have brackets

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Show what trains."""
        self._search = search
        latency = candidate.prices["latency_ms"].value if candidate.prices else float("nan")
        self._now[number] = f"trial {number} ({latency:.3g} ms)"

    def progress(self, number: int, log: EpochLog) -> None:
        """Show how it goes."""
        if log.scores is not None:
            names = [o.name for o in self._search.objectives if not o.cheap] if self._search is not None else []
            name = next((name for name in names if name in log.scores), next(iter(log.scores)))
            self._now[number] = f"trial {number}: epoch {log.epochs:.3g}, {name} {figure(name, log.scores[name])}"

    def _render(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column()
        if self._search is None:
            table.add_row("search", "starting")
            return table
        for name, value in status(self._search).items():
            table.add_row(name, Text(value))
        for i, line in enumerate(self._now.values() or ["choosing and pricing"]):
            table.add_row("" if i else "now", Text(line))
        return table


def status(search: Search) -> dict[str, str]:
    """Return how a search stands, as words by name."""
    states = [r.state for r in search.records]
    wanted = f" of {search.limits.trials}" if search.limits.trials is not None else ""
    failed = f", {n} stopped early" if (n := states.count("stopped_early")) else ""
    failed += f", {n} failed" if (n := states.count("failed")) else ""
    rejected = f"{states.count('over_budget')} over budget, {states.count('duplicate')} duplicates"
    front = search.front()
    complete = [r for r in search.records if r.state == "complete"]
    volume = relative_hypervolume(search.ledger.completed, search.objectives)  # of one trial there is none
    found = {
        "trained": f"{search.trained}{wanted}{failed}",
        "rejected": rejected,
        "front": f"{len(front)} network" + ("" if len(front) == 1 else "s"),
        "best": _best(complete, search.objectives),
        "hypervolume": "" if volume is None else f"{volume:.3f}",
        "time": _time(search),
    }
    return {name: value for name, value in found.items() if value}


def status_line(search: Search) -> str:
    """Return `status` on one line."""
    return " | ".join(f"{name} {value}" for name, value in status(search).items())


def trial_line(record: TrialRecord, objectives: Sequence[Objective] = ()) -> str:
    """Return one trial on one line; of what training tells, the objectives, or the first figure where none is one."""
    trained = [o.name for o in objectives if o.name in record.scores] or list(record.scores)[:1]
    shown = {**{name: record.scores[name] for name in trained}, **{n: m.value for n, m in record.prices.items()}}
    figures = [f"{name} {figure(name, value)}" for name, value in shown.items()]
    seconds = f"{record.train_seconds:.1f} s" if record.train_seconds else ""
    parts = [f"trial {record.number}: {record.state}", *figures, seconds, record.reason]
    return " | ".join(part for part in parts if part)


def figure(name: str, value: float) -> str:
    """Return a figure as one reads it: 0.9861, 0.214 ms, 1.3M.

    >>> figure("accuracy", 0.98611), figure("macs", 1310720), figure("latency_ms", 0.21449), figure("n_params", 730)
    ('0.9861', '1.31M', '0.214', '730')
    """
    if name in OBJECTIVES and not OBJECTIVES[name].cheap:
        return f"{value:.4f}" if OBJECTIVES[name].is_share or name == "loss" else f"{value:.4g}"
    if is_latency(name):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * scale:  # what rounds to 1M is no 1e+03k
            return f"{value / scale:.3g}{letter}"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _best(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> str:
    if not complete:
        return "none yet"
    words = []
    for o in objectives:
        best = min(complete, key=lambda r: o.plain_loss(r.metrics[o.name]))
        words.append(f"{o.name} {figure(o.name, best.metrics[o.name])}")
    return ", ".join(words)


def _time(search: Search) -> str:
    spent = time.monotonic() - search.started
    words = readable(spent)
    if search.deadline is not None:
        words += f", {readable(max(0.0, search.deadline - time.monotonic()))} left at most"
    elif search.limits.trials is not None and search.trained_here:
        left = (search.limits.trials - search.trained) * spent / search.trained_here
        words += f", about {readable(max(0.0, left))} left"
    return words
