"""What is expected of architectures that were not trained: their losses, prices and training time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.special import ndtr

from nas.pareto import non_dominated, ranks
from nas.samplers.proposer import Predicted
from nas.samplers.tpe.features import Features
from nas.samplers.tpe.history import History
from nas.samplers.tpe.proxies import Proxies
from nas.samplers.tpe.regression import Kernel, Regression
from nas.samplers.tpe.survey import Survey
from nas.space import Architecture

MOST_TRIALS = 200
"""How many trials a regression looks at: what it costs grows with their square."""

MOST_PRICES = 120
"""How many prices it looks at: they are told without noise, and follow simple rules."""

_QUANTILE = 0.75
"""Nobody wants a network that is worse in a loss than three quarters of all."""

_SURE = 1e-3
"""Least standard deviation of a predicted excess, in its logarithm."""

_AGREES = 0.8
"""What evidence is believed to say as long as there are no trials to compare it with."""


@dataclass(frozen=True)
class Expected:
    """Predictions for some architectures.

    Attributes:
        gain: (n, n_losses) means of what they gain over the reference point, in units of the largest gain known.
        deviation: (n, n_losses), 0 where the loss is a price.
        keeps: (n,) probability that every budget is kept.
        log_seconds: (n,) of training; zeros where nothing is known.
    """

    gain: np.ndarray
    deviation: np.ndarray
    keeps: np.ndarray
    log_seconds: np.ndarray


@dataclass
class Memory:
    """What is learned at a milestone: it follows from the trials before it, and is kept because it is slow.

    Attributes:
        relevance: whether kernels learn how much each choice matters.
        milestone: the version of the history and the milestone that the rest belongs to.
        kernels: by figure.
        elite: the best trials before the milestone.
    """

    relevance: bool = True
    milestone: tuple[int, int] = (-1, -1)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    elite: np.ndarray | None = None

    def at(self, milestone: tuple[int, int]) -> Memory:
        """Return itself, emptied where the milestone is another."""
        if milestone != self.milestone:
            self.milestone, self.kernels, self.elite = milestone, {}, None
        return self


@dataclass(frozen=True)
class Data:
    """What one regression is fitted to.

    Attributes:
        features: (n, n_features).
        values: (n,), the evidence of each source with mean 0 and standard deviation 1.
        evidence: (n,) of bool.
        centre: the mean of the study's own values.
        scale: their standard deviation.
    """

    features: np.ndarray
    values: np.ndarray
    evidence: np.ndarray
    centre: float = 0.0
    scale: float = 1.0


class Figure:
    """A regression in the units of its figure; where all values are alike it says their mean."""

    def __init__(
        self,
        name: str,
        data: Data,
        early: Callable[[], Data],
        group: np.ndarray,
        starts: Sequence[np.ndarray],
        memory: Memory,
        trusted: bool,
    ) -> None:
        """Fit the data; the kernel is learned from the `early` ones, before the milestone, unless it is known."""
        self.data, self._group = data, group
        self.regression: Regression | None = None
        if not _varied(data.values):
            return
        kernel = memory.kernels.get(name)
        if kernel is None:
            before = early()
            told = before if _varied(before.values) else data
            kernel = Regression.learn(
                told.features, told.values, told.evidence, group, starts, relevant=memory.relevance
            )
            if told is before:
                memory.kernels[name] = kernel
        self._kernel = replace(kernel, agreement=_AGREES) if trusted else kernel
        self._fit(data)

    def believe(self, features: np.ndarray) -> None:
        """Take what is predicted of some architectures for true."""
        mean, _ = self.predict(features, unsure=False)
        if self.regression is not None and len(features):
            d = self.data
            self._fit(
                Data(
                    np.concatenate([d.features, features]),
                    np.concatenate([d.values, (mean - d.centre) / d.scale]),
                    np.concatenate([d.evidence, np.zeros(len(features), dtype=bool)]),
                )
            )

    def uses(self, group: int) -> bool:
        """Return whether a group of features matters."""
        return self.regression is not None and bool((self._group[self.regression.kept] == group).any())

    def smooth(self) -> np.ndarray:
        """Return the values of the data without their noise, (n,)."""
        values = self.data.values if self.regression is None else self.regression.smooth
        return values * self.data.scale + self.data.centre

    def predict(self, features: np.ndarray, *, unsure: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation, (n,) each, in the units of the figure."""
        if self.regression is None or not len(features):
            return np.full(len(features), self.data.centre), np.full(len(features), self.data.scale)
        mean, deviation = self.regression.predict(features, unsure=unsure)
        return mean * self.data.scale + self.data.centre, deviation * self.data.scale

    def _fit(self, data: Data) -> None:
        self.regression = Regression(data.features, data.values, data.evidence, self._group, self._kernel)


class Outlook:
    """Regressions of everything that has to be guessed, fitted to the history.

    A price is known of the trials and the survey and predicted for the rest, to choose which candidates are worth
    pricing. A budget is a regression of log price over limit, from all that was priced. A failed trial counts as one
    at the worst end of every loss. Losses beyond the reference point are drawn near it: how bad a bad network is says
    little of the good ones.

    Args:
        cheap: (n_losses,) of bool: which losses are prices.
        survey: prices seen beforehand.
        memory: of the same study.
        pending: (n_pending, n_parameters): what is being tried. It is believed to end as predicted, which takes the
            uncertainty, and with it the gain, from its neighbourhood; on the front it stands one deviation worse, since
            the best of many predictions is too good to be true.
        n_startup: how many first trials stand for all there is.
        proxies: of the same study; None: there are none.
        by_evidence: whether to look at evidence from elsewhere alone; trials then count as pending.
        beyond: whether to look at the whole range of prices, and not only where most of them lie.

    Attributes:
        front: (k, n_losses) smoothed gains of the trials that no other dominates.
        chosen: indices of the trained trials that are looked at, at most `MOST_TRIALS`.
        ranked: (n, n_losses) as they are ranked by, `scaled`; what failed is behind all others, however cheap it was.

    Reference: Ginsbourger et al. 2010 ("Kriging believer", for what is pending).
    """

    def __init__(
        self,
        history: History,
        features: Features,
        cheap: np.ndarray,
        survey: Survey | None,
        memory: Memory,
        pending: Sequence[Architecture],
        proxies: Proxies | None = None,
        *,
        n_startup: int,
        by_evidence: bool = False,
        beyond: bool = False,
    ) -> None:
        self.history, self.features, self.cheap, self.survey = history, features, cheap, survey
        self.milestone = history.milestone()
        self.memory, self.by_evidence = memory.at((history.version, self.milestone)), by_evidence
        self.beyond, self.proxies = beyond, proxies
        self._guesses: dict[int, Figure] = {}
        self._trusted = [] if proxies is None else list(range(len(proxies)))
        self._log = self._positive_prices()
        self._z = self.scaled(history.losses)
        self.ranked = np.where((history.state == 0)[:, None], self._z, math.inf)
        trained = history.trained
        if by_evidence:
            pending = [*history.archs(np.flatnonzero(trained)), *pending]
            trained = np.zeros_like(trained)
        self._trained = np.flatnonzero(trained)
        self.chosen = self._choose(self._trained)
        self._complete, self._n_startup = np.flatnonzero(trained & (history.state == 0)), n_startup
        self._reference = np.array([self._quantile(j, len(history)) for j in range(len(cheap))])

        self._losses = [
            self._figure(f"{'log ' if self._log[j] else ''}loss {j}", partial(self._loss_data, j), wide=not cheap[j])
            for j in range(len(cheap))
        ]
        self._trusted = [k for k in self._trusted if any(f.uses(len(features.start) + k) for f in self._losses)]
        n_budgets = max(history.excess.shape[1], 0 if survey is None else survey.excess.shape[1])
        self._budgets = [self._figure(f"budget {i}", partial(self._excess_data, i)) for i in range(n_budgets)]
        self._seconds = self._figure("seconds", self._seconds_data)
        z = self._z[self.chosen]
        for j in np.flatnonzero(~cheap):
            own = self._losses[j].smooth()[~self._losses[j].data.evidence]
            z[:, j] = own if len(own) else z[:, j]
        z = z[history.state[self.chosen] == 0]
        told = self._z[self.chosen[history.state[self.chosen] == 0]]
        usable = np.isfinite(z).all(axis=1)
        z, told = z[usable], told[usable]
        ideal = np.fmin(z, told).min(axis=0, initial=math.inf, where=np.isfinite(np.fmin(z, told)))
        self._span = np.maximum(self._reference - np.where(np.isfinite(ideal), ideal, self._reference - 1.0), 1e-9)
        if pending:
            believed = self._inputs(features.of(history.columns.of(pending)), pending)
            predicted = [figure.predict(x) for figure, x in zip(self._losses, believed, strict=True)]
            prudent = np.stack([m if c else m + d for (m, d), c in zip(predicted, cheap, strict=True)], axis=1)
            for figure, x in zip(self._losses, believed, strict=True):
                figure.believe(x)
            z = np.concatenate([z, prudent])
        self.front = self._gains(z[non_dominated(z)]) if len(z) else z

    def expect(
        self,
        rows: np.ndarray,
        archs: Sequence[Architecture] | None = None,
        predicted: Predicted | None = None,
    ) -> Expected:
        """Predict what becomes of architectures.

        Args:
            rows: (n, n_parameters) cells.
            archs: the architectures themselves, where their proxies are worth asking for; else these are guessed.
            predicted: their prices as somebody who knows networks predicts them, instead of the regressions here.

        Cost: 10 ms for 400 rows of 115 parameters and two losses.
        """
        features = self.features.of(rows)
        both = [
            figure.predict(x, unsure=not cheap)
            for figure, x, cheap in zip(self._losses, self._inputs(features, archs), self.cheap, strict=True)
        ]
        mean, deviation = (np.stack([pair[i] for pair in both], axis=1) for i in (0, 1))
        keeps = np.ones(len(rows))
        for i, figure in enumerate(self._budgets):
            excess, unsure = figure.predict(features)
            if predicted is not None:
                told = np.isfinite(predicted.excess[:, i])
                excess = np.where(told, predicted.excess[:, i], excess)
                unsure = np.where(told, predicted.unsure[:, i], unsure)
            keeps *= ndtr(-excess / np.maximum(unsure, _SURE))
        seconds = self._seconds.predict(features, unsure=False)[0]
        gain = self._gains(mean) if predicted is None else self.known(predicted.losses, self._gains(mean))
        return Expected(gain, np.where(self.cheap, 0.0, deviation / self._span), keeps, seconds)

    @property
    def asks(self) -> bool:
        """Whether proxies explain any of the losses."""
        return bool(self._trusted)

    def known(self, losses: Sequence[Sequence[float | None]] | np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Return the gains of architectures, (n, n_losses): those of their prices known, the others as in `gain`.

        Args:
            losses: (n, n_losses), None or NaN where one is not known.
        """
        priced = self._gains(self.scaled(np.array(losses, dtype=float)))
        return np.where(self.cheap & ~np.isnan(priced), priced, gain)

    def _inputs(self, features: np.ndarray, archs: Sequence[Architecture] | None) -> list[np.ndarray]:
        """Return what each loss is predicted from: proxies tell of what only training tells."""
        wide = self._wide(features, archs)
        return [features if cheap else wide for cheap in self.cheap]

    def _wide(self, features: np.ndarray, archs: Sequence[Architecture] | None) -> np.ndarray:
        """Return features with the proxies behind them; those trusted are guessed where nobody asks for them.

        What cannot be told of an architecture is the mean.
        """
        if self.proxies is None:
            return features
        told = np.zeros((len(features), len(self.proxies)))
        if archs is not None:
            told = self.proxies.of(archs, self._trusted)
        else:
            for k in self._trusted:
                if k not in self._guesses:
                    self._guesses[k] = self._figure(f"proxy {k}", partial(self._proxy_data, k))
                told[:, k] = self._guesses[k].predict(features, unsure=False)[0]
        return np.concatenate([features, np.nan_to_num(told).astype(np.float32)], axis=1)

    def _gains(self, z: np.ndarray) -> np.ndarray:
        return (self._reference - z) / self._span

    def _positive_prices(self) -> np.ndarray:
        """Return which prices are above 0 throughout; they are looked at on a log scale, whatever their unit."""
        told = self.history.losses if self.survey is None else np.concatenate([self.history.losses, self.survey.losses])
        return self.cheap & ~(told <= 0).any(axis=0)

    def scaled(self, losses: np.ndarray) -> np.ndarray:
        """Return losses as they are compared: positive prices as logarithms."""
        z = losses.astype(float)
        z[:, self._log] = np.log(np.maximum(z[:, self._log], np.finfo(float).tiny))
        return z

    def _choose(self, trained: np.ndarray) -> np.ndarray:
        """Return the trials to look at: half of them the best by rank, the others any."""
        if len(trained) <= MOST_TRIALS:
            return trained
        if self.memory.elite is None:  # ranking ten thousand trials is slow; those since the milestone are few
            old = trained[trained < self.milestone]
            self.memory.elite = _first(old, self.ranked)
        pool = np.concatenate([self.memory.elite, trained[trained >= self.milestone]])
        good = _first(pool, self.ranked)
        lot = np.random.default_rng(0).random(len(self.history))  # a trial keeps its lot
        lot[good] = math.inf
        n = MOST_TRIALS - len(good)
        rest = trained[np.argpartition(lot[trained], n - 1)[:n]]
        return np.concatenate([good, rest[np.argsort(lot[rest])]])

    def _quantile(self, j: int, until: int) -> float:
        """Return the reference point of a loss: a price's from the survey, others from first trials or evidence."""
        share = _QUANTILE
        finite = np.isfinite(self._z[self._complete, j]) & (self._complete < until)
        first = self._complete[finite][: self._n_startup]
        if self.cheap[j]:
            surveyed = np.zeros(0) if self.survey is None else self.scaled(self.survey.losses)[:, j]
            told = surveyed if len(surveyed) else self._z[first, j]
            if self.beyond:
                told, share = np.concatenate([told, self._z[:, j]]), 1.0
        elif self.by_evidence:
            told = self._evidence(j, len(self.history))[1]
        else:
            told = self._z[first, j]
        told = told[np.isfinite(told)]
        return float(np.quantile(told, share)) if len(told) else 0.0

    # ---------------------------------------------------------------- what the regressions are fitted to

    def _figure(self, name: str, data: Callable[[int], Data], *, wide: bool = False) -> Figure:
        """Return the regression of a figure, on the features alone or, `wide`, on the proxies too."""
        name += " by evidence" if self.by_evidence else ""
        early = partial(data, self.milestone)
        group, starts = self.features.group, [self.features.start]
        if wide and self.proxies is not None:
            starts = self.proxies.beliefs(self.features.start)
            group = np.concatenate([group, np.arange(len(self.features.start), len(starts[0]))])
        return Figure(name, data(len(self.history)), early, group, starts, self.memory, self.by_evidence)

    def _loss_data(self, j: int, until: int) -> Data:
        """Return a loss of the trials before `until`, failures at the worst end; and the evidence."""
        if self.cheap[j]:
            surveyed = None if self.survey is None else self.scaled(self.survey.losses)[:, j]
            return self._price_data(self._z[:, j], surveyed, until)
        chosen = self._chosen_before(until)
        values = self._z[chosen, j].copy()
        finite = np.isfinite(values)
        if finite.any():
            values = _squashed(np.where(finite, values, math.inf), self._quantile(j, until))
        else:
            chosen, values = chosen[:0], values[:0]
        features, others = self._evidence(j, until)
        centre, scale = (float(values.mean()), float(values.std()) or 1.0) if len(values) else (0.0, 1.0)
        return Data(
            np.concatenate([self._wide(self.history.vectors(chosen), self.history.archs(chosen)), features]),
            np.concatenate([(values - centre) / scale, others]),
            np.arange(len(chosen) + len(others)) >= len(chosen),
            centre,
            scale,
        )

    def _chosen_before(self, until: int) -> np.ndarray:
        """Return the trials that are looked at where nothing from `until` on is known."""
        return self.chosen if until == len(self.history) else self._choose(self._trained[self._trained < until])

    def _evidence(self, j: int, until: int) -> tuple[np.ndarray, np.ndarray]:
        """Return features and standardised losses from elsewhere: of each source the best, and some of all others."""
        chosen, values = [np.zeros(0, dtype=int)], [np.zeros(0)]
        sources = range(1, len(self.history.sources))
        for source in sources:
            there = np.flatnonzero((self.history.source[:until] == source) & np.isfinite(self._z[:until, j]))
            z = self._z[there, j]
            if not _varied(z):
                continue
            z = _squashed(z, float(np.quantile(z, _QUANTILE)))
            z = (z - z.mean()) / z.std()
            most = MOST_TRIALS // len(sources)
            if len(there) > most:
                order = np.argsort(z, kind="stable")
                spread = np.linspace(most // 2, len(order) - 1, most - most // 2).astype(int)
                keep = np.concatenate([order[: most // 2], order[spread]])
                there, z = there[keep], z[keep]
            chosen.append(there)
            values.append(z)
        everywhere = np.concatenate(chosen)
        features = self._wide(self.history.vectors(everywhere), self.history.archs(everywhere))
        return features, np.concatenate(values)

    def _price_data(self, told: np.ndarray, surveyed: np.ndarray | None, until: int) -> Data:
        """Return a price of the trials before `until`, the latest first where there are too many, and the survey's."""
        own = np.flatnonzero(np.isfinite(told[:until]) & (self.history.source[:until] == 0))[-MOST_PRICES:]
        features, values = self.history.vectors(own), told[own]
        if self.survey is not None and surveyed is not None:
            known = np.isfinite(surveyed)
            features = np.concatenate([self.survey.vectors[known], features])
            values = np.concatenate([surveyed[known], values])
        centre, scale = (float(values.mean()), float(values.std()) or 1.0) if len(values) else (0.0, 1.0)
        return Data(features, (values - centre) / scale, np.zeros(len(values), dtype=bool), centre, scale)

    def _excess_data(self, i: int, until: int) -> Data:
        told = _column(self.history.excess, i)
        return self._price_data(told, None if self.survey is None else _column(self.survey.excess, i), until)

    def _proxy_data(self, k: int, until: int) -> Data:
        """Return a proxy of the survey's architectures and of the trials that are looked at."""
        assert self.proxies is not None
        own = self._chosen_before(until)
        told = np.full(until, math.nan)
        told[own] = self.proxies.of(self.history.archs(own))[:, k]
        surveyed = None if self.survey is None else self.proxies.of(self.survey.archs)[:, k]
        return self._price_data(told, surveyed, until)

    def _seconds_data(self, until: int) -> Data:
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds = np.where(self.history.state == 0, self.history.seconds, math.nan)  # to fail fast is no merit
            return self._price_data(np.log(seconds), None, until)


def _first(indices: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return half of `MOST_TRIALS` of the trials, best ranks first."""
    return indices[np.argsort(ranks(losses[indices]), kind="stable")[: MOST_TRIALS // 2]]


def _column(table: np.ndarray, i: int) -> np.ndarray:
    """Return a column; NaN of what nobody has told yet, where there is none."""
    return table[:, i] if i < table.shape[1] else np.full(len(table), math.nan)


def _squashed(values: np.ndarray, high: float) -> np.ndarray:
    """Return losses with what is beyond `high` drawn near it: at most as far above as the best is below."""
    span = max(high - float(values.min()), 1e-12)
    return np.where(values > high, high + span * np.tanh((values - high) / span), values)


def _varied(values: np.ndarray) -> bool:
    """Return whether there is something to learn from."""
    return len(values) >= 3 and float(np.ptp(values)) > 0.0
