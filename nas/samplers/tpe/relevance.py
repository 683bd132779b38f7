"""How much each choice matters: weights of groups of features, learned from the trials."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

_ROUNDS = 3
_NOISE = 0.5
_PRIOR = 1.0


def relevance(features: np.ndarray, targets: np.ndarray, group: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the variance that each group of features explains, as weights of a Gaussian process.

        K = sum_g w_g F_g F_g^T + noise,    w_g <- w_g sqrt((a_g + c) / (b_g + c w_g / start_g))
        a_g = w_g |F_g^T K^-1 y|^2 / s^2,   b_g = w_g |L^-1 F_g|^2,   K = L L^T

    At a maximum of the marginal likelihood a_g = b_g for every group: what the group does explain is what it would
    by chance. c is worth that many degrees of freedom of belief in `start`, so that a dozen trials switch nothing off.

    Args:
        features: (n, n_features), centred.
        targets: (n,), mean 0, standard deviation 1.
        group: (n_features,) of int: the group of each feature.
        start: (n_groups,) > 0: the weights before anything was seen.
    Returns:
        (n_groups,).

    Cost: 3 rounds of O(n^2 n_features); 15 ms for 250 trials and 500 features.

    Reference: MacKay, Neural Computation 4(3), 1992 (evidence); Tipping, JMLR 1, 2001, sec. 2.
    """
    weights, n_groups = start.copy(), len(start)
    for _ in range(_ROUNDS):
        scaled = features * np.sqrt(weights).astype(features.dtype)[group]
        gram = (scaled @ scaled.T).astype(float)
        gram[np.diag_indices_from(gram)] += _NOISE
        lower = np.linalg.cholesky(gram)
        white = solve_triangular(lower, targets, lower=True, check_finite=False)
        dual = solve_triangular(lower.T, white, lower=False, check_finite=False)
        does = np.bincount(group, (scaled.T @ dual) ** 2, n_groups) * len(targets) / float(white @ white)
        chance = np.bincount(
            group, (solve_triangular(lower, scaled, lower=True, check_finite=False) ** 2).sum(axis=0), n_groups
        )
        weights *= np.sqrt((does + _PRIOR) / (chance + _PRIOR * weights / start))
    return weights
