"""A share of the training samples that stands for all of them, chosen by name. Every class keeps its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from nas.data.split import stratified
from nas.errors import DataError
from nas.registry import Registry

Subset: TypeAlias = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray]
"""`method(x, y, share, rng)`: x (n, F) float32, standardised; y (n,) integer labels; sorted indices come back."""

SUBSETS = Registry[Subset]("subset method")

_DIMS = 32
"""Directions of largest variance that distances are taken in."""

_PART = 4096
"""Samples among which one is sought at a time: a larger class is divided at random, or time would grow with n ** 2."""


def select(method: str, x: np.ndarray, y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return sorted indices of `share` of the samples, as the method of that name chooses them.

    How many of each class is `stratified`'s matter: about the same share of each, at least one sample. With the same
    generator state, of each class a larger share contains a smaller one.

    Args:
        method: a name in `SUBSETS`.
        x: (n, ...) float32, standardised; flattened.
        y: (n,) integer labels.
        share: in (0, 1]; 1 gives all.
        rng: owns the choice, whichever the share.
    Raises:
        NasError: no such method.
        DataError: a share that is none.

    Memory: some 200 bytes for each sample, and about 150 MB at most.

    >>> y = np.repeat([0, 1], [10, 5])
    >>> np.bincount(y[select("kcentre", np.eye(15, dtype="f4"), y, 0.4, np.random.default_rng(0))])
    array([4, 2])
    """
    choose = SUBSETS[method]
    if not 0 < share <= 1:
        raise DataError(f"the share of a subset must be in (0, 1], got {share}; for 30 % write 0.3")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples, y has {len(y)} labels")
    if share == 1:
        return np.arange(len(y))
    return choose(x.reshape(len(x), -1), y, share, rng)


@SUBSETS.add("stratified")
def at_random(x: np.ndarray, y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw each class at random; `x` is not looked at. Cost: milliseconds."""
    return stratified(y, share, rng, leave=0)


@SUBSETS.add("herding")
def herding(x: np.ndarray, y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose samples whose mean embedding comes nearest to that of their class, one after the other.

    The subset then has nearly the distribution of the class: moments agree as with many more random samples. Networks
    trained on 5, 10 and 30 % were 7, 5 and 1 points more accurate than on random ones (digits), 1.4, 0.9 and 0.7 on
    Fashion-MNIST; they ranked no better (results/training/subsets.json).

    Cost: O(n * (1 + share) * 4096 * 32), linear in n; a third of 48,000 images of 28 x 28 takes 0.9 s of one core in
    ten classes, 2.1 s in two.

    References: Welling, Herding dynamical weights to learn, ICML 2009; Chen, Welling & Smola, Super-samples from
    kernel herding, UAI 2010, eq. 8, https://arxiv.org/abs/1203.3472. We differ in drawing no sample twice. The kernel
    is Gaussian, its width the median distance within the class.
    """
    return _ranked(x, y, share, rng, _herd)


@SUBSETS.add("kcentre")
def kcentre(x: np.ndarray, y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose the sample farthest from those chosen so far, again and again, from the middle of each class on.

    Every sample then has a chosen one near, within twice the least possible radius (Gonzalez 1985). Borders and
    outliers are chosen long before the dense middle: the distribution is not that of the class, and networks trained
    on 5, 10 and 30 % of Fashion-MNIST lost 13, 9 and 4 points to random samples (results/training/subsets.json).

    Cost: O(n * share * 4096 * 32), linear in n; a third of 48,000 images of 28 x 28 takes 0.4 s of one core in ten
    classes, 0.6 s in two.

    Reference: Sener & Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018,
    algorithm 1, https://arxiv.org/abs/1708.00489. We differ in looking at the data, not at a trained network's layer,
    and in doing so class by class.
    """
    return _ranked(x, y, share, rng, _farthest_first)


_Rank: TypeAlias = Callable[[np.ndarray, int], np.ndarray]
"""`rank(z, k)`: the first `k` of the rows of z (m, d), best first; a larger `k` goes on where a smaller one ended."""


def _ranked(x: np.ndarray, y: np.ndarray, share: float, rng: np.random.Generator, rank: _Rank) -> np.ndarray:
    """Return as many of each class as `stratified` would, those that `rank` puts first."""
    classes, counts = np.unique(y[stratified(y, share, rng, leave=0)], return_counts=True)
    z = principal_components(x, _DIMS, rng)
    chosen = []
    for c, k in zip(classes, counts, strict=True):
        members = rng.permutation(np.flatnonzero(y == c))
        parts = np.array_split(members, -(-len(members) // _PART))
        each = -(-k // len(parts))
        ranked = [part[rank(z[part], min(each, len(part)))] for part in parts]
        # By turns from the parts, so that a smaller share is the beginning of a larger one.
        turn = np.concatenate([np.arange(len(r)) for r in ranked])
        chosen.append(np.concatenate(ranked)[np.argsort(turn, kind="stable")][:k])
    return np.sort(np.concatenate(chosen))


def _herd(z: np.ndarray, k: int) -> np.ndarray:
    squared_norms = np.einsum("md,md->m", z, z)
    near = _squared_distances(z[:512], squared_norms[:512], z[:512], squared_norms[:512])
    between = near[np.triu_indices(len(near), 1)]
    width = float(np.median(between)) if len(between) else 0.0
    scale = -1 / (2 * width) if width > 0 else -1.0  # copies of one sample: any width does

    def kernel(rows: np.ndarray, norms: np.ndarray) -> np.ndarray:
        return np.exp(scale * _squared_distances(rows, norms, z, squared_norms))

    wanted = np.zeros(len(z))  # the mean of the kernel over the class, at each sample
    for start in range(0, len(z), 512):
        part = slice(start, start + 512)
        wanted += kernel(z[part], squared_norms[part]).sum(0, dtype=np.float64) / len(z)
    have = np.zeros(len(z))
    order = np.empty(k, np.int64)
    for i in range(k):
        order[i] = best = int(np.argmax(wanted - have / (i + 1)))
        have += kernel(z[best, None], squared_norms[best, None])[0]
        wanted[best] = -np.inf
    return order


def _farthest_first(z: np.ndarray, k: int) -> np.ndarray:
    squared_norms = np.einsum("md,md->m", z, z)
    middle = z.mean(0, keepdims=True)
    best = int(np.argmin(_squared_distances(middle, middle @ middle[0], z, squared_norms)))
    nearest = np.full(len(z), np.inf, z.dtype)
    order = np.empty(k, np.int64)
    for i in range(k):
        order[i] = best
        distances = _squared_distances(z[best, None], squared_norms[best, None], z, squared_norms)[0]
        nearest = np.minimum(nearest, distances)
        nearest[best] = -1.0  # for good, and below the 0 of a copy of it
        best = int(np.argmax(nearest))
    return order


def _squared_distances(a: np.ndarray, a_norms: np.ndarray, b: np.ndarray, b_norms: np.ndarray) -> np.ndarray:
    """Return (len(a), len(b)); from products, whose rounding could take it below 0."""
    return np.maximum(a_norms[:, None] + b_norms[None] - 2 * (a @ b.T), 0)


def principal_components(x: np.ndarray, dims: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n, dims) coordinates of x (n, F) along its directions of largest variance; x centred if F <= dims.

    The directions are those of at most 4,096 samples and 64 MB, by a randomised SVD with three subspace iterations.

    Cost: O(n * F * dims); 0.15 s for 48,000 x 784.

    Reference: Halko, Martinsson & Tropp, SIAM Review 2011, algorithm 4.4, https://arxiv.org/abs/0909.4061
    """
    n, n_features = x.shape
    if n_features <= dims:
        return x - x.mean(0, keepdims=True)
    most = min(n, 4096, max(2**24 // n_features, 4 * dims))
    sample = x[np.sort(rng.permutation(n)[:most])]
    mean = sample.mean(0, keepdims=True)
    sample = sample - mean
    basis = rng.standard_normal((n_features, dims + 8), dtype=np.float32)  # 8 more than wanted: cheap exactness
    for _ in range(3):
        basis = np.linalg.qr(sample.T @ np.linalg.qr(sample @ basis)[0])[0]
    directions = basis @ np.linalg.svd(sample @ basis, full_matrices=False)[2][:dims].T
    chunk = max(2**22 // n_features, 1)  # 16 MB at a time
    return np.concatenate([(x[i : i + chunk] - mean) @ directions for i in range(0, n, chunk)])
