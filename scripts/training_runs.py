"""What the processes of `bench_training.py` do: train a network in one way or another, and say how that went."""

from __future__ import annotations

import copy
import dataclasses
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from training_figures import ABLATIONS, OURS, USUAL, USUAL_ALONE, USUAL_LOADED
from training_nets import CNNS, NETS, SPOKEN, Net, data_root, load

from nas.rng import generator, torch_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.training import FitResult, TrainConfig

Row = dict[str, Any]

PROCESSES: dict[str, tuple[int, bool]] = {
    OURS: (1, True),
    "without allocator": (1, False),
    USUAL: (2, False),
}
"""Threads, and whether freed memory is kept, of the processes that throughput is read in."""

VARIANTS: dict[str, str] = {
    OURS: OURS,
    USUAL: USUAL,
    USUAL_LOADED: USUAL,
    USUAL_ALONE: "without allocator",
    **{f"without {measure}": "without allocator" if measure == "allocator" else OURS for measure in ABLATIONS},
}
"""Ways to train, each with its process."""

RECIPE: Row = {
    "batch_size": 128,
    "optimizer": {"sgd": {"lr": 0.4, "momentum": 0.9, "weight_decay": 5e-4}},
    "schedule": {"onecycle": {"warmup": 0.25}},
    "label_smoothing": 0.05,
    "augment": {"crop": {"pad": 2, "flip": True}},
}
"""How ours trains the fixed networks, as the training section of a space has it: the learning rate of the hand-tuned
script, which `bench_training.py tune` chose."""

JUDGED = 4000
"""Validation samples that a rung is judged on: all of them, at every rung."""


def processes(n: int, threads: int = 1, keep: bool = True) -> ProcessPoolExecutor:
    """Return fresh processes with so many threads each; `keep`: with our setting of the allocator."""
    return ProcessPoolExecutor(n, get_context("spawn"), _set_up, (threads, keep))


def _set_up(threads: int, keep: bool) -> None:
    import torch

    from nas.training import keep_freed_memory

    if keep:
        keep_freed_memory()
    torch.set_num_threads(threads)


def train(module: nn.Module, x: Tensor, y: Tensor, config: TrainConfig, **options: Any) -> FitResult:
    """Train with ours: the one place that knows how it is called."""
    from nas.training import fit

    return fit(module, x, y, config, **options)


# ---------------------------------------------------------------- throughput

_SIZES: dict[tuple[str, str], int] = {}
"""Samples of one reading, by network and variant; found at the first one."""

_FIRST, _SECOND = 4, 8
"""Batches to warm up with, and to guess the speed from."""


def read_throughput(name: str, variant: str, seconds: float, device: str = "cpu") -> Row:
    """Train a network for about so many core-seconds; return how many samples that was, and what they cost."""
    net = NETS[name]
    by_sample = variant in (USUAL, USUAL_LOADED, USUAL_ALONE, "without resident data")
    run = usual(net, variant, device) if by_sample else ours(net, variant, device)
    run(_FIRST * net.batch_size)
    if (name, variant) not in _SIZES:
        samples, spent, _ = _timed(run, _SECOND * net.batch_size)
        _SIZES[name, variant] = size(samples / spent * seconds, net.batch_size)
    samples, core, wall = _timed(run, _SIZES[name, variant])
    return {"samples": samples, "core_seconds": core, "wall_seconds": wall}


def size(samples: float, batch_size: int) -> int:
    """Return whole batches: at least 16, at most half a million samples."""
    return min(max(16, round(samples / batch_size)), 500_000 // batch_size) * batch_size


def _timed(run: Callable[[int], int], n: int) -> tuple[int, float, float]:
    core, wall = core_seconds(), time.perf_counter()
    samples = run(n)
    return samples, core_seconds() - core, time.perf_counter() - wall


def core_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ours(net: Net, variant: str, device: str = "cpu") -> Callable[[int], int]:
    """Return what trains for about n samples with ours, perhaps without one of its measures."""
    from nas.training import TrainConfig

    task = load(net.kind)
    x, y = (part.to(device) for part in (task.x_train, task.y_train))
    tree = {"batch_size": net.batch_size, "optimizer": "adamw", "augment": net.augment}

    def run(n: int) -> int:
        n_once = min(n, len(x) // net.batch_size * net.batch_size)
        config = TrainConfig.from_tree(
            {
                **tree,
                "epochs": max(1, round(n / n_once)),
                "mixed_precision": variant != "without bfloat16",
                "cuda_graphs": variant != "without cuda_graphs",
            }
        )
        with without(variant.removeprefix("without ")):
            train(net.build().to(device), x[:n_once], y[:n_once], config, seed=0)
        return n_once * config.epochs

    return run


@contextmanager
def without(measure: str) -> Iterator[None]:
    """Train without channels_last or without fused optimizers; the other measures lie elsewhere."""
    import torch

    from nas.training import learner, loop

    def plain(*given: Any, **named: Any) -> torch.optim.Optimizer:
        optimizer = make_optimizer(*given, **named)
        for group in optimizer.param_groups:
            group.update(fused=None, foreach=None)
        return optimizer

    make_optimizer = learner.make_optimizer
    if measure == "channels_last":
        with patch.object(loop, "memory_format", lambda *_: torch.contiguous_format):
            yield
    elif measure == "fused":
        with patch.object(learner, "make_optimizer", plain):
            yield
    else:
        yield


def usual(net: Net, variant: str, device: str = "cpu") -> Callable[[int], int]:
    """Return what trains for n samples with the usual loop.

    As the USUAL ones; or with all of our measures, but samples that come one by one out of a loader.
    """
    import training_peers as peers

    if net.kind == "sequence":
        import numpy as np

        with np.load(data_root() / SPOKEN) as file:
            x, y = file["x_train"], file["y_train"].astype(np.int64)
        mean, std = x.astype(np.float32).mean((0, 2)), x.astype(np.float32).std((0, 2))
        dataset: Any = peers.Series(x, y, mean, std, shift=4)
    else:
        dataset = peers.fashion_dataset(str(data_root()), flat=net.kind == "vector")
    alike = variant == "without resident data"
    options = {"channels_last": net.kind == "image", "fused": True} if alike else {}

    def run(n: int) -> int:
        loader = peers.usual_loader(dataset, n, net.batch_size, workers=2 if variant == USUAL_LOADED else 0)
        peers.usual_loop(net.build(), loader, device=device, **options)
        return n

    return run


# ---------------------------------------------------------------- rungs


def train_rungs(candidate: int, samples: int, limit_s: float) -> list[Row]:
    """Train a random network of the image space through the rungs; return a row for each, or one that says why not.

    Args:
        samples: to train on, of Fashion-MNIST.
        limit_s: a network whose full training would take longer is left out.
    """
    import torch
    import training_peers as peers

    from nas.build import build
    from nas.catalog import find_space
    from nas.data import stratified
    from nas.errors import NasError
    from nas.training import TrainConfig, rungs, torch_seeded

    space, task = find_space("image"), load("image")
    x, y, x_val, y_val = (
        part[torch.from_numpy(stratified(labels.numpy(), n / len(labels), generator(0, "rungs", "data"), leave=0))]
        for of, labels, n in ((task.x_train, task.y_train, samples), (task.x_val, task.y_val, JUDGED))
        for part in (of, labels)
    )
    arch = space.sample(generator(0, "rungs", candidate))
    blank: Row = {"candidate": candidate, "state": "", "rung": -1, "share": 0.0, "epochs": 0.0}
    blank |= {"accuracy": "", "raw_accuracy": "", "seconds": 0.0, "full_s": 0.0, "reason": ""}
    try:
        with torch_seeded(torch_seed(0, "rungs", "weights", candidate)):
            network = build(space, arch, task.in_shape, task.n_outputs)
        config = TrainConfig.from_tree(space.resolve(arch)["training"])  # type: ignore[arg-type]
        config = dataclasses.replace(config, rungs=rungs("auto", config.epochs))
        blank["full_s"] = expected = config.epochs * seconds_per_epoch(network, x, y, config)
        if expected > limit_s:
            return [{**blank, "state": "too slow"}]
        rows, state = [], None
        for number, rung in enumerate(config.rungs):
            result = train(network, x, y, config, seed=candidate, evaluate_on=(x_val, y_val), until=number, state=state)
            state, judged = result.state, result.curve[-1].scores
            assert judged is not None
            raw: float | str = ""
            if state is not None:
                plain = copy.deepcopy(network)
                plain.load_state_dict(state.module)
                raw = peers.accuracy(plain, x_val, y_val)
            row = {"state": "trained", "rung": number, "share": rung.share, "epochs": result.epochs}
            row |= {"accuracy": judged["accuracy"], "raw_accuracy": raw, "seconds": result.train_seconds}
            rows.append({**blank, **row})
        return rows
    except NasError as error:
        return [{**blank, "state": "failed", "reason": str(error).splitlines()[0]}]


def seconds_per_epoch(module: nn.Module, x: Tensor, y: Tensor, config: TrainConfig, batches: int = 24) -> float:
    """Return what an epoch will take, from some batches of a copy; the first few, which load libraries, left out."""
    from nas.training import FULL

    plain = dataclasses.replace(config, epochs=1, rungs=FULL)
    for n in (4, batches):
        n_samples = min(n * config.batch_size, len(x))
        result = train(copy.deepcopy(module), x[:n_samples], y[:n_samples], plain, seed=0)
    return result.train_seconds * len(x) / n_samples


# ---------------------------------------------------------------- recipe


def train_ours(net: str, seed: int, seconds: float) -> Row:
    """Train a fixed network on all but the test set with ours, for the epochs that come nearest to so many seconds."""
    import training_peers as peers

    from nas.training import TrainConfig

    task, module = load("image"), CNNS[net].build(seed)
    x, y = task.full()
    config = TrainConfig.from_tree(RECIPE)
    epochs = max(1, round(seconds / seconds_per_epoch(module, x, y, config, batches=64)))
    result = train(module, x, y, dataclasses.replace(config, epochs=epochs), seed=seed)
    found = {"seconds": result.train_seconds, "epochs": float(epochs)}
    return {**found, "test_accuracy": peers.accuracy(module, *task.test())}


def train_peer(net: str, by: str, seed: int, seconds: float) -> Row:
    """Train a fixed network on all but the test set with a hand-tuned script, for exactly so many seconds."""
    import training_peers as peers

    task, module = load("image"), CNNS[net].build(seed)
    x, y = task.full()
    seen = peers.hand_tuned(module, x, y, peers.RECIPES[by], seconds, seed)
    found = {"seconds": seconds, "epochs": seen / len(x)}
    return {**found, "test_accuracy": peers.accuracy(module, *task.test())}


def tune_peer(net: str, by: str, lr: float, seconds: float) -> Row:
    """Train a fixed network with a learning rate of the grid; judged on validation data."""
    import training_peers as peers

    task, module = load("image"), CNNS[net].build(0)
    recipe = dataclasses.replace(peers.RECIPES[by], lr=lr)
    seen = peers.hand_tuned(module, task.x_train, task.y_train, recipe, seconds, seed=0)
    epochs = seen / len(task.x_train)
    return {"epochs": epochs, "accuracy": peers.accuracy(module, task.x_val, task.y_val)}
