"""What the commands print of fronts, files and prices: tables as wide as the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.objectives import PRICES, is_latency
from nas.progress import figure
from nas.study.front import overlapping

if TYPE_CHECKING:
    from nas.api import Front, Member
    from nas.measured import MeasuredTrial
    from nas.ship import Shipped
    from nas.study.preview import Preview

_WIDE = 120
"""Characters that the whole table of a front needs."""


def print_front(found: Front, members: Sequence[Member] | None = None) -> None:
    """Print networks as a table on stdout."""
    members = found.members if members is None else members
    best = found.pick("knee").record.number if found.members else None
    console = _console(160)
    further = [name for name in found.config.latencies() if name not in PRICES]
    trained = [o.name for o in found.config.parsed_objectives() if not o.cheap]
    names = [*trained, PRICES[0], *further, *PRICES[1:]]
    if console.width < _WIDE:  # only the figures that were searched for
        names = [name for name in names if name in found.config.objectives]
    alike = overlapping([m.record for m in members])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", *names):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("blocks", overflow="fold", min_width=24)
    for member in members:
        record = member.record
        cells = {n: figure(n, record.metrics[n]) if n in record.metrics else "" for n in names}
        for name in filter(is_latency, cells):
            if (latency := record.prices.get(name)) and console.width >= _WIDE:
                cells[name] += f" [{figure(name, latency.low)}, {figure(name, latency.high)}]"
            cells[name] += "~" if record.number in alike else ""
        mark = " (knee)" if record.number == best else ""
        table.add_row(str(record.number), *map(escape, cells.values()), member.summary + mark)
    console.print(table, highlight=False)
    if alike:
        pairs = ", ".join(f"{a} and {b}" for a, others in alike.items() for b in others if a < b)
        console.print(f"~ cannot be told apart, the intervals of their latencies overlap: {pairs}", highlight=False)


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
    one = [shipped[0].file, f"python {shipped[0].example} IMAGE_OR_SAMPLES.npy"]
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
    torch = "" if s.accuracy_torch == s.accuracy_file else f"{apart}({s.accuracy_torch:.4f})"
    return {
        "trial": str(s.trial),
        "format": s.format if s.precision == "fp32" else f"{s.format}{apart}{s.precision}",
        **({"weights": s.weights} if wide else {}),
        "accuracy (torch)": f"{s.accuracy_file:.4f}{torch}",
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
