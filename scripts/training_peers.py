"""How others train: the usual loop over a DataLoader, and the script of somebody careful who tunes it by hand.

Plain torch and torchvision: nothing here is of `nas`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader, Dataset, Subset

# ---------------------------------------------------------------- the usual loop


class Series(Dataset[tuple[Tensor, int]]):
    """Series of an array (n, C, T), each as (T, C), scaled and shifted in time when it is asked for.

    Args:
        mean, std: (C,), per channel.
        shift: in steps, at most, each way.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, mean: np.ndarray, std: np.ndarray, shift: int) -> None:
        self.x, self.y, self.shift = x, y, shift
        self.mean, self.std = torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        x = (torch.from_numpy(self.x[i].astype(np.float32)).T - self.mean) / self.std
        by = int(torch.randint(-self.shift, self.shift + 1, ()))
        x = torch.roll(x, by, dims=0)
        if by > 0:
            x[:by] = 0
        elif by < 0:
            x[by:] = 0
        return x, int(self.y[i])


def fashion_dataset(root: str, *, flat: bool) -> Dataset[Any]:
    """Return Fashion-MNIST as tutorials have it, with a transform per sample.

    Args:
        flat: as vectors (784,), as they are; else as images (1, 28, 28), shifted by up to 2 pixels and mirrored.
    """
    from torchvision import transforms
    from torchvision.datasets import FashionMNIST

    scaled = [transforms.ToTensor(), transforms.Normalize((0.2860,), (0.3530,))]
    moved = [transforms.RandomCrop(28, padding=2), transforms.RandomHorizontalFlip()]
    chosen = [*scaled, transforms.Lambda(torch.flatten)] if flat else [*moved, *scaled]
    found: Dataset[Any] = FashionMNIST(root, train=True, transform=transforms.Compose(chosen))
    return found


def usual_loader(dataset: Dataset[Any], n: int, batch_size: int, workers: int) -> DataLoader[Any]:
    """Return a loader of `n` samples in random order, more than once where there are fewer.

    One long epoch, so that its workers start once: the default is to start them for each epoch. They are forked, as
    they are by default from a main program on Linux; here the default would start them anew and load torch again.
    """
    n_samples = len(dataset)  # type: ignore[arg-type]  # torch types none for Dataset
    order = torch.randperm(n) % n_samples
    context = "fork" if workers else None
    return DataLoader(
        Subset(dataset, order.tolist()), batch_size, shuffle=True, num_workers=workers, multiprocessing_context=context
    )


def usual_loop(
    module: nn.Module,
    loader: Iterable[Any],
    *,
    channels_last: bool = False,
    fused: bool | None = None,
    device: str = "cpu",
) -> float:
    """Train for one epoch as tutorials do, with AdamW and a schedule; return the mean loss."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    module.to(device, memory_format=memory_format)
    optimizer = AdamW(module.parameters(), lr=1e-3, fused=fused)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000)
    criterion = nn.CrossEntropyLoss()
    module.train()
    running, batches = 0.0, 0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(module(inputs.contiguous(memory_format=memory_format)), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        running += loss.item()
        batches += 1
    return running / batches


# ---------------------------------------------------------------- the script of somebody careful


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on images that lie in memory; one cycle over the seconds there are.

    Attributes:
        lr: at the top of the cycle.
        smoothing: of the labels.
    """

    optimizer: str
    lr: float
    weight_decay: float
    batch_size: int = 128
    smoothing: float = 0.05
    clip_norm: float = 5.0
    warmup: float = 0.25
    options: dict[str, Any] = field(default_factory=dict)

    def make(self, module: nn.Module) -> Optimizer:
        """Return the optimizer; norms and biases are not decayed."""
        weights = [p for p in module.parameters() if p.ndim > 1]
        others = [p for p in module.parameters() if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        kind = {"sgd": torch.optim.SGD, "adamw": AdamW}[self.optimizer]
        return kind(groups, lr=self.lr, fused=True, **self.options)


RECIPES: dict[str, Recipe] = {
    "onecycle sgd": Recipe("sgd", 0.4, 5e-4, options={"momentum": 0.9, "nesterov": True}),
    "onecycle adamw": Recipe("adamw", 2e-2, 0.05, options={"betas": (0.9, 0.99)}),
}
"""Learning rates as `bench_training.py tune` found them best on the network that has most epochs in a minute. (On the
two others, of one and three epochs, SGD is better at 1: trainings of four minutes want less.)"""

GRID: dict[str, tuple[float, ...]] = {
    "onecycle sgd": (0.05, 0.15, 0.4, 1.0),
    "onecycle adamw": (2e-3, 6e-3, 2e-2, 6e-2),
}
"""Learning rates that `tune` tries."""


def hand_tuned(module: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, seconds: float, seed: int) -> int:
    """Train for so many wall seconds, the learning rate arriving at zero then; return the samples seen.

    Args:
        x: (n, C, H, W), standardised; moved by up to 2 pixels and mirrored, a batch at a time.
    """
    torch.manual_seed(seed)
    module.to(memory_format=torch.channels_last)
    module.train()
    optimizer = recipe.make(module)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    padded = F.pad(x, (2, 2, 2, 2))
    begun, seen = time.monotonic(), 0
    while True:
        for chosen in torch.randperm(len(x))[: len(x) // recipe.batch_size * recipe.batch_size].split(
            recipe.batch_size
        ):
            share = (time.monotonic() - begun) / seconds
            if share >= 1:
                return seen
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * one_cycle(share, recipe.warmup)
            inputs = crop_and_flip(padded, chosen, x.shape[-2], x.shape[-1])
            loss = F.cross_entropy(module(inputs), y[chosen], label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
            optimizer.step()
            seen += len(chosen)


def one_cycle(share: float, warmup: float) -> float:
    """Return the factor on the learning rate at a share of the training: up from 1/25, down to nothing, by cosines.

    >>> [round(one_cycle(share, 0.25), 3) for share in (0, 0.25, 0.625, 1)]
    [0.04, 1.0, 0.5, 0.0]
    """
    if share < warmup:
        return 1 - 0.96 * (1 + math.cos(math.pi * share / warmup)) / 2
    return (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) / 2


def crop_and_flip(padded: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
    """Return the chosen images at random places of the padded ones, half of them mirrored, in channels_last.

    Args:
        padded: (n, C, H + 2p, W + 2p).
    Returns:
        (N, C, H, W).
    """
    n, most = len(chosen), padded.shape[-1] - width
    rows = torch.randint(most + 1, (n, 1)) + torch.arange(height)
    cols = torch.randint(most + 1, (n, 1)) + torch.arange(width)
    cols = torch.where(torch.rand(n, 1) < 0.5, cols.flip(1), cols)
    pixels = padded.permute(0, 2, 3, 1)[chosen[:, None, None], rows[:, :, None], cols[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


@torch.no_grad()
def accuracy(module: nn.Module, x: Tensor, y: Tensor, batch: int = 500) -> float:
    """Return the share of right answers; leaves the module in evaluation mode."""
    module.eval()
    parts = zip(x.split(batch), y.split(batch), strict=True)
    right = sum(int((module(inputs).argmax(1) == labels).sum()) for inputs, labels in parts)
    return right / len(x)
