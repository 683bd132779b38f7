"""The front as a picture that one would show to a colleague."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.objectives import Budget, Objective, is_latency
from nas.records import TrialRecord, replacing
from nas.report.labels import label, plain, short

INK, GREY, FRONT, LIMIT, KNEE = "#1f2933", "#b8c2cc", "#0b6e99", "#c2410c", "#eab308"

_MOST_LINES, _LINE = 32, 48
_APART = 16.0
"""Points between two numbers on the picture; nearer ones would lie on each other."""


@dataclass(frozen=True)
class _View:
    """What is drawn along x and y, and as colour."""

    x: Objective
    y: Objective
    colour: Objective | None

    @classmethod
    def of(cls, objectives: Sequence[Objective]) -> _View:
        x = next((o for o in objectives if o.cheap), objectives[0])
        rest = [o for o in objectives if o is not x]
        y = next((o for o in rest if not o.cheap), rest[0])
        return cls(x, y, next((o for o in rest if o is not y), None))

    def points(self, records: Sequence[TrialRecord]) -> tuple[list[float], list[float]]:
        return [r.metrics[self.x.name] for r in records], [r.metrics[self.y.name] for r in records]


def plot_front(
    path: Path,
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    budgets: Sequence[Budget],
    *,
    title: str,
    labels: Mapping[int, str] | None = None,
    knee: int | None = None,
) -> None:
    """Draw the front as PNG: what was found, what was rejected, and the limits.

    With two objectives or more, the cheap one lies on x (log, where all are above 0) and the trained one on y (a share
    of 1 on the log of the error, which pulls the good ones apart), a third one is the colour. With one, its best value
    so far is drawn over trials.

    Args:
        labels: trial number to a few words, listed beside the picture for members of the front.
        knee: number of the trial that gets a ring; None: there is no ring.
    Raises:
        RunError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    complete = [r for r in records if r.state == "complete"]
    listed = bool(labels) and len(objectives) > 1
    figure = Figure(figsize=(12.4 if listed else 8.6, 5.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes, side = figure.subplots(1, 2, width_ratios=[1.9, 1]) if listed else (figure.add_subplot(), None)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eef1f4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_title(title, loc="left", fontsize=12, color=INK, fontweight="bold", parse_math=False)
    if len(objectives) == 1:
        _draw_progress(axes, complete, objectives[0])
    else:
        view = _View.of(objectives)
        front = sorted((r for r in complete if r.on_front), key=lambda r: r.metrics[view.x.name])
        _set_scales(axes, view, complete, front)
        _draw_points(axes, view, [r for r in complete if not r.on_front], front)
        _say_what_is_below(axes, view, complete)
        _draw_rejected(axes, view, records)
        _draw_budgets(axes, view, budgets)
        if ringed := [r for r in front if r.number == knee]:
            ring: dict[str, Any] = {"s": 130, "facecolor": "none", "edgecolor": KNEE, "linewidth": 2, "zorder": 5}
            axes.scatter(*view.points(ringed), label="knee", **ring)
        if front:
            _number(figure, axes, view, front)
        if side is not None:
            _list_front(side, view, front, labels or {})
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    with replacing(path) as beside:
        figure.savefig(beside, format="png")


def _draw_progress(axes: Any, complete: Sequence[TrialRecord], objective: Objective) -> None:
    values = [r.metrics[objective.name] for r in complete]
    best: list[float] = []
    for value in values:
        best.append(value if not best or objective.plain_loss(value) < objective.plain_loss(best[-1]) else best[-1])
    numbers = [r.number for r in complete]
    axes.scatter(numbers, values, s=22, color=GREY, label=f"{len(values)} trained")
    axes.step(numbers, best, where="post", color=FRONT, linewidth=1.8, label="best so far")
    axes.set_xlabel("trial", color=INK)
    axes.set_ylabel(label(objective), color=INK)
    axes.legend(frameon=False, fontsize=9, loc="best")


def _draw_points(axes: Any, view: _View, rest: Sequence[TrialRecord], front: Sequence[TrialRecord]) -> None:
    """Draw the trained networks: dominated ones grey, the front as a staircase of what is reached at no more cost."""
    if rest:
        axes.scatter(*view.points(rest), s=22, color=GREY, linewidth=0, label=f"{len(rest)} trained, dominated")
    if not front:
        return
    style: dict[str, Any] = {"s": 46, "edgecolor": "white", "linewidth": 0.8, "zorder": 4}
    style["label"] = f"{len(front)} on the front"
    if view.colour is None:
        axes.step(*view.points(front), where="post", color=FRONT, linewidth=1.4, zorder=3)
        axes.scatter(*view.points(front), color=FRONT, **style)
    else:
        shades = [r.metrics[view.colour.name] for r in front]
        drawn = axes.scatter(*view.points(front), c=shades, cmap="viridis", **style)
        axes.figure.colorbar(drawn, ax=axes, label=label(view.colour))
    if is_latency(view.x.name):
        for r in front:
            price = r.prices[view.x.name]
            axes.plot([price.low, price.high], [r.metrics[view.y.name]] * 2, color=FRONT, linewidth=1, zorder=3)


def _say_what_is_below(axes: Any, view: _View, complete: Sequence[TrialRecord]) -> None:
    """Count the trials that the lower end of the picture leaves out."""
    below = sum(r.metrics[view.y.name] < axes.get_ylim()[0] for r in complete)
    if below and view.y.is_share:
        place: dict[str, Any] = {"xycoords": "axes fraction", "fontsize": 8, "color": INK, "va": "bottom"}
        axes.annotate(f"{below} more below", (0.01, 0.03), **place)


def _draw_rejected(axes: Any, view: _View, records: Sequence[TrialRecord]) -> None:
    """Mark candidates over budget along the bottom: nothing else is known of them."""
    ticks = [r.prices[view.x.name].value for r in records if r.state == "over_budget" and view.x.name in r.prices]
    if ticks:
        said = f"{len(ticks)} over budget, never trained"
        axes.plot(ticks, [0.012] * len(ticks), "|", transform=axes.get_xaxis_transform(), color=LIMIT, label=said)


def _draw_budgets(axes: Any, view: _View, budgets: Sequence[Budget]) -> None:
    for budget in budgets:
        if budget.objective == view.x.name and (budget.limit > 0 or axes.get_xscale() != "log"):
            axes.axvline(budget.limit, color=LIMIT, linewidth=1.2, linestyle="--")
            where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(str(budget), (budget.limit, 1), xytext=(4, -10), fontsize=8, color=LIMIT, **where)


def _number(figure: Any, axes: Any, view: _View, front: Sequence[TrialRecord]) -> None:
    """Write trial numbers at members of the front, leaving out those that would lie on one another."""
    figure.canvas.draw()  # fixes where data are on the page
    spots: list[Any] = []
    for r in front:
        spot = axes.transData.transform((r.metrics[view.x.name], r.metrics[view.y.name])) * 72 / figure.dpi
        if all(np.abs(spot - other).max() > _APART for other in spots):
            spots.append(spot)
            place = (r.metrics[view.x.name], r.metrics[view.y.name])
            style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 8, "zorder": 6}
            axes.annotate(str(r.number), place, xytext=(-6, 4), color=INK, **style)


def _list_front(side: Any, view: _View, front: Sequence[TrialRecord], labels: Mapping[int, str]) -> None:
    """List members of the front beside the picture, best first."""
    side.axis("off")
    ordered = sorted(front, key=lambda r: view.y.plain_loss(r.metrics[view.y.name]))
    shown = [o for o in (view.y, view.x, view.colour) if o is not None]
    lines = ["  ".join([f"{'trial':>5}", *(f"{short(o):>8}" for o in shown)])]
    for i, r in enumerate(ordered):
        figures = "  ".join(f"{_figure(o, r.metrics[o.name]):>8}" for o in shown)
        words = [f"       {line}" for line in textwrap.wrap(labels.get(r.number, ""), _LINE)]
        if len(lines) + 1 + len(words) > _MOST_LINES:
            lines.append(f"  and {len(ordered) - i} more, see front.csv")
            break
        lines += [f"{r.number:>5}  {figures}", *words]
    text: dict[str, Any] = {"family": "monospace", "fontsize": 7.5, "va": "top", "linespacing": 1.35}
    side.text(0, 1, "\n".join(lines), transform=side.transAxes, color=INK, parse_math=False, **text)


def _figure(objective: Objective, value: float) -> str:
    if objective.is_share or objective.name == "loss":
        return f"{value:.4f}"
    if not objective.cheap:
        return f"{value:.4g}"
    return f"{value:.3g}" if value < 1000 else plain(float(f"{value:.3g}"))


def _set_scales(axes: Any, view: _View, complete: Sequence[TrialRecord], front: Sequence[TrialRecord]) -> None:
    axes.set_xlabel(label(view.x), color=INK)
    axes.set_ylabel(label(view.y), color=INK)
    if view.x.cheap and all(x > 0 for x in view.points(complete)[0]):  # a price of a user's own may be anything
        _log_axis(axes)
    if view.y.is_share and view.y.best == 1 and front:
        _error_axis(axes, view.points(complete)[1], view.points(front)[1])


def _log_axis(axes: Any) -> None:
    """A log scale with figures one can read: 0.006, 20k."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(LogLocator(subs=tuple(range(1, 10))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _error_axis(axes: Any, shares: Sequence[float], front: Sequence[float]) -> None:
    """Show shares of 1 on the log of the error, from a little above the best down to what the front needs.

    Failures near chance would squeeze the front into a line: at most a third of the height goes to what lies below it.
    """
    floor = 1e-4  # an error of 0 has no logarithm

    def height(share: Any) -> Any:
        return -np.log10(np.maximum(1 - np.asarray(share, dtype=float), 0) + floor)

    axes.set_yscale("function", functions=(height, lambda y: 1 + floor - 10 ** -np.asarray(y, dtype=float)))
    top, worst, lowest = height(max(front)), height(min(front)), height(min(shares))
    bottom = max(lowest, worst - 0.5 * (top - worst) - 0.1)
    margin = 0.06 * (top - bottom) + 0.02
    low, high = 1 + floor - 10 ** -(bottom - margin), 1 + floor - 10 ** -(top + margin)
    axes.set_ylim(low, min(high, 1.0) if max(front) < 1 else 1.0)
    ticks = [0, *(1 - s * 10**-e for e in range(1, 4) for s in (9, 8, 7, 6, 5, 4, 3, 2, 1.5, 1)), 1.0]
    shown = [t for t in ticks if low <= t <= high]
    while len(shown) > 9:
        shown = shown[::2]
    axes.set_yticks(shown, [f"{t:.4g}" for t in shown])
