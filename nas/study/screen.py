"""What many candidates will cost, predicted from what was measured so far: the sampler looks at hundreds of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from nas.errors import BuildError
from nas.measure.planned_macs import PlannedMacs
from nas.measure.predict import LatencyPredictor
from nas.objectives import Budget, Objective, Prices, is_latency
from nas.samplers import Predicted
from nas.shapes import Shape
from nas.space import Architecture, Space


class Screener:
    """Predicts the latencies that a study asks for, on each target by itself, and counts multiply-adds.

    What it says decides which candidates are worth measuring, and nothing else: a candidate is measured before it is
    trained, and the measurement is what stands in the files.

    Args:
        in_shape: of one sample, without the batch axis.
    """

    def __init__(
        self, space: Space, in_shape: Shape, n_outputs: int, objectives: Sequence[Objective], budgets: Sequence[Budget]
    ) -> None:
        self.objectives, self.budgets = objectives, budgets
        names = {o.name for o in objectives} | {b.objective for b in budgets}
        self.names = sorted(filter(is_latency, names))
        """The latencies that are predicted."""
        self._predictors = {name: LatencyPredictor(space, in_shape, n_outputs) for name in self.names}
        self._learned: set[Architecture] = set()
        self._macs = PlannedMacs(space, in_shape, n_outputs) if "macs" in names else None

    @property
    def tells(self) -> bool:
        """Whether there is anything that it predicts or counts."""
        return bool(self.names) or self._macs is not None

    def learn(self, arch: Architecture, prices: Prices) -> None:
        """Take over what was measured of an architecture, once."""
        if arch in self._learned:
            return
        self._learned.add(arch)
        for name in self.names:
            if name in prices:
                with suppress(BuildError):  # of a `plan` of the user's own: the network itself was built
                    self._predictors[name].learn(arch, prices[name])

    def __call__(self, archs: Sequence[Architecture]) -> Predicted:
        """Return what is predicted of architectures; NaN where nothing is, as of all before some were measured."""
        log_ms = {name: predictor.predict(archs) for name, predictor in self._predictors.items()}
        losses, excess, unsure = (
            np.full((len(archs), n), math.nan) for n in (len(self.objectives), len(self.budgets), len(self.budgets))
        )
        for j, objective in enumerate(self.objectives):
            if objective.name in log_ms:
                losses[:, j] = [objective.loss(ms) for ms in np.exp(log_ms[objective.name][0]).tolist()]
        for i, budget in enumerate(self.budgets):
            if budget.objective in log_ms and budget.limit > 0:
                mean, unsure[:, i] = log_ms[budget.objective]
                beyond = mean - math.log(budget.threshold())
                excess[:, i] = beyond if budget.sense.startswith("<") else -beyond
        if self._macs is not None:
            macs = self._macs(archs)
            known = ~np.isnan(macs)
            for j, objective in enumerate(self.objectives):
                if objective.name == "macs":
                    losses[:, j] = macs
            for i, budget in enumerate(self.budgets):
                if budget.objective == "macs":
                    excess[known, i] = [budget.excess(count) for count in macs[known].tolist()]
                    unsure[known, i] = 0.0
        return Predicted(losses, excess, unsure)
