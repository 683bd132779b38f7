"""Regularised evolution."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain

import numpy as np

from nas.errors import NasError
from nas.objectives import Objective
from nas.pareto import ranks
from nas.samplers.fresh import Fresh
from nas.samplers.gate import within_budget
from nas.samplers.proposer import MOST_PRICED, SAMPLERS, Observation, Price, trials
from nas.space import Architecture, Slot, Space
from nas.space.parameters import Parameter, Scalar

_TRIES = 50


@SAMPLERS.add("evolution")
class Evolution:
    """Regularised evolution: mutate the best of a few, let the oldest die.

    Draws from the prior for the first `population` trials. Then picks `tournament` of the youngest `population`,
    takes the one of best Pareto rank (a tie is drawn), and changes one choice; what that choice deactivates is
    dropped, what it activates is drawn from the prior. `gated`: of a few such children the first that keeps
    every budget. A child that was tried already is mutated again from its parent, 50 times at most.

    Made for many cheap trials and discrete choices; a study shorter than `population` is random search.
    Pending trials are not in the population, their children are not known yet; nor is evidence from other runs.

    Reference: Real et al., AAAI 2019, algorithm 1, https://arxiv.org/abs/1802.01548. We differ in ranking by
    dominance, since they had one objective.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        *,
        gated: bool = False,
        population: int = 20,
        tournament: int = 5,
    ) -> None:
        if not 1 <= tournament <= population:
            raise NasError(f"evolution: 1 <= tournament <= population must hold, got {tournament} and {population}")
        self.space, self.gated = space, gated
        self.population, self.tournament = population, tournament
        self.fresh = Fresh(space)

    def propose(
        self,
        seen: Sequence[Observation],
        pending: Sequence[Architecture],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return a child not tried yet of the best of a few, or a draw from the prior while there are too few."""
        taken = self.fresh.taken(seen, pending)
        youngest = [observation for observation in trials(seen) if observation.state == "complete"][-self.population :]
        draws = self.fresh.draws(taken, rng)
        if len(youngest) < self.population:
            candidates = draws
        else:
            picked = [youngest[i] for i in rng.choice(len(youngest), self.tournament, replace=False)]
            losses = [[np.nan if loss is None else loss for loss in observation.losses] for observation in picked]
            parent = picked[int(np.argmin(ranks(np.array(losses))))]  # the picked are in random order: so are ties
            candidates = chain(self._children(parent.arch, taken, rng), draws)
        return within_budget(candidates, price, MOST_PRICED) if self.gated else next(candidates)

    def _children(
        self, parent: Architecture, taken: Collection[str], rng: np.random.Generator
    ) -> Iterator[Architecture]:
        gone = set(taken)
        for _ in range(_TRIES):
            child = mutate(self.space, parent, rng)
            fingerprint = child.fingerprint()
            if fingerprint not in gone and self.space.forbidden(child) is None:
                gone.add(fingerprint)
                yield child


def mutate(space: Space, parent: Architecture, rng: np.random.Generator) -> Architecture:
    """Return `parent` with one of its choices changed; what that activates is drawn from the prior.

    The result may be a forbidden combination, and is the parent itself where the space has no choice.
    """
    free = [path for path in parent.values if path in space.slots and space.slots[path].parameter.cardinality() > 1]
    changed = free[int(rng.integers(len(free)))] if free else None

    def choose(slot: Slot) -> Scalar:
        value = parent.values.get(slot.path)
        if value is None or not slot.parameter.contains(value):
            return slot.parameter.sample(rng)
        return _other(slot.parameter, value, rng) if slot.path == changed else value

    return space.walk(choose)


def _other(parameter: Parameter, value: Scalar, rng: np.random.Generator) -> Scalar:
    """Draw a value that is not `value`."""
    while (drawn := parameter.sample(rng)) == value:
        pass
    return drawn
