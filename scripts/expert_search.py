"""The search of a careful expert, to compare with: plain torch, Optuna and ONNX Runtime, nothing of `nas`.

    python scripts/expert_search.py --seed 0 --out /tmp/expert-0 [--minutes 30] [--retrain-minutes 11]

Fashion-MNIST, two objectives: error and latency. Optuna's TPE (multivariate, group, constant liar) in two processes
of one thread. Convolution, MBConv, LSTM and Transformer blocks and the hyperparameters of training, defined by run. The
latency of each candidate's ONNX file is measured before it is trained; beyond 2 ms it is not, and the sampler is told
by how much. Training: 20,000 images that lie in memory, 3 epochs, at most 90 s, judged on 10,000 others. Then 8 members
of the front are trained on all 60,000 images, each for its share of --retrain-minutes.

Writes trials.csv (every trial), search.json (hypervolume over time, settings) and front/TRIAL.onnx, whose metadata say
how inputs are scaled. `judge_models.py` compares such folders. The test set is not opened here.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import optuna
import torch
import torch.nn.functional as F
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch import Tensor, nn

MEAN, STD = 0.2860, 0.3530
LIMIT_MS = 2.0
N_TRAIN, N_VAL, EPOCHS, TRIAL_SECONDS = 20_000, 10_000, 3, 90.0
WORKERS, MEMBERS = 2, 8
ERROR, MS = (0.05, 0.20), (0.02, 2.0)
"""The box a front is judged within, best and worst; log scale for the latter."""

# ---------------------------------------------------------------- blocks: (N, C, H, W) -> (N, C', H', W')


def conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class MBConv(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = c_in * expand
        self.skip = stride == 1 and c_in == c_out
        wide = [conv_bn(c_in, hidden, 1), nn.ReLU()] if expand > 1 else []
        self.body = nn.Sequential(
            *wide, conv_bn(hidden, hidden, kernel, stride, hidden), nn.ReLU(), conv_bn(hidden, c_out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.skip else y


class Lstm(nn.Module):
    """Over the positions of the map, row by row."""

    def __init__(self, c_in: int, hidden: int, bidirectional: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(c_in, hidden, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return torch.unflatten(y.transpose(1, 2), 2, x.shape[2:])


class Transformer(nn.Module):
    """Pre-norm encoder layer over the positions of the map, with learned places."""

    def __init__(self, c_in: int, positions: int, dim: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(c_in, dim)
        self.place = nn.Parameter(0.02 * torch.randn(1, positions, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.leave = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, ratio * dim), nn.GELU(), nn.Linear(ratio * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.enter(x.flatten(2).transpose(1, 2)) + self.place
        qkv = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        tokens = tokens + self.leave(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return torch.unflatten(tokens.transpose(1, 2), 2, x.shape[2:])


def build(trial: optuna.trial.BaseTrial) -> nn.Module:
    """Return the network that a trial suggests: 1 to 5 blocks after a stem, a mean over positions, a linear layer."""
    width, stride = trial.suggest_int("stem.width", 8, 32, step=8), trial.suggest_categorical("stem.stride", [1, 2])
    layers: list[nn.Module] = [conv_bn(1, width, 3, stride), nn.ReLU()]
    side = -(-28 // stride)
    for i in range(trial.suggest_int("blocks", 1, 5)):
        kind = trial.suggest_categorical(f"{i}.kind", ["conv", "mbconv", "lstm", "transformer"])
        name = f"{i}.{kind}"
        if kind in ("conv", "mbconv"):
            out = trial.suggest_int(f"{name}.width", 8, 96, step=8)
            kernel = trial.suggest_categorical(f"{name}.kernel", [3, 5])
            stride = trial.suggest_categorical(f"{name}.stride", [1, 2])
            if kind == "conv":
                layers += [conv_bn(width, out, kernel, stride), nn.ReLU()]
            else:
                expand = trial.suggest_categorical(f"{name}.expand", [1, 2, 4, 6])
                layers.append(MBConv(width, out, kernel, stride, expand))
            side = -(-side // stride)
        elif kind == "lstm":
            hidden = trial.suggest_int(f"{name}.hidden", 16, 96, step=16)
            both = trial.suggest_categorical(f"{name}.bidirectional", [False, True])
            layers.append(Lstm(width, hidden, both))
            out = hidden * (1 + both)
        else:
            out = trial.suggest_int(f"{name}.dim", 16, 96, step=16)
            heads = trial.suggest_categorical(f"{name}.heads", [2, 4])
            ratio = trial.suggest_categorical(f"{name}.ratio", [1, 2, 4])
            layers.append(Transformer(width, side * side, out, heads, ratio))
        width = out
    dropout = trial.suggest_float("dropout", 0.0, 0.4)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, 10))


# ---------------------------------------------------------------- data and training


def images(root: str) -> tuple[Tensor, Tensor]:
    """Return the 60,000 training images, standardised (n, 1, 28, 28), in the one order that all processes share."""
    from torchvision.datasets import FashionMNIST

    found = FashionMNIST(root, train=True)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(found.data)))
    return ((found.data[order].float() / 255 - MEAN) / STD)[:, None], found.targets[order]


@dataclass(frozen=True)
class Training:
    """The hyperparameters of a training."""

    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    batch_size: int
    smoothing: float
    shift: int
    flip: bool

    @classmethod
    def suggest(cls, trial: optuna.trial.BaseTrial) -> Training:
        """Return what a trial suggests."""
        optimizer = trial.suggest_categorical("optimizer", ["sgd", "adamw"])
        sgd = optimizer == "sgd"
        return cls(
            optimizer=optimizer,
            lr=trial.suggest_float(f"{optimizer}.lr", *((1e-2, 5e-1) if sgd else (3e-4, 2e-2)), log=True),
            momentum=trial.suggest_float("sgd.momentum", 0.8, 0.97) if sgd else 0.0,
            weight_decay=trial.suggest_float(f"{optimizer}.decay", *((1e-6, 1e-2) if sgd else (1e-5, 1e-1)), log=True),
            batch_size=trial.suggest_categorical("batch", [64, 128, 256]),
            smoothing=trial.suggest_float("smoothing", 0.0, 0.1),
            shift=trial.suggest_int("shift", 0, 2),
            flip=trial.suggest_categorical("flip", [False, True]),
        )

    def make(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer."""
        if self.optimizer == "sgd":
            options: dict[str, Any] = {"momentum": self.momentum, "nesterov": True}
            return torch.optim.SGD(
                module.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True, **options
            )
        return torch.optim.AdamW(module.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)


def fit(module: nn.Module, x: Tensor, y: Tensor, how: Training, epochs: float, seconds: float, seed: int) -> float:
    """Train with one cycle of the learning rate, until the epochs or the seconds are over; return the epochs."""
    rng = torch.Generator().manual_seed(seed)
    module.to(memory_format=torch.channels_last)
    module.train()
    optimizer = how.make(module)
    padded = F.pad(x, (how.shift,) * 4)
    begun, seen, n = time.monotonic(), 0, len(x)
    while True:
        for chosen in torch.randperm(n, generator=rng).split(how.batch_size):
            share = max((time.monotonic() - begun) / seconds, seen / (epochs * n))
            if share >= 1:
                return seen / n
            for group in optimizer.param_groups:
                group["lr"] = how.lr * one_cycle(share)
            loss = F.cross_entropy(
                module(augmented(padded, chosen, how, rng)), y[chosen], label_smoothing=how.smoothing
            )
            if not math.isfinite(loss.item()):
                raise optuna.TrialPruned("diverged")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            seen += len(chosen)


def one_cycle(share: float, warmup: float = 0.25) -> float:
    """Return the factor on the learning rate: up from 1/25, down to nothing, each by half a cosine."""
    if share < warmup:
        return 1 - 0.96 * (1 + math.cos(math.pi * share / warmup)) / 2
    return (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) / 2


def augmented(padded: Tensor, chosen: Tensor, how: Training, rng: torch.Generator) -> Tensor:
    """Return the chosen images, moved by up to `how.shift` pixels and perhaps mirrored: (N, 1, 28, 28)."""
    n, most = len(chosen), 2 * how.shift + 1
    rows = torch.randint(most, (n, 1), generator=rng) + torch.arange(28)
    cols = torch.randint(most, (n, 1), generator=rng) + torch.arange(28)
    if how.flip:
        cols = torch.where(torch.rand(n, 1, generator=rng) < 0.5, cols.flip(1), cols)
    pixels = padded.permute(0, 2, 3, 1)[chosen[:, None, None], rows[:, :, None], cols[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


@torch.no_grad()
def error_of(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of wrong answers; leaves the module in evaluation mode."""
    module.eval()
    wrong = sum(int((module(a).argmax(1) != b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True))
    return wrong / len(x)


# ---------------------------------------------------------------- the file and its latency


def export(module: nn.Module, path: Path) -> None:
    """Write a network as ONNX with an open batch axis; the metadata say how its input is scaled."""
    module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, which is the one that keeps an LSTM whole
        torch.onnx.export(
            *(module, (torch.zeros(1, 1, 28, 28),), str(path)),
            dynamo=False,
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}},
        )
    model = onnx.load(str(path))
    for key, value in {"mean": [MEAN], "std": [STD], "scale": 1 / 255}.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    onnx.save(model, str(path))


def latency_ms(path: Path, runs: int = 50) -> float:
    """Return the median ms of a run with one image on one thread, after ten that do not count."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    feed, times = {"x": np.zeros((1, 1, 28, 28), np.float32)}, []
    for _ in range(10 + runs):
        begun = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(times[10:]))


# ---------------------------------------------------------------- the search


def objective(trial: optuna.Trial, x: Tensor, y: Tensor, deadline: float, scratch: Path) -> tuple[float, float]:
    """Return error and latency of what a trial suggests."""
    torch.manual_seed(trial.number)
    module, how = build(trial), Training.suggest(trial)
    path = scratch / f"{os.getpid()}.onnx"
    export(module, path)
    ms = latency_ms(path)
    path.unlink()
    trial.set_user_attr("latency_ms", ms)
    trial.set_constraint("latency_ms", ms - LIMIT_MS)
    if ms > LIMIT_MS:
        raise optuna.TrialPruned(f"{ms:.2f} ms")
    left = deadline - time.monotonic()
    if left < 1:
        raise optuna.TrialPruned("the time is over")
    x_train, y_train = x[:N_TRAIN], y[:N_TRAIN]
    trial.set_user_attr("epochs", fit(module, x_train, y_train, how, EPOCHS, min(TRIAL_SECONDS, left), trial.number))
    return error_of(module, x[-N_VAL:], y[-N_VAL:]), ms


def open_study(out: Path, seed: int) -> optuna.Study:
    """Return the study that both processes share."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=10, seed=seed
        )
    storage = JournalStorage(JournalFileBackend(str(out / "journal.log")))
    return optuna.create_study(
        storage=storage, sampler=sampler, study_name="expert", directions=["minimize"] * 2, load_if_exists=True
    )


def search(slot: int, seed: int, out: Path, root: str, seconds: float) -> None:
    """Try one candidate after the other until the time is over: what one process does."""
    deadline = time.monotonic() + seconds
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of Optuna's experimental parts, once for each trial
    x, y = images(root)
    study = open_study(out, WORKERS * seed + slot)
    run = partial(objective, x=x, y=y, deadline=deadline, scratch=out)
    # RuntimeError: a network that cannot be built, a stride too many, or too large for the memory.
    study.optimize(run, timeout=max(0.0, deadline - time.monotonic()), catch=(RuntimeError, ValueError))


def hypervolume(front: Sequence[tuple[float, float]]) -> float:
    """Return the share of the box of ERROR and MS that points (error, ms) dominate; what is better than it, is on it.

    >>> round(hypervolume([(0.125, 0.2), (0.3, 0.01), (0.13, 0.3)]), 6)
    0.25
    """
    span = math.log(MS[1] / MS[0])
    points = [((e - ERROR[0]) / (ERROR[1] - ERROR[0]), math.log(ms / MS[0]) / span) for e, ms in front]
    found, height = 0.0, 1.0
    for loss, cost in sorted((max(loss, 0.0), max(cost, 0.0)) for loss, cost in points):
        if loss < 1 and cost < height:
            found += (1 - loss) * (height - cost)
            height = cost
    return found


def choose(front: Sequence[optuna.trial.FrozenTrial], n: int) -> list[optuna.trial.FrozenTrial]:
    """Return the members that together dominate most of the box, one after the other; those beyond it come last."""
    chosen: list[optuna.trial.FrozenTrial] = []
    left = list(front)
    while left and len(chosen) < n:
        now = [_point(t) for t in chosen]
        best = max(left, key=lambda t: hypervolume([*now, _point(t)]))
        left.remove(best)
        chosen.append(best)
    return chosen


def _point(trial: optuna.trial.FrozenTrial) -> tuple[float, float]:
    return trial.values[0], trial.values[1]


def retrain(slot: int, jobs: Sequence[tuple[int, Mapping[str, Any]]], out: Path, root: str, seconds: float) -> None:
    """Train front members on all images, each for its share of the time, and write their files: one process."""
    torch.set_num_threads(1)
    x, y = images(root)
    for i, parameters in jobs[slot::WORKERS]:
        fixed = optuna.trial.FixedTrial(dict(parameters))
        torch.manual_seed(i)
        module, how = build(fixed), Training.suggest(fixed)
        fit(module, x, y, how, math.inf, seconds, i)
        export(module, out / "front" / f"{i:02}.onnx")


def in_processes(work: Any, *arguments: Any) -> None:
    """Let WORKERS processes do the same at a time; each is told which one it is."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=work, args=(slot, *arguments)) for slot in range(WORKERS)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    if any(process.exitcode for process in running):
        raise SystemExit("a process ended with an error, see above")


def write(out: Path, study: optuna.Study, args: argparse.Namespace, chosen: Sequence[int]) -> None:
    """Write every trial, and how the hypervolume grew."""
    trials = sorted((t for t in study.trials if t.state.is_finished()), key=lambda t: t.datetime_complete)  # type: ignore[arg-type, return-value]
    begun = min(t.datetime_start for t in trials if t.datetime_start is not None)
    rows: list[dict[str, Any]] = []
    points: list[tuple[float, float]] = []
    trace: list[tuple[float, float]] = []
    for t in trials:
        assert t.datetime_complete is not None
        complete = t.state == optuna.trial.TrialState.COMPLETE
        if complete:
            points.append(_point(t))
        seconds = (t.datetime_complete - begun).total_seconds()
        volume = round(hypervolume(points), 5)
        if not trace or volume > trace[-1][1]:
            trace.append((round(seconds, 1), volume))
        rows.append(
            {
                **{"trial": t.number, "state": t.state.name.lower(), "seconds": round(seconds, 1)},
                **{"error": t.values[0] if complete else "", "latency_ms": t.user_attrs.get("latency_ms", "")},
                **{"epochs": t.user_attrs.get("epochs", ""), "hypervolume": volume, "chosen": t.number in chosen},
                "parameters": json.dumps(t.params),
            }
        )
    with (out / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    settings = {"seed": args.seed, "minutes": args.minutes, "retrain_minutes": args.retrain_minutes}
    states = {state: sum(row["state"] == state for row in rows) for state in sorted({row["state"] for row in rows})}
    told = {"settings": settings, "states": states, "hypervolume": trace, "chosen": list(chosen)}
    (out / "search.json").write_text(json.dumps(told, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0, help="of searching; default: 30")
    parser.add_argument("--retrain-minutes", type=float, default=11.0, help="of training the front; default: 11")
    parser.add_argument("--data", default=os.environ.get("NAS_TEST_DATA", "data"), help="folder of FashionMNIST/")
    parser.add_argument("--out", type=Path, required=True, help="a folder of its own")
    args = parser.parse_args()
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # of the processes to come: two of them, on two cores
    if (args.out / "journal.log").exists():
        raise SystemExit(f"{args.out} holds a search already; name another folder with --out")
    (args.out / "front").mkdir(parents=True, exist_ok=True)
    open_study(args.out, args.seed)
    in_processes(search, args.seed, args.out, args.data, 60 * args.minutes)
    study = open_study(args.out, args.seed)
    chosen = choose(study.best_trials, MEMBERS)
    write(args.out, study, args, [t.number for t in chosen])
    if not chosen:
        raise SystemExit("nothing was trained in this time; say more with --minutes")
    each = 60 * args.retrain_minutes / -(-len(chosen) // WORKERS)
    jobs = [(t.number, t.params) for t in sorted(chosen, key=lambda t: t.values[1])]
    in_processes(retrain, jobs, args.out, args.data, each)
    print(f"{len(chosen)} networks in {args.out / 'front'}, trials in {args.out / 'trials.csv'}")


if __name__ == "__main__":
    main()
