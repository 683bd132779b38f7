"""Write the tables of docs/sampler.md from results/samplers: a page says what was measured, and nothing else.

    python scripts/sampler_page.py [--check]

A table stands between `<!-- results: NAME -->` and `<!-- end -->`; what is between them is replaced. `--check` writes
nothing and fails where the page is another (a test does so).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from bench_sampler_knowledge import CHECKPOINTS, EXPERIMENTS
from bench_samplers import (
    FOLDER,
    GATE,
    GP,
    TPES,
    Row,
    Scores,
    TaskResult,
    at_once,
    by_task,
    longest,
    over_time,
    read_runs,
    scores,
)

PAGE = Path("docs/sampler.md")
END = "<!-- end -->"
OURS = "tpe"
ABLATED = {
    "regression": "regression (ratio of densities alone)",
    "prices": "prices, and proxies with them (prices as losses that only training tells)",
    "proxies": "proxies",
    "screen": "counts and predictions of all candidates",
    "relevance": "relevance",
    "roles": "roles",
    "densities": "densities (draws from the prior instead)",
    "survey": "survey",
}
SHORT = {"tpe": "ours", "peer:TPE default": "Optuna TPE", "peer:TPE multivariate+group": "multivariate + group"}


@cache
def runs(out: Path) -> list[Row]:
    """Return all runs in a folder; nobody changes them."""
    return [row for row in read_runs(out / "runs.jsonl") if "machine" not in row]


def plain(out: Path) -> list[Row]:
    return longest(row for row in runs(out) if row["pending"] == 1 and not row["time"])


def lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def main_table(group: str) -> Callable[[Path], list[str]]:
    """Return what ours and Optuna's TPEs reach on the tasks of a group."""

    def table(out: Path) -> list[str]:
        head = ["task", "at 50", "at 100", "at 200", *(f"{SHORT[name]} at 200" for name in TPES)]
        head += ["has the better one's 200 after", "p against each at 200"]
        made = []
        for name, rows in by_task(plain(out)).items():
            if rows[0]["group"] != group:
                continue
            result = TaskResult.of(name, [row for row in rows if not row["sampler"].endswith(GATE)], OURS)
            found = result.samplers
            reached = result.reached()
            tests = [result.against(peer, 200) for peer in TPES]
            seeds = sorted({n for _, n, _ in tests})
            made.append(
                [
                    name,
                    *(f"{found[OURS].median(at):.3f}" for at in (50, 100, 200)),
                    *(f"{found[peer].median(200):.3f}" for peer in TPES),
                    "not" if reached is None else f"{reached:.0f}",
                    " / ".join(f"{p:.2g}" for _, _, p in tests) + ("" if seeds == [10] else f" ({seeds[-1]} seeds)"),
                ]
            )
        return lines(head, made)

    return table


def gated(out: Path) -> list[str]:
    """Return what Optuna's TPEs reach where what is over budget is not charged to them."""
    made = []
    for name, rows in by_task(plain(out)).items():
        found = scores(rows)
        peers = [peer for peer in TPES if peer + GATE in found]
        if peers:
            cells = (f"{found[who].median(200):.3f}" for peer in peers for who in (peer, peer + GATE))
            made.append([name, f"{found[OURS].median(50):.3f}", f"{found[OURS].median(200):.3f}", *cells])
    head = (f"{SHORT[peer]}{gate} at 200" for peer in TPES for gate in ("", ", told before"))
    return lines(["task", "ours at 50", "ours at 200", *head], made)


def gaussian(out: Path) -> list[str]:
    """Return what Optuna's Gaussian process reaches beside ours, on the development tasks."""
    ours = by_task(row for row in plain(out) if row["sampler"] == OURS)
    made = []
    for name, rows in by_task(plain(out / "gp")).items():
        result = TaskResult.of(name, [*ours[name], *rows], OURS)
        ahead, n, p = result.against(GP, 100)
        cells = (f"{result.samplers[who].median(at):.3f}" for at in (50, 100) for who in (OURS, GP))
        made.append([name, *cells, f"{ahead} of {n}", f"{p:.2g}"])
    return lines(["task", "ours at 50", "GP at 50", "ours at 100", "GP at 100", "ours ahead at 100", "p"], made)


def ablation(out: Path) -> list[str]:
    """Return what is left at 50 and 100 evaluations with one part taken away."""
    whole = {name: scores(rows) for name, rows in by_task(plain(out)).items() if rows[0]["group"] == "development"}
    less = {name: scores(rows) for name, rows in by_task(plain(out / "ablation")).items()}

    def cells(label: str, found: dict[str, dict[str, Scores]], sampler: str) -> list[str]:
        told = (found[name].get(sampler) if name in found else None for name in whole)
        return [label, *("" if s is None else f"{s.median(50):.3f} / {s.median(100):.3f}" for s in told)]

    made = [cells("everything", whole, OURS)]
    made += [cells(label, less, f"tpe(without='{part}')") for part, label in ABLATED.items()]
    return lines(["", *whole], made)


def pending(out: Path) -> list[str]:
    """Return what is lost with 64 evaluations at once."""
    made = [
        [name, str(pending), f"{one:.3f}", f"{here:.3f}", f"{1 - here / one:.1%}"]
        for name, _, pending, _, here, one in at_once(runs(out), plain(out))
    ]
    return lines(["task", "at once", "one at a time", "at once, at 200", "lost"], made)


def time(out: Path) -> list[str]:
    """Return in what share of the simulated time ours has what the same sampler has that knows nothing of seconds."""
    told = list(over_time([row for row in runs(out) if row["time"]], OURS))
    ends = {(name, sampler): f"{score:.3f} ({count:.0f})" for name, sampler, count, score, _ in told}
    made = [
        [name, ends[name, OURS], ends[name, sampler], *("not" if s is None else f"{s:.0%}" for s in shares)]
        for name, sampler, _, _, shares in told
        if sampler != OURS
    ]
    head = ["task", "ours at the end (evaluations)", "blind", "has its 10 % in", "its 32 %", "its end"]
    return lines(head, made)


def knowledge(out: Path) -> list[str]:
    """Return what is reached with knowledge from elsewhere."""
    told = json.loads((out / "knowledge.json").read_text())
    made = []
    for name in EXPERIMENTS:
        for variant in told[name]["variants"]:
            at = {c["evaluations"]: f"{c['median']:.3f}" for c in variant["at"]}
            reached = variant["reached_after"]
            made.append(
                [
                    f"{name}: {variant['variant']}" if variant["variant"] == "none" else variant["variant"],
                    *(at[n] for n in CHECKPOINTS),
                    "not" if reached is None else f"{reached:.0f}",
                ]
            )
    return lines(["", *(f"at {n}" for n in CHECKPOINTS), "has what none has at 100 after"], made)


def overhead(out: Path) -> list[str]:
    """Return CPU milliseconds of a suggestion, ours alone."""
    rows = json.loads((out / "overhead.json").read_text())["suggestions"]
    counts = sorted({row["finished"] for row in rows})
    names = {"tpe": "", "tpe(without='proxies')": ", no proxies"}
    at = {(row["objectives"], row["sampler"], row["finished"]): row for row in rows}
    made = [
        [
            f"{'two' if n == 2 else 'three'} objectives{label}",
            *(f"{at[n, sampler, count]['ms_median']:.0f}" for count in counts),
            f"{at[n, sampler, counts[-1]]['priced']:.1f}",
            f"{at[n, sampler, counts[-1]]['rss_growth_mb']:.0f}",
        ]
        for n in sorted({n for n, _, _ in at})
        for sampler, label in names.items()
        if (n, sampler, counts[-1]) in at
    ]
    head = [*(f"{n:,} finished trials, ms" for n in counts), "priced for each", "memory grows by, MB"]
    return lines(["", *head], made)


TABLES: dict[str, Callable[[Path], list[str]]] = {
    "development": main_table("development"),
    "aside": main_table("aside"),
    "gated": gated,
    "gaussian": gaussian,
    "ablation": ablation,
    "pending": pending,
    "time": time,
    "knowledge": knowledge,
    "overhead": overhead,
}


def written(page: str, out: Path) -> str:
    """Return the page with its tables made anew.

    Raises:
        SystemExit: a table has no place in it.
    """
    for name, table in TABLES.items():
        start = f"<!-- results: {name} -->\n"
        before, _, rest = page.partition(start)
        _, end, after = rest.partition(END)
        if not end or page.count(start) != 1:
            raise SystemExit(f"{PAGE}: a line {start.strip()!r} with a line {END!r} after it has to be there once")
        page = before + start + "\n" + "\n".join(table(out)) + "\n\n" + end + after
    return page


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where the page is another")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder of the results; default: {FOLDER}")
    args = parser.parse_args(argv)
    page = PAGE.read_text(encoding="utf-8")
    made = written(page, args.out)
    if args.check and made != page:
        raise SystemExit(f"{PAGE} says other figures than {args.out}; 'python scripts/sampler_page.py' writes them")
    if not args.check:
        PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
