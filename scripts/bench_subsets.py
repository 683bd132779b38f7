"""Is a chosen subset worth more than a random one? Accuracy after training on it, and how it ranks networks.

    python scripts/bench_subsets.py [--seeds 5]

On scikit-learn's digits and on 10,000 of Fashion-MNIST at half its resolution, 5, 10 and 30 % of the training samples
are chosen by every method of `nas.data.SUBSETS`. On each subset are trained: ten networks drawn from the space
`image_conv`, with one recipe; logistic regression; the nearest neighbour. A network takes the same number of steps
whatever the subset, as within a rung, so that "all" (the same steps, drawn from all samples) says what a subset costs.
Its ranking of the ten networks is compared, as Kendall's tau, with that of a longer training on all samples.

A seed has its own samples (digits: its own split; Fashion-MNIST: its own 10,000), subset, initial weights and batches,
the same for every method; intervals are 95 % of Student's t over seeds, and differences are taken within a seed. All
accuracies are of validation samples.

Writes subsets.csv (a line per training) and subsets.json (the machine and the summary) to results/training. Can be
interrupted, and goes on where it was. Takes about 15 minutes on one core. Fashion-MNIST is looked for where
NAS_TEST_DATA says.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau, t
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from nas import Space
from nas.api import load_space
from nas.build import build
from nas.data import SUBSETS, load_task, select, stratified
from nas.errors import BuildError
from nas.measure import count_macs, describe
from nas.records import write_json, write_rows
from nas.rng import generator, torch_seed
from nas.space import Architecture
from nas.training import keep_freed_memory, torch_seeded

DATA = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
FOLDER = Path("results/training")
SHARES = (0.05, 0.1, 0.3)
N_NETWORKS = 10
MOST_MACS = 150_000
STEPS = {"digits": (100, 500), "fashion": (150, 800)}
"""Of a training on a subset, and of one for the reference ranking."""
REFERENCE_SEEDS = 2
BATCH = 64
LR = 2e-2
N_FASHION = 10_000
COLUMNS = ("data", "share", "method", "seed", "model", "accuracy")
BASE = "stratified"

Row = dict[str, Any]
Cell = tuple[str, float, str, int]
"""Data, share, method, seed."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Training and validation samples, x (n, C, H, W) float32, y (n,)."""

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor


def digits(seed: int) -> Samples:
    task = load_task("digits", input="image", seed=seed)
    return Samples(task.x_train, task.y_train, task.x_val, task.y_val)


class Fashion:
    """Draws 10,000 of the 48,000 training samples for each seed; 2,000 of the validation samples for all."""

    def __init__(self) -> None:
        task = load_task("fashion_mnist", input="image", data_root=DATA)
        self.x, self.x_val = F.avg_pool2d(task.x_train, 2), F.avg_pool2d(task.x_val, 2)
        self.y, self.y_val = task.y_train, task.y_val

    def __call__(self, seed: int) -> Samples:
        train = self._some(self.y, N_FASHION, generator(seed, "pool"))
        val = self._some(self.y_val, 2000, generator(0, "validation"))
        return Samples(self.x[train], self.y[train], self.x_val[val], self.y_val[val])

    @staticmethod
    def _some(y: Tensor, n: int, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(stratified(y.numpy(), n / len(y), rng))


# ---------------------------------------------------------------- what is trained


def some_networks(space: Space, in_shape: tuple[int, ...], most_macs: int) -> list[Architecture]:
    """Return the first networks of the prior that can be built, differ, and cost at most `most_macs`."""
    rng, found = generator(0, "networks"), dict[str, Architecture]()
    while len(found) < N_NETWORKS:
        arch = space.sample(rng)
        try:
            module = build(space, arch, in_shape, 10)
        except BuildError:
            continue
        if count_macs(module.eval(), in_shape) <= most_macs:
            found.setdefault(module.signature(), arch)
    return list(found.values())


def train(module: nn.Module, x: Tensor, y: Tensor, n_steps: int, seed: int) -> None:
    """Train on batches from one random order of (x, y) after another; AdamW, one cycle of the learning rate."""
    module.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), LR, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=n_steps, cycle_momentum=False)
    for chosen in batches(len(x), n_steps, torch.Generator().manual_seed(torch_seed(seed, "batches"))):
        inputs = x[chosen].contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(module(inputs), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def batches(n: int, n_batches: int, rng: torch.Generator) -> Iterator[Tensor]:
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(n_batches):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(n, generator=rng)])
        yield order[:BATCH]
        order = order[BATCH:]


@torch.no_grad()
def accuracy(module: nn.Module, x: Tensor, y: Tensor) -> float:
    module.eval()
    right = [(module(part).argmax(1) == labels).sum() for part, labels in zip(x.split(512), y.split(512), strict=True)]
    return int(sum(right)) / len(y)


class Bench:
    """One data set with its networks."""

    def __init__(self, name: str, draw: Callable[[int], Samples]) -> None:
        self.name, self.draw = name, draw
        self.space = load_space("image_conv")
        self.in_shape = tuple(draw(0).x.shape[1:])
        self.networks = some_networks(self.space, self.in_shape, MOST_MACS)

    def trained(self, i: int, x: Tensor, y: Tensor, n_steps: int, seed: int) -> nn.Module:
        with torch_seeded(torch_seed(seed, "weights", i)):
            module = build(self.space, self.networks[i], self.in_shape, 10)
            train(module, x, y, n_steps, seed)
        return module

    def run(self, seeds: int, done: Container[Cell]) -> Iterator[list[Row]]:
        """Yield the rows of every cell that is not done: one for each training."""
        for seed in range(max(seeds, REFERENCE_SEEDS)):
            samples = self.draw(seed)
            cells = [(1.0, "reference")] if seed < REFERENCE_SEEDS else []
            if seed < seeds:
                cells += [(1.0, "all"), *((share, method) for share in SHARES for method in SUBSETS)]
            for share, method in cells:
                if (self.name, share, method, seed) not in done:
                    yield list(self._on(samples, share, method, seed))

    def _on(self, samples: Samples, share: float, method: str, seed: int) -> Iterator[Row]:
        x, y = samples.x, samples.y
        if method in SUBSETS:
            started = time.perf_counter()
            chosen = torch.from_numpy(select(method, x.numpy(), y.numpy(), share, generator(seed, "subset")))
            print(f"{self.name} {share:4.0%} {method} seed {seed}: {time.perf_counter() - started:.2f} s", flush=True)
            x, y = x[chosen], y[chosen]
            flat, flat_val = x.flatten(1).numpy(), samples.x_val.flatten(1).numpy()
            plain = {"logistic": LogisticRegression(C=0.1, max_iter=1000), "neighbour": KNeighborsClassifier(1)}
            for model, classifier in plain.items():
                classifier.fit(flat, y.numpy())
                yield self._row(share, method, seed, model, classifier.score(flat_val, samples.y_val.numpy()))
        n_steps = STEPS[self.name][method == "reference"]
        for i in range(len(self.networks)):
            module = self.trained(i, x, y, n_steps, seed)
            yield self._row(share, method, seed, f"network {i}", accuracy(module, samples.x_val, samples.y_val))

    def _row(self, share: float, method: str, seed: int, model: str, score: float) -> Row:
        return dict(zip(COLUMNS, (self.name, share, method, seed, model, round(score, 5)), strict=True))


# ---------------------------------------------------------------- what came out


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return, for each data set, the rankings' repeatability and what each method gave at each share."""
    found: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        found[row["data"], row["share"], row["method"], row["seed"]][row["model"]] = row["accuracy"]
    summary: dict[str, Any] = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        of_data = {key[1:]: value for key, value in found.items() if key[0] == data}
        references = [networks(of_data[1.0, "reference", seed]) for seed in range(REFERENCE_SEEDS)]
        reference = np.mean(references, 0)
        # kept[share, method][quantity] is one number for each seed
        kept: dict[tuple[float, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for (share, method, _), scores in sorted(of_data.items()):
            if method != "reference":
                into = kept[share, method]
                into["networks"].append(float(networks(scores).mean()))
                into["tau"].append(float(kendalltau(networks(scores), reference)[0]))
                for model in ("logistic", "neighbour"):
                    if model in scores:
                        into[model].append(scores[model])
        summary[data] = {
            "reference accuracy of each network": reference.round(4).tolist(),
            "tau between two references": round(float(kendalltau(*references)[0]), 3),
            "methods": [
                {"share": share, "method": method}
                | {name: interval(values) for name, values in quantities.items()}
                | {
                    f"{name} - {BASE}": interval(np.subtract(values, kept[share, BASE][name]))
                    for name, values in quantities.items()
                    if method not in ("all", BASE)
                }
                for (share, method), quantities in kept.items()
            ],
        }
    return summary


def networks(scores: dict[str, float]) -> np.ndarray:
    return np.array([score for model, score in scores.items() if model.startswith("network")])


def interval(values: Any) -> dict[str, float]:
    """Return the mean over seeds, and half the width of its 95 % interval."""
    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else float("nan")
    return {"mean": round(float(np.mean(values)), 4), "half": round(half, 4)}


def show(summary: dict[str, Any]) -> None:
    for data, of_data in summary.items():
        print(f"\n{data}: tau between two references {of_data['tau between two references']}")
        for line in of_data["methods"]:
            cells = [f"{name} {v['mean']:+.3f}±{v['half']:.3f}" for name, v in line.items() if isinstance(v, dict)]
            print(f"  {line['share']:4.0%} {line['method']:10s} {'  '.join(cells)}")


def read(path: Path) -> list[Row]:
    """Return what an earlier call has written; nothing if there was none."""
    if not path.exists():
        return []
    kinds = {"share": float, "seed": int, "accuracy": float}
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: kinds.get(name, str)(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = read(FOLDER / "subsets.csv")
    done = {(row["data"], row["share"], row["method"], row["seed"]) for row in rows}
    for name, draw in (("digits", digits), ("fashion", Fashion())):
        for cell in Bench(name, draw).run(arguments.seeds, done):
            rows += cell
            write_rows(FOLDER / "subsets.csv", rows, COLUMNS)
    summary = summarise(rows)
    settings = {"seeds": arguments.seeds, "steps": STEPS, "batch": BATCH, "lr": LR, "most macs": MOST_MACS}
    write_json(FOLDER / "subsets.json", {"machine": describe(), "settings": settings, "summary": summary})
    show(summary)


if __name__ == "__main__":
    main()
