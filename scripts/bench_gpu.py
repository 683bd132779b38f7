"""Training on a GPU: samples per second and trials per hour, against the usual loop on the same GPU.

    python scripts/bench_gpu.py throughput      samples per second of one process, and of several that share the GPU
    python scripts/bench_gpu.py trials          trials per hour of a search on Fashion-MNIST, by the number of workers
    python scripts/bench_gpu.py report          the figures

The usual loop is that of `bench_training.py`, a `DataLoader` with a transform for each sample, float32, AdamW, with two
loader workers (`throughput`) or four (`trials`). There it trains the very networks that the search with one worker drew
at random, each for as many epochs, and judges each on the same validation images out of another loader. Ours prices
every candidate (ONNX Runtime on the CPU, for its latency), writes its trials, and keeps its front's weights meanwhile.

Each writes results/training/gpu_NAME.csv and .json, with the machine and its GPU, after every step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import training_peers as peers
import training_runs as runs
from book import Book, Row, read_rows, run_commands, steps
from latency_figures import spread
from training_figures import OURS, USUAL_LOADED
from training_nets import NETS, data_root
from training_search import Asked, watch

from nas.records import read_json

FOLDER = Path("results/training")
USUAL = "usual, four loader workers"


def gpu_name(device: str) -> str:
    """Return what the device calls itself."""
    import torch

    return torch.cuda.get_device_name(torch.device(device)) if device != "cpu" else "none, a trial of this script"


# ---------------------------------------------------------------- throughput


def throughput(args: argparse.Namespace, folder: Path) -> None:
    """Train networks of every kind with the usual loop and with ours, alone and in processes that share the GPU."""
    settings = {"seconds": args.seconds, "device": args.device, "gpu": gpu_name(args.device)}
    book = Book(args.out, "gpu_throughput", settings, args.fresh)
    jobs = [
        (repeat, net, variant)
        for repeat in range(args.repeats)
        for net in NETS
        for variant in (USUAL_LOADED, "without cuda_graphs", *(f"{OURS}, {n}" for n in args.processes))
        if not book.has(repeat=repeat, net=net, variant=variant)
    ]
    known: set[str] = set()
    with ExitStack() as stack:
        other = stack.enter_context(runs.processes(1, threads=2, keep=False))
        ours = [stack.enter_context(runs.processes(1)) for _ in range(max(args.processes))]
        for repeat, net, variant in steps(jobs, args.minutes):
            by, _, n = variant.partition(", ")
            if by == OURS:
                if net not in known:  # how many samples that is finds out each process for itself
                    known.add(net)
                    _at_once(ours, net, args.seconds, args.device)
                read = _at_once(ours[: int(n)], net, args.seconds, args.device)
            else:
                where = other if variant == USUAL_LOADED else ours[0]
                read = where.submit(runs.read_throughput, net, variant, args.seconds, args.device).result()
            samples, seconds = read["samples"], read["wall_seconds"]
            book.add([{"net": net, "variant": variant, "repeat": repeat, "samples": samples, "wall_seconds": seconds}])
    book.close({"nets": _rates(book.rows)})


def _at_once(ours: Sequence[ProcessPoolExecutor], net: str, seconds: float, device: str) -> Row:
    """Let processes train the same network from one moment on, and return what all did until the first was done.

    Each knows how many samples it takes for so many seconds from its first time, of which no figure is kept.
    """
    start = time.time() + 0.5
    read = [future.result() for future in [one.submit(_from_then_on, start, net, seconds, device) for one in ours]]
    together = min(one["ended"] for one in read) - max(one["began"] for one in read)
    rate = sum(one["samples"] / one["wall_seconds"] for one in read)
    if together < 0.5 * seconds:
        print(f"{net}: {len(ours)} trainings ran only {together:.2f} s together", flush=True)
    return {"samples": rate * together, "wall_seconds": together}


def _from_then_on(start: float, net: str, seconds: float, device: str) -> Row:
    time.sleep(max(0.0, start - time.time()))
    read = runs.read_throughput(net, OURS, seconds, device)
    ended = time.time()
    return {**read, "began": ended - read["wall_seconds"], "ended": ended}


def _rates(rows: Sequence[Row]) -> Row:
    """Return samples per second by network and variant, and how often that is of the usual loop's."""
    made: Row = {}
    for row in rows:
        rates = made.setdefault(row["net"], {}).setdefault(row["variant"], [])
        rates.append(row["samples"] / row["wall_seconds"])
    for by_variant in made.values():
        usual = by_variant.get(USUAL_LOADED, [])
        for variant, rates in [*by_variant.items()]:
            by_variant[variant] = spread(rates)
            if variant != USUAL_LOADED and usual:
                both = zip(rates, usual, strict=False)
                by_variant[f"{variant}: times the usual"] = spread([mine / theirs for mine, theirs in both])
    return made


# ---------------------------------------------------------------- trials


def trials(args: argparse.Namespace, folder: Path) -> None:
    """Search with so many workers, every network in full and then with rungs; train the same with the usual loop."""
    settings = {"seconds": args.seconds, "epochs": args.epochs, "device": args.device, "gpu": gpu_name(args.device)}
    book = Book(args.out, "gpu_trials", settings, args.fresh)
    searches = [
        *((f"random, {n}", ("--sampler", "random", "--rung", "none", "--workers", str(n))) for n in args.workers),
        *((f"tpe and rungs, {n}", ("--workers", str(n))) for n in args.workers),
    ]
    first = folder / "0"
    jobs = [(by, options) for by, options in [*searches, (USUAL, ())] if not book.has(by=by)]
    if jobs and jobs[0][0] != searches[0][0]:
        raise SystemExit("the usual loop trains what the first search drew, which is gone: begin anew with --fresh")
    for number, (by, options) in enumerate(steps(jobs, args.minutes)):
        if by == USUAL:
            book.add([{"by": by, **usual_trials(first, args.epochs, args.seconds, args.device)}])
            continue
        common = (
            *("--device", args.device, "--epochs", str(args.epochs)),
            *("--data-root", str(data_root()), "--val-share", f"{1 / 6:g}"),
        )
        asked = Asked("fashion_mnist_whole", 0, args.seconds, (*common, *options))
        *_, (seconds, rows) = watch(asked, folder / str(number), folder)
        states = [row["state"] for row in rows]
        trained = [row for row in rows if row["train_seconds"] != ""]
        book.add(
            [
                {
                    **{"by": by, "complete": states.count("complete"), "trained": len(trained)},
                    **{"seconds": seconds, "train_seconds": sum(row["train_seconds"] for row in trained)},
                }
            ]
        )
    book.close({"per_hour": _per_hour(book.rows)})


def usual_trials(run: Path, epochs: int, seconds: float, device: str) -> dict[str, Any]:
    """Train the networks of a run again, in its order, with the usual loop, until the time is over."""
    from torch.utils.data import DataLoader, Subset

    from nas.build import build
    from nas.study.folder import RunFolder

    config, records = RunFolder(run).read()
    dataset = peers.fashion_dataset(str(data_root()), flat=False)
    began, done, training = time.perf_counter(), 0, 0.0
    for record in records:
        if record.state != "complete":
            continue
        if time.perf_counter() - began > seconds:
            break
        network = build(config.space, record.arch, (1, 28, 28), 10)
        batch_size = config.space.resolve(record.arch)["training"]["batch_size"]  # type: ignore[index, call-overload]
        train = Subset(dataset, range(50_000))
        started = time.perf_counter()
        for _ in range(epochs):
            loader = DataLoader(train, batch_size, shuffle=True, num_workers=4, pin_memory=device != "cpu")
            peers.usual_loop(network, loader, device=device)
        training += time.perf_counter() - started
        judged = DataLoader(Subset(dataset, range(50_000, 60_000)), 512, num_workers=4)
        usual_accuracy(network, judged, device)
        done += 1
    spent = time.perf_counter() - began
    return {"complete": done, "trained": done, "seconds": spent, "train_seconds": training}


def usual_accuracy(network: Any, loader: Any, device: str) -> float:
    """Return the share of right answers."""
    import torch

    network.eval()
    with torch.no_grad():
        right = sum((network(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in loader)
    return float(right) / len(loader.dataset)


def _per_hour(rows: Sequence[Row]) -> Row:
    return {
        row["by"]: {f"{what} per hour": 3600 * row[what] / row["seconds"] for what in ("complete", "trained")}
        for row in rows
    }


# ---------------------------------------------------------------- the command


def report(args: argparse.Namespace, folder: Path) -> None:
    """Print the figures of what was read so far."""
    for name, made in (("gpu_throughput", _rates), ("gpu_trials", _per_hour)):
        if not (args.out / f"{name}.csv").exists():
            print(f"{name}: not there yet")
            continue
        found = read_json(args.out / f"{name}.json")
        print(f"{name} on {found['settings']['gpu']}, {found['machines'][-1]['date'][:10]}")
        for part, figures in made(read_rows(args.out / f"{name}.csv")).items():
            print(f"  {part}")
            for what, value in figures.items():
                print(f"    {what:50} {_told(value)}")


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:,.4g} ({value['low']:,.4g} to {value['high']:,.4g})"
    return f"{value:,.0f}"


def main(argv: Sequence[str] | None = None) -> None:
    run_commands(
        __doc__,
        FOLDER,
        {
            throughput: {"repeats": 3, "seconds": 2.0, "processes": [1, 4, 8], "device": "cuda"},
            trials: {"seconds": 60.0, "epochs": 3, "workers": [1, 4, 8], "device": "cuda"},
            report: {},
        },
        argv,
    )


if __name__ == "__main__":
    main()
