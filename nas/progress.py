"""What a search says while it runs: a live table on a terminal, plain lines where output goes elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from nas.durations import readable
from nas.objectives import Objective, is_latency
from nas.pareto import hypervolume
from nas.records import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.study.evaluate import Candidate
    from nas.study.loop import Search
    from nas.training import EpochLog

_BOX = 10
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
            print(trial_line(record), file=self.out, flush=True)
        elif record.train_seconds and time.monotonic() - self._last > _LINE_EVERY:
            self._last = time.monotonic()
            print(status_line(search), file=self.out, flush=True)

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Nothing: a line a trial is enough."""

    def epoch(self, log: EpochLog) -> None:
        """Nothing."""


class LiveProgress:
    """A table that is redrawn in place; with `verbose` every trial stays above it as a line."""

    def __init__(self, console: Any, *, verbose: bool = False) -> None:
        from rich.live import Live

        self.console, self.verbose = console, verbose
        self._search: Search | None = None
        self._now = ""
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def recorded(self, record: TrialRecord, search: Search) -> None:
        """Take the new state in."""
        self._search, self._now = search, ""
        if self.verbose:
            self.console.print(trial_line(record), highlight=False)

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Show what trains."""
        self._search = search
        latency = candidate.prices["latency_ms"].value if candidate.prices else float("nan")
        self._now = f"trial {number} ({latency:.3g} ms)"

    def epoch(self, log: EpochLog) -> None:
        """Show how it goes."""
        if log.scores is not None:
            self._now = f"{self._now.split(':')[0]}: epoch {log.epoch}, accuracy {log.scores.accuracy:.3f}"

    def _render(self) -> Any:
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column()
        if self._search is None:
            table.add_row("search", "starting")
            return table
        for name, value in status(self._search).items():
            table.add_row(name, value)
        table.add_row("now", self._now or "choosing and pricing")
        return table


def status(search: Search) -> dict[str, str]:
    """Return how a search stands, as words by name."""
    states = [r.state for r in search.records]
    wanted = f" of {search.limits.trials}" if search.limits.trials is not None else ""
    failed = f", {n} failed" if (n := states.count("failed")) else ""
    rejected = f"{states.count('over_budget')} over budget, {states.count('duplicate')} duplicate"
    front = search.front()
    complete = [r for r in search.records if r.state == "complete"]
    found = {
        "trained": f"{search.trained}{wanted}{failed}",
        "rejected": rejected,
        "front": f"{len(front)} networks",
        "best": _best(complete, search.objectives),
        "hypervolume": f"{relative_hypervolume(complete, search.objectives):.3f}",
        "time": _time(search),
    }
    return {name: value for name, value in found.items() if value}


def status_line(search: Search) -> str:
    """Return `status` on one line."""
    return " | ".join(f"{name} {value}" for name, value in status(search).items())


def trial_line(record: TrialRecord) -> str:
    """Return one trial on one line."""
    figures = [f"{name} {figure(name, value)}" for name, value in record.metrics.items() if name != "loss"]
    seconds = f"{record.train_seconds:.1f} s" if record.train_seconds else ""
    parts = [f"trial {record.number}: {record.state}", *figures, seconds, record.reason]
    return " | ".join(part for part in parts if part)


def figure(name: str, value: float) -> str:
    """Return a figure as one reads it: 0.9861, 0.214 ms, 1.3M.

    >>> figure("accuracy", 0.98611), figure("macs", 1310720), figure("latency_ms", 0.21449), figure("n_params", 730)
    ('0.9861', '1.31M', '0.214', '730')
    """
    if name in ("accuracy", "loss"):
        return f"{value:.4f}"
    if is_latency(name):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * scale:  # what rounds to 1M is no 1e+03k
            return f"{value / scale:.3g}{letter}"
    return f"{value:.0f}"


def relative_hypervolume(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> float:
    """Return the hypervolume of the front, in boxes from the best to the worst value of the first ten trials.

    Costs count on a log scale. The box stands still after ten trials, so from then on the figure never falls; it is
    above 1 where the search has left the box.

    Args:
        complete: complete trials in the order of their numbers.
    """
    losses = np.array([[_scaled(o, r.metrics[o.name]) for o in objectives] for r in complete])
    losses = losses[np.isfinite(losses).all(axis=1)] if len(losses) else losses
    if len(losses) < 2:
        return 0.0
    low, high = losses[:_BOX].min(axis=0), losses[:_BOX].max(axis=0)
    unit = (losses - low) / np.where(high > low, high - low, 1.0)
    return float(hypervolume(unit, np.ones(len(objectives))))


def _scaled(objective: Objective, value: float) -> float:
    if objective.cheap and value > 0:
        value = float(np.log10(value))
    return objective.loss(value)


def _best(complete: Sequence[TrialRecord], objectives: Sequence[Objective]) -> str:
    if not complete:
        return "none yet"
    words = []
    for o in objectives:
        best = min(complete, key=lambda r: o.loss(r.metrics[o.name]))
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
