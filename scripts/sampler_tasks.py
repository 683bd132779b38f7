"""Tasks a sampler is judged on: tables of trained networks, and surfaces that are computed.

Every task tells noisy losses and scores noise-free ones. A score is the hypervolume of the noise-free losses of what
was evaluated over that of the best known front; costs count as log10, and the reference point is the 75 % quantile of
each loss over 10,000 random architectures.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from nas.objectives import Objective
from nas.pareto import hypervolume, non_dominated
from nas.rng import generator
from nas.samplers.evolution import mutate
from nas.space import Architecture, Categorical, Choice, Float, Integer, Repeat, Space

DATA = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
SYNFLOW = Path(__file__).parents[1] / "results" / "samplers" / "synflow.npz"
N_RANDOM = 10_000
KEPT = 0.1
"""Share of the random architectures that keeps a tight budget."""


@dataclass
class Task:
    """One thing to search.

    Attributes:
        losses: architecture -> noise-free losses, costs as log10.
        cheap: which losses are known before training.
        noise: standard deviation of what is told, by loss.
        limited: architecture -> log10 of what a budget limits; the budget is the quantile that `KEPT` keeps.
        seconds: architecture -> simulated training time.
        told: architecture -> losses told instead of the noise-free ones, before noise.
        proxies: architecture -> what is known of the untrained network; None where there is none.
        counted: whether the second loss is a count, which a study knows of every candidate.
        group: what the task is reported with.
    """

    name: str
    space: Space
    losses: Callable[[Architecture], tuple[float, ...]]
    cheap: tuple[bool, ...]
    noise: tuple[float, ...]
    limited: Callable[[Architecture], float] | None = None
    seconds: Callable[[Architecture], float] = lambda arch: 1.0
    told: Callable[[Architecture], tuple[float, ...]] | None = None
    proxies: Callable[[Architecture], tuple[float, ...]] | None = None
    counted: bool = False
    listed: Callable[[], np.ndarray] | None = None
    """All noise-free losses there are, where they can be listed."""
    group: str = "development"
    _scale: tuple[np.ndarray, float, float] | None = field(default=None, repr=False)

    @property
    def objectives(self) -> list[Objective]:
        """The losses as objectives."""
        return [Objective(f"loss_{i}", "", "minimize", cheap=cheap) for i, cheap in enumerate(self.cheap)]

    def noisy(self, arch: Architecture, seed: int) -> tuple[float, ...]:
        """Return what a training of `arch` under `seed` tells, always the same; costs in their unit."""
        losses = (self.told or self.losses)(arch)
        rng = np.random.default_rng((seed, zlib.crc32(arch.to_json().encode())))
        error, *costs = (x + s * z for x, s, z in zip(losses, self.noise, rng.normal(size=len(losses)), strict=True))
        return (float(error), *(float(10**cost) for cost in costs))

    def excess(self, arch: Architecture) -> float:
        """Return the natural log of the limited price over its limit; at most 0 keeps the budget."""
        return (self.limited(arch) - self.scale[1]) * math.log(10) if self.limited else -math.inf

    @property
    def scale(self) -> tuple[np.ndarray, float, float]:
        """The reference point, the limit, and the hypervolume of the best known front."""
        if self._scale is None:
            rng = np.random.default_rng(12345)
            drawn = [self.space.sample(rng) for _ in range(N_RANDOM)]
            losses = np.array([self.losses(arch) for arch in drawn])
            limit = float(np.quantile([self.limited(a) for a in drawn], KEPT)) if self.limited else math.inf
            self._scale = (np.quantile(losses, 0.75, axis=0), limit, 1.0)
            best = self._best(drawn, losses, rng)
            self._scale = (self._scale[0], limit, hypervolume(best, self._scale[0]))
        return self._scale

    def score(self, losses: np.ndarray) -> float:
        """Return the hypervolume of noise-free losses over that of the best known front."""
        reference, _, best = self.scale
        return hypervolume(losses, reference) / best if len(losses) else 0.0

    def _best(self, drawn: list[Architecture], losses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the best known front: of all there is, or of a long climb by mutation that sees no noise."""
        if self.listed and not self.limited:
            return self.listed()
        kept = [i for i, arch in enumerate(drawn) if self.excess(arch) <= 0]
        front = [drawn[i] for i in kept]
        values = losses[kept]
        for _ in range(300):
            keep = non_dominated(values)
            front, values = [a for a, k in zip(front, keep, strict=True) if k], values[keep]
            if len(front) > 200:
                chosen = rng.choice(len(front), 200, replace=False)
                parents = [front[i] for i in chosen]
            else:
                parents = [front[i] for i in rng.integers(len(front), size=200)]
            children = []
            for parent in parents:
                child = mutate(self.space, parent, rng)
                if rng.random() < 0.5:
                    child = mutate(self.space, child, rng)
                if self.space.forbidden(child) is None and self.excess(child) <= 0:
                    children.append(child)
            if children:
                front += children
                values = np.concatenate([values, [self.losses(child) for child in children]])
        return values[non_dominated(values)]


# ---------------------------------------------------------------- tables


@cache
def _nasbench201() -> dict[str, np.ndarray]:
    with np.load(DATA / "nasbench201" / "nasbench201.npz") as file:
        return {name: file[name] for name in file.files}


@cache
def _synflow(table: str) -> np.ndarray:
    """Return the synaptic flow of every network of a table, in its order."""
    if not SYNFLOW.exists():
        raise FileNotFoundError(f"{SYNFLOW} is missing; 'python scripts/sampler_synflow.py' writes it in some minutes")
    with np.load(SYNFLOW) as file:
        return file[table].astype(float)


def nasbench201(data: str, device: str, *, group: str, priced: bool = True, with_cost: bool = True) -> Task:
    """NAS-Bench-201 (Dong & Yang, ICLR 2020): error of a cell of six edges against latency measured on a device.

    Told is the validation error of one training of 200 epochs, scored the mean test error.
    """
    table = _nasbench201()
    column = list(table["datasets"]).index(data)
    ops = [str(op) for op in table["ops"]]
    row = {tuple(code): i for i, code in enumerate(table["encoding"].tolist())}
    test = 1 - table["test_acc_200ep_mean"][:, column].astype(float) / 100
    val = 1 - table["val_acc_200ep"][:, column].astype(float) / 100
    cost = np.log10(table["latency_ms"][:, list(table["devices"]).index(device)].astype(float))
    size = np.log(np.stack([table["flops_M"], table["params_M"]], axis=1).astype(float))
    edges = [f"body.{i}" for i in range(6)]

    def find(arch: Architecture) -> int:
        return row[tuple(ops.index(str(arch.values[edge])) for edge in edges)]

    def columns(error: np.ndarray) -> Callable[[Architecture], tuple[float, ...]]:
        if with_cost:
            return lambda arch: (float(error[i := find(arch)]), float(cost[i]))
        return lambda arch: (float(error[find(arch)]),)

    def proxies(arch: Architecture) -> tuple[float, ...]:
        i = find(arch)
        return float(_synflow("nasbench201")[i]), *size[i].tolist()

    return Task(
        name=f"nasbench201 {data} {device}" + ("" if priced else ", no price") + ("" if with_cost else ", error alone"),
        space=Space(input="image", root={"body": Repeat(6, Categorical(tuple(ops)))}),  # type: ignore[arg-type]
        losses=columns(test),
        told=columns(val),
        cheap=(False, priced) if with_cost else (False,),
        noise=(0.0, 0.005) if with_cost else (0.0,),
        proxies=proxies if priced else None,
        listed=lambda: np.stack([test, cost], axis=1) if with_cost else test[:, None],
        group=group,
    )


def nasbench_macro(*, group: str) -> Task:
    """NAS-Bench-Macro (Su et al., CVPR 2021): eight layers, each one of three; error against FLOPs.

    Told is the test error of one of three trainings, scored the mean of all.
    """
    with np.load(DATA / "nasbench_macro" / "nasbench_macro_cifar10.npz") as file:
        codes, accuracy, flops = file["encoding"], file["test_acc"].astype(float), file["flops"].astype(float)
        size = np.log(np.stack([flops, file["params"].astype(float)], axis=1))
    row = {tuple(code): i for i, code in enumerate(codes.tolist())}
    layers = ("identity", "mbconv_3", "mbconv_6")
    error, cost = 1 - accuracy.mean(axis=1) / 100, np.log10(flops)

    def find(arch: Architecture) -> int:
        return row[tuple(layers.index(str(arch.values[f"body.{i}"])) for i in range(8))]

    def losses(arch: Architecture) -> tuple[float, ...]:
        i = find(arch)
        return float(error[i]), float(cost[i])

    def proxies(arch: Architecture) -> tuple[float, ...]:
        i = find(arch)
        return float(_synflow("nasbench_macro")[i]), *size[i].tolist()

    return Task(
        name="nasbench-macro cifar10 flops",
        space=Space(input="image", root={"body": Repeat(8, Choice(list(layers)))}),  # type: ignore[arg-type]
        losses=losses,
        told=lambda arch: (1 - float(accuracy[find(arch), 0]) / 100, losses(arch)[1]),
        cheap=(False, True),
        noise=(0.0, 0.0),
        proxies=proxies,
        counted=True,
        listed=lambda: np.stack([error, cost], axis=1),
        group=group,
    )


# ---------------------------------------------------------------- a surface


def mixed_space(fewest: int = 2, most: int = 8) -> Space:
    """Some blocks of four kinds and the training: of two to eight 115 parameters, 30 of them active."""
    return Space(
        input="sequence",
        name="mixed",
        root={
            "body": Repeat(
                Integer(fewest, most),
                Choice(
                    {
                        "conv": {
                            "width": Integer(8, 128, step=8),
                            "kernel": [3, 5, 7, 9],
                            "norm": ["none", "batch", "layer"],
                            "skip": [False, True],
                        },
                        "lstm": {
                            "hidden": Integer(8, 128, step=8),
                            "layers": [1, 2],
                            "both_ways": [False, True],
                        },
                        "transformer": {
                            "dim": Integer(16, 128, step=16),
                            "heads": [1, 2, 4, 8],
                            "mlp": [1, 2, 4],
                            "dropout": Float(0.0, 0.5),
                        },
                        "pool": {"size": [2, 4]},
                    }
                ),
            ),
            "training": {
                "optimizer": Choice(
                    {"sgd": {"momentum": Float(0.0, 0.99)}, "adamw": {"beta2": Categorical((0.9, 0.99, 0.999))}}
                ),
                "lr": Float(1e-5, 1.0, log=True),
                "weight_decay": Float(1e-6, 1e-1, log=True),
                "batch_size": [16, 32, 64, 128, 256],
                "epochs": Integer(1, 100, log=True),
                "label_smoothing": Float(0.0, 0.3),
                "schedule": ["constant", "cosine", "step"],
                "mixup": Float(0.0, 1.0),
            },
        },
    )


@dataclass(frozen=True)
class _Net:
    """What the surface computes of one architecture."""

    error: float
    latency_ms: float
    params: float
    macs: float
    seconds: float


def mixed_surface(arch: Architecture) -> _Net:
    """Error, latency, parameters and training time of an architecture of `mixed_space`, without noise.

    Blocks add capacity with diminishing returns; convolutions do best early, attention late and on short sequences,
    recurrent blocks between; a jump in width costs; the best learning rate falls with depth and with attention.
    """
    v = arch.values
    n = int(v["body.repeat"])
    length, channels, latency, params, capacity, previous = 64.0, 12.0, 0.2, 0.0, 0.0, ""
    depth_cost, jumps, n_attention, n_recurrent = 0.0, 0.0, 0, 0
    work = total_macs = 0.0
    for i in range(n):
        at, kind = i / max(n - 1, 1), str(v[f"body.{i}"])
        p = f"body.{i}.{kind}."
        if kind == "pool":
            length = max(length / int(v[p + "size"]), 2.0)
            latency += 0.01
            capacity += 0.10 if previous == "conv" else -0.05
            previous = kind
            continue
        if kind == "conv":
            width, kernel = float(v[p + "width"]), int(v[p + "kernel"])
            weights = channels * width * kernel
            macs = weights * length
            norm = {"none": 0.75, "batch": 1.0, "layer": 0.92}[str(v[p + "norm"])]
            gain = (1.15 - 0.75 * at) * norm * (1.0 - 0.05 * abs(kernel - (7 if i == 0 else 5)) / 2)
            gain *= 1.12 if v[p + "skip"] and previous == "conv" else 1.0
            slow = 1.0
        elif kind == "lstm":
            width = float(v[p + "hidden"])
            layers, both = int(v[p + "layers"]), bool(v[p + "both_ways"])
            weights = 4 * width * (channels + width) * layers * (2 if both else 1)
            macs = weights * length
            gain = (1.0 - 0.8 * abs(at - 0.6)) * (1.15 if both else 1.0) * (1.05 if layers == 2 else 1.0)
            gain *= 1.2 if previous == "conv" else 0.85 if previous == "transformer" else 1.0
            slow = 4.0
            n_recurrent += 1
            width *= 2 if both else 1
        else:
            width, heads, mlp = float(v[p + "dim"]), int(v[p + "heads"]), int(v[p + "mlp"])
            weights = channels * width + 4 * width**2 + 2 * mlp * width**2
            macs = weights * length + 2 * length**2 * width
            fit = 1.0 - 0.08 * abs(math.log2(width / heads) - 4)
            gain = (0.55 + 0.75 * at) * fit * (0.85 + 0.07 * mlp)
            gain *= 1.2 if length <= 32 else 0.8
            gain *= 1.0 - 0.8 * (float(v[p + "dropout"]) - 0.1) ** 2
            slow = 1.6
            n_attention += 1
        jumps += abs(math.log2(width / channels)) - 1.0 if abs(math.log2(width / channels)) > 1.0 else 0.0
        capacity += gain * math.log2(1 + width / 8) / (1 + 0.25 * i)
        latency += 0.015 + macs * slow / 4e6
        work += macs * slow
        total_macs += macs
        params += weights
        channels, previous = width, kind
    residual = sum(bool(v.get(f"body.{i}.conv.skip")) for i in range(n)) + n_attention
    depth_cost = 0.06 * max(n - 3 - residual, 0)

    adam = v["training.optimizer"] == "adamw"
    best_lr = (-2.6 if adam else -1.2) - 0.08 * n - (0.25 * n_attention / n if adam else 0.7 * n_attention / n)
    best_lr += 0.3 * math.log10(int(v["training.batch_size"]) / 64)
    off = math.log10(float(v["training.lr"])) - best_lr
    lr_cost = 0.22 * off**2 if off < 0 else 0.5 * off**2
    epochs = int(v["training.epochs"])
    trained = 1 - math.exp(-epochs / (6 + 2 * n_attention + n_recurrent))
    best_decay = -3.5 + 0.5 * math.log10(1 + params / 1e4)
    decay_cost = 0.02 * (math.log10(float(v["training.weight_decay"])) - best_decay) ** 2
    mixed = 0.05 * (float(v["training.mixup"]) - 0.2) ** 2 + 0.6 * (float(v["training.label_smoothing"]) - 0.1) ** 2
    schedule = {"constant": 0.06, "cosine": 0.0, "step": 0.02}[str(v["training.schedule"])]
    if adam:
        inner = {0.9: 0.04, 0.99: 0.0, 0.999: 0.01}[float(v["training.optimizer.adamw.beta2"])]
    else:
        inner = 0.1 * (float(v["training.optimizer.sgd.momentum"]) - 0.9) ** 2
        inner += 0.1 * n_attention / n
    overfit = 0.03 * max(math.log10(1 + params) - 5.0, 0.0) * (1 - float(v["training.mixup"]) * 0.5)
    quality = capacity / (2.5 + 0.0) - depth_cost - 0.12 * jumps / n
    hurt = lr_cost + decay_cost + mixed + schedule + inner + overfit
    accuracy = 0.95 * (1 - math.exp(-max(quality, 0.02))) * trained**0.5 * math.exp(-hurt)
    seconds = 0.5 + epochs * work * 2000 / 2e10 * (64 / int(v["training.batch_size"])) ** 0.3
    return _Net(1 - accuracy, latency, params + 1000.0, total_macs + 1000.0, seconds)


def mixed_proxies(arch: Architecture) -> tuple[float, ...]:
    """Logarithms of the multiply-adds and the parameters of an architecture of `mixed_space`."""
    net = mixed_surface(arch)
    return math.log(net.macs), math.log(net.params)


def mixed(*, budget: bool, group: str, priced: bool = True) -> Task:
    """The surface of mixed blocks: error against latency, or against parameters under a latency budget."""

    def losses(arch: Architecture) -> tuple[float, float]:
        net = mixed_surface(arch)
        return net.error, math.log10(net.params if budget else net.latency_ms)

    return Task(
        name="mixed blocks, " + ("parameters under a latency budget" if budget else "latency"),
        space=mixed_space(),
        losses=losses,
        cheap=(False, priced),
        noise=(0.01, 0.0 if budget else 0.005),
        limited=(lambda arch: math.log10(mixed_surface(arch).latency_ms)) if budget else None,
        seconds=lambda arch: mixed_surface(arch).seconds,
        proxies=mixed_proxies if priced else None,
        group=group,
    )


def development() -> dict[str, Task]:
    """The tasks that design decisions may look at."""
    tasks = [mixed(budget=False, group="development"), mixed(budget=True, group="development")]
    if (DATA / "nasbench201").exists():
        tasks += [
            nasbench201("cifar100", "samsung_s7", group="development"),
            nasbench201("cifar10", "raspi4", group="development"),
            nasbench_macro(group="development"),
        ]
    return {task.name: task for task in tasks}


def front_of(task: Task, archs: Sequence[Architecture]) -> np.ndarray:
    """Return the noise-free losses of those that keep the budget."""
    return np.array([task.losses(arch) for arch in archs if task.excess(arch) <= 0]).reshape(-1, len(task.cheap))


def stream(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the random stream of one proposal."""
    return generator(seed, purpose, number)
