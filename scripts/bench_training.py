"""Is training quick and sure? Against the usual loop, hand-tuned scripts, and ours without rungs or with one worker.

    python scripts/bench_training.py throughput      samples per core-second, against the usual loop
    python scripts/bench_training.py rungs           do the rungs rank 30 random networks as full trainings do?
    python scripts/bench_training.py tune            learning rates of the hand-tuned scripts
    python scripts/bench_training.py recipe          three CNNs trained in full, against those in the same seconds
    python scripts/bench_training.py parallel        trainings per minute of a search with one and two workers
    python scripts/bench_training.py multifidelity   how soon searches with rungs have what those without reach
    python scripts/bench_training.py report          every goal against its figure

Each writes results/training/NAME.csv (what was read) and NAME.json (the figures made of it, the settings, the machine),
after every step: it can be interrupted, and goes on where it was. Nothing else should run on the machine meanwhile.
With the settings as they are: 20 minutes (throughput), 10 (rungs), 12 (tune), 40 (recipe), 12 (parallel), 60
(multifidelity); --minutes says how much of that now. Fashion-MNIST and SpokenDigits lie in `data`, or where
NAS_TEST_DATA says.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import training_figures as figures
import training_runs as runs
from book import Book, run_commands, steps
from training_figures import OURS
from training_nets import CNNS, NETS
from training_search import Asked, available, data_of, trace, watch, work_done

FOLDER = Path("results/training")
Row = dict[str, Any]


# ---------------------------------------------------------------- throughput


def throughput(args: argparse.Namespace, folder: Path) -> None:
    """Train networks of every kind with ours, the usual loop, and ours without each of its measures, in turns."""
    book = Book(args.out, "throughput", {"seconds": args.seconds}, args.fresh)
    jobs = [
        (repeat, net, variant)
        for repeat in range(args.repeats)
        for net in NETS
        for variant in in_turn(list(runs.VARIANTS), repeat)
        if variant != "without channels_last" or NETS[net].kind == "image"
        if not book.has(repeat=repeat, net=net, variant=variant)
    ]
    with ExitStack() as stack:
        pools = {name: stack.enter_context(runs.processes(1, *how)) for name, how in runs.PROCESSES.items()}
        for repeat, net, variant in steps(jobs, args.minutes):
            read = pools[runs.VARIANTS[variant]].submit(runs.read_throughput, net, variant, args.seconds).result()
            book.add([{"net": net, "group": NETS[net].group, "variant": variant, "repeat": repeat, **read}])
    book.close(figures.throughput(book.rows))


def in_turn(names: Sequence[str], repeat: int) -> list[str]:
    """Return the names in another order each time: who comes first has another's caches, or clock.

    >>> in_turn("abc", 1), in_turn("abc", 4)
    (['b', 'c', 'a'], ['b', 'c', 'a'])
    """
    by = repeat % len(names)
    return [*names[by:], *names[:by]]


# ---------------------------------------------------------------- rungs


def rungs(args: argparse.Namespace, folder: Path) -> None:
    """Train random networks of the image space through all rungs; the two processes take the next one in turn."""
    settings = {"samples": args.samples, "judged": runs.JUDGED, "limit_s": args.limit}
    book = Book(args.out, "rungs", settings, args.fresh)
    candidates = (i for i in range(100 * args.nets) if not book.has(candidate=i))
    turns = steps([f"{args.nets} networks, step {i}" for i in range(1, 3 * args.nets)], args.minutes)
    with runs.processes(2) as pool:
        at_work: set[Future[list[Row]]] = set()
        while True:
            while len(at_work) < 2 and _trained(book) + len(at_work) < args.nets and next(turns, None):
                at_work.add(pool.submit(runs.train_rungs, next(candidates), args.samples, args.limit))
            if not at_work:
                break
            done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            for future in done:
                book.add(future.result())
    book.close(figures.rungs(book.rows, args.nets))


def _trained(book: Book) -> int:
    return len({row["candidate"] for row in book.rows if row["state"] == "trained"})


# ---------------------------------------------------------------- recipe


def tune(args: argparse.Namespace, folder: Path) -> None:
    """Try learning rates of the hand-tuned scripts on the three networks, two at a time; judged on validation data."""
    from training_peers import GRID

    book = Book(args.out, "tune", {"seconds": args.seconds}, args.fresh)
    tries = [(by, net, lr) for by, lrs in GRID.items() for net in CNNS for lr in lrs]
    tries = [(by, net, lr) for by, net, lr in tries if not book.has(by=by, net=net, lr=lr)]
    with runs.processes(2, keep=False) as pool:
        for pair in steps([tries[i : i + 2] for i in range(0, len(tries), 2)], args.minutes):
            futures = [pool.submit(runs.tune_peer, net, by, lr, args.seconds) for by, net, lr in pair]
            keys = [{"by": by, "net": net, "lr": lr} for by, net, lr in pair]
            book.add({**key, **future.result()} for key, future in zip(keys, futures, strict=True))
    book.close(figures.tuned(book.rows))


def recipe(args: argparse.Namespace, folder: Path) -> None:
    """Train three CNNs in full with ours, then by hand-tuned scripts for the seconds that took; two seeds at once."""
    from training_peers import RECIPES

    book = Book(args.out, "recipe", {"seconds": args.seconds, "ours": runs.RECIPE}, args.fresh)
    jobs = [
        (net, seeds, by)
        for net in CNNS
        for seeds in (range(args.seeds)[i : i + 2] for i in range(0, args.seeds, 2))
        for by in (OURS, *RECIPES)
        if not all(book.has(net=net, seed=seed, by=by) for seed in seeds)
    ]
    with runs.processes(2) as with_ours, runs.processes(2, keep=False) as with_theirs:
        for net, seeds, by in steps(jobs, args.minutes):
            if by == OURS:
                futures = [with_ours.submit(runs.train_ours, net, seed, args.seconds) for seed in seeds]
            else:
                took = {row["seed"]: row["seconds"] for row in book.rows if (row["net"], row["by"]) == (net, OURS)}
                futures = [with_theirs.submit(runs.train_peer, net, by, seed, took[seed]) for seed in seeds]
            keys = [{"net": net, "by": by, "seed": seed} for seed in seeds]
            book.add({**key, **future.result()} for key, future in zip(keys, futures, strict=True))
    book.close(figures.recipe(book.rows))


# ---------------------------------------------------------------- searches


def parallel(args: argparse.Namespace, folder: Path) -> None:
    """Search with one worker and with two, in turns, and count the trainings."""
    book = Book(args.out, "parallel", {"seconds": args.seconds, "sampler": args.sampler}, args.fresh)
    jobs = [
        (data, repeat, workers)
        for data in available(args.data)
        for repeat in range(args.repeats)
        for workers in ((1, 2) if repeat % 2 == 0 else (2, 1))
        if not book.has(data=data, repeat=repeat, workers=workers)
    ]
    for data, repeat, workers in steps(jobs, args.minutes):
        asked = Asked(data, 0, args.seconds, ("--workers", str(workers), "--sampler", args.sampler))
        *_, (seconds, trials) = watch(asked, folder / f"{data}-{repeat}-{workers}", folder)
        n, train_seconds = work_done(trials)
        book.add(
            [
                {
                    **{"data": data, "workers": workers, "repeat": repeat, "trials": n},
                    **{"seconds": seconds, "train_seconds": train_seconds},
                }
            ]
        )
    book.close(figures.parallel(book.rows))


def multifidelity(args: argparse.Namespace, folder: Path) -> None:
    """Search without rungs, with them, and with them in a quarter of the time, a core each; note how fronts grow."""
    limits = {"digits": args.digits, "spoken_digits": args.spoken, "fashion_mnist": args.fashion}
    book = Book(args.out, "multifidelity", {"workers": 1, "side_by_side": 2, "seconds": limits}, args.fresh)
    n_seeds = {"digits": args.seeds, "spoken_digits": args.seeds, "fashion_mnist": max(1, args.seeds // 2)}
    jobs: list[list[tuple[str, int, str]]] = []  # what runs side by side: the same time limit
    for data in available(args.data):
        todo = {
            n: [s for s in range(n_seeds[data]) if not book.has(data=data, seed=s, rungs=n)]
            for n in ("none", figures.QUARTER)
        }
        jobs += [[(data, seed, "none"), (data, seed, "auto")] for seed in todo["none"]]
        quarters = [(data, seed, figures.QUARTER) for seed in todo[figures.QUARTER]]
        jobs += [quarters[i : i + 2] for i in range(0, len(quarters), 2)]
    with ThreadPoolExecutor(2) as pool:
        for job in steps(jobs, args.minutes):
            searches = {}
            for data, seed, name in job:
                data_of(data, folder)  # written once, by nobody but us
                seconds = limits[data] / (4 if name == figures.QUARTER else 1)
                asked = Asked(data, seed, seconds, ("--workers", "1", "--rung", "none" if name == "none" else "auto"))
                out = folder / f"{data}-{seed}-{name.replace(' ', '-')}"
                searches[data, seed, name] = pool.submit(trace, asked, out, folder)
            book.add(
                {"data": data, "rungs": name, "seed": seed, "seconds": when, "hypervolume": volume}
                for (data, seed, name), found in searches.items()
                for when, volume in found.result()
            )
    book.close(figures.multifidelity(book.rows))


# ---------------------------------------------------------------- the command


def report(args: argparse.Namespace, folder: Path) -> None:
    """Print every goal against its figure."""
    print("\n".join(figures.report(args.out)))


def main(argv: Sequence[str] | None = None) -> None:
    run_commands(
        __doc__,
        FOLDER,
        {
            throughput: {"repeats": 5, "seconds": 2.0},
            rungs: {"nets": 30, "samples": 10_000, "limit": 60.0},
            tune: {"seconds": 60.0},
            recipe: {"seconds": 240.0, "seeds": 2},
            parallel: {"seconds": 60.0, "repeats": 3, "sampler": "tpe", "data": ["digits", "fashion_mnist"]},
            multifidelity: {
                **{"seeds": 5, "digits": 120.0, "spoken": 240.0, "fashion": 600.0},
                **{"data": list(figures.BOXES)},
            },
            report: {},
        },
        argv,
    )


if __name__ == "__main__":
    main()
