"""How long a training takes, known before it, and better with every training seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nas.errors import NasError
from nas.measure.additive import Additive, Work
from nas.measure.predict import Unbuilt
from nas.measure.terms import Term
from nas.measure.train_terms import TRAINING, built_terms, part_terms, per_sample, step_terms
from nas.shapes import Shape
from nas.space import Architecture, Space
from nas.space.tree import Tree

MOST = 400
"""How many trainings are looked at, the latest: what a fit costs grows with them."""

VALIDATED = 0.25
"""What judging a sample takes, forward alone, as a share of what training on it does. Of 80 % of the candidates on
images 0.16 to 0.33, on series 0.07 to 0.23; less for small networks, whose steps are mostly Python (results/training).
"""

_NS_PER_S = 1e9

_STEP_NOISE = 0.3
"""Standard deviation of a single step's time, in its logarithm: the first ones make room and find their kernels."""


class TrainTimePredictor:
    """Seconds per sample of training: a sum over primitive operations, forward, backward and optimizer.

    As `LatencyPredictor`, with terms of training (`train_terms`): a network is described by its operations without
    building it, together with its batch size, optimizer and augmentation, and what a unit of each kind of work takes is
    estimated from about how long it usually does, times the speed of the machine. Trainings correct both, a cheap rung
    as well as a whole one. What a unit usually takes was measured on CPUs; a GPU is another machine, whose first
    trainings will tell.

    Made for one machine and one way to train. No module is kept, and nothing is random.

    Args:
        in_shape: of one sample, without the batch axis.

    Cost: `predict` 0.2 ms for each architecture; the first one after a training also the fit, see `Additive.fit`.
    """

    def __init__(self, space: Space, in_shape: Shape, n_outputs: int) -> None:
        self.space, self.in_shape = space, in_shape
        self._unbuilt = Unbuilt(in_shape, n_outputs, part_terms, built_terms)
        self._works: list[Work] = []
        self._log_ns: list[float] = []
        self._noise: list[float] = []
        self._model: Additive | None = None

    def __len__(self) -> int:
        """Return how many trainings were learned."""
        return len(self._works)

    def learn(self, arch: Architecture, batch_size: int, samples: float, seconds: float) -> None:
        """Take over a training that was seen; one of no samples or no time teaches nothing.

        Args:
            samples: how many it saw, each as often as it did.
            seconds: wall time, without validation and pauses.
        Raises:
            BuildError: the architecture cannot be built.
            SpaceError: it is of another space.
        """
        _check(batch_size)
        if not (0 < samples < math.inf and 0 < seconds < math.inf):
            return
        self._works.append(self.describe(arch, batch_size))
        self._log_ns.append(math.log(seconds / samples * _NS_PER_S))
        self._noise.append(math.hypot(TRAINING.noise, _STEP_NOISE / math.sqrt(max(1.0, samples / batch_size))))
        self._model = None

    def predict(self, archs: Sequence[Architecture], batch_sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the logarithm of the seconds per sample of training; (n,) each.

        Both are NaN where an architecture cannot be built. Before any training was seen the deviation says that the
        machine is unknown. The same time goes by for a sample that is only judged, times `VALIDATED`.

        Raises:
            ValueError: not as many batch sizes as architectures, or one below 1.
        """
        mean, deviation = np.full(len(archs), math.nan), np.full(len(archs), math.nan)
        works: dict[int, Work] = {}
        for i, (arch, batch_size) in enumerate(zip(archs, batch_sizes, strict=True)):
            _check(batch_size)
            try:
                works[i] = self.describe(arch, batch_size)
            except NasError:
                continue
        if works:
            if self._model is None:
                self._model = Additive.fit(self._works[-MOST:], self._log_ns[-MOST:], self._noise[-MOST:], TRAINING)
            log_ns, deviation[list(works)] = self._model.predict(list(works.values()))
            mean[list(works)] = log_ns - math.log(_NS_PER_S)
        return mean, deviation

    def describe(self, arch: Architecture, batch_size: int) -> dict[Term, float]:
        """Return the amounts of work of training on one sample.

        Raises:
            BuildError: it cannot be built.
            SpaceError: it is of another space.
        """
        tree = self.space.resolve(arch)
        training = tree.get("training")
        total = self._unbuilt.total(tree)
        total.update(step_terms(math.prod(self.in_shape), _name(training, "augment", "none")))
        return per_sample(total, batch_size, _name(training, "optimizer", "adamw"))


def _check(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _name(training: Tree | None, field: str, otherwise: str) -> str:
    """Return the name of a part of a resolved tree's training."""
    part = training.get(field, otherwise) if isinstance(training, dict) else otherwise
    return str(next(iter(part))) if isinstance(part, dict) else str(part)
