"""A Gaussian process on features: what a figure of an architecture will be, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import solve_triangular

from nas.samplers.tpe.relevance import relevance

_ADDITIVE = (0.2, 0.6, 1.0)
_LENGTH = (0.7, 1.4)
_NOISE = (0.003, 0.03, 0.1, 0.3)
_AGREEMENT = (0.0, 0.3, 0.6, 0.8, 0.95)
_NEGLIGIBLE = 0.02  # of the largest weight's root


@dataclass(frozen=True)
class Kernel:
    """The covariance of two architectures x and y with scaled, centred features f.

        k(x, y) = agreement(x, y) (a f(x) f(y) + (1 - a) exp(-|f(x) - f(y)|^2 / 2 l^2))

    The first part adds up what each choice does; the second sees combinations. Where x is a trial of the study and
    y evidence from elsewhere, agreement is in [0, 1], else 1: at 0 the evidence says nothing.

    Attributes:
        weights: (n_groups,) of the features, see `relevance`.
        additive: a, in [0, 1].
        length: l, in units of the mean length of f.
        noise: variance of what is told, in units of the prior's.
        agreement: between the study and other sources, in [0, 1].

    Reference: Duvenaud et al., NeurIPS 2011 (additive kernels); Swersky, Snoek & Adams, NeurIPS 2013 (sources).
    """

    weights: np.ndarray
    additive: float
    length: float
    noise: float
    agreement: float = 1.0

    def of(self, gram: np.ndarray, squares: tuple[np.ndarray, np.ndarray], foreign: np.ndarray) -> np.ndarray:
        """Return the covariances.

        Args:
            gram: (n, m) inner products of scaled features.
            squares: (n,) and (m,) squared lengths.
            foreign: (n, m), or what broadcasts to it: whether one is evidence and the other is not.
        """
        k = self.additive * gram
        if self.additive < 1:
            distance = np.maximum(squares[0][:, None] + squares[1] - 2 * gram, 0.0)
            k += (1 - self.additive) * np.exp(distance / (-2 * self.length**2))
        return np.where(foreign, self.agreement * k, k) if foreign.any() else k


class Regression:
    """The posterior of a figure, given trials.

    Args:
        features: (n, n_features).
        targets: (n,), finite.
        evidence: (n,) of bool: not of this study. Each source should come with mean 0 and standard deviation 1, and
            the study too where there is any; `scale` says what these were.
        kernel: as `Regression.learn` returns it.

    Attributes:
        kept: indices of the features that matter.
        smooth: (n,) the targets without their noise: the posterior mean at the trials themselves.

    Cost: O(n^2 (n + n_features)); 4 ms for 250 trials and 500 features.

    Reference: Rasmussen & Williams 2006, algorithm 2.1; the variance is taken out of the likelihood (sec. 5.4).
    """

    def __init__(
        self, features: np.ndarray, targets: np.ndarray, evidence: np.ndarray, group: np.ndarray, kernel: Kernel
    ) -> None:
        self.kernel, self.evidence = kernel, evidence
        root = np.sqrt(kernel.weights).astype(np.float32)[group]
        self.kept = np.flatnonzero(root > _NEGLIGIBLE * root.max())
        self._root, self._centre = root[self.kept], features[:, self.kept].mean(axis=0)
        self._points = (features[:, self.kept] - self._centre) * self._root
        gram = (self._points @ self._points.T).astype(float)
        self._unit = float(gram.diagonal().mean()) or 1.0
        gram /= self._unit
        self._squares = gram.diagonal().copy()
        k = kernel.of(gram, (self._squares, self._squares), evidence[:, None] != evidence)
        k[np.diag_indices_from(k)] += kernel.noise
        self._lower = np.linalg.cholesky(k)
        white = solve_triangular(self._lower, targets, lower=True, check_finite=False)
        self._variance = float(white @ white) / len(targets)
        self._dual = solve_triangular(self._lower.T, white, lower=False, check_finite=False)
        self.smooth = targets - kernel.noise * self._dual

    @classmethod
    def learn(
        cls,
        features: np.ndarray,
        targets: np.ndarray,
        evidence: np.ndarray,
        group: np.ndarray,
        starts: Sequence[np.ndarray],
        *,
        relevant: bool = True,
    ) -> Kernel:
        """Return the kernel of the largest marginal likelihood on a small grid, with weights from `relevance`.

        Args:
            starts: what may be thought of the groups before anything was seen, one array of (n_groups,) or several.
            relevant: False leaves the weights as they start.

        Cost: 23 factorisations for each start, some 60 ms for 250 trials: not to be done at every proposal. 103 where
        there is evidence.
        """
        centred = features - features.mean(axis=0)
        foreign = evidence[:, None] != evidence
        best, least = Kernel(_scaled(starts[0], centred, group), 1.0, 1.0, _NOISE[-1], 0.0), np.inf
        for start in starts:
            weights = _scaled(start, centred, group)
            if relevant:
                weights = relevance(centred, targets, group, weights)
            points = centred * np.sqrt(weights).astype(np.float32)[group]
            gram = (points @ points.T).astype(float)
            gram /= float(gram.diagonal().mean()) or 1.0
            squares = gram.diagonal().copy()
            for additive, length, noise, agreement in _grid(foreign.any()):
                kernel = Kernel(weights, additive, length, noise, agreement)
                k = kernel.of(gram, (squares, squares), foreign)
                k[np.diag_indices_from(k)] += noise
                try:
                    lower = np.linalg.cholesky(k)
                except np.linalg.LinAlgError:
                    continue  # nearly singular with so little noise
                white = solve_triangular(lower, targets, lower=True, check_finite=False)
                unlikely = 0.5 * len(targets) * np.log(float(white @ white)) + np.log(lower.diagonal()).sum()
                if unlikely < least:
                    best, least = kernel, unlikely
        return best

    def predict(self, features: np.ndarray, *, unsure: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the figure itself, without the noise of telling it.

        Args:
            features: (m, n_features) of architectures of the study.
            unsure: whether the deviation is wanted; else zeros come in its place, in half the time.
        Returns:
            Two arrays of (m,), in the units of the targets.

        Cost: O(m n (n + n_features)); 6 ms for 400 architectures and 250 trials.
        """
        points = (features[:, self.kept] - self._centre) * self._root
        gram = (points @ self._points.T).astype(float) / self._unit
        squares = (points * points).sum(axis=1).astype(float) / self._unit
        k = self.kernel.of(gram, (squares, self._squares), self.evidence)
        mean = k @ self._dual
        if not unsure:
            return mean, np.zeros(len(mean))
        white = solve_triangular(self._lower, k.T, lower=True, check_finite=False)
        prior = self.kernel.additive * squares + 1 - self.kernel.additive
        variance = np.maximum(prior - (white**2).sum(axis=0), 1e-6)
        return mean, np.sqrt(variance * self._variance)


def _scaled(start: np.ndarray, centred: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return weights in proportion to `start`, under which features have a mean length of 1."""
    return start / (float((start[group] * (centred**2).sum(axis=0)).sum()) / len(centred) or 1.0)


def _grid(has_evidence: bool) -> Iterator[tuple[float, float, float, float]]:
    for additive, length, noise in product(_ADDITIVE, _LENGTH, _NOISE):
        if additive < 1 or length == _LENGTH[0]:  # without the second part the length says nothing
            yield from ((additive, length, noise, a) for a in (_AGREEMENT if has_evidence else (1.0,)))
