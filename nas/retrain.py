"""The chosen one, trained in full: all data but the test set, several seeds, judged once on the test set."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.build import Network, build
from nas.errors import RunError
from nas.measure.quiet import Pause
from nas.objectives import parse_objective
from nas.records import TrialRecord, write_json
from nas.rng import torch_seed
from nas.study.config import StudyConfig
from nas.study.folder import save_weights
from nas.study.judging import followed, judge_of, objectives_of
from nas.study.work import train_config
from nas.training import evaluate, fit, torch_seeded
from nas.training.device import device_of
from nas.training.fidelity import FULL

if TYPE_CHECKING:
    from nas.data import Task
    from nas.training import EpochLog

LONGER = 3
"""A retraining takes this many times the epochs of the search, unless told otherwise."""


@dataclass(frozen=True)
class Retrained:
    """How good one architecture is on the test set, over several seeds.

    Attributes:
        n_test: samples in the test set.
        metric: the figure that is looked at: the run's first objective that only training tells.
        scores: of each seed all figures on the test set, by name.
        searched: `metric` as the search saw it on its validation data.
    """

    trial: int
    n_test: int
    metric: str
    scores: tuple[Mapping[str, float], ...]
    epochs: int
    train_seconds: float
    searched: float
    weights: tuple[Path, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """`metric` of each seed."""
        return tuple(scores[self.metric] for scores in self.scores)

    @property
    def mean(self) -> float:
        """Mean of `metric` over the seeds."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean over seeds (Student's t); NaN for one seed.

        It says what other seeds would give on the same test set; `sampling_error` what another test set would.
        """
        from scipy.stats import t

        n = len(self.values)
        if n < 2:
            return float("nan"), float("nan")
        half = float(t.ppf(0.975, n - 1)) * float(np.std(self.values, ddof=1)) / n**0.5
        low, high = (0.0, 1.0) if parse_objective(self.metric).is_share else (-math.inf, math.inf)
        return max(low, self.mean - half), min(high, self.mean + half)

    @property
    def sampling_error(self) -> float:
        """Half of the 95 % interval that a test set of this size leaves around an accuracy (binomial), else NaN."""
        if self.metric != "accuracy":
            return float("nan")
        return 1.96 * (self.mean * (1 - self.mean) / self.n_test) ** 0.5

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        low, high = self.interval
        return {
            "trial": self.trial,
            "metric": self.metric,
            f"test_{self.metric}_mean": self.mean,
            f"test_{self.metric}_low": low,
            f"test_{self.metric}_high": high,
            "test_samples": self.n_test,
            "test_sampling_error": self.sampling_error,
            "test_scores": {name: [scores[name] for scores in self.scores] for name in self.scores[0]},
            f"searched_validation_{self.metric}": self.searched,
            "epochs": self.epochs,
            "train_seconds": self.train_seconds,
            "weights": [path.name for path in self.weights],
        }


def retrain(
    config: StudyConfig,
    record: TrialRecord,
    task: Task,
    folder: Path,
    *,
    seeds: int = 3,
    epochs: int | None = None,
    overwrite: bool = False,
    on_epoch: Callable[[int, EpochLog], None] | None = None,
) -> Retrained:
    """Train an architecture on training and validation data together, once per seed, and judge it on the test set.

    This is the only place that opens the test set.

    Args:
        folder: of this trial's retraining; gets the weights of every seed and `retrained.json`.
        epochs: None: three times the search's.
        on_epoch: told the seed and the epoch.
    Raises:
        RunError: the folder holds a retraining already, and `overwrite` is False.
        DataError: the data have no test set.
        TrialFailed: a training failed; the text is the reason.
    """
    if seeds < 1:
        raise RunError(f"seeds must be at least 1, got {seeds}")
    if (folder / "retrained.json").exists() and not overwrite:
        raise RunError(f"{folder}: trial {record.number} was retrained already; --overwrite does it again")
    train = train_config(config, record.arch)
    train = dataclasses.replace(train, subset=1.0, rungs=FULL, epochs=epochs or LONGER * train.epochs)
    judge = judge_of(config.objectives, task)
    metric = followed(objectives_of(config.objectives, task), judge).name
    device = device_of(config.device)
    x_test, y_test, x, y = (part.to(device) for part in (*task.test(), *task.full()))
    try:  # before the work, not after it
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    scores, states = [], []
    started = time.perf_counter()
    with Pause() as pause:
        for seed in range(seeds):
            network = _fresh(config, record, task, seed).to(device)
            fit(
                network,
                x,
                y,
                train,
                seed=torch_seed(config.seed, "retraining", record.number, seed),
                on_epoch=None if on_epoch is None else lambda log, seed=seed: on_epoch(seed, log),  # type: ignore[misc]
                between_batches=pause,
            )
            scores.append(evaluate(network, x_test, y_test, judge=judge, between_batches=pause))
            states.append(network.cpu().state_dict())
    # Only now: a retraining that fails or is interrupted leaves an earlier one as it was.
    for old in (folder / "retrained.json", *folder.glob("seed-*.pt")):
        old.unlink(missing_ok=True)
    weights = [folder / f"seed-{seed}.pt" for seed in range(seeds)]
    for path, state in zip(weights, states, strict=True):
        save_weights(path, state)
    found = Retrained(
        trial=record.number,
        n_test=len(y_test),
        metric=metric,
        scores=tuple(scores),
        epochs=train.epochs,
        train_seconds=time.perf_counter() - started - pause.waited_s,
        searched=record.scores.get(metric, float("nan")),
        weights=tuple(weights),
    )
    write_json(folder / "retrained.json", found.to_dict())
    return found


def _fresh(config: StudyConfig, record: TrialRecord, task: Task, seed: int) -> Network:
    with torch_seeded(torch_seed(config.seed, "retrained weights", record.number, seed)):
        return build(config.space, record.arch, task.in_shape, task.n_outputs)
