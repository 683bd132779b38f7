"""Is the time of a training known before it? Steps of random candidates are timed, and predicted from those of others.

    python scripts/bench_train_time.py steps    time training steps of networks of one kind of block, and of candidates
    python scripts/bench_train_time.py usual    usual times, fitted to the networks of one kind of block alone
    python scripts/bench_train_time.py judge    predict candidates from 0 to 100 others, over random splits

Writes results/training/train_time.csv (every network that was timed) and train_time.json (the figures made of it, the
machine). `steps` takes some 15 minutes on one core and goes on where it was interrupted; time is that of the processor,
so that a neighbour on another core disturbs little. A network's steps are what `nas.training.fit` does between two
batches, on random data.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import latency_figures as figures
import numpy as np
from book import Book, Row, read_rows, rounded, run_commands
from book import steps as until
from latency_nets import N_OUTPUTS, draw

from nas.catalog import find_space
from nas.records import read_json, write_json
from nas.shapes import Shape
from nas.space import Architecture, Space
from nas.space.yaml import parse

FOLDER = Path("results/training")
WARM_UP, ROUNDS, PER_ROUND = 3, 3, 6
N_SAMPLES = 4096

LEARNED = (0, 10, 30, 100)
LEAST_UNSEEN = 20
STEPS_SEEN = 300
PLAIN = {"linear in log MACs": 1, "linear in log MACs and log parameters": 2}
QUANTILES = ("0.1", "0.25", "0.5", "0.75", "0.9")

JUDGED: dict[str, tuple[Shape, int]] = {
    "image": ((1, 28, 28), 140),
    "image_conv": ((1, 28, 28), 70),
    "sequence": ((100, 12), 120),
    "digits": ((1, 8, 8), 60),
    "mlp": ((54,), 60),
}
"""Spaces, inputs, and how many candidates."""

MAPS: tuple[Shape, ...] = ((1, 28, 28), (3, 20, 20), (24, 14, 14), (64, 7, 7))
TOKENS: tuple[Shape, ...] = ((25, 12), (100, 40), (196, 32))
VECTORS: tuple[Shape, ...] = ((20,), (784,))
ACTS = "act: [relu, silu, hardswish, gelu]"
BOTH = "hidden: {int: [8, 128]}, layers: [1, 2], bidirectional: [true, false]"

KINDS: dict[str, tuple[tuple[Shape, ...], str]] = {
    "conv": (
        MAPS,
        f"width: {{int: [8, 128], step: 8}}, kernel: [1, 3, 5], stride: [1, 2], norm: [batch, group], {ACTS}",
    ),
    "grouped": (MAPS[2:], "width: {int: [8, 128], step: 8}, kernel: [3, 5], stride: [1, 2], groups: [2, 4, 8]"),
    "separable": (MAPS, f"width: {{int: [8, 128], step: 8}}, kernel: [3, 5, 7], stride: [1, 2], {ACTS}"),
    "mbconv": (MAPS, f"width: {{int: [8, 96], step: 8}}, expand: [1, 2, 4], kernel: [3, 5], se: [true, false], {ACTS}"),
    "resblock": (MAPS, "width: {int: [8, 96], step: 8}, stride: [1, 2]"),
    "maxpool": (MAPS[2:], "kernel: [2, 3], stride: 2"),
    "avgpool": (MAPS[2:], "kernel: [2, 3], stride: 2"),
    "patches": (MAPS[:2], "width: {int: [8, 96]}, patch: [2, 4]"),
    "project": (TOKENS, "width: {int: [8, 128]}"),
    "conv1d": (TOKENS, f"width: {{int: [8, 128]}}, kernel: [1, 3, 5, 9], stride: [1, 2], norm: [batch, group], {ACTS}"),
    "lstm": (TOKENS, BOTH),
    "gru": (TOKENS, BOTH),
    "rnn": (TOKENS, f"{BOTH}, nonlinearity: [tanh, relu]"),
    "transformer": (
        TOKENS,
        "dim: {int: [16, 128], step: 16}, heads: [1, 2, 4], mlp_ratio: [1, 2, 4], positions: [learned, sine],"
        " dropout: {options: [0.0, 0.1]}",
    ),
    "dense": (VECTORS, f"width: {{int: [16, 1024], log: true}}, norm: [batch, layer, none], {ACTS}"),
}
"""Networks of one kind of block: on which inputs, and the block's fields."""

PER_SHAPE, PER_JOB = 4, 20

TRAINING = """
training:
  batch_size: [16, 32, 64, 128, 256]
  optimizer: [sgd, adam, adamw, rmsprop]
  augment: {augment}
"""


LAYOUTS = {
    3: ("image", "[pool, flatten]", "[none, crop, cutout, jitter]"),
    2: ("sequence", "[pool, last, attention]", "[none, jitter, timeshift]"),
    1: ("vector", "pool", "[none, jitter]"),
}
"""Axes of a sample to the kind of input, its heads and augmentations."""

STEM = "stem: {conv: {width: {int: [8, 64], step: 8}}}"
"""Before pooling: a network without convolutions is not trained in channels_last."""


def kind_space(kind: str, in_shape: Shape) -> Space:
    """Return a space of networks of one to three blocks of a kind."""
    layout, heads, augment = LAYOUTS[len(in_shape)]
    block = f"{{{'conv' if kind == 'grouped' else kind}: {{{KINDS[kind][1]}}}}}"
    body = f"body: {{repeat: {{int: [1, 3]}}, block: {block}}}"
    lines = [f"input: {layout}", *([STEM] if "pool" in kind else []), body, f"head: {heads}"]
    return parse("\n".join(lines) + TRAINING.replace("{augment}", augment))


def sources() -> Iterator[tuple[str, Space, Shape, int]]:
    """Yield what is timed: a name, a space, an input and how many of it."""
    for kind, (shapes, _) in KINDS.items():
        for in_shape in shapes:
            yield f"kind {kind} {'x'.join(map(str, in_shape))}", kind_space(kind, in_shape), in_shape, PER_SHAPE
    for name, (in_shape, n) in JUDGED.items():
        yield name, find_space(name), in_shape, n


def settings() -> Row:
    """Return what tells the networks of one version of this script and of the shipped spaces from those of another."""
    return {"spaces": {name: space.fingerprint() for name, space, _, _ in sources()}}


# ---------------------------------------------------------------- steps


class Trainer:
    """Does one training step after another, as `nas.training.fit` does, at the low learning rates of a warm-up."""

    def __init__(self, network: Any, in_shape: Shape, config: Any) -> None:
        import torch

        from nas.training.learner import Learner

        self.rng = torch.Generator().manual_seed(0)
        self.x = torch.randn(N_SAMPLES, *in_shape, generator=self.rng)
        self.y = torch.randint(N_OUTPUTS, (N_SAMPLES,), generator=self.rng)
        convolves = any(isinstance(module, torch.nn.Conv2d) for module in network.modules())
        self.layout = torch.channels_last if convolves else torch.contiguous_format
        self.network, self.config = network.to(memory_format=self.layout).train(), config
        self.learner = Learner(self.network, config, 100_000, self.x.device)

    def step(self) -> None:
        """Train on one batch."""
        import torch

        from nas.training.augment import augment
        from nas.training.feed import Batch

        chosen = torch.randint(N_SAMPLES, (self.config.batch_size,), generator=self.rng)
        inputs = augment(self.x[chosen], self.config.augment, self.rng).contiguous(memory_format=self.layout)
        self.learner.learn(Batch(inputs, self.y[chosen]))

    def judge(self) -> None:
        """Give 512 samples to the network, forward alone."""
        import torch

        self.network.eval()
        with torch.no_grad():
            self.network(self.x[:512].contiguous(memory_format=self.layout))
        self.network.train()


def timed(run: Callable[[], None], n: int, seconds: float, least: int = 1) -> list[tuple[float, float]]:
    """Return processor and wall time in ms of `n` runs, or of as many as fit into `seconds` but `least`."""
    begun, found = time.process_time(), []
    while len(found) < n and (len(found) < least or time.process_time() - begun < seconds):
        before = time.process_time(), time.perf_counter()
        run()
        found.append((1e3 * (time.process_time() - before[0]), 1e3 * (time.perf_counter() - before[1])))
    return found


def alternating(run: Callable[[], None], reference: Callable[[], None], seconds: float) -> Row:
    """Return the times of a step, read in rounds, a reference's steps before each; the first of a round is untimed.

    The lower quartile of processor time, since neighbours only ever add to it: they empty the caches.
    """
    timed(run, WARM_UP, seconds / 4)
    found, beside = [], []
    for _ in range(ROUNDS):
        beside += timed(reference, 4, 1.0)[1:]
        found += timed(run, PER_ROUND + 1, seconds / ROUNDS, least=2)[1:]
    (ms, wall_ms), (reference_ms, _) = np.quantile(found, 0.25, axis=0), np.quantile(beside, 0.25, axis=0)
    return {"ms": ms, "wall_ms": wall_ms, "steps": len(found), "reference_ms": reference_ms}


def steps(args: argparse.Namespace, folder: Path) -> None:
    """Time training steps of every network, those of a fixed one between them."""
    import torch

    from nas.measure.fast_macs import count_macs_fast
    from nas.training import TrainConfig, keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    book = Book(args.out, "train_time", settings(), args.fresh)
    layers = [
        torch.nn.Conv2d(1, 16, 3, 2, 1),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, 2, 1),
    ]
    small = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32 * 7 * 7, N_OUTPUTS))
    reference = Trainer(small, (1, 28, 28), TrainConfig())

    def timing(name: str, i: int, space: Space, in_shape: Shape, arch: Architecture, network: Any) -> Row:
        config = TrainConfig.from_tree(space.resolve(arch)["training"])  # type: ignore[arg-type]
        trainer = Trainer(network, in_shape, config)
        found = alternating(trainer.step, reference.step, args.seconds)
        judged = name in JUDGED and i % 3 == 0
        found["validate_512_ms"] = timed(trainer.judge, 2, 60.0)[1][0] if judged else float("nan")
        counts = {"macs": count_macs_fast(network, in_shape), "n_params": sum(p.numel() for p in network.parameters())}
        return {"source": name, "i": i, "batch": config.batch_size, **found, **counts}

    wanted = {name: rest for name, *rest in sources()}
    seen = {name: sum(row["source"] == name for row in book.rows) for name in wanted}
    jobs = [(name, i) for name, (_, _, n) in wanted.items() for i in range(seen[name], n, PER_JOB)]
    drawn = {name: itertools.islice(draw(*rest, "train_time", name), seen[name], None) for name, rest in wanted.items()}
    for name, begin in until(jobs, args.minutes):
        space, in_shape, _ = wanted[name]
        rest = enumerate(itertools.islice(drawn[name], PER_JOB), begin)
        book.add([timing(name, i, space, in_shape, arch, network) for i, (arch, network) in rest])
    book.close({"reference_ms": figures.spread([row["reference_ms"] for row in book.rows])})


# ---------------------------------------------------------------- usual


def read(folder: Path) -> tuple[Row, list[Row]]:
    """Return what the files of `steps` hold: JSON and rows."""
    kept, rows = read_json(folder / "train_time.json"), read_rows(folder / "train_time.csv")
    if kept["settings"] != settings():
        raise SystemExit(f"{folder}: other networks were timed\n  time these with: steps --fresh")
    return kept, rows


def described(rows: Sequence[Row], sought: Callable[[str], bool]) -> tuple[list[Row], list[Architecture], list[Any]]:
    """Return the rows of some sources with their architectures and their predictors."""
    from nas.measure.train_time import TrainTimePredictor

    found: tuple[list[Row], list[Architecture], list[Any]] = [], [], []
    for name, space, in_shape, n in sources():
        mine = [row for row in rows if row["source"] == name and sought(name)]
        predictor = TrainTimePredictor(space, in_shape, N_OUTPUTS)
        drawn = [arch for arch, _ in draw(space, in_shape, n, "train_time", name)] if mine else []
        for row in mine:
            for values, value in zip(found, (row, drawn[row["i"]], predictor), strict=True):
                values.append(value)
    return found


def seconds_per_sample(row: Row) -> float:
    """Return what was read."""
    return row["ms"] / 1e3 / row["batch"]


def usual(args: argparse.Namespace, folder: Path) -> None:
    """Print how long a unit of each term takes, fitted to the networks of one kind of block."""
    from nas.measure.additive import Additive
    from nas.measure.train_terms import TRAINING

    rows, archs, predictors = described(read(args.out)[1], lambda name: name.startswith("kind"))
    works = [p.describe(arch, row["batch"]) for row, arch, p in zip(rows, archs, predictors, strict=True)]
    log_ns = [float(np.log(seconds_per_sample(row) * 1e9)) for row in rows]
    vague = replace(TRAINING, speed=1.0, apart=1.0)
    found = Additive.fit(works, log_ns, [0.1] * len(rows), vague)
    for (family, work), i in found.columns.items():
        sure = float(np.sqrt(found.covariance[1 + i, 1 + i]))
        ns = float(np.exp(found.log_times[i]))
        now = TRAINING.usual_ns((family, work))
        print(f"{family:20} {work:10} {ns:10.3g} ns, to a factor of {np.exp(sure):.2f}; now {now:g}")


# ---------------------------------------------------------------- judge


def judge(args: argparse.Namespace, folder: Path) -> None:
    """Predict candidates that nobody saw from 0 to 100 others, over random splits."""
    kept, rows = read(args.out)
    made: Row = {"usual_for_kinds": usual_error(rows)}
    for name in JUDGED:
        made[name] = space_figures(name, rows, args.splits)
    made["cost_ms"] = cost()
    made["reference_ms"] = figures.spread([row["reference_ms"] for row in rows])
    write_json(args.out / "train_time.json", kept | {"figures": rounded(made)})
    for name in JUDGED:
        for by, learned in made[name]["predicted"].items():
            for n, found in learned.items():
                share = found["within_25_percent"]
                within = f"{share['median']:.2f} ({share['low']:.2f} to {share['high']:.2f})"
                print(f"{name:11} {n:>4} seen, {by:36} within 25 %: {within}")


def usual_error(rows: Sequence[Row]) -> Row:
    """Return how well the networks fit from which the usual times were made."""
    rows, archs, predictors = described(rows, lambda name: name.startswith("kind"))
    told = [p.predict([arch], [row["batch"]]) for row, arch, p in zip(rows, archs, predictors, strict=True)]
    mean, deviation = np.array(told)[:, :, 0].T
    return judged(np.log([seconds_per_sample(row) for row in rows]), mean, deviation)


def space_figures(name: str, rows: Sequence[Row], splits: int) -> Row:
    """Return the figures of one space."""
    from nas.measure.train_time import TrainTimePredictor

    space, in_shape = find_space(name), JUDGED[name][0]
    rows, archs, _ = described(rows, lambda source: source == name)
    y, batches = np.log([seconds_per_sample(row) for row in rows]), [row["batch"] for row in rows]
    plain = np.log([[row["macs"], row["n_params"]] for row in rows])
    learned = [n for n in LEARNED if n <= len(rows) - LEAST_UNSEEN]
    found: dict[str, dict[int, list[Row]]] = {}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(rows))
        unseen = order[max(learned) :]
        ours = TrainTimePredictor(space, in_shape, N_OUTPUTS)
        for before, n in itertools.pairwise([0, *learned]):
            for i in order[before:n]:
                ours.learn(archs[i], batches[i], STEPS_SEEN * batches[i], STEPS_SEEN * batches[i] * float(np.exp(y[i])))
            told = {"ours": ours.predict([archs[i] for i in unseen], [batches[i] for i in unseen])}
            if n > plain.shape[1] + 1:
                told |= {
                    by: regression(plain[order[:n], :k], y[order[:n]], plain[unseen, :k]) for by, k in PLAIN.items()
                }
            for by, (mean, deviation) in told.items():
                found.setdefault(by, {}).setdefault(n, []).append(judged(y[unseen], mean, deviation))
    summed = {
        by: {str(n): {key: figures.spread([one[key] for one in ones]) for key in ones[0]} for n, ones in of.items()}
        for by, of in found.items()
    }
    validated = [
        row["validate_512_ms"] / 512 / (row["ms"] / row["batch"]) for row in rows if row["validate_512_ms"] > 0
    ]
    times = 1e3 * np.exp(y)
    return {
        "candidates": len(rows),
        "unseen": len(rows) - max(learned),
        "ms_per_sample": dict(zip(("least", "median", "most"), np.quantile(times, [0, 0.5, 1]), strict=True)),
        "validation_over_training": dict(
            zip(QUANTILES, np.quantile(validated, [float(q) for q in QUANTILES]), strict=True)
        ),
        "predicted": summed,
    }


def regression(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict by least squares in the columns of `x`, (n, k); return mean and standard deviation at `new`."""
    with_level = np.column_stack([np.ones(len(x)), x])
    weights, *_ = np.linalg.lstsq(with_level, y, rcond=None)
    std = np.sqrt(((y - with_level @ weights) ** 2).sum() / (len(y) - len(weights)))
    return np.column_stack([np.ones(len(new)), new]) @ weights, np.full(len(new), std)


def judged(y: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> Row:
    """Return how good predictions of logarithms are."""
    missed = np.abs(mean - y)
    return {
        "within_25_percent": float(np.mean(np.abs(np.exp(mean - y) - 1) <= 0.25)),
        "median_error": float(np.median(np.abs(np.exp(mean - y) - 1))),
        "bias": float(np.median(mean - y)),
        "in_95_percent_interval": float(np.mean(missed < 1.96 * deviation)),
        "in_50_percent_interval": float(np.mean(missed < 0.674 * deviation)),
        "kendall": figures.kendall(y, mean),
    }


def cost() -> Row:
    """Return milliseconds of processor time: of a fit to 100 trainings, and of predicting 300 candidates after it."""
    from nas.measure.train_time import TrainTimePredictor

    found: dict[str, list[float]] = {"fit_100": [], "predict_300": []}
    for seed in range(7):
        space, in_shape = find_space("image"), JUDGED["image"][0]
        drawn = [space.sample(np.random.default_rng([seed, i])) for i in range(400)]
        ours = TrainTimePredictor(space, in_shape, N_OUTPUTS)
        known = np.isfinite(ours.predict(drawn, [128] * 400)[0])
        for arch in list(itertools.compress(drawn[:300], known))[:100]:
            ours.learn(arch, 128, 1e4, 10.0)
        for key, some in (("fit_100", drawn[:1]), ("predict_300", drawn[100:])):
            begun = time.process_time()
            ours.predict(some, [128] * len(some))
            found[key].append(1e3 * (time.process_time() - begun))
    return {key: figures.spread(values) for key, values in found.items()}


def main(argv: Sequence[str] | None = None) -> None:
    run_commands(__doc__, FOLDER, {steps: {"seconds": 0.8}, usual: {}, judge: {"splits": 20}}, argv)


if __name__ == "__main__":
    main()
