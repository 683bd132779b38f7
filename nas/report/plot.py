"""The front as a picture that one would show to a colleague."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.objectives import Budget, Objective
from nas.pareto import knee
from nas.records import TrialRecord

INK, GREY, FRONT, LIMIT, KNEE = "#1f2933", "#b8c2cc", "#0b6e99", "#c2410c", "#eab308"

_LABELS = {
    "accuracy": "validation accuracy",
    "loss": "validation loss (nats)",
    "latency_ms": "latency (ms, batch 1, one thread)",
    "macs": "multiply-adds",
    "n_params": "parameters",
    "size_bytes": "size of the ONNX file (bytes)",
}
_MOST_LABELS = 9


def plot_front(
    path: Path,
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    budgets: Sequence[Budget],
    *,
    title: str,
    labels: Mapping[int, str] | None = None,
) -> None:
    """Draw the front as PNG: what was found, what was rejected, and the limits.

    With two objectives or more, the cheap one lies on x (log) and the trained one on y, a third one is the colour. With
    one, its best value so far is drawn over trials.

    Args:
        labels: trial number to a few words, written beside members of the front.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 5.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eef1f4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_title(title, loc="left", fontsize=12, color=INK, fontweight="bold")
    complete = [r for r in records if r.state == "complete"]
    if len(objectives) == 1:
        _draw_progress(axes, complete, objectives[0])
    else:
        x = next((o for o in objectives if o.cheap), objectives[0])
        y = next((o for o in objectives if o is not x and not o.cheap), next(o for o in objectives if o is not x))
        colour = next((o for o in objectives if o not in (x, y)), None)
        _draw_points(figure, axes, records, x, y, colour, budgets, labels or {}, objectives)
    beside = path.with_name(path.name + ".part")
    figure.savefig(beside, format="png")
    beside.replace(path)


def _draw_progress(axes: Any, complete: Sequence[TrialRecord], objective: Objective) -> None:
    values = [r.metrics[objective.name] for r in complete]
    best: list[float] = []
    for value in values:
        best.append(value if not best or objective.loss(value) < objective.loss(best[-1]) else best[-1])
    numbers = [r.number for r in complete]
    axes.scatter(numbers, values, s=22, color=GREY, label=f"{len(values)} trained")
    axes.step(numbers, best, where="post", color=FRONT, linewidth=1.8, label="best so far")
    axes.set_xlabel("trial", color=INK)
    axes.set_ylabel(_LABELS.get(objective.name, objective.name), color=INK)
    axes.legend(frameon=False, fontsize=9, loc="best")


def _draw_points(
    figure: Any,
    axes: Any,
    records: Sequence[TrialRecord],
    x: Objective,
    y: Objective,
    colour: Objective | None,
    budgets: Sequence[Budget],
    labels: Mapping[int, str],
    objectives: Sequence[Objective],
) -> None:
    complete = [r for r in records if r.state == "complete"]
    rest = [r for r in complete if not r.on_front]
    front = sorted((r for r in complete if r.on_front), key=lambda r: r.metrics[x.name])
    rejected = [r for r in records if r.state == "over_budget" and x.name in r.prices]

    if rest:
        axes.scatter(*_points(rest, x, y), s=22, color=GREY, linewidth=0, label=f"{len(rest)} trained, dominated")
    if front:
        style: dict[str, Any] = {"s": 46, "edgecolor": "white", "linewidth": 0.8, "zorder": 4}
        name = f"{len(front)} on the front"
        if colour is None:
            xs, ys = _points(front, x, y)
            axes.step(xs, ys, where="post", color=FRONT, linewidth=1.4, zorder=3)
            axes.scatter(xs, ys, color=FRONT, label=name, **style)
        else:
            shades = [r.metrics[colour.name] for r in front]
            drawn = axes.scatter(*_points(front, x, y), c=shades, cmap="viridis", label=name, **style)
            figure.colorbar(drawn, ax=axes, label=_LABELS.get(colour.name, colour.name))
        if x.name == "latency_ms":
            for r in front:
                price = r.prices["latency_ms"]
                axes.plot([price.low, price.high], [r.metrics[y.name]] * 2, color=FRONT, linewidth=1, zorder=3)
        best = _knee(front, objectives)
        axes.scatter(
            *_points([best], x, y), s=130, facecolor="none", edgecolor=KNEE, linewidth=2, zorder=5, label="knee"
        )
        for r in _spread(front):
            words = labels.get(r.number, "")
            text = f"{r.number}: {words}" if words else str(r.number)
            spot = (r.metrics[x.name], r.metrics[y.name])
            right = spot[0] > (front[0].metrics[x.name] * front[-1].metrics[x.name]) ** 0.5
            offset, side = ((-7, 5), "right") if right and len(front) > 1 else ((7, -10), "left")
            axes.annotate(
                text, spot, xytext=offset, textcoords="offset points", fontsize=7, color=INK, ha=side, zorder=6
            )
    if x.cheap:
        _log_axis(axes)
    if rejected:  # no accuracy is known of them: marks along the bottom
        ticks = [r.prices[x.name].value for r in rejected]
        label = f"{len(rejected)} over budget, never trained"
        axes.plot(ticks, [0.012] * len(ticks), "|", transform=axes.get_xaxis_transform(), color=LIMIT, label=label)
    for budget in budgets:
        if budget.objective == x.name:
            axes.axvline(budget.limit, color=LIMIT, linewidth=1.2, linestyle="--")
            axes.annotate(
                str(budget),
                (budget.limit, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -10),
                textcoords="offset points",
                fontsize=8,
                color=LIMIT,
            )
    _frame_accuracy(axes, complete, front, y)
    axes.set_xlabel(_LABELS.get(x.name, x.name), color=INK)
    axes.set_ylabel(_LABELS.get(y.name, y.name), color=INK)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")


def _log_axis(axes: Any) -> None:
    """A log scale with figures one can read: 0.006, 20k."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(LogLocator(subs=tuple(range(1, 10))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _plain(value: float) -> str:
    """Return a figure without exponents.

    >>> _plain(0.005), _plain(20000), _plain(3e6)
    ('0.005', '20k', '3M')
    """
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:.10g}"


def _frame_accuracy(axes: Any, complete: Sequence[TrialRecord], front: Sequence[TrialRecord], y: Objective) -> None:
    """Keep failures near chance from squeezing the front into a line: show from the worst front member down a bit."""
    if not front or y.name != "accuracy":
        return
    best, worst = (pick(r.metrics[y.name] for r in front) for pick in (max, min))
    lowest = min(r.metrics[y.name] for r in complete)
    bottom = max(lowest, worst - 1.5 * (best - worst) - 0.02)
    margin = 0.06 * max(best - bottom, 0.01)
    axes.set_ylim(bottom - margin, best + margin)


def _points(records: Sequence[TrialRecord], x: Objective, y: Objective) -> tuple[list[float], list[float]]:
    return [r.metrics[x.name] for r in records], [r.metrics[y.name] for r in records]


def _knee(front: Sequence[TrialRecord], objectives: Sequence[Objective]) -> TrialRecord:
    import numpy as np

    return front[knee(np.array([[o.loss(r.metrics[o.name]) for o in objectives] for r in front]))]


def _spread(front: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return at most nine members, both ends included, so that their labels do not lie on each other."""
    if len(front) <= _MOST_LABELS:
        return list(front)
    step = (len(front) - 1) / (_MOST_LABELS - 1)
    return [front[round(i * step)] for i in range(_MOST_LABELS)]
