"""Which front is better? Judges folders of ONNX files alike, on data that no search has seen.

    python scripts/judge_models.py ours=results/image-001/exports expert=/tmp/expert-0/front [--out results/training]

Of each file: accuracy on Fashion-MNIST's test set, and latency on one thread by one and the same protocol and one
calibration, the folders' files in turns, three times; the median counts. Of each folder: the share of the box (error
0.05 to 0.20, latency 0.02 to 2 ms on a log scale) that its files dominate. Inputs are scaled as the metadata of a file
say (`scale`, `mean`, `std`); they are taken as (N, 1, 28, 28), or in the shape that the file wants.

Writes judged.csv and judged.json; a file that was judged is not judged again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from book import TARGET, Book, steps
from training_figures import BOXES, Row, spread
from training_nets import data_root

from nas.measure import open_meter
from nas.measure.onnx_file import OnnxFile
from nas.pareto import non_dominated

_MEAN, _STD, _SCALE = [0.2860], [0.3530], 1 / 255
"""Of Fashion-MNIST, for files that say nothing."""

_TIMES = 3
"""Measurements of a file."""

_BATCH = 500

SPEEDS_MS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""How good is the best file that is no slower?"""


def test_set() -> tuple[np.ndarray, np.ndarray]:
    """Return the 10,000 test images (n, 28, 28) of uint8 and their classes."""
    from nas.data import DATASETS, Reading

    found = DATASETS["fashion_mnist"](Reading(data_root=data_root()))
    assert found.x_test is not None
    assert found.y_test is not None
    return found.x_test, found.y_test


def accuracy(file: OnnxFile, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of images that a file is right about.

    Args:
        x: (n, 28, 28) of uint8.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file.path), options, ["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    scale = float(json.loads(told.get("scale", str(_SCALE))))
    mean, std = (
        np.array(json.loads(told.get(key, str(usual))), np.float32) for key, usual in (("mean", _MEAN), ("std", _STD))
    )
    name, right, size = session.get_inputs()[0].name, 0, file.batch or _BATCH
    n = len(x) // size * size
    for i in range(0, n, size):
        images = scaled(x[i : i + size], scale, mean, std).reshape(size, *file.in_shape)
        right += int((session.run(None, {name: images})[0].argmax(1) == y[i : i + size]).sum())
    return right / n


def scaled(x: np.ndarray, scale: float, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return images (n, 28, 28) as float32, scaled by one mean, or by those of rows or pixels.

    Args:
        mean, std: (1,), (28,) for rows that are tokens (their channels are columns), or (784,).
    """
    flat = x.reshape(len(x), -1).astype(np.float32) * np.float32(scale)
    wide = [np.tile(part, flat.shape[1] // len(part)) for part in (mean, std)]
    found: np.ndarray = ((flat - wide[0]) / wide[1]).astype(np.float32)
    return found


def judge(args: argparse.Namespace, folder: Path) -> None:
    """Measure what was not measured yet, then compare."""
    folders = dict(one.split("=", 1) for one in args.folders)
    files = [(name, path) for name, where in folders.items() for path in sorted(Path(where).glob("*.onnx"))]
    for name, where in folders.items():
        if not any(of == name for of, _ in files):
            raise SystemExit(f"{name}: no .onnx file in {where}")
    book = Book(args.out, args.name, {"target": TARGET, "box": BOXES["fashion_mnist"].__dict__}, args.fresh)
    digests = {path: hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest() for _, path in files}
    # In turns: the speed of the machine drifts, and no folder is to have all of the bad hours.
    order = sorted(range(len(files)), key=lambda i: digests[files[i][1]])
    jobs = [
        (files[i], turn)
        for turn in range(_TIMES)
        for i in order
        if not book.has(folder=files[i][0], digest=f"x{digests[files[i][1]]}", turn=turn)
    ]
    x, y = test_set()
    known = {(row["folder"], row["digest"]): row["accuracy"] for row in book.rows}
    if jobs:
        with open_meter(TARGET, book.calibration()) as meter:
            for (name, path), turn in steps(jobs, args.minutes):
                file, digest = OnnxFile.read(path), f"x{digests[path]}"
                if (name, digest) not in known:
                    known[name, digest] = accuracy(file, x, y)
                ms = meter.measure(file.for_runtimes(folder), file.in_shape).value
                row = {"folder": name, "file": path.name, "digest": digest, "turn": turn, "ms": ms}
                book.add([{**row, "accuracy": known[name, digest], "size_bytes": file.size_bytes}])
    there = {(name, f"x{digests[path]}") for name, path in files}
    made = compare([row for row in book.rows if (row["folder"], row["digest"]) in there])
    book.close(made)
    print("\n".join(table(made)))


def compare(rows: Sequence[Row]) -> Row:
    """Return for each folder its hypervolume, the best accuracy below each of `SPEEDS_MS`, and its front."""
    found: Row = {}
    for name in dict.fromkeys(row["folder"] for row in rows):
        by: dict[str, list[Row]] = {}
        for row in rows:
            if row["folder"] == name:
                by.setdefault(row["digest"], []).append(row)
        files = [_together(several) for several in by.values()]
        losses = np.array([[1 - file["accuracy"], file["ms"]["median"]] for file in files])
        for file, on_front in zip(files, non_dominated(losses), strict=True):
            file["on_front"] = bool(on_front)
        best = {
            f"{limit:g}": max((f["accuracy"] for f in files if f["ms"]["median"] <= limit), default=None)
            for limit in SPEEDS_MS
        }
        volume = BOXES["fashion_mnist"].hypervolume(losses[:, 0].tolist(), losses[:, 1].tolist())
        files.sort(key=lambda file: file["ms"]["median"])
        found[name] = {"hypervolume": volume, "best_accuracy_up_to_ms": best, "files": files}
    return found


def _together(rows: Sequence[Row]) -> dict[str, Any]:
    """Return one file from its measurements."""
    first = rows[0]
    kept = {key: first[key] for key in ("file", "accuracy", "size_bytes")}
    return {**kept, "ms": spread([row["ms"] for row in rows])}


def table(made: Row) -> list[str]:
    """Return the comparison as lines of Markdown."""
    head = ["folder", "files", "on front", "hypervolume", *(f"best up to {limit:g} ms" for limit in SPEEDS_MS)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, found in made.items():
        best = [f"{b:.4f}" if b is not None else "" for b in found["best_accuracy_up_to_ms"].values()]
        counts = [str(len(found["files"])), str(sum(file["on_front"] for file in found["files"]))]
        lines.append(f"| {' | '.join([name, *counts, format(found['hypervolume'], '.4f'), *best])} |")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, default=Path("results/training"), help="default: results/training")
    parser.add_argument("--name", default="judged", help="of the two files; default: judged")
    parser.add_argument("--minutes", type=float, default=9.5, help="begin no further step after this time")
    parser.add_argument("--fresh", action="store_true", help="forget what was read before")
    args = parser.parse_args(argv)
    if wrong := [one for one in args.folders if "=" not in one]:
        parser.error(f"{wrong[0]}: write NAME=FOLDER, such as ours=results/image-001/exports")
    with tempfile.TemporaryDirectory() as name:
        judge(args, Path(name))


if __name__ == "__main__":
    main()
