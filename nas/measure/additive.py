"""Times that add up: how long a unit of each kind of work takes, estimated from the times of whole networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.measure.terms import Term, usual_ns

Work = Mapping[Term, float]
"""The amounts of work of a network, by term."""

NOISE = 0.01
"""Least standard deviation of a latency, in its logarithm: what two processes differ by beyond the interval."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is thought of times before any was measured; all but the first are standard deviations of logarithms."""

    usual_ns: Callable[[Term], float]
    """About how long a unit of a term takes."""

    speed: float
    """Of the machine's speed, which all terms share."""

    apart: float
    """Of how far a term is from its usual time, once the speed of all is known."""

    error: float
    """By how much a family of operations is thought to miss the sum of its terms."""

    noise: float
    """Least of a measurement."""


LATENCY = Prior(usual_ns=usual_ns, speed=3.0, apart=0.8, error=0.05, noise=NOISE)

_APART_SEEN = 20
"""How many terms the thought of how far they are apart is worth."""

_ERROR_SEEN = 5
"""How many networks the thought of a family's error is worth."""

_CALIBRATED = 20
"""How many networks it takes to trust half of what the errors of prediction say about their spread."""

_TAIL = 4.0
"""Degrees of freedom of the error of a whole network, a Student t: one disturbed measurement must not bend the rest."""

_STILL = 1e-3
"""A fit that changes no logarithm by more has come to its end."""

_STEPS = 40


@dataclass(frozen=True)
class Additive:
    """A model of the logarithm of a network's time in ns:

        log sum_t amount_t exp(usual_t + speed + apart_t) + sum_f share_f error_f + noise

    over terms t and families f of terms, share_f being the family's part of the time. All of speed, apart and error
    are thought to be normal around 0, the whole error with the tails of a Student t. Logarithms keep times positive,
    and make a prior of factors.

    Attributes:
        columns: the terms that occurred.
        log_times: (n_terms,) usual + speed + apart, at the most probable values.
        speed: by which a term that never occurred differs from its usual time.
        covariance: (1 + n_terms, 1 + n_terms) of speed and apart, by the Laplace approximation.
        errors: variance of each family's error.
        spread: variance of apart, as far as it was learned too.
        scale: by which errors of prediction are larger than all that says.
        prior: what was thought before.

    References:
        Cai et al., ProxylessNAS, ICLR 2019, sec. 3.3 (latency as a sum over blocks). https://arxiv.org/abs/1812.00332
        MacKay, Bayesian Interpolation, 1992 (Laplace approximation). https://doi.org/10.1162/neco.1992.4.3.415
    """

    columns: dict[Term, int]
    log_times: np.ndarray
    speed: float
    covariance: np.ndarray
    errors: dict[str, float]
    spread: float
    scale: float
    prior: Prior = LATENCY

    @classmethod
    def fit(
        cls, works: Sequence[Work], log_ns: Sequence[float], noise: Sequence[float], prior: Prior = LATENCY
    ) -> Additive:
        """Fit to measured networks, in whatever order they come; without any, the prior is all there is.

        Args:
            works: one for each network.
            log_ns: their times, as logarithms.
            noise: standard deviations of these.

        Cost: 10-20 ms for 100 networks of 90 terms, 60 ms for 400.
        """
        if not works:
            return cls({}, np.zeros(0), 0.0, np.array([[prior.speed**2]]), {}, prior.apart**2, 1.0, prior)
        columns = {term: i for i, term in enumerate(sorted({term for work in works for term in work}))}
        amounts = _matrix(works, columns)
        y, noise_variance = np.array(log_ns), np.array(noise) ** 2
        order = np.lexsort([*amounts.T, noise_variance, y])  # a sum of floats depends on it
        amounts, y, noise_variance = amounts[order], y[order], noise_variance[order]
        usual = _log_usual(columns, prior)
        families, member = _families(columns)
        spread = prior.apart**2
        errors = np.full(len(families), prior.error**2)
        apart = np.zeros(1 + len(columns))  # the first is the speed
        apart[0] = np.median(y - _log_sum(amounts, usual)[0])
        trust = np.ones(len(y))
        for _ in range(_STEPS):
            log_sum, shares = _log_sum(amounts, usual + apart[0] + apart[1:])
            residual = y - log_sum
            slope = np.concatenate([np.ones((len(y), 1)), shares], axis=1)
            parts = (shares @ member) ** 2  # (n, n_families)
            untailed = noise_variance + parts @ errors
            variance = untailed / trust
            precision = np.array([prior.speed**-2] + [1 / spread] * len(columns))
            covariance = np.linalg.inv((slope.T / variance) @ slope + np.diag(precision))
            leverage = ((slope @ covariance) * slope).sum(axis=1) / variance
            step = covariance @ (slope.T @ (residual / variance) - precision * apart)
            step /= max(1.0, float(np.abs(step).max()))  # a logarithm is straight within a factor of e or so

            now = _misfit(amounts, usual, y, variance, precision, apart)
            while (
                float(np.abs(step).max()) > _STILL
                and _misfit(amounts, usual, y, variance, precision, apart + step) > now
            ):
                step /= 2
            squares = residual**2 + leverage * variance  # expected, the sum being unsure
            errors = _expected_errors(errors, parts, untailed, squares * trust, prior.error)
            trust = (_TAIL + 1) / (_TAIL + squares / untailed)
            told = float((apart[1:] ** 2 + covariance.diagonal()[1:]).sum())
            spread = (told + _APART_SEEN * prior.apart**2) / (len(columns) + _APART_SEEN)
            apart = apart + step
            if float(np.abs(step).max()) <= _STILL:
                break
        # As if each network were predicted from the others.
        left_out = np.abs(residual) / np.sqrt(untailed * np.maximum(1 - leverage, 0.01))
        tail = max(float(np.quantile(left_out, 0.95, method="higher")) / 1.96, 0.3)
        scale = math.exp(math.log(tail) * len(y) / (len(y) + _CALIBRATED))
        times, of = usual + apart[0] + apart[1:], dict(zip(families, errors, strict=True))
        return cls(columns, times, float(apart[0]), covariance, of, spread, scale, prior)

    def predict(self, works: Sequence[Work]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation, (n,) each, of the logarithm of the time in ns that would be measured."""
        new = sorted({term for work in works for term in work} - set(self.columns))
        n = len(self.columns)
        columns = self.columns | {term: n + i for i, term in enumerate(new)}
        times = np.concatenate([self.log_times, _log_usual(new, self.prior) + self.speed])
        log_sum, shares = _log_sum(_matrix(works, columns), times)
        slope = np.concatenate([np.ones((len(works), 1)), shares[:, :n]], axis=1)
        families, member = _families(columns)
        errors = np.array([self.errors.get(family, self.prior.error**2) for family in families])
        variance = ((slope @ self.covariance) * slope).sum(axis=1) + (shares @ member) ** 2 @ errors
        variance += self.spread * (shares[:, n:] ** 2).sum(axis=1) + self.prior.noise**2
        return log_sum, self.scale * np.sqrt(variance)


def _matrix(works: Sequence[Work], columns: Mapping[Term, int]) -> np.ndarray:
    """Return the amounts as (n, n_terms)."""
    amounts = np.zeros((len(works), len(columns)))
    for row, work in zip(amounts, works, strict=True):
        row[[columns[term] for term in work]] = list(work.values())
    return amounts


def _log_usual(columns: Iterable[Term], prior: Prior) -> np.ndarray:
    return np.log([prior.usual_ns(term) for term in columns])


def _families(columns: Iterable[Term]) -> tuple[list[str], np.ndarray]:
    """Return the names of the families of terms, and (n_terms, n_families) of whether one is of the other."""
    of = [family for family, _ in columns]
    names = sorted(set(of))
    return names, (np.array(of)[:, None] == np.array(names)).astype(float)


def _log_sum(amounts: np.ndarray, log_times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the time of each network, (n,), and the share of each term in it, (n, n_terms)."""
    spent = amounts * np.exp(log_times)
    total = spent.sum(axis=1)
    return np.log(total), spent / total[:, None]


def _misfit(
    amounts: np.ndarray,
    usual: np.ndarray,
    log_ns: np.ndarray,
    variance: np.ndarray,
    precision: np.ndarray,
    apart: np.ndarray,
) -> float:
    """Return what a step has to lessen: the squared errors over their variances, and the prior's."""
    missed = log_ns - _log_sum(amounts, usual + apart[0] + apart[1:])[0]
    return float((missed**2 / variance).sum() + (precision * apart**2).sum())


def _expected_errors(
    errors: np.ndarray, parts: np.ndarray, variance: np.ndarray, squares: np.ndarray, thought: float
) -> np.ndarray:
    """Return the variances of the families' errors after a step of expectation maximisation.

    Args:
        errors: (n_families,) before it.
        parts: (n, n_families) squared shares.
        variance: (n,) of the whole error of each network, `squares` (n,) its expected square.
        thought: standard deviation of an error before any was seen.
    """
    weight = errors * parts / variance[:, None]
    expected = errors * (1 - weight) + errors * weight * (squares / variance)[:, None]
    there = parts > 0
    return ((expected * there).sum(axis=0) + _ERROR_SEEN * thought**2) / (there.sum(axis=0) + _ERROR_SEEN)
