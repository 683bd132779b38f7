"""TPE: put together from its parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

import numpy as np

from nas.errors import NasError
from nas.objectives import Objective
from nas.pareto import ranks
from nas.rng import generator
from nas.samplers.fresh import Fresh
from nas.samplers.proposer import MOST_PRICED, N_SURVEYED, SAMPLERS, Observation, Price
from nas.samplers.tpe.activity import Activity
from nas.samplers.tpe.candidates import candidates
from nas.samplers.tpe.columns import Columns
from nas.samplers.tpe.densities import Densities
from nas.samplers.tpe.features import Features
from nas.samplers.tpe.gain import Gain
from nas.samplers.tpe.history import History
from nas.samplers.tpe.outlook import Memory, Outlook
from nas.samplers.tpe.split import best, gamma
from nas.samplers.tpe.survey import Survey, survey
from nas.space import Architecture, Space

_TINY = 1e-12


@SAMPLERS.add("tpe")
class TPE:
    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        gated: bool = False,
        seed: int = 0,
        n_startup: int = 10,
        n_candidates: int = 256,
        explore: float = 0.03,
        other: float = 0.25,
        beyond: float = 0.1,
        ratio: float = 0.1,
        thrift: float = 1.0,
        without: str = "",
    ) -> None:
        if n_startup < 1 or n_candidates < 1:
            raise NasError(f"tpe: n_startup and n_candidates are at least 1, got {n_startup} and {n_candidates}")
        if not (0 <= explore <= 1 and 0 <= other <= 1):
            raise NasError(f"tpe: explore and other lie in [0, 1], got {explore} and {other}")
        if not (ratio >= 0 and thrift >= 0):
            raise NasError(f"tpe: ratio and thrift are at least 0, got {ratio} and {thrift}")
        self.gated, self.seed, self.n_startup, self.n_candidates = gated, seed, n_startup, n_candidates
        self.explore, self.other, self.ratio, self.thrift, self.without = explore, other, ratio, thrift, without
        self.beyond = beyond
        self.space, self.fresh, self.columns = space, Fresh(space), Columns(space)
        self.cheap = np.array([o.cheap for o in objectives], dtype=bool)
        self.activity = Activity(space, self.columns.paths, self.columns.cells)
        self.features = Features(self.columns)
        self.history = History(self.columns, self.features, len(objectives))
        self.memory = Memory()
        self.prior = [np.cumsum(cells.prior) for cells in self.columns.cells]
        self._survey: Survey | None = None

    def propose(
        self,
        seen: Sequence[Observation],
        pending: Sequence[Architecture],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return the most promising of some candidates that were not tried yet."""
        history = self.history
        history.update(seen)
        taken = history.taken | {arch.fingerprint() for arch in pending}
        if self.gated and self._survey is None:
            self._survey = self._look_around(price)
        n_begun = int(history.trained.sum()) + len(pending)
        evidence = len(history.sources) > 1
        if n_begun < (self.n_startup // 3 if evidence else self.n_startup) and not evidence:
            ranked = self._design(taken, rng)
        elif rng.random() < self.explore:
            ranked = self._ranked(self._feasible(rng), rng)
        else:
            outlook = self._outlook(
                self.columns.of(pending),
                by_evidence=n_begun < self.n_startup // 3,
                beyond=rng.random() < self.beyond,
            )
            return self._best(outlook, taken, price, rng) or self.fresh.draw(taken, rng)
        return self._first(ranked, taken, price) or self.fresh.draw(taken, rng)

    # ------------------------------------------------------------------ before there is enough to learn from

    def _look_around(self, price: Callable[[Architecture], Price]) -> Survey:
        rng = generator(self.seed, "survey")
        rows = self.activity.draw(self.prior, 2 * N_SURVEYED, rng)
        archs: dict[str, Architecture] = {}
        for row in rows:
            arch = self.columns.architecture(row, rng)
            if self.space.forbidden(arch) is None:
                archs.setdefault(arch.fingerprint(), arch)
        kept = list(archs.values())[:N_SURVEYED] or [self.space.sample(rng)]
        return survey(kept, self.features.of(self.columns.of(kept)), price, self.n_startup, rng)

    def _design(self, taken: Collection[str], rng: np.random.Generator) -> Iterator[Architecture]:
        if self._survey is not None:
            yield from (self._survey.archs[i] for i in self._survey.design)
        yield from self._ranked(self._feasible(rng, self.prior), rng)

    def _feasible(self, rng: np.random.Generator, cumulative: list[np.ndarray] | None = None) -> np.ndarray:
        """Return draws, those that probably keep the budgets first."""
        uniform = (
            [np.cumsum(np.diff(cells.edges)) for cells in self.columns.cells] if cumulative is None else cumulative
        )
        rows = self.activity.draw(uniform, 64, rng)
        if not self.gated or not self.history.excess.shape[1]:
            return rows
        return rows[np.argsort(self._outlook(rows[:0]).expect(rows).keeps < 0.5, kind="stable")]

    def _ranked(self, rows: np.ndarray, rng: np.random.Generator) -> Iterator[Architecture]:
        return (self.columns.architecture(row, rng) for row in rows)

    def _first(
        self, ranked: Iterator[Architecture], taken: Collection[str], price: Callable[[Architecture], Price]
    ) -> Architecture | None:
        """Return the first that keeps every budget, or of those priced the one that exceeds them least."""
        best_one, least = None, np.inf
        fresh = (a for a in ranked if a.fingerprint() not in taken and self.space.forbidden(a) is None)
        for arch in islice(fresh, MOST_PRICED):
            if not self.gated:
                return arch
            violation = price(arch).violation
            if violation <= 0:
                return arch
            if best_one is None or violation < least:
                best_one, least = arch, violation
        return best_one

    # ------------------------------------------------------------------ choosing

    def _outlook(self, pending: np.ndarray, by_evidence: bool = False, beyond: bool = False) -> Outlook:
        return Outlook(
            self.history,
            self.features,
            self.cheap,
            self._survey,
            self.memory,
            pending,
            n_startup=self.n_startup,
            by_evidence=by_evidence,
            beyond=beyond,
        )

    def _best(
        self, outlook: Outlook, taken: Collection[str], price: Callable[[Architecture], Price], rng: np.random.Generator
    ) -> Architecture | None:
        densities, parents = self._good(outlook)
        rows = candidates(self.activity, densities.cumulative, self.prior, parents, self.n_candidates, rng)
        if self.columns.exact:
            rows = rows[[row.tobytes() not in self.history.tried for row in rows]]
        if not len(rows):
            return None
        expected = outlook.expect(rows)
        gain = Gain(outlook.front)
        bonus = self.ratio * densities.score(rows) - self.thrift * expected.log_seconds
        promise = np.log(gain.expected(expected.gain, expected.deviation) * expected.keeps + _TINY) + bonus
        if "regression" in self.without:
            promise = densities.score(rows) + np.log(expected.keeps + _TINY)
        best_one, most, n_priced, least = None, -np.inf, 0, np.inf
        for i in np.argsort(-promise):
            arch = self.columns.architecture(rows[i], rng)
            if arch.fingerprint() in taken or self.space.forbidden(arch) is not None:
                continue
            if not self.gated:
                return arch
            known = price(arch)
            n_priced += 1
            if known.violation <= 0:
                mean, deviation = expected.gain[i].copy(), expected.deviation[i]
                told = outlook.gains(np.array([[np.nan if loss is None else loss for loss in known.losses]]))[0]
                mean[self.cheap] = np.where(np.isnan(told), mean, told)[self.cheap]
                worth = float(np.log(gain.expected(mean[None], deviation[None])[0] + _TINY) + bonus[i])
                if "regression" in self.without or "prices" in self.without:
                    worth = promise[i]
                if best_one is None or worth > most or least > 0:
                    best_one, most, least = arch, worth, 0.0
            elif best_one is None or known.violation < least:
                best_one, least = arch, known.violation
            if n_priced == MOST_PRICED:
                break
        return best_one

    def _good(self, outlook: Outlook) -> tuple[Densities, np.ndarray]:
        """Return the densities of good and bad, and the best trials to mutate."""
        history = self.history
        pool = outlook.chosen if len(outlook.chosen) else np.flatnonzero(history.source > 0)
        losses = outlook.scaled(history.losses[pool])
        n_good = max(gamma(int((history.state == 0).sum())), 4)
        order = pool[best(losses, n_good)]
        rank = ranks(losses)
        front = pool[rank == 0]
        first = front if len(front) > 2 else order
        good = self.columns.counts(history.rows[order])
        return Densities(self.columns, good, np.maximum(history.counts - good, 0.0), self.other), history.rows[first]
