"""Parzen estimators: from the cells that were seen to a probability for every cell."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from nas.samplers.tpe.cells import Cells


def density(cells: Cells, weights: np.ndarray, prior_weight: float = 1.0) -> np.ndarray:
    """Estimate the distribution of one parameter, as probabilities of its cells.

        p(cell) = (prior_weight prior(cell) + sum_c weights[c] kernel_c(cell)) / (prior_weight + sum_c weights[c])

    The kernel of a number, or of an ordered category, is a Gaussian around the cell, truncated to the unit
    interval and integrated over each cell; that of an unordered category is the cell itself, which leaves
    smoothed counts. The prior is always in it: no value ever becomes impossible.

    Args:
        weights: (..., n_cells), >= 0: how often each cell was seen, in trials; leading axes are independent.
        prior_weight: of the prior, in trials, > 0.
    Returns:
        (..., n_cells), summing to 1 over the last axis.

    Cost: O(n_cells^2) for each leading index, whatever the number of trials.

    Reference: Bergstra et al., NeurIPS 2011, sec. 4; the discretised Gaussian: Bergstra et al., ICML 2013.

    >>> from nas.space import Categorical
    >>> density(Cells(Categorical(("conv", "lstm"))), np.array([3.0, 0.0]))
    array([0.875, 0.125])
    """
    total = weights.sum(axis=-1, keepdims=True)
    if not cells.smooth:
        return (weights + prior_weight * cells.prior) / (total + prior_weight)
    sigmas = [bandwidth(n) for n in total.ravel().tolist()]
    kernels = np.stack([kernel(cells, sigma) for sigma in sigmas]).reshape(*weights.shape, weights.shape[-1])
    mass = (weights[..., None, :] @ kernels)[..., 0, :]
    return (mass + prior_weight * cells.prior) / (total + prior_weight)


def bandwidth(n: float) -> float:
    """Return the standard deviation of a kernel on the unit scale, for `n` trials.

        h = 0.2 n^(-1/5), with n rounded to a power of two so that few kernels have to be computed

    Reference: the exponent is Scott's (1992); 0.2 is the value of Optuna's multivariate estimator.

    >>> [round(bandwidth(n), 3) for n in (0.5, 1, 10, 1000)]
    [0.2, 0.2, 0.132, 0.05]
    """
    return 0.2 * 2.0 ** (-round(math.log2(max(n, 1.0))) / 5)


def kernel(cells: Cells, sigma: float) -> np.ndarray:
    """Return the truncated Gaussian around each cell's centre, integrated over each cell.

    Args:
        sigma: the standard deviation on the unit scale. Each is computed once for the cells.
    Returns:
        (n_cells, n_cells); row c is the kernel of cell c and sums to 1.
    """
    if sigma not in cells.kernels:
        below = ndtr((cells.edges[None, :] - cells.centres[:, None]) / sigma)
        cells.kernels[sigma] = np.diff(below, axis=1) / (below[:, -1:] - below[:, :1])
    return cells.kernels[sigma]
