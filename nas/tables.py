"""What the commands print of fronts, files and prices: tables as wide as the terminal."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.durations import readable
from nas.objectives import PRICES, is_latency
from nas.progress import figure
from nas.study.front import overlapping

if TYPE_CHECKING:
    from nas.api import Front, Member, Model
    from nas.measured import MeasuredTrial
    from nas.ship import Shipped
    from nas.study.preview import Preview

_LAYOUTS = ((True, True, 24), (False, True, 40), (False, False, 20))
"""Of the table of a front, from the widest: whether it has prices that were not searched for, whether intervals, and
how many characters the blocks of a network have at least."""

_WIDE = 120
"""Characters from which the table of exported files has intervals, and where weights come from."""


def print_front(found: Front, members: Sequence[Member] | None = None) -> None:
    """Print networks as a table on stdout, with the test figure of those that were retrained.

    Where the terminal is too narrow for all of it, prices that were not searched for are left out, then intervals.
    """
    members = found.members if members is None else members
    console = _console(160)
    alike = overlapping([m.record for m in members])
    for everything, intervals, blocks in _LAYOUTS:
        table = _front_table(found, members, alike, everything=everything, intervals=intervals, blocks=blocks)
        # As wide as it would be without end, but for the blocks, which may be folded.
        folded = max(0, max(len(str(cell)) for cell in table.columns[-1].cells) - blocks)
        if Console(width=10_000).measure(table).maximum - folded <= console.width:
            break
    console.print(table, highlight=False)
    if alike:
        pairs = ", ".join(f"{a} and {b}" for a, others in alike.items() for b in others if a < b)
        console.print(f"~ cannot be told apart, the intervals of their latencies overlap: {pairs}", highlight=False)


def _front_table(
    found: Front,
    members: Sequence[Member],
    alike: Mapping[int, object],
    *,
    everything: bool,
    intervals: bool,
    blocks: int,
) -> Table:
    further = [name for name in found.config.latencies() if name not in PRICES]
    trained = [o.name for o in found.config.parsed_objectives() if not o.cheap]
    prices = [PRICES[0], *further, *PRICES[1:], *found.config.own_prices()]
    if not everything:
        prices = [name for name in prices if name in found.config.objectives]
    knee = found.pick("knee").record.number if found.members else None
    tested = {m.record.number: one for m in members if (one := m.retrained) is not None}
    test = [f"test\n{next(iter(tested.values())).metric.name}"] if tested else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", *trained, *test, *prices):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("blocks", overflow="fold", min_width=blocks)
    for member in members:
        record = member.record
        cells = [figure(n, record.metrics[n]) if n in record.metrics else "" for n in trained]
        if tested:
            one = tested.get(record.number)
            cells.append("" if one is None else _with_interval(one.metric.name, one.mean, *one.interval, intervals))
        for name in prices:
            cell, price = "", record.prices.get(name)
            if price is not None:
                cell = _with_interval(name, price.value, price.low, price.high, intervals and is_latency(name))
            cells.append(f"{cell}~" if cell and is_latency(name) and record.number in alike else cell)
        exported = "exported before it was retrained" if member.outdated else "exported"
        marks = [mark for mark, there in (("knee", record.number == knee), (exported, member.exported)) if there]
        words = f"{member.summary} ({', '.join(marks)})" if marks else member.summary
        table.add_row(str(record.number), *map(escape, (*cells, words)))
    return table


def _with_interval(name: str, value: float, low: float, high: float, wanted: bool) -> str:
    """Return a figure as one reads it, with its interval where one is `wanted` and known."""
    if not wanted or math.isnan(low):
        return figure(name, value)
    return f"{figure(name, value)} [{figure(name, low)}, {figure(name, high)}]"


def print_retrained(models: Sequence[Model]) -> None:
    """Print what retraining found: of one network in words, of several a row for each."""
    if len(models) == 1:
        _console(160).print("\n".join(_retrained_lines(models[0])), highlight=False, markup=False)
        return
    name = models[0].metric.name
    latencies = list(models[0].member.front.config.latencies())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trial", f"test\n{name}", "95 %\ninterval", "seeds", "in the\nsearch", "gap"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in latencies:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("epochs", justify="right")
    table.add_column("blocks", overflow="fold", min_width=20)
    for one in models:
        low, high = one.interval
        interval = "" if math.isnan(low) else f"{figure(name, low)} {figure(name, high)}"
        prices = [figure(p, one.prices[p].value) if p in one.prices else "" for p in latencies]
        words = (str(one.trial), figure(name, one.mean), interval, str(len(one.seeds)), figure(name, one.searched))
        table.add_row(*map(escape, (*words, _signed(one), *prices, str(one.epochs), one.blocks)))
    _console(160).print(table, highlight=False)
    error = max(one.sampling_error for one in models)
    known = f", which know {name} to +-{error:.4f}" if not math.isnan(error) else ""
    _console(160).print(f"{models[0].n_test} test samples{known}", highlight=False)
    if not all(math.isnan(one.gap) for one in models):
        epochs = sorted(one.member.record.epochs for one in models)
        trained = _epochs(epochs[-1]) if epochs[0] == epochs[-1] else f"{epochs[0]:.3g} to {_epochs(epochs[-1])}"
        longer = any(one.epochs > one.member.record.epochs for one in models)
        less = f"for {trained}" if longer else "without the validation data"
        shorter = any(one.epochs < one.member.record.epochs for one in models)
        why = f"trained them {less}, some longer than here" if shorter else "chose by validation data"
        lines = (
            f"gap: above 0 the search, which {why}, saw them better than the test set does;",
            f"     below 0 they became better, since the search trained them {less}",
        )
        _console(160).print("\n".join(lines), highlight=False)


def _retrained_lines(one: Model) -> list[str]:
    """Say of one network how good it is, how well that is known, and what the search had seen."""
    name, n = one.metric.name, len(one.seeds)
    low, high = one.interval
    spread = f", 95 % interval [{figure(name, low)}, {figure(name, high)}]" if n > 1 else ": no interval"
    words = f"mean of {n} seeds" if n > 1 else "one seed"
    error = one.sampling_error
    known = f", which know it to +-{error:.4f}" if not math.isnan(error) else ""
    lines = [
        f"test {name:<12}{figure(name, one.mean)} ({words}{spread})",
        f"each seed        {', '.join(figure(name, value) for value in one.values)}",
        f"test set         {one.n_test} samples{known}",
    ]
    if not math.isnan(one.searched):
        lines.append(f"in the search    {figure(name, one.searched)} on validation data, {_then(one)}")
        lines.append(f"gap              {_gap(one)}")
    seconds = readable(one.train_seconds)
    return [*lines, f"trained          {_epochs(one.epochs)} for each seed, {seconds} of training in all"]


def _then(one: Model) -> str:
    """Say how much a network had been trained when the search judged it."""
    record = one.member.record
    subset = record.arch.values.get("training.subset", one.member.front.config.subset)
    part = f" on {100 * subset:.3g} % of the samples" if isinstance(subset, int | float) and subset < 1 else ""
    stopped = f", {100 * record.share:.3g} % of its training" if one.member.notice else ""
    return f"after {_epochs(record.epochs)}{part}{stopped}"


def _epochs(n: float) -> str:
    return f"{n:.3g} epoch" + ("" if n == 1 else "s")


def _signed(one: Model) -> str:
    """Return a gap with its sign, in as many digits as the figures that it is between."""
    return f"{'+' if one.gap >= 0 else '-'}{figure(one.metric.name, abs(one.gap))}"


def _gap(one: Model) -> str:
    """Say how the search's figure compares with the test set's, and why; or that they cannot be told apart."""
    if not math.isnan(one.sampling_error) and abs(one.gap) <= one.sampling_error:
        return f"{_signed(one)}: no more than the chance error of {one.n_test} test samples"
    if one.gap == 0:
        return "0: as good on the test set as in the search"
    if one.gap > 0:
        less = one.epochs < one.member.record.epochs
        why = f"now that it was trained for {_epochs(one.epochs)} alone" if less else "which chose by what it judged on"
        return f"{_signed(one)}: worse on the test set than in the search, {why}"
    more = f"for {_epochs(one.epochs)}" if one.epochs > one.member.record.epochs else "on all samples"
    return f"{_signed(one)}: better on the test set than in the search, now that it was trained {more}"


def print_shipped(shipped: Sequence[Shipped]) -> None:
    """Print exported files and what was found on each; then where they are, and how one is used."""
    console = _console(200)
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    left = ("format", "weights", "verdict")
    rows = [_shipped_cells(s, wide) for s in shipped]
    for name in rows[0]:
        folds, least = name in ("file ms", "verdict"), 16 if name == "verdict" else 12 if name == "file ms" else None
        justify: Literal["left", "right"] = "left" if name in left else "right"
        table.add_column(
            name if wide else name.replace(" ", "\n"),
            justify=justify,
            no_wrap=not folds,
            overflow="fold",
            min_width=least,
        )
    for row in rows:
        table.add_row(*map(escape, row.values()))
    console.print(table, highlight=False)
    folders = ", ".join(dict.fromkeys(str(Path(s.file).parent) for s in shipped))
    one = [shipped[0].file, f"python {shlex.quote(shipped[0].example)} {shipped[0].samples}"]
    several = [f"{len(shipped)} files in {folders}, beside each its FILE.example.py"]
    for line in one if len(shipped) == 1 else several:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _shipped_cells(s: Shipped, wide: bool) -> dict[str, str]:
    """Return what a row says of a file, by column; intervals and the origin of the weights only where there is room."""
    apart = " " if wide else "\n"
    searched, again = [], []
    for latency in s.latencies:
        found = latency.file
        interval = f" [{found.low:.4g}, {found.high:.4g}]" if wide else ""
        on = "" if latency.target == s.target else f"{apart}({latency.target})"
        searched.append(
            (f"{latency.searched.value:.4g}" if latency.searched else "-") + ("\n" if on[:1] == "\n" else "")
        )
        again.append(f"{found.value:.4g}{interval}{on}")
    torch = "" if s.score_torch == s.score_file else f"{apart}({figure(s.metric, s.score_torch)})"
    return {
        "trial": str(s.trial),
        "format": s.format if s.precision == "fp32" else f"{s.format}{apart}{s.precision}",
        **({"weights": s.weights} if wide else {}),
        f"{s.metric} (torch)": f"{figure(s.metric, s.score_file)}{torch}",
        "difference": f"{s.max_difference:.1e}",
        "searched ms": "\n".join(searched),
        "file ms": "\n".join(again),
        "bytes": str(s.size_bytes),
        "verdict": s.verdict,
    }


def print_measured(measured: Sequence[MeasuredTrial]) -> None:
    """Print a row for each network and target."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", "latency", "searched ms", "measured ms", "ratio"):
        table.add_column(name, justify="left" if name == "latency" else "right", no_wrap=True)
    for name in ("verdict", "weights", "blocks"):
        table.add_column(name, overflow="fold")
    for one in measured:
        for name in (*one.latencies, *one.problems):
            again = one.latencies.get(name)
            searched = f"{again.searched.value:.4g}" if again and again.searched else ""
            now = f"{again.file.value:.4g} [{again.file.low:.4g}, {again.file.high:.4g}]" if again else ""
            ratio = f"{again.file.value / again.searched.value:.3f}" if again and again.searched else ""
            row = (str(one.trial), name, searched, now, ratio, one.verdict(name), one.weights, one.blocks)
            table.add_row(*map(escape, row))
    console = _console(200)
    console.print(table, highlight=False)


def print_preview(found: Preview) -> None:
    """Print the share that keeps each budget, then the quantiles of each price."""
    from nas.study.preview import QUANTILES  # loads torch, which a front can do without

    console = _console(160)
    if found.budgets:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("budget", "keep it", "share", "95 % interval"):
            table.add_column(name, justify="left" if name == "budget" else "right", no_wrap=True)
        rows = [(str(b), found.keeping([b])) for b in found.budgets]
        rows += [("all of them", found.keeping(found.budgets))] if len(rows) > 1 else []
        n = len(found.candidates)
        for name, share in rows:
            interval = f"{share.low:.1%} to {share.high:.1%}"
            table.add_row(name, f"{share.n} of {n}", f"{share.n / n:.0%}", interval)
        console.print(table, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("price", no_wrap=True)
    for q in QUANTILES:
        table.add_column("median" if q == 0.5 else f"{q:.0%}", justify="right", no_wrap=True)
    for name, values in found.quantiles().items():
        table.add_row(name, *(figure(name, value) for value in values))
    console.print(table, highlight=False)


def _console(width: int) -> Console:
    """Return what prints on stdout: as wide as the terminal, or `width` characters where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=width)
