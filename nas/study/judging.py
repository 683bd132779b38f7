"""By which figures the networks of a study are judged: those of its task, and the user's own that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError, RunError, TrialFailed
from nas.metrics import METRICS, Judge, Metric
from nas.objectives import LATENCY, OBJECTIVES, Objective, parse_objective, scaled

if TYPE_CHECKING:
    from nas.data import Task


def judge_of(objectives: Iterable[str], task: Task) -> Judge:
    """Return who judges in a study of these objectives.

    Raises:
        RunError: one is a metric of the user's own, and its function is not here.
    """
    names = tuple(objectives)
    for name in names:
        if OBJECTIVES.own(name) and not OBJECTIVES[name].cheap and name not in METRICS:
            raise RunError(
                f"objective {name} is a metric of one's own, and its function is not here; give --plugin FILE.py that "
                "defines it with @nas.METRICS.add, or in Python define it before (code is never loaded by itself)"
            )
    own = tuple(METRICS[name] for name in names if name in METRICS)
    return Judge(own, task.kind, task.y_mean, task.y_std)


def judged_by(objectives: Sequence[str], task: Task) -> tuple[Judge, Objective]:
    """Return who judges in a study of these objectives, and what learning curves are of.

    That is the first objective that only training tells, else the task's usual one.

    Raises:
        RunError: as `judge_of`.
    """
    judge = judge_of(objectives, task)
    return judge, next((o for o in objectives_of(objectives, task) if not o.cheap), OBJECTIVES[judge.usual])


def objectives_of(names: Iterable[str], task: Task) -> tuple[Objective, ...]:
    """Return the objectives of a study on `task`, their errors on its scale; 'auto' are the usual ones."""
    names = usual_objectives(task) if tuple(names) == ("auto",) else tuple(names)
    return scaled_to([parse_objective(name) for name in names], task)


def scaled_to(objectives: Sequence[Objective], task: Task) -> tuple[Objective, ...]:
    """Return objectives with their errors on the scale of `task`."""
    return scaled(objectives, float(np.mean(task.y_std)) if task.y_std else 1.0)


def usual_objectives(task: Task) -> tuple[str, ...]:
    """Return what is searched for where nobody says."""
    return Judge(kind=task.kind).usual, LATENCY


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
            whose = f"is of {o.kind}" if o.kind else "cannot be told"
            what = f"target {', '.join(task.targets)}" if task.targets else f"{task.n_outputs} classes"
            data = f"{task.name} is a {task.kind} ({what})"
            other = " (--task regression, if the labels are numbers to predict)" if o.kind == "regression" else ""
            raise NasError(f"objective {o.name} {whose}, and {data}; choose from {', '.join(scores)}{other}")
