"""Which trainings go on: asynchronous successive halving for several objectives. Pure functions of what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nas.pareto import ranks, subset


@dataclass(frozen=True, slots=True)
class Standing:
    """How a trial stood at the end of a rung; one for each rung whose end it reached."""

    number: int
    """Of the trial."""

    rung: int
    """Index, 0 the cheapest."""

    losses: tuple[float, ...]
    """One for each objective, minimised: as judged at the end of this rung, and the prices, which are the same at every
    rung. A trial with one that is not finite counts, and is never promoted."""

    open: bool
    """Whether it could go on from here: neither at work already nor over. What has a higher standing never is. What is
    not has taken one of the rung's places."""

    complete: bool = False
    """Whether this is the end of the full training."""


def next_to_promote(standings: Sequence[Standing], eta: float = 3.0) -> int | None:
    """Return the number of the trial that has earned the next rung; None: start a new one.

    From the highest rung down: a rung whose end n trials reached has n // eta places. While fewer went on from it, the
    best that did not is returned. Better is a lower non-domination rank; within a rank, what adds more hypervolume to
    those chosen before; then the lower number. Losses that are above 0 for all (prices) count as logarithms. Who went
    on counts at the lower rung as it stood there. With one objective this is ASHA with delays: without the count of
    those who are gone, a search that gets better all the time sends on nearly everybody, since each comes among the
    best third of what was there before.

    Raises:
        ValueError: a trial stands twice at a rung, standings differ in how many losses they have, or `eta` is not
            above 1.

    Cost: one ranking for each rung, and a greedy choice from the ranks in which somebody is open: 2 ms for a thousand
    standings of up to three losses, 50 to 200 where hundreds share a rank.

    References: Li et al., MLSys 2020, algorithm 2 (ASHA), https://arxiv.org/abs/1810.05934; Li et al., VLDB 2022, sec.
    4.3 (D-ASHA, the delays), https://arxiv.org/abs/2201.06834; Schmucker et al., 2021 (MO-ASHA),
    https://arxiv.org/abs/2106.12639, who choose within a rank by an epsilon net where we take hypervolume.

    >>> at = lambda number, error, ms: Standing(number, 0, (error, ms), open=True)
    >>> next_to_promote([at(0, 0.5, 2.0), at(1, 0.2, 2.0), at(2, 0.3, 3.0)])
    1
    """
    for rung in reversed(_rungs(standings, eta)):
        places = int(rung.n // eta)
        if np.count_nonzero(~rung.open) >= places:
            continue
        for row in rung.best_first(places):
            if rung.open[row]:
                return rung.numbers[row]
    return None


def to_finish(standings: Sequence[Standing], expected: Mapping[int, Sequence[float]] | None = None) -> list[int]:
    """Return the trials whose training is worth finishing when a search ends, so that its front is fully trained.

    Of each rung those that nothing at that rung dominates, whoever went on included as it stood there. Highest rung
    first (least to do, most is known), within it by the hypervolume that they add. Every trial that is finished leaves
    the list and none comes back, so it gets empty.

    Args:
        expected: number to losses expected at the end of the full training. A trial that a complete one dominates even
            then is left out; one that has no entry never is.
    Raises:
        ValueError: as for `next_to_promote`.
    """
    rungs = _rungs(standings)
    complete = np.array([s.losses for s in standings if s.complete], dtype=float)
    hopeless = {number for number, losses in (expected or {}).items() if _dominated(losses, by=complete)}
    found: list[int] = []
    for rung in reversed([rung for rung in rungs if not rung.complete]):
        worth = rung.front_without(hopeless)
        found += [worth.numbers[row] for row in worth.best_first(len(worth.numbers)) if worth.open[row]]
    return found


def waiting(standings: Sequence[Standing]) -> list[int]:
    """Return all trials that could go on, those nearest to it first: by rung, then as `next_to_promote` has it.

    One with a loss that is not finite is none of them.

    Raises:
        ValueError: as for `next_to_promote`.

    Cost: as of `next_to_promote` where nobody has earned anything.
    """
    rungs = reversed(_rungs(standings))
    return [rung.numbers[row] for rung in rungs for row in rung.best_first(len(rung.numbers)) if rung.open[row]]


def bar(standings: Sequence[Standing], rung: int, prices: Sequence[float | None], eta: float = 3.0) -> float | None:
    """Return the largest loss at the end of `rung` with which one more trial would be among those that go on.

    That is by its rank: within the last rank that has a place hypervolume decides, over who will have come until then,
    and nothing is given up for that. At the end of the full training it has to be non-dominated among the complete.

    Args:
        prices: its losses, with None in the place of the one that is not known yet.
    Returns:
        The limit (with exactly this loss and a higher price the trial would be dominated). None where there is none:
        nobody goes on yet, nothing that counts is as cheap, or there is more than one loss that is not known.
    Raises:
        ValueError: as for `next_to_promote`.

    Cost: one ranking for each rung.

    >>> seen = [Standing(i, 0, (0.1 * i, 1.0), open=True) for i in range(1, 6)]
    >>> bar(seen, 0, (None, 2.0)), bar(seen, 0, (None, 0.5))
    (0.2, None)
    """
    there = next((r for r in _rungs(standings, eta) if r.index == rung), None)
    if there is None or sum(price is None for price in prices) != 1:
        return None
    if len(prices) != there.losses.shape[1]:
        raise ValueError(f"a trial at rung {rung} has {there.losses.shape[1]} losses, got {len(prices)}")
    last = 0
    if not there.complete:
        k = int((there.n + 1) // eta)
        if k < 1:
            return None
        last = int(np.searchsorted(np.cumsum(np.bincount(there.rank)), k))  # the last rank that has a place
    unknown, known = prices.index(None), [j for j, price in enumerate(prices) if price is not None]
    cheap = np.array([prices[j] for j in known], dtype=float)
    # One more trial has the rank behind the last of those that dominate it, and moves none of these.
    rivals = (there.rank >= last) & (there.losses[:, known] <= cheap).all(axis=1)
    return float(there.losses[rivals, unknown].min()) if rivals.any() else None


@dataclass(frozen=True)
class _Rung:
    """Those that reached the end of a rung with finite losses, by number."""

    index: int
    n: int
    """All that reached it."""
    numbers: list[int]
    losses: np.ndarray  # (n, n_losses)
    scaled: np.ndarray  # the same, those above 0 as logarithms
    reference: np.ndarray  # (n_losses,), for `scaled`
    rank: np.ndarray  # (n,)
    open: np.ndarray  # (n,) of bool
    complete: bool

    def front_without(self, numbers: set[int]) -> _Rung:
        """Return those of the first rank, without some."""
        kept = (self.rank == 0) & np.array([number not in numbers for number in self.numbers], dtype=bool)
        left = [number for number, keep in zip(self.numbers, kept, strict=True) if keep]
        columns = (self.losses[kept], self.scaled[kept], self.reference, self.rank[kept], self.open[kept])
        return _Rung(self.index, self.n, left, *columns, self.complete)

    def best_first(self, k: int) -> Iterator[int]:
        """Yield the rows of the best `k`, best first; none of a rank in which nobody is open, since nobody asks."""
        for rank in range(self.rank.max(initial=-1) + 1):
            rows = np.flatnonzero(self.rank == rank)
            fit = min(len(rows), k)
            if fit and self.open[rows].any():
                yield from rows[subset(self.scaled[rows], self.reference, fit)].tolist()
            k -= fit


def _rungs(standings: Sequence[Standing], eta: float = 3.0) -> list[_Rung]:
    """Return the rungs that somebody reached, cheapest first."""
    if not eta > 1:
        raise ValueError(f"eta must be above 1, got {eta}; with 3 one trial in three goes on")
    if len({len(s.losses) for s in standings}) > 1:
        raise ValueError("standings differ in how many losses they have; give those of one study")
    highest: dict[int, int] = {}
    by_rung: dict[int, list[Standing]] = {}
    for standing in standings:
        highest[standing.number] = max(standing.rung, highest.get(standing.number, 0))
        by_rung.setdefault(standing.rung, []).append(standing)
    return [_rung(index, by_rung[index], highest) for index in sorted(by_rung)]


def _rung(index: int, those: list[Standing], highest: Mapping[int, int]) -> _Rung:
    those = sorted(those, key=lambda s: s.number)  # ties go to the lower number, in whatever order they were told
    for a, b in pairwise(those):
        if a.number == b.number:
            raise ValueError(f"trial {a.number} stands twice at rung {index}")
    losses = np.array([s.losses for s in those], dtype=float)
    finite = np.isfinite(losses).all(axis=1)
    kept, losses = [s for s, fine in zip(those, finite, strict=True) if fine], losses[finite]
    scaled = losses.copy()
    positive = (losses > 0).all(axis=0)
    scaled[:, positive] = np.log(losses[:, positive])
    return _Rung(
        index=index,
        n=len(those),
        numbers=[s.number for s in kept],
        losses=losses,
        scaled=scaled,
        reference=_reference(scaled),
        rank=ranks(losses),
        open=np.array([s.open and highest[s.number] == index for s in kept], dtype=bool),
        complete=any(s.complete for s in those),
    )


def _reference(points: np.ndarray) -> np.ndarray:
    """Return the point that bounds hypervolumes: a tenth of the range beyond the worst seen, in every loss.

    But no more than twice as far from the best as three quarters of them lie: one loss that exploded would make all
    others look alike. What is beyond it adds nothing.
    """
    if len(points) == 0:
        return np.ones(points.shape[1])
    best = points.min(axis=0)
    reach = 1.1 * (points.max(axis=0) - best)
    usual = 2 * (np.quantile(points, 0.75, axis=0) - best)
    reach = np.where(usual > 0, np.minimum(usual, reach), reach)
    return best + np.where(reach > 0, reach, 1.0)


def _dominated(losses: Sequence[float], by: np.ndarray) -> bool:
    """Whether one of the rows of `by` is no worse in all and better in one; NaN counts as +inf."""
    if len(by) == 0:
        return False
    own = np.nan_to_num(np.asarray(losses, dtype=float), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return bool(((by <= own).all(axis=1) & (by < own).any(axis=1)).any())
