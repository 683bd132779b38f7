"""Does every kind of block ship in every format? Briefly trained networks of one kind each, exported and compared.

    python scripts/bench_export.py digits           networks on scikit-learn's digits, 8x8
    python scripts/bench_export.py fashion_mnist    the same kinds on 28x28 images (6,000 of them, cut at random)
    python scripts/bench_export.py report           both as Markdown

Writes results/export/NAME.csv (a row for each kind, format and precision: largest difference of an output to torch,
accuracies, seconds to write, bytes; or why there is no file) and NAME.json (figures, settings, the machine). Goes on
where it was interrupted. Needs the extras openvino and executorch for their formats. Minutes; on 28x28 images the
lowering of recurrent layers for ExecuTorch takes most of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from book import Book, Row, read_rows, run_commands, steps

from nas.build import Network, build_tree
from nas.data import Task, load_task
from nas.errors import NasError
from nas.export import FORMATS
from nas.export.quantize import PRECISIONS
from nas.records import read_json
from nas.ship.checked import Checked, write_checked, write_plain, write_quantised
from nas.study.deploy import calibration
from nas.training import TrainConfig, fit

FOLDER = Path("results/export")
N_FASHION = 6000

CONV, POOL, LAST = {"conv": {"width": 16, "stride": 2}}, {"pool": {}}, {"last": {}}
TOKENS = {"patches": {"width": 32, "patch": 7}}
KINDS: dict[str, dict[str, Any]] = {
    "conv": {"stem": CONV, "body": [{"conv": {"width": 48, "stride": 2}}], "head": POOL},
    "conv, silu, group norm": {
        "stem": CONV,
        "body": [{"conv": {"width": 48, "act": "silu", "norm": "group"}}],
        "head": {"flatten": {"hidden": 32}},
    },
    "separable": {"stem": CONV, "body": [{"separable": {"width": 64}}, {"separable": {"width": 64}}], "head": POOL},
    "mbconv": {"stem": CONV, "body": [{"mbconv": {"width": 24, "expand": 4, "se": True}}], "head": POOL},
    "resblock": {"stem": CONV, "body": [{"resblock": {"width": 32}}], "head": POOL},
    "pooling": {
        "stem": CONV,
        "body": [{"maxpool": {}}, {"conv": {"width": 48}}, {"avgpool": {"kernel": 3, "stride": 1}}],
        "head": {"flatten": {}},
    },
    "lstm": {"stem": TOKENS, "body": [{"lstm": {"hidden": 48}}], "head": LAST},
    "lstm, both ways": {"stem": TOKENS, "body": [{"lstm": {"hidden": 32, "bidirectional": True}}], "head": POOL},
    "gru": {"stem": TOKENS, "body": [{"gru": {"hidden": 48}}], "head": LAST},
    "rnn": {"stem": TOKENS, "body": [{"rnn": {"hidden": 48}}], "head": LAST},
    "conv1d": {"stem": TOKENS, "body": [{"conv1d": {"width": 48, "act": "gelu"}}], "head": POOL},
    "transformer": {"stem": TOKENS, "body": [{"transformer": {"dim": 48, "heads": 2}}], "head": {"attention": {}}},
    "project": {"stem": TOKENS, "body": [{"project": {"width": 96}}, {"transformer": {"dim": 96}}], "head": POOL},
    "dense": {"body": [{"dense": {"width": 128}}, {"dense": {"width": 128, "norm": "layer"}}], "head": POOL},
}
"""Every block and head is in one. Sixteen tokens of 28x28 images, of 8x8 images four."""


def digits(args: argparse.Namespace, folder: Path) -> None:
    """Networks of each kind on scikit-learn's digits."""
    export_kinds("digits", load_task("digits", input="image"), args, folder)


def fashion_mnist(args: argparse.Namespace, folder: Path) -> None:
    """Networks of each kind on a part of Fashion-MNIST, from NAS_TEST_DATA or data/."""
    task = load_task("fashion_mnist", input="image", data_root=os.environ.get("NAS_TEST_DATA", "data"))
    rng = np.random.default_rng(0)
    some, other = (torch.from_numpy(rng.permutation(n)[:N_FASHION]) for n in (len(task.x_train), len(task.x_val)))
    cut = {"x_train": task.x_train[some], "y_train": task.y_train[some]}
    cut |= {"x_val": task.x_val[other[:2000]], "y_val": task.y_val[other[:2000]]}
    export_kinds("fashion_mnist", dataclasses.replace(task, **cut), args, folder)


def export_kinds(name: str, task: Task, args: argparse.Namespace, folder: Path) -> None:
    """Train a network of each kind, and write and judge it in every format and precision that is available."""
    torch.set_num_threads(1)
    book = Book(args.out, name, {"epochs": args.epochs}, args.fresh)
    missing = [reason for f in FORMATS if (reason := FORMATS[f].unavailable())]
    for reason in missing:
        print(f"left out: {reason}")
    formats = [f for f in FORMATS if not FORMATS[f].unavailable()]
    wanted = [
        (kind, form, precision)
        for kind in KINDS
        for form in formats
        for precision in PRECISIONS
        if precision in FORMATS[form].precisions and not book.has(kind=kind, format=form, precision=precision)
    ]
    wanted.sort(key=lambda job: job[1] == "executorch")  # last, since it takes longest
    networks: dict[str, Network] = {}
    for kind, form, precision in steps(wanted, args.minutes):
        if kind not in networks:
            networks[kind] = trained(kind, task, args.epochs)
        book.add([exported(networks[kind], kind, task, form, precision, folder)])
    book.close(figures(book.rows))


def trained(kind: str, task: Task, epochs: int) -> Network:
    """Return a network of a kind, trained for so many epochs."""
    torch.manual_seed(0)
    tree = {**KINDS[kind]}
    if tree.get("stem") == TOKENS and task.in_shape[1] < 28:
        tree["stem"] = {"patches": {"width": 32, "patch": 4}}
    network = build_tree(tree, task.in_shape, task.n_outputs)
    optimizer = {"adamw": {"lr": 0.005}}
    config = TrainConfig.from_tree({"epochs": epochs, "batch_size": 64, "optimizer": optimizer})
    fit(network, task.x_train, task.y_train, config, seed=0)
    return network.eval()


def exported(network: Network, kind: str, task: Task, format: str, precision: str, folder: Path) -> Row:
    """Write one file; return what was found on it, or why there is none."""
    form, metadata = FORMATS[format], {"batch": None, "made_by": "bench_export"}
    path, plain = folder / f"net{form.suffix}", folder / "plain.onnx"
    begun, found, reason = time.perf_counter(), Checked(None, np.nan, 0, np.nan, np.nan), ""
    try:
        if precision == "fp32":
            found = write_checked(form, network, task, path, metadata, 1, "the file")
        else:
            write_plain(network, task, plain, metadata, "the file")
            samples = calibration(task, 0)
            found = write_quantised(form, network, task, plain, path, metadata, precision, samples)  # type: ignore[arg-type]
    except NasError as error:
        reason = str(error).splitlines()[0].replace(f"{folder}/", "").removeprefix("plain.onnx: ")
    seconds = time.perf_counter() - begun
    return {
        **{"kind": kind, "format": format, "precision": precision},
        **{"batch": "" if reason else found.batch or "any", "difference": found.max_difference},
        **{"n_samples": found.n_samples, "score_torch": found.score_torch, "score_file": found.score_file},
        "seconds": seconds,
        "bytes": "" if reason else sum(part.stat().st_size for part in form.parts(path)),
        "reason": reason,
    }


def figures(rows: Sequence[Row]) -> Row:
    """Return for each format and precision how many files there are, the worst of them, and what they cost."""
    found: Row = {}
    for key in dict.fromkeys((row["format"], row["precision"]) for row in rows):
        mine = [row for row in rows if (row["format"], row["precision"]) == key]
        made = [row for row in mine if not row["reason"]]
        found[" ".join(key)] = {
            "files": len(made),
            "refused": len(mine) - len(made),
            **({} if not made else _worst(made)),
        }
    return found


def _worst(made: Sequence[Row]) -> Row:
    lost = [100 * (row["score_torch"] - row["score_file"]) for row in made]
    seconds = [row["seconds"] for row in made]
    return {
        "largest_difference": max(row["difference"] for row in made),
        "most_points_lost": max(lost),
        "seconds_median": float(np.median(seconds)),
        "seconds_most": max(seconds),
    }


def report(args: argparse.Namespace, folder: Path) -> None:
    """Print what was found as Markdown."""
    for name in ("digits", "fashion_mnist"):
        if not (args.out / f"{name}.json").exists():
            continue
        machine = read_json(args.out / f"{name}.json")["machines"][0]
        print(f"\n**{name}** ({machine['cpu']}, torch {machine['torch']}, onnxruntime {machine['onnxruntime']})\n")
        print("| format | files | refused | largest difference | accuracy lost, points | seconds, median (most) |")
        print("|---|---|---|---|---|---|")
        for kind, f in figures(read_rows(args.out / f"{name}.csv")).items():
            if f["files"]:
                cells = f"{f['largest_difference']:.1e} | {f['most_points_lost']:.2f} | "
                cells += f"{f['seconds_median']:.1f} ({f['seconds_most']:.0f})"
            print(f"| {kind} | {f['files']} | {f['refused']} | {cells if f['files'] else ' | | '} |")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    run_commands(
        __doc__, FOLDER, {digits: {"epochs": 10}, fashion_mnist: {"epochs": 2}, report: {}}, argv
    )  # fmt: skip


if __name__ == "__main__":
    main()
