"""How long the trainings of a study take: predicted before each, corrected by each."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import NamedTuple

from nas.errors import BuildError
from nas.measure.train_time import VALIDATED, TrainTimePredictor
from nas.records import TrialRecord
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.work import train_config
from nas.training import TrainConfig
from nas.training.device import trains_on_cpu

_NEWS = 10
"""Trainings are learned when there are a tenth more of them: what follows is a fit of all."""

_STRANGE = 20
"""Networks trained on a GPU before anything is sure there. What work takes is known from CPUs; a small network's step
on a GPU costs what it takes to send it there. A search once refused all its candidates, which would have ended in
time."""

_SURE = 1.64
"""Standard deviations below which one training in twenty lies."""


class Seconds(NamedTuple):
    """Predicted seconds; zeros where nobody can tell."""

    expected: float = 0.0

    least: float = 0.0
    """19 of 20 trainings take longer."""


class TrainingTimes:
    """Seconds of the trainings of one study on this machine.

    Args:
        n_train: samples that a full training passes over each epoch.
        n_val: samples that are judged at the end of each.
        in_shape: of one of them.
    """

    def __init__(
        self, config: StudyConfig, in_shape: tuple[int, ...], n_outputs: int, n_train: int, n_val: int
    ) -> None:
        self._config, self._n_train, self._n_val = config, n_train, n_val
        self._predictor = TrainTimePredictor(config.space, in_shape, n_outputs)
        self._at_home = trains_on_cpu(config.device)
        self._trainings: dict[Architecture, TrainConfig] = {}
        self._learned: dict[int, float] = {}
        self._waiting: list[TrialRecord] = []
        self._predicted: dict[Architecture, tuple[float, float]] = {}
        """Since something was learned: a candidate is asked for several times while it is priced."""

    def learn(self, record: TrialRecord) -> None:
        """Take over how long a training took, as far as it came."""
        if not record.epoch_seconds or self._learned.get(record.number) == record.epochs:
            return
        self._learned[record.number] = record.epochs
        self._waiting.append(record)
        if len(self._waiting) * _NEWS < len(self._predictor):
            return
        for seen in self._waiting:
            batch_size, samples = self._training(seen.arch).batch_size, seen.epochs * self._n_train
            with suppress(BuildError):  # of a `plan` of the user's own: the network itself was trained
                self._predictor.learn(seen.arch, batch_size, samples, seen.epochs * seen.epoch_seconds)
        self._waiting = []
        self._predicted = {}

    def epoch(self, arch: Architecture) -> float:
        """Return the predicted seconds of training alone for a pass over the training set; 0 where nobody can tell."""
        mean, _ = self._per_sample(arch)
        return 0.0 if math.isnan(mean) else math.exp(mean) * self._n_train

    def full(self, arch: Architecture) -> Seconds:
        """Return the predicted seconds of a full training, judging included."""
        mean, deviation = self._per_sample(arch)
        if math.isnan(mean):
            return Seconds()
        samples = self._training(arch).epochs * (self._n_train + VALIDATED * self._n_val)
        sure = self._at_home or len(self._learned) >= _STRANGE
        return Seconds(math.exp(mean) * samples, math.exp(mean - _SURE * deviation) * samples if sure else 0.0)

    def _per_sample(self, arch: Architecture) -> tuple[float, float]:
        if arch not in self._predicted:
            means, deviations = self._predictor.predict([arch], [self._training(arch).batch_size])
            self._predicted[arch] = float(means[0]), float(deviations[0])
        return self._predicted[arch]

    def _training(self, arch: Architecture) -> TrainConfig:
        if arch not in self._trainings:
            self._trainings[arch] = train_config(self._config, arch)
        return self._trainings[arch]
