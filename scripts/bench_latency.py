"""Do the prices hold? Latency between processes, against the truth, beside trainings, on shipped files; and their cost.

    python scripts/bench_latency.py ranking     30 candidates in several processes, idle and with busy cores
    python scripts/bench_latency.py truth       nets of 20 kB to 20 MB against the same net run alone
    python scripts/bench_latency.py beside      slow and fast nets beside two trainers, and what the pauses cost those
    python scripts/bench_latency.py price       what all prices of a candidate cost, part by part
    python scripts/bench_latency.py shipped     two short searches, and the files of their fronts measured again
    python scripts/bench_latency.py predictor   latencies of unseen candidates from those of measured ones
    python scripts/bench_latency.py report      every goal against its figure

Each writes results/latency/NAME.csv (what was read) and NAME.json (the figures made of it, the settings, the machine),
after every step: it can be interrupted, and goes on where it was. With the settings as they are all of them together
take half an hour, none more than ten minutes. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import latency_figures as figures
import numpy as np
from book import TARGET, Book, Row, run_commands, steps
from latency_load import MODES, Trainers
from latency_nets import (
    BESIDE,
    N_OUTPUTS,
    File,
    draw,
    mix_key,
    n_parameters,
    run_alone,
    run_eager,
    write_mixed,
    write_nets,
)

from nas.catalog import find_space
from nas.measure import OpenMeter, open_meter, reference
from nas.objectives import LATENCY, Measurement
from nas.records import write_json
from nas.space import Architecture, Group, Space

FOLDER = Path("results/latency")
IMAGE = (1, 28, 28)
ALONE_RUNS = 20_000


def measured(meter: OpenMeter, file: File) -> Row:
    """Return the latency of a network with its interval, and by which clock it was read."""
    before = meter.disturbed
    found = meter.measure(file.onnx, file.in_shape)
    clock = "cpu" if meter.disturbed > before else "wall"
    return {"ms": found.value, "low": found.low, "high": found.high, "clock": clock}


def plainly(ms: float) -> Row:
    """Return the same of a protocol that knows no interval."""
    return {"ms": ms, "low": ms, "high": ms, "clock": "wall"}


# ---------------------------------------------------------------- ranking

OURS, MEDIAN, MEAN, EAGER = PROTOCOLS = ("ours", "median of 50", "mean of 200", "torch eager, median of 50")


def ranking(args: argparse.Namespace, folder: Path) -> None:
    """Let several processes measure the same candidates, plain protocols beside ours; half of them by deaf trainers."""
    book = Book(args.out, "ranking", {"nets": args.nets, "spaces": mix_key(), "trainers": args.trainers}, args.fresh)
    files = write_mixed(folder, args.nets)
    calibration = book.calibration()
    n_processes = {"idle": args.processes, "pausing": args.processes, "deaf": min(3, args.processes)}
    jobs = [
        (mode, process, protocol)
        for process in range(args.processes)
        for mode, n in n_processes.items()
        if process < n
        for protocol in (OURS, "plain", EAGER)
        if (mode != "deaf" or protocol == OURS)
        and not book.has(mode=mode, process=process, protocol=MEAN if protocol == "plain" else protocol)
    ]
    with Trainers(args.trainers) as trainers:
        for mode, process, protocol in steps(jobs, args.minutes):
            trainers.set(mode)
            rng = np.random.default_rng(process)
            # The meter waits 2 s for who is deaf, before each net. Who comes before whom is part of the chance.
            order = [files[i] for i in rng.permutation(len(files)) if mode != "deaf" or i % 2 == 0]
            read: dict[str, list[Any]] = {}
            if protocol == OURS:
                with open_meter(TARGET, calibration) as meter:
                    read[OURS] = [measured(meter, file) for file in order]
            elif protocol == EAGER:
                read[EAGER] = [plainly(ms) for ms in run_eager(order)]
            else:
                runs = run_alone([(file.onnx, file.in_shape, 2.0, 200) for file in order])
                read[MEDIAN] = [plainly(float(np.median(ms[:50]))) for ms in runs]
                read[MEAN] = [plainly(float(np.mean(ms))) for ms in runs]
            book.add(
                {"mode": mode, "protocol": name, "process": process, "net": file.name, **row}
                for name, found in read.items()
                for file, row in zip(order, found, strict=True)
            )
    book.close(figures.ranking(book.rows, {f.name: f.macs for f in files}))


# ---------------------------------------------------------------- truth


def truth(args: argparse.Namespace, folder: Path) -> None:
    """Measure each net with the protocol and alone, in turns, the reference net alone before and after it.

    And alone once more, in another process: what differs there nobody can know better.
    """
    book = Book(args.out, "truth", {"seconds": args.seconds}, args.fresh)
    files = write_nets(folder)
    calibration = book.calibration()
    fixed = folder / "reference.onnx"
    fixed.write_bytes(reference.model())
    jobs = [r for r in range(args.rounds) if not book.has(round=r, net=files[-1].name)]
    for r in steps(jobs, args.minutes):
        rows = []
        with open_meter(TARGET, calibration) as meter:
            for i, file in enumerate(files):
                if (first := (i + r) % 2) == 0:
                    found = measured(meter, file)
                beside = (fixed, reference.IN_SHAPE, args.seconds / 3, ALONE_RUNS)
                itself = (file.onnx, file.in_shape, args.seconds, ALONE_RUNS)
                before, alone, after = run_alone([beside, itself, beside])
                (once_more,) = run_alone([itself])
                if first == 1:
                    found = measured(meter, file)
                around = np.concatenate([before, after])
                rows.append(
                    {
                        **{"round": r, "net": file.name, "weights_kb": file.weight_bytes // 1000},
                        **found,
                        **{"alone_ms": figures.calm(alone), "alone_median_ms": float(np.median(alone))},
                        "alone_again_ms": figures.calm(once_more),
                        **{"reference_ms": figures.calm(around), "reference_median_ms": float(np.median(around))},
                    }
                )
        book.add(rows)
    book.close(figures.truth(book.rows, calibration.reference_ms))


# ---------------------------------------------------------------- beside


def beside(args: argparse.Namespace, folder: Path) -> None:
    """Measure nets with the trainers in every mode in turn; then count batches with and without a measurer."""
    book = Book(args.out, "beside", {"trainers": args.trainers, "seconds": args.seconds}, args.fresh)
    files = write_nets(folder, BESIDE)
    calibration = book.calibration()
    rates: list[Row] = book.kept.setdefault("rates", [])
    jobs = [("nets", r) for r in range(args.repetitions) if not book.has(repetition=r, mode=MODES[-1])]
    jobs += [("batches", r) for r in range(args.repetitions) if not any(row["repetition"] == r for row in rates)]
    with Trainers(args.trainers) as trainers:
        for what, r in steps(jobs, args.minutes):
            with open_meter(TARGET, calibration) as meter:
                if what == "nets":
                    rows = []
                    for mode in MODES if r % 2 else MODES[::-1]:
                        trainers.set(mode)
                        rows += [{"repetition": r, "mode": mode, "net": f.name, **measured(meter, f)} for f in files]
                    book.add(rows)
                    continue
                trainers.set("pausing")
                measured(meter, files[0])  # starts its process
                rates.append(
                    {"repetition": r, **batch_rates(trainers, partial(measured, meter, files[0]), args.seconds)}
                )
                write_json(book.json, book.kept)
    book.close(figures.beside(book.rows, rates))


def batch_rates(trainers: Trainers, measure: Callable[[], object], seconds: float) -> Row:
    """Return the batches per second without and with somebody who measures all the time, and how much he does."""
    found: Row = {}
    for name in ("alone", "measured"):
        n, begun, before = 0, time.monotonic(), trainers.batches()
        while (spent := time.monotonic() - begun) < seconds:
            if name == "measured":
                measure()
                n += 1
            else:
                time.sleep(0.01)
        found |= {f"batches_per_s_{name}": (trainers.batches() - before) / spent, "measurements_per_s": n / spent}
    return found


# ---------------------------------------------------------------- price


def price(args: argparse.Namespace, folder: Path) -> None:
    """Price random candidates as a study does, and as many others part by part, in turns."""
    from nas.export.onnx import export_onnx, quiet_session, structure
    from nas.measure import count_macs
    from nas.measure.fast_macs import count_macs_fast
    from nas.measure.memory import peak_activation_bytes
    from nas.measure.price import Pricer
    from nas.study.limits import training_process

    book = Book(args.out, "price", {"space": "image", "in_shape": IMAGE, "nets": args.nets}, args.fresh)
    drawn = draw(find_space("image"), IMAGE, 2 * args.nets + 2, "price")
    path, rows = folder / "candidate.onnx", []
    with open_meter(TARGET, book.calibration()) as meter, training_process():
        pricer = Pricer({LATENCY: meter}, IMAGE, folder)
        for i in range(args.nets + 1):
            cost: dict[str, float] = {}
            _, network = next(drawn)
            with spent(cost, "whole_ms"):
                pricer.price(network)
            with spent(cost, "draw_and_build_ms"):
                _, network = next(drawn)  # another: a network is priced faster the second time
            with spent(cost, "export_ms"):
                export_onnx(network, IMAGE, path)
            with spent(cost, "structure_ms"):
                structure(path)
            with spent(cost, "latency_ms"):
                latency = meter.measure(path, IMAGE).value
            with spent(cost, "macs_ms"):
                macs = count_macs(network, IMAGE)
            with spent(cost, "params_ms"):
                n_params = n_parameters(network)
            with spent(cost, "peak_ms"):
                peak_bytes = peak_activation_bytes(path, IMAGE)
            with spent(cost, "fast_macs_ms"):  # instead of MACs, where many candidates are screened
                fast_macs = count_macs_fast(network, IMAGE)
            with spent(cost, "session_ms"):  # within the latency too
                quiet_session(path)
            found = {"latency": latency, "macs": macs, "fast_macs": fast_macs, "n_params": n_params}
            if i:  # the first ones load libraries
                rows.append({**cost, **found, "size_bytes": path.stat().st_size, "peak_bytes": peak_bytes})
            if i % 25 == 0:
                print(f"[{i}/{args.nets}]", flush=True)
    book.rows.clear()  # a minute or two: always read anew
    book.add(rows)
    book.close(figures.price(book.rows))


@contextmanager
def spent(cost: dict[str, float], part: str) -> Iterator[None]:
    """Note the ms that the block takes."""
    begun = time.perf_counter()
    yield
    cost[part] = (time.perf_counter() - begun) * 1e3


# ---------------------------------------------------------------- shipped


def shipped(args: argparse.Namespace, folder: Path) -> None:
    """Search for a while, then export every member of the front: `ship` measures each file, in a new process."""
    from nas.api import Study

    root = Path(os.environ.get("NAS_TEST_DATA", "data"))
    searches = [("digits", "digits"), ("fashion_mnist", "image")]
    if not (root / "FashionMNIST").is_dir():
        print(f"left out: fashion_mnist, not in {root}; NAS_TEST_DATA names another folder")
        searches.pop()
    book = Book(args.out, "shipped", {"seconds": args.seconds}, args.fresh)
    for data, space in steps([(d, s) for d, s in searches if not book.has(data=d)], args.minutes):
        cut = "digits" if data == "digits" else cut_images(root, folder / f"{data}.npz")
        study = Study(space, cut, out=folder / data, seed=0, trial_time_limit=20, epochs=2)
        front = study.search(time_limit=args.seconds)
        print(f"{len(front)} members of {len(front.records)} trials", flush=True)
        if not front.members:
            raise SystemExit(f"{data}: nothing was trained within {args.seconds:g} s; say more with --seconds")
        rows = []
        for member in front:
            searched = member.record.prices[LATENCY]
            made = member.export(folder / f"{data}-{member.record.number}.onnx")
            file = made.latencies[0].file
            rows.append(
                {
                    **{"data": data, "trial": member.record.number, "blocks": member.summary},
                    **{"ms": searched.value, "low": searched.low, "high": searched.high},
                    **{"file_ms": file.value, "file_low": file.low, "file_high": file.high},
                    "differs": made.differs,
                }
            )
        book.add(rows)
    book.close(figures.shipped(book.rows))


def cut_images(root: Path, path: Path, n_train: int = 2000, n_test: int = 500) -> Path:
    """Write the first images of Fashion-MNIST: accuracy is not what is asked here."""
    from nas.data import DATASETS, Reading

    found = DATASETS["fashion_mnist"](Reading(data_root=root))
    assert found.x_test is not None
    assert found.y_test is not None
    x_train, y_train, x_test, y_test = found.x_train[:n_train], found.y_train[:n_train], found.x_test, found.y_test
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test[:n_test], y_test=y_test[:n_test])
    return path


# ---------------------------------------------------------------- predictor


def predictor(args: argparse.Namespace, folder: Path) -> None:
    """Measure candidates once, then learn from some of them and predict others, over several splits."""
    whole = find_space("image")
    fields = {section: node for section, node in whole.root.fields.items() if section != "training"}
    space = replace(whole, root=Group(fields))  # what no latency depends on would be half of the file
    data = Book(args.out, "candidates", {"space": space.fingerprint(), "in_shape": IMAGE}, args.fresh)
    if len(data.rows) < args.nets:
        measure_candidates(data, space, args.nets, args.minutes, folder / "candidate.onnx")
    known = data.rows[: args.nets]
    if len(known) < args.nets:
        return
    book = Book(args.out, "predictor", {"nets": args.nets, "learned": args.learned}, args.fresh)
    for seed in steps([seed for seed in range(args.seeds) if not book.has(seed=seed)], args.minutes):
        book.add(split(space, known, sorted(args.learned), seed))
    book.close(figures.predictor(book.rows))


def measure_candidates(data: Book, space: Space, n: int, minutes: float, path: Path) -> None:
    """Measure random candidates until there are `n`, with one meter: as a study would."""
    from nas.export.onnx import export_onnx
    from nas.measure.fast_macs import count_macs_fast

    drawn = draw(space, IMAGE, n, "predictor")
    known = list(itertools.islice(drawn, len(data.rows)))
    with open_meter(TARGET, data.calibration()) as meter:
        for _ in steps([f"up to {i + 50} candidates" for i in range(len(known), n, 50)], minutes):
            rows = []
            for arch, network in itertools.islice(drawn, 50):
                export_onnx(network, IMAGE, path)
                m = meter.measure(path, IMAGE)
                counts = {"macs": count_macs_fast(network, IMAGE), "n_params": n_parameters(network)}
                rows.append({"ms": m.value, "low": m.low, "high": m.high, **counts, "architecture": arch.to_json()})
            data.add(rows)
    data.close({"ms": figures.spread([row["ms"] for row in data.rows])})


def split(space: Space, known: Sequence[Row], learned: Sequence[int], seed: int) -> list[Row]:
    """Learn from the first of a permutation, predict those that nobody learns, and time the screening of 300 others."""
    from nas.measure.predict import LatencyPredictor

    order = np.random.default_rng(seed).permutation(len(known))
    archs = [Architecture.from_json(known[i]["architecture"]) for i in order]
    latencies = [Measurement(known[i]["ms"], known[i]["low"], known[i]["high"]) for i in order]
    y, plain = np.log([m.value for m in latencies]), figures.plain_features([known[i] for i in order])
    unseen = slice(max(learned), None)
    others = [arch for arch, _ in draw(space, IMAGE, 300, "screened", seed)]
    ours, rows = LatencyPredictor(space, IMAGE, N_OUTPUTS), []
    for before, n in itertools.pairwise([0, *learned]):
        cost: dict[str, float] = {}
        with spent(cost, "learn_ms"):
            for i in range(before, n):
                ours.learn(archs[i], latencies[i])
        with spent(cost, "fit_ms"):  # put off until somebody asks
            ours.predict(others[:1])
        with spent(cost, "screen_300_ms"):
            ours.predict(others)
        told = {"ours": ours.predict(archs[unseen])}
        for name, baseline in figures.BASELINES.items():
            told[name] = baseline(plain[:n], y[:n], plain[unseen])
        for name, (mean, std) in told.items():
            judged = figures.judge_prediction(y[unseen], np.asarray(mean), np.asarray(std))
            costs = cost if name == "ours" else dict.fromkeys(cost, "")
            rows.append({"seed": seed, "learned": n, "by": name, **judged, **costs})
    return rows


# ---------------------------------------------------------------- the command


def report(args: argparse.Namespace, folder: Path) -> None:
    """Print every goal against its figure."""
    print("\n".join(figures.report(args.out)))


def main(argv: Sequence[str] | None = None) -> None:
    run_commands(
        __doc__,
        FOLDER,
        {
            ranking: {"nets": 30, "processes": 5, "trainers": 2},
            truth: {"rounds": 6, "seconds": 0.9},
            beside: {"repetitions": 6, "trainers": 2, "seconds": 5.0},
            price: {"nets": 100},
            shipped: {"seconds": 75.0},
            predictor: {"nets": 400, "learned": [25, 50, 100, 200], "seeds": 5},
            report: {},
        },
        argv,
    )


if __name__ == "__main__":
    main()
