"""How errors shrink in the course of a training, learned from the trainings of a study: when to give one up.

In logarithms: what is known of an error at a share of the full training is y; a power law of the share is a line.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeAlias

import numpy as np

_Curve: TypeAlias = tuple[tuple[float, float], ...]  # (log share, log error), shares increasing

MIN_CURVES = 8
"""Curves that have to reach from here to there before a training is given up for them."""

_STATION = 3.0
"""Between here and there, a look at every third of the training: that is where trainings were set aside."""

_Z = 1.6449
"""A normal variable is further out on one side in 5 % of all cases, on one of both in 10 %."""

_NEAR = 0.15
"""Up to so far beyond its ends, in log share, a curve is taken to stay as it is: rungs end with a whole batch."""

_BINOMIAL_FLOOR, _FLOOR = 0.5, 1e-4
"""Least error that counts: half a sample; where nobody says how many there were, this share."""

# The prior: typical curves of small networks. Of 39 random ones of search_spaces/digits.yaml the error fell with an
# exponent of 0.39 +- 0.30 from 1/27 of the training on, by rung 0.19 +- 0.28, 0.53 +- 0.50 and 0.46 +- 0.41.
_TYPICAL = 3.0
"""How many imaginary curves weigh as much as the prior."""
_LEVEL, _LEVEL_DEVIATION, _AT = math.log(0.3), 0.8, -math.log(27.0)
"""Log error at 1/27 of the training."""
_EXPONENT, _EXPONENT_DEVIATION = 0.4, 0.3
"""Of the power law: an error falls by 3**-0.4 = 0.64 when the training is three times as long."""
_WANDER = 0.3
"""Deviation of a curve from its power law, after one unit of log share."""
_NOISE = 0.05
"""Deviation of a judged log error from a smooth curve."""
_GROWTH, _GROWTH_DEVIATION = 0.5, 0.7
"""By how much the log of the variance rises with the log error: what is still bad can go anywhere."""


@dataclass(frozen=True, slots=True)
class _Line:
    """What an error here says of the error there: mean and variance of log error, by log error."""

    centre: float
    mean: float
    slope: float
    log_variance: float
    growth: float
    n: int
    """Curves behind it."""

    def at(self, y: float) -> tuple[float, float]:
        beyond = y - self.centre
        variance = math.exp(self.log_variance + self.growth * min(max(beyond, -2.0), 2.0))
        return self.mean + self.slope * beyond, variance


@dataclass(frozen=True, slots=True)
class Bar:
    """An error needed at the end of a rung, and what there is to know to give up on the way. Small, can be pickled."""

    share: float
    """Of the full training, at the end of the rung."""

    error: float
    """Needed there."""

    epochs: float | None
    """Of the full training, for words alone."""

    n_judged: int | None
    starts: tuple[float, ...]
    """Shares from which `lines` look to the end of the rung, increasing."""

    lines: tuple[_Line, ...]

    def reason(self, share: float, error: float) -> str:
        """Say why a training that has this error now will not get below the needed one; "" to let it go on.

        It is given up where that has a probability of less than 5 %, and never before `MIN_CURVES` curves say so.

        Args:
            share: of the full training, so far. Earlier than at a ninth of the rung's end nothing is given up.
            error: judged now.
        """
        if not (self.lines and self.starts[0] <= share < self.share * (1 - 1e-9) and math.isfinite(error)):
            return ""
        i = bisect_right(self.starts, share) - 1
        last = i + 1 == len(self.starts)
        if min(line.n for line in self.lines[i : i + 2]) < MIN_CURVES:
            return ""
        y = _log(error, self.n_judged)
        # At the end of the rung the error is what it is.
        (mean, variance), (mean_after, variance_after) = (
            self.lines[i].at(y),
            (y, 0.0) if last else self.lines[i + 1].at(y),
        )
        after = self.share if last else self.starts[i + 1]
        part = math.log(share / self.starts[i]) / math.log(after / self.starts[i])
        mean += part * (mean_after - mean)
        variance = max(variance + part * (variance_after - variance), _judging(mean, self.n_judged))
        best = mean - _Z * math.sqrt(variance)
        if best <= _log(self.error, self.n_judged):
            return ""
        where = f"{self.share:.0%} of the training" if self.epochs is None else f"{self.share * self.epochs:.3g} epochs"
        return (
            f"expected error {math.exp(mean):.3g} (at best {math.exp(best):.3g}) at {where}, "
            f"where {self.error:.3g} is needed"
        )


class Curves:
    """Predicts the error of a training later on from its error now, after the other trainings of the study.

    Log errors at a few shares on the way (here, each third of the training in between, there) are taken to be jointly
    normal over the networks. Each is regressed on all before it, with every curve that came so far, as if `_TYPICAL`
    power laws with a typical exponent had been seen too: with few curves the prior decides, with many they do. Going
    step by step makes it right for trainings that were set aside on the way for what was seen of them until then
    (missing at random); those that were trained to the end are the lucky ones, and a regression on them alone promises
    too much. The residuals' variance may grow or fall with the error, and is raised where their tails are heavier than
    a normal distribution's.

    It is poor where an error says nothing of what comes (all curves lie on one another up to a sudden drop); it then
    says so by a wide interval.

    Args:
        n_judged: samples that an error (then a share of wrong answers) was judged on; None: not known, or no share.
            No interval is narrower than judging on so few allows.

    References: power laws as a family of learning curves: Domhan, Springenberg & Hutter, IJCAI 2015, table 1; a prior
    over curves from which trainings are frozen and thawed: Swersky, Snoek & Adams, 2014,
    https://arxiv.org/abs/1406.3896; the regressions in a row: Little & Rubin, Statistical Analysis with Missing Data,
    2nd ed., 2002, sec. 7.4 (monotone missing data).
    """

    def __init__(self, n_judged: int | None = None) -> None:
        if n_judged is not None and n_judged < 1:
            raise ValueError(f"n_judged must be at least 1, got {n_judged}; write None where it is not known")
        self.n_judged = n_judged
        self._curves: list[_Curve] = []
        self._of: dict[int, _Curve] = {}
        self._lines: dict[tuple[float, float], _Line] = {}

    def __len__(self) -> int:
        """How many curves were learned."""
        return len(self._curves)

    def learn(self, points: Sequence[tuple[float, float]], number: int | None = None) -> None:
        """Take over the curve of a training as far as it came, whether it was set aside, given up or finished.

        What was learned does not depend on the order of the curves, not even in the last bit.

        Args:
            points: (share of the full training in (0, 1], error above 0), in any order. Errors that are not finite are
                left out; a curve of fewer than two shares says nothing and does not count.
            number: of the trial; its curve of before, which came less far, goes.
        Raises:
            ValueError: a share is not in (0, 1].

        Cost: under a tenth of a millisecond.
        """
        curve = tuple({_log_share(s): _log(e, self.n_judged) for s, e in sorted(points) if math.isfinite(e)}.items())
        if len(curve) < 2:
            return
        if number is not None:
            if (before := self._of.get(number)) is not None:
                self._curves.pop(bisect_left(self._curves, before))
            self._of[number] = curve
        insort(self._curves, curve)
        self._lines.clear()
        self.__dict__.pop("_table", None)

    def predict(self, share: float, error: float, to: float = 1.0) -> tuple[float, float]:
        """Return mean and deviation of the log error at share `to` of a training that has `error` at `share`.

        Before anything was learned no change is expected, with a deviation that covers the usual ones.

        Raises:
            ValueError: a share is not in (0, 1], or `to` comes before `share`.

        Cost: microseconds; a millisecond or two for the first question about two shares after something was learned.
        """
        here, there, y = _log_share(share), _log_share(to), _log(error, self.n_judged)
        if there < here - 1e-9:
            raise ValueError(f"share {to} comes before {share}; a prediction is of what comes later")
        if there <= here + 1e-9:
            return y, 0.0
        if not self._curves:
            length = there - here
            change = (_EXPONENT**2 + _EXPONENT_DEVIATION**2) * length**2 + _WANDER**2 * length + 2 * _NOISE**2
            return y, math.sqrt(max(change, 2 * _judging(y, self.n_judged)))
        mean, variance = self._line(here, there).at(y)
        return mean, math.sqrt(max(variance, _judging(mean, self.n_judged)))

    def bar(self, share: float, error: float, epochs: float | None = None) -> Bar:
        """Return what gives up a training that will not have at most `error` at `share`, the end of its rung.

        Args:
            epochs: of the full training, for the words of a reason.

        Cost: some milliseconds after something was learned, 20 with a thousand curves.
        """
        there = _log_share(share)
        starts = [there - math.log(_STATION) * j / 4 for j in range(8, 0, -1)]
        lines = [self._line(here, there) for here in starts] if len(self) >= MIN_CURVES else []
        return Bar(share, error, epochs, self.n_judged, tuple(map(math.exp, starts)), tuple(lines))

    def _line(self, here: float, there: float) -> _Line:
        """Return what is known at `there`, given `here` (log shares)."""
        key = (round(here, 9), round(there, 9))
        if key not in self._lines:
            step, least = math.log(_STATION), math.log(1.3)
            stations = [-step * j for j in range(math.ceil(-here / step), -1, -1)]
            path = np.array([here, *(s for s in stations if here + least < s < there - least), there])
            self._lines[key] = _line(path, np.stack([self._column(share) for share in path], axis=1))
        return self._lines[key]

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log shares and log errors, (n_curves, most points) each, and the last log share of each.

        Behind the end of a curve there are an infinite share and the last error.
        """
        lengths = np.fromiter(map(len, self._curves), int)
        flat = np.fromiter(chain.from_iterable(chain.from_iterable(self._curves)), float).reshape(-1, 2)
        there = np.arange(lengths.max()) < lengths[:, None]
        last = flat[np.cumsum(lengths) - 1]
        shares, errors = np.full(there.shape, np.inf), np.repeat(last[:, 1:], lengths.max(), axis=1)
        shares[there], errors[there] = flat.T
        return shares, errors, last[:, 0]

    def _column(self, share: float) -> np.ndarray:
        """Return the log errors at a log share, (n_curves,): lines between points, NaN where a curve does not reach."""
        shares, errors, last = self._table
        rows = np.arange(len(shares))
        after = np.clip((shares <= share).sum(axis=1), 1, shares.shape[1] - 1)
        left, right = shares[rows, after - 1], shares[rows, after]
        part = np.clip((share - left) / (right - left), 0.0, 1.0)
        value = errors[rows, after - 1] + part * (errors[rows, after] - errors[rows, after - 1])
        return np.where((share >= shares[:, 0] - _NEAR) & (share <= last + _NEAR), value, np.nan)


def _log_share(share: float) -> float:
    if not 0 < share <= 1 + 1e-9:
        raise ValueError(f"a share of the full training is in (0, 1], got {share}")
    return min(math.log(share), 0.0)


def _log(error: float, n_judged: int | None) -> float:
    return math.log(max(error, _BINOMIAL_FLOOR / n_judged if n_judged else _FLOOR))


def _judging(y: float, n_judged: int | None) -> float:
    """Return the variance of a log error that comes of judging on few samples: binomial, to first order."""
    return max(math.exp(-y) - 1, 0.0) / n_judged if n_judged else 0.0


# ---------------------------------------------------------------- regressions in a row


@dataclass(frozen=True, slots=True)
class _Leg:
    """Regression of the deviation (from the prior's mean) at one share on those at all before it, k of them."""

    weights: np.ndarray  # (1 + k,): constant, deviations
    inverse: np.ndarray  # (1 + k, 1 + k): covariance of the weights, over the variance
    variance: float
    centre: float
    growth: float
    n: int

    def spread(self, y: float | np.ndarray) -> np.ndarray:
        """Return the variance of what is left where the log error before was `y`, over `variance`."""
        return np.exp(self.growth * np.clip(y - self.centre, -2.0, 2.0))


def _line(path: np.ndarray, curves: np.ndarray) -> _Line:
    """Return what the error at the first share says of that at the last one.

    Args:
        path: (m,) log shares, increasing.
        curves: (n, m) log errors there, NaN where a curve does not reach.
    """
    usual = _LEVEL - _EXPONENT * (path - _AT)
    legs = [_leg(path[: k + 1], usual[: k + 1], curves[:, : k + 1]) for k in range(1, len(path))]
    effect = np.ones(len(path))  # of one more at a share, on the end
    for j in range(len(legs) - 1, -1, -1):
        effect[j] = sum(leg.weights[1 + j] * effect[k + 1] for k, leg in enumerate(legs) if k >= j)

    def follow(y: float) -> tuple[float, float]:
        """Return mean and variance at the end of one that has log error `y` at the beginning."""
        known, variance = np.array([1.0, y - usual[0]]), 0.0
        for k, leg in enumerate(legs):
            own = leg.spread(usual[k] + known[-1]) + known @ leg.inverse @ known
            variance += effect[k + 1] ** 2 * leg.variance * float(own)
            known = np.append(known, leg.weights @ known)
        return float(usual[-1] + known[-1]), variance

    centre, wide = legs[0].centre, _LEVEL_DEVIATION
    (_, low), (mean, middle), (_, high) = (follow(centre + z * wide) for z in (-1, 0, 1))
    return _Line(
        centre=centre,
        mean=mean,
        slope=max(float(effect[0]), 0.0),  # a larger error promises nothing better
        log_variance=math.log(middle),
        growth=math.log(high / low) / (2 * wide),
        n=min(leg.n for leg in legs),
    )


def _leg(path: np.ndarray, usual: np.ndarray, curves: np.ndarray) -> _Leg:
    """Regress the last column on those before, the prior as imaginary curves; see `_line` for the arguments."""
    rows = curves[np.isfinite(curves).all(axis=1)]
    n, level = len(rows), rows[:, -2]
    known = np.concatenate([np.ones((n, 1)), rows[:, :-1] - usual[:-1]], axis=1)
    target = rows[:, -1] - usual[-1]
    prior = np.zeros((len(path) + 1,) * 2)  # second moments of (1, deviations) over typical curves
    prior[0, 0] = 1.0
    prior[1:, 1:] = _covariance(path)
    centre = float((_TYPICAL * usual[-2] + level.sum()) / (_TYPICAL + n))
    growth, spread = _GROWTH, np.ones(n)
    for _ in range(2):  # the second time weighted by what the first one left over
        inverse = np.linalg.inv(_TYPICAL * prior[:-1, :-1] + known.T @ (known / spread[:, None]))
        weights = inverse @ (_TYPICAL * prior[:-1, -1] + known.T @ (target / spread))
        leverage = ((known @ inverse) * known).sum(axis=1) / spread
        left = (target - known @ weights) / (1 - leverage)  # of each, predicted from all others
        growth = _rise(level, left)
        spread = np.exp(growth * np.clip(level - centre, -2.0, 2.0))
    usual_rest = prior[-1, -1] - prior[-1, 1:-1] @ np.linalg.solve(prior[1:-1, 1:-1], prior[1:-1, -1])
    variance = float((_TYPICAL * usual_rest + (left**2 / spread).sum()) / (_TYPICAL + n))
    return _Leg(weights, inverse, variance * _tails(left / np.sqrt(variance * spread)) ** 2, centre, growth, n)


def _covariance(path: np.ndarray) -> np.ndarray:
    """Return the prior covariance of log errors at log shares: level, exponent, wandering from the first on, noise."""
    since, along = path - path[0], path - _AT
    return (
        _LEVEL_DEVIATION**2
        + _EXPONENT_DEVIATION**2 * np.outer(along, along)
        + _WANDER**2 * np.minimum.outer(since, since)
        + _NOISE**2 * np.eye(len(path))
    )


def _rise(level: np.ndarray, left: np.ndarray) -> float:
    """Return by how much the log of the squared residuals rises with the level, shrunk to what is usual."""
    chance = math.pi**2 / 2  # variance of the log of a squared normal variable
    precision, weighted = 1 / _GROWTH_DEVIATION**2, _GROWTH / _GROWTH_DEVIATION**2
    if len(level):
        squares = left**2
        squares = np.log(squares + 0.01 * squares.mean() + 1e-12)
        precision += float(((level - level.mean()) ** 2).sum()) / chance
        weighted += float(((level - level.mean()) * squares).sum()) / chance
    return min(max(weighted / precision, -2.0), 2.0)


def _tails(standardised: np.ndarray) -> float:
    """Return by what to widen a deviation so that at most 5 % lie beyond `_Z` of it on either side; 1 at least."""
    n = len(standardised)
    if n < 20:
        return 1.0
    low, high = np.quantile(standardised, [0.05, 0.95])
    # Of few residuals such a quantile is chance for the most part.
    return 1 + max(max(-low, high) / _Z - 1, 0.0) * n / (n + 40)
