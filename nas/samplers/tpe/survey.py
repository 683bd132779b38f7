"""A look at the prices before the first proposal: what there is, and a first design spread over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.samplers.proposer import Price
from nas.space import Architecture


@dataclass(frozen=True)
class Survey:
    """Architectures drawn from the prior, with their prices.

    Attributes:
        vectors: (n, n_features) of them.
        losses: (n, n_losses), NaN where only training tells.
        excess: (n, n_budgets).
        archs: the architectures themselves.
        design: indices of those to be trained first.
    """

    archs: list[Architecture]
    vectors: np.ndarray
    losses: np.ndarray
    excess: np.ndarray
    design: list[int]


def survey(
    archs: list[Architecture],
    vectors: np.ndarray,
    price: Callable[[Architecture], Price],
    n_design: int,
    rng: np.random.Generator,
) -> Survey:
    """Price some architectures and choose a first design among those that keep the budgets.

    The design is stratified: sorted by price (the mean rank over prices and budgets, where there are several), cut into
    `n_design` parts of equal size, the middle of each. So it stands for all there is, cheap and dear, and the losses
    seen on it are those of random architectures.
    """
    prices = [price(arch) for arch in archs]
    losses = np.array([[math.nan if loss is None else loss for loss in p.losses] for p in prices], dtype=float)
    n_budgets = max((len(p.excess) for p in prices), default=0)
    excess = np.array([[*p.excess, *[math.nan] * (n_budgets - len(p.excess))] for p in prices], dtype=float)
    kept = np.array([i for i, p in enumerate(prices) if p.violation <= 0], dtype=int)
    told = np.concatenate([losses, excess], axis=1)[kept]
    known = ~np.isnan(told).all(axis=0)
    ranked = np.argsort(np.argsort(told[:, known], axis=0, kind="stable"), axis=0).sum(axis=1)
    order = kept[np.argsort(ranked, kind="stable")]
    n = min(n_design, len(order))
    design = [int(order[int((i + 0.5) / n * len(order))]) for i in range(n)]
    return Survey(archs, vectors, losses, excess, [design[i] for i in rng.permutation(n)])
