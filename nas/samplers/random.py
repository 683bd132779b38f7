"""Random search: the yardstick for every other sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nas.objectives import Objective
from nas.samplers.fresh import Fresh
from nas.samplers.proposer import SAMPLERS, Observation, Price
from nas.space import Architecture, Space


@SAMPLERS.add("random")
class RandomSearch:
    """Draws every choice from its own range; repeats nothing that was tried.

    Needs nothing and learns nothing. It prices nothing either, `gated` or not: it shows what a search without
    any knowledge is worth.

    Reference: Bergstra & Bengio, JMLR 13, 2012; as a strong baseline of architecture search: Li & Talwalkar,
    UAI 2019, https://arxiv.org/abs/1902.07638.
    """

    def __init__(self, space: Space, objectives: Sequence[Objective], *, gated: bool = False) -> None:
        self.fresh = Fresh(space)

    def propose(
        self,
        seen: Sequence[Observation],
        pending: Sequence[Architecture],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return a draw from the prior that was not tried yet."""
        return self.fresh.draw(self.fresh.taken(seen, pending), rng)
