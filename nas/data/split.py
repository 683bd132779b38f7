"""Stratified sampling: every class keeps its share."""

from __future__ import annotations

import numpy as np

from nas.rng import generator


def stratified(y: np.ndarray, share: float, rng: np.random.Generator, *, leave: int = 1) -> np.ndarray:
    """Return sorted indices of about `share` of the samples, the same share of every class.

    The total is `round(share * n)` where the classes allow it: what rounding down leaves over goes to the classes that
    lost most. Every class gives at least one sample. With the same generator state a larger share contains
    a smaller one, but for single samples at the rounding.

    Args:
        y: (n,) integer labels.
        share: in (0, 1].
        leave: how many samples of each class stay outside, as far as the class has more than one.

    >>> y = np.repeat([0, 1], [10, 5])
    >>> np.bincount(y[stratified(y, 0.4, np.random.default_rng(0))])
    array([4, 2])
    """
    members = [rng.permutation(np.flatnonzero(y == c)) for c in np.unique(y)]
    sizes = np.array([len(m) for m in members])
    quota = np.floor(share * sizes + 1e-9).astype(int)
    short = round(share * len(y)) - int(quota.sum())
    # A random order first, so that equal remainders (balanced classes) do not always favour class 0.
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-(share * sizes - quota)[order], kind="stable")]
    quota[order[:short]] += 1
    quota = np.maximum(np.minimum(quota, sizes - leave), 1)
    return np.sort(np.concatenate([m[:k] for m, k in zip(members, quota, strict=True)]))


def hold_out(y: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted indices to keep, and to test on: a stratified fifth of data that were published without a test set.

    The seed is constant: one test set, whatever the run's seed.
    """
    held = stratified(y, 0.2, generator(0, name, "test"))
    return np.setdiff1d(np.arange(len(y)), held), held
