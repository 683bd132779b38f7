"""TPE: put together from its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np

from nas.errors import NasError, did_you_mean
from nas.objectives import Objective
from nas.pareto import ranks
from nas.rng import generator
from nas.samplers.fresh import Fresh
from nas.samplers.gate import within_budget
from nas.samplers.proposer import (
    MOST_DESCRIBED,
    MOST_PRICED,
    N_SURVEYED,
    SAMPLERS,
    Describe,
    Observation,
    Price,
    Screen,
)
from nas.samplers.tpe.activity import Activity
from nas.samplers.tpe.belief import Belief
from nas.samplers.tpe.candidates import alternatives, candidates, varied
from nas.samplers.tpe.columns import Columns, Steps
from nas.samplers.tpe.densities import Densities
from nas.samplers.tpe.features import Features
from nas.samplers.tpe.gain import Gain
from nas.samplers.tpe.history import History
from nas.samplers.tpe.outlook import Expected, Memory, Outlook
from nas.samplers.tpe.proxies import Proxies
from nas.samplers.tpe.split import best, gamma, standardised
from nas.samplers.tpe.survey import Survey, survey
from nas.space import Architecture, Space

COMPONENTS = ("densities", "prices", "proxies", "regression", "relevance", "roles", "screen", "survey")
"""What `without` can take away, to see what it is worth."""

_LEAST_GOOD = 4
_N_EXPLORED = 64
_TINY = 1e-12  # a gain that no longer counts; keeps the logarithm finite
_NEVER = 1e3  # the logarithm of seconds that nobody waits for


@SAMPLERS.add("tpe")
class TPE:
    """Price-first, multi-objective tree-structured Parzen estimator.

    1. Prices some architectures before the first proposal, and begins with a design spread over the prices.
    2. Splits the trials into good and bad, and estimates how often each choice is made among either (`Densities`);
       positions of a repeat learn from one another.
    3. Draws whole architectures from the density of the good ones and mutates the front (`candidates`).
    4. Predicts their losses from all trials, by a regression on the tree that learns which choices matter, and
       their prices where these are not known yet (`Outlook`); a predictor that knows what they are made of tells
       the latter better (`Predicted`). Zero-cost proxies of the untrained network help, as far
       as they explain the losses of the trials (`Proxies`); the ten most promising are asked for theirs.
    5. Takes the one of the largest expected gain in hypervolume (`Gain`), times the probability that it keeps the
       budgets, times (l / g)^ratio of the densities, times what experts believe (`Belief`), over its predicted training
       time to the power of `thrift`. The five most promising are priced first, and judged by their prices as they are;
       none over a budget is returned while one of the five keeps it.

    What is pending is believed to end as predicted, so that workers side by side spread out. Evidence from elsewhere
    (a cheaper fidelity, an earlier study) enters the regression as far as it agrees with the trials. Nothing is
    proposed twice while anything new is found (`Fresh.draw`).

    Prices are looked at as logarithms: their unit, or a power of them, changes nothing. Losses count where they are
    better than in the worst quarter of the first trials; prices where they are below the dearest quarter of the survey,
    but for a share `beyond` of the proposals, which looks at the whole range.

    Made for some ten to some thousand trials of expensive training in a tree of many choices. Poor for losses that
    jump without pattern, and for more than four objectives.

    Args:
        gated: whether prices tell something; else nothing is priced.
        describe: tells the zero-cost proxies of an architecture; None: there are none.
        screen: predicts the prices of all candidates of a proposal; None: nobody does.
        seed: of the survey.
        n_startup: trials of the first design; every other of them is chosen by evidence, where there is any.
        n_candidates: architectures looked at for one proposal.
        explore: share of the proposals drawn uniformly from all there is, so that no region is given up.
        vary: share of the proposals that make one choice of the front otherwise, a role drawn uniformly.
        other: how much a trial counts at the other positions of a repeat, in the densities.
        beyond: share of the proposals that look at the whole range of prices.
        ratio: power of l / g.
        thrift: power of the predicted seconds of training: 0 counts trials, 1 counts time. Of no effect where seconds
            are not told.
        without: a component to leave out, one of `COMPONENTS`.

    Reference: Bergstra et al., NeurIPS 2011 and ICML 2013 (TPE); Ozaki et al., JAIR 73, 2022 (several objectives);
    Watanabe 2023, https://arxiv.org/abs/2304.11127 (what each part does). Lee et al. 2020,
    https://arxiv.org/abs/2003.10870 (gain per cost). Ours are the known prices, the shared positions and the regression
    beside the densities; docs/sampler.md says what each is worth.

    Cost: some 20 ms for a proposal with 30 of 115 parameters active, at 200 trials and at 10,000.
    """

    uses_evidence = True

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        gated: bool = False,
        describe: Describe | None = None,
        screen: Screen | None = None,
        seed: int = 0,
        n_startup: int = 10,
        n_candidates: int = 256,
        explore: float = 0.03,
        vary: float = 0.07,
        other: float = 0.25,
        beyond: float = 0.1,
        ratio: float = 0.1,
        thrift: float = 1.0,
        without: str = "",
    ) -> None:
        if n_startup < 1 or n_candidates < 1:
            raise NasError(f"tpe: n_startup and n_candidates are at least 1, got {n_startup} and {n_candidates}")
        for name, value in {"explore": explore, "vary": vary, "other": other, "beyond": beyond}.items():
            if not 0 <= value <= 1:
                raise NasError(f"tpe: {name} lies in [0, 1], got {value}")
        for name, value in {"ratio": ratio, "thrift": thrift, "seed": seed}.items():
            if not 0 <= value < math.inf:
                raise NasError(f"tpe: {name} is at least 0 and finite, got {value}")
        if without and without not in COMPONENTS:
            raise NasError(f"tpe: without: {did_you_mean('component', without, COMPONENTS)}")
        self.gated, self.seed, self.n_startup, self.n_candidates = gated, seed, n_startup, n_candidates
        self.explore, self.vary, self.beyond, self.thrift, self.without = explore, vary, beyond, thrift, without
        self.ratio = 0.0 if without == "densities" else ratio
        self.other = 0.0 if without == "roles" else other
        self.cheap = np.array([o.cheap and without != "prices" for o in objectives], dtype=bool)
        self.space, self.fresh, self.columns = space, Fresh(space), Columns(space)
        self.activity = Activity(self.columns)
        self.features = Features(self.columns, roles=without != "roles")
        self.history = History(self.columns, self.features, len(objectives))
        self.memory = Memory(relevance=without != "relevance")
        self.belief = Belief(self.columns)
        self.proxies = Proxies(describe) if describe is not None and without not in ("prices", "proxies") else None
        self.screen = screen if without not in ("prices", "screen") else None
        by_role = [self.columns.cells[alike[0]] for alike in self.columns.roles]
        self.prior = self.columns.steps([cells.prior for cells in by_role])
        self.uniform = self.columns.steps([np.diff(cells.edges) for cells in by_role])
        self._survey: Survey | None = None

    def propose(
        self,
        seen: Sequence[Observation],
        pending: Sequence[Architecture],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return the most promising of some candidates that were not tried yet."""
        self.history.update(seen)
        taken = self.history.taken | {arch.fingerprint() for arch in pending}
        if self.gated and self._survey is None and self.without not in ("survey", "prices"):
            self._survey = self._look_around(price)
        if not self.columns.names:
            return self.fresh.draw(taken, rng)
        if self.proxies is not None and not self.proxies.scaled:
            self.proxies.scale(self._survey.archs if self._survey else self._some(generator(self.seed, "survey")))
        n_trained = int(self.history.trained.sum())
        n_begun = n_trained + len(pending)
        evidence = len(self.history.sources) > 1
        starting = n_begun < self.n_startup or n_trained < min(_LEAST_GOOD, self.n_startup)
        if starting and (not evidence or n_begun % 2):  # by turns with evidence, which may be wrong
            design = [self._survey.archs[i] for i in self._survey.design] if self._survey else []
            return self._first(chain(design, self._draws(self.prior, rng)), taken, price, rng)
        if rng.random() < self.explore:
            return self._first(self._draws(self.uniform, rng), taken, price, rng)
        outlook = self._outlook(
            pending,
            by_evidence=evidence and n_begun < self.n_startup // 3,
            beyond=rng.random() < self.beyond,
        )
        return self._best(outlook, taken, price, rng)

    # ---------------------------------------------------------------- without looking at losses

    def _look_around(self, price: Callable[[Architecture], Price]) -> Survey:
        """Price `N_SURVEYED` architectures drawn from the prior, the same whenever a study is taken up again."""
        rng = generator(self.seed, "survey")
        archs = self._some(rng)
        return survey(archs, self.features.of(self.columns.of(archs)), price, self.n_startup, rng)

    def _some(self, rng: np.random.Generator) -> list[Architecture]:
        """Return `N_SURVEYED` architectures drawn from the prior."""
        rows = self.activity.draw(self.prior, 2 * N_SURVEYED, rng)
        if self.belief.stated:  # a wrong prior alone would leave nothing good to learn from
            rows[1::2] = self.activity.draw(self.uniform, N_SURVEYED, rng)
            rows = rng.permutation(rows)
        drawn = (self.activity.architecture(row, rng) for row in rows)
        allowed = {arch.fingerprint(): arch for arch in drawn if self.space.forbidden(arch) is None}
        return list(allowed.values())[:N_SURVEYED] or [self.space.sample(rng)]

    def _draws(self, steps: Steps, rng: np.random.Generator) -> Iterator[Architecture]:
        """Yield draws as they come; those that probably break a budget last, the surest of them last of all."""
        rows = self.activity.draw(steps, _N_EXPLORED, rng)
        if steps is self.prior and self.belief.stated:
            rows[1::2] = self.activity.draw(self.uniform, _N_EXPLORED // 2, rng)
        if self.history.excess.shape[1]:
            keeps = self._outlook(()).expect(rows).keeps
            rows = rows[np.argsort(np.where(keeps < 0.5, -keeps, -1.0), kind="stable")]
        return (self.activity.architecture(row, rng) for row in rows)

    def _first(
        self,
        archs: Iterable[Architecture],
        taken: Collection[str],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return the first that keeps every budget, or of those priced the one that exceeds them least."""
        allowed = chain(self._allowed(archs, taken), self.fresh.draws(taken, rng))
        return within_budget(allowed, price) if self.gated else next(allowed)

    def _allowed(self, archs: Iterable[Architecture], taken: Collection[str]) -> Iterator[Architecture]:
        """Yield those that were not tried and are not forbidden."""
        return (a for a in archs if a.fingerprint() not in taken and self.space.forbidden(a) is None)

    # ---------------------------------------------------------------- choosing

    def _outlook(self, pending: Sequence[Architecture], *, by_evidence: bool = False, beyond: bool = False) -> Outlook:
        return Outlook(
            self.history,
            self.features,
            self.cheap,
            self._survey,
            self.memory,
            pending,
            self.proxies,
            n_startup=self.n_startup,
            by_evidence=by_evidence,
            beyond=beyond,
        )

    def _best(
        self, outlook: Outlook, taken: Collection[str], price: Callable[[Architecture], Price], rng: np.random.Generator
    ) -> Architecture:
        """Return the candidate of the largest expected gain, judged by its price."""
        densities, parents = self._good(outlook)
        good = self.prior if self.without == "densities" else densities.steps
        rows = candidates(self.activity, good, self.prior, parents, self.n_candidates, rng)
        if rng.random() < self.vary and len(roles := varied(self.activity, parents)):
            rows = alternatives(self.activity, self.prior, parents, self.n_candidates, rng, int(rng.choice(roles)))
        if self.columns.exact:  # a row says all of an architecture
            rows = rows[[row.tobytes() not in self.history.tried for row in rows]]
        gain = Gain(outlook.front)
        bonus = self._bonus(rows, densities)

        def promise(expected: Expected, bonus: np.ndarray) -> np.ndarray:
            """Return the logarithm of the gain that is hoped for, (n,)."""
            if self.without == "regression":
                return np.log(expected.keeps + _TINY) + bonus
            worth = gain.expected(expected.gain, expected.deviation)
            hoped = np.log(worth + _TINY) + np.log(expected.keeps + _TINY) + bonus
            return hoped - self.thrift * expected.log_seconds

        made = predicted = None
        if self.screen is not None:
            made = [self.activity.architecture(row, rng) for row in rows]
            predicted = self.screen(made)
        expected = outlook.expect(rows, predicted=predicted)
        promised = promise(expected, bonus)
        order = np.argsort(-promised, kind="stable")
        archs = (self.activity.architecture(rows[i], rng) if made is None else made[i] for i in order)
        fresh = ((i, arch) for i, arch in zip(order, archs, strict=True) if any(self._allowed([arch], taken)))
        if outlook.asks and (described := list(islice(fresh, MOST_DESCRIBED))):
            at = np.array([i for i, _ in described])
            rows, bonus = rows[at], bonus[at]
            expected = outlook.expect(rows, [arch for _, arch in described], predicted and predicted.at(at))
            promised = promise(expected, bonus)
            fresh = ((i, described[i][1]) for i in np.argsort(-promised, kind="stable"))
        if not self.gated:
            return next((arch for _, arch in fresh), None) or self.fresh.draw(taken, rng)
        few = list(islice(fresh, MOST_PRICED))
        if not few:
            return self._first([], taken, price, rng)
        known = [price(arch) for _, arch in few]
        at = np.array([i for i, _ in few])
        judged = promised[at]
        if self.without not in ("regression", "prices"):
            worth = gain.expected(outlook.known([p.losses for p in known], expected.gain[at]), expected.deviation[at])
            told = np.array([math.log(p.cost) if p.cost else math.nan for p in known])
            seconds = np.where(np.isnan(told), expected.log_seconds[at], told)
            judged = np.log(worth + _TINY) + bonus[at] - self.thrift * np.minimum(seconds, _NEVER)
        return few[min(range(len(few)), key=lambda k: (known[k].violation, -judged[k]))][1]

    def _bonus(self, rows: np.ndarray, densities: Densities) -> np.ndarray:
        """Return what is known of architectures besides their gain, as logarithms to be added, (n,)."""
        ratio = 1.0 if self.without == "regression" else self.ratio
        return ratio * densities.score(rows) + self.belief.score(rows, int(self.history.trained.sum()))

    def _good(self, outlook: Outlook) -> tuple[Densities, np.ndarray]:
        """Return the densities of good and bad trials, and the rows of the front (or, where it is short, of the good).

        Trials that failed are bad. Before there are trials the evidence stands in for them, each source on a scale of
        its own.
        """
        history = self.history
        own = len(outlook.chosen) > 0
        pool = outlook.chosen if own else np.flatnonzero(history.source > 0)
        losses = outlook.ranked[pool]
        if not own:
            losses = standardised(losses, history.source[pool])
        complete = int(((history.state == 0) & ((history.source == 0) == own)).sum())
        good = pool[best(losses, min(max(gamma(complete), _LEAST_GOOD), max(complete, 1)))]
        front = pool[ranks(losses) == 0]
        counts = self.columns.counts(history.rows[good])
        densities = Densities(self.columns, counts, np.maximum(history.counts - counts, 0.0), self.other)
        return densities, history.rows[front if len(front) > 2 else good]
