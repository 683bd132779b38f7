"""By which figures the networks of a study are judged: those of its task, and the user's own that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError, TrialFailed
from nas.metrics import METRICS, Judge, Metric
from nas.objectives import OBJECTIVES, Objective

if TYPE_CHECKING:
    from nas.data import Task


def judge_of(objectives: Iterable[str]) -> Judge:
    """Return who judges in a study of these objectives."""
    return Judge(tuple(METRICS[name] for name in objectives if name in METRICS))


def portable_metrics(objectives: Iterable[str]) -> tuple[Metric, ...]:
    """Return the metrics of a study that other processes have to be told of.

    Raises:
        NasError: one cannot be told: its function has no name under which another process finds it.
    """
    found = METRICS.given(objectives)
    for metric in found:
        try:
            ForkingPickler.dumps(metric)
        except Exception as error:  # pickle has several
            raise NasError(
                f"metric {metric.name}: its function cannot be found by the processes that train ({error})\n"
                "  define it with def at the top of a file, or search with one worker"
            ) from error
    return found


def followed(objectives: Sequence[Objective], judge: Judge) -> Objective:
    """Return what learning curves are of: the first objective that only training tells, else the task's usual one."""
    return next((o for o in objectives if not o.cheap), OBJECTIVES[judge.usual])


def check_judge(judge: Judge, objectives: Sequence[Objective], task: Task) -> None:
    """Try the figures on outputs that are chance, so that one that cannot be told ends no training.

    Raises:
        NasError: an objective is none of these figures, or a user's metric raises an error or is no number.
    """
    y = task.y_val.numpy()
    outputs = np.random.default_rng(0).standard_normal((len(y), task.n_outputs)).astype(np.float32)
    try:
        scores = judge.scores(outputs, y)
    except TrialFailed as error:
        tried = f"outputs {outputs.shape} that are chance, and y {y.shape} of the validation data"
        raise NasError(f"{error}\n  it was tried on {tried}") from error
    for o in objectives:
        if not o.cheap and o.name not in scores:
            raise NasError(f"objective {o.name} cannot be told of these data; choose from {', '.join(scores)}")
