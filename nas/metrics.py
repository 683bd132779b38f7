"""How good outputs are: figures of predictions against the truth, those of a user's own among them. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from nas.errors import NasError, TrialFailed, did_you_mean
from nas.objectives import OBJECTIVES, Objective
from nas.registry import A_RUN

Kind: TypeAlias = Literal["classification", "regression"]
"""Of a task."""

Function: TypeAlias = Callable[[np.ndarray, np.ndarray], float]
"""`function(outputs, y)`: logits (n, n_classes) float32 and class indices (n,) int64; in regression predictions and
truth in units of the target, (n,), or (n, n_targets) where there are several."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure of a network that is known after training, as a user defines it.

    >>> import numpy as np
    >>> def top3(logits, y):
    ...     return (np.argsort(logits, axis=1)[:, -3:] == y[:, None]).any(axis=1).mean()
    >>> Metric(name="top3", function=top3, direction="maximize", unit="share", best=1.0).objective.loss(0.9)
    -0.9
    """

    name: str
    """As in `-o NAME`, rules and columns: small letters, digits and underscores."""

    function: Function
    """Of all validation samples at once. To search with several workers it must be one that can be imported."""

    direction: Literal["minimize", "maximize"] = "maximize"
    unit: str = ""
    """For words, but: a "share" (of samples) is no better known than their number allows, and in regression a figure in
    units of the "target" is seen against the target's deviation."""

    best: float | None = None
    """The value that none can beat, such as 1 for a share. Where it is known, samplers are told the logarithm of the
    distance to it, and trainings that will not get near it are given up on the way."""

    kind: Kind = "classification"
    """Of the tasks that it is for: classification or regression."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise NasError(f"a metric's name is of small letters, digits and underscores, got {self.name!r}")
        if not callable(self.function):
            raise NasError(f"metric {self.name}: function must be a function(outputs, y), got {self.function!r}")
        if self.direction not in ("minimize", "maximize"):
            raise NasError(f"metric {self.name}: direction must be minimize or maximize, got {self.direction!r}")
        if self.kind not in ("classification", "regression"):
            raise NasError(f"metric {self.name}: kind must be classification or regression, got {self.kind!r}")
        number = isinstance(self.best, int | float) and not isinstance(self.best, bool)
        if self.best is not None and not (number and math.isfinite(self.best)):
            raise NasError(f"metric {self.name}: best must be a number or None, got {self.best!r}")

    @property
    def objective(self) -> Objective:
        """What a search sees of it."""
        return Objective(self.name, self.unit, self.direction, cheap=False, best=self.best, kind=self.kind)

    def __call__(self, outputs: np.ndarray, y: np.ndarray) -> float:
        """Return the figure.

        Raises:
            TrialFailed: it is no number, or the function raised an error.
        """
        try:
            value = float(self.function(outputs, y))
        except Exception as error:  # whatever a user's function raises
            raise TrialFailed(f"metric {self.name}: {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            raise TrialFailed(f"metric {self.name} is {value} here; return the worst value where it is not defined")
        return value


class Metrics:
    """The metrics that users add, by name. What is filed here is an objective like any other."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._given: set[str] = set()

    def add(
        self,
        name: str,
        *,
        direction: Literal["minimize", "maximize"] = "maximize",
        unit: str = "",
        best: float | None = None,
        kind: Kind = "classification",
    ) -> Callable[[Function], Function]:
        """Return a decorator that files a function as a metric; see `Metric` for the arguments.

        >>> @Metrics().add("errors", direction="minimize", best=0)  # doctest: +SKIP
        ... def errors(logits, y):
        ...     return (logits.argmax(1) != y).sum()
        """

        def file(function: Function) -> Function:
            self._file(Metric(name=name, function=function, direction=direction, unit=unit, best=best, kind=kind))
            return function

        return file

    def take(self, metric: Metric) -> None:
        """File a metric that is there already; once more is the same as once.

        Raises:
            NasError: there is another objective of that name.
        """
        self._file(metric)
        self._given.add(metric.name)

    def given(self, names: Iterable[str]) -> tuple[Metric, ...]:
        """Return those of these names that were taken: an import alone does not file them in another process."""
        return tuple(self._metrics[name] for name in names if name in self._given)

    def _file(self, metric: Metric) -> None:
        known = self._metrics.get(metric.name)
        if known is None and metric.name in OBJECTIVES and OBJECTIVES.by(metric.name) != A_RUN:
            raise NasError(f"metric {metric.name} exists already, it is one of ours; choose another name")
        if known is not None and metric.name in OBJECTIVES and not _same(known, metric):
            raise NasError(f"metric {metric.name} exists already ({known.function!r}); choose another name")
        if known is None or metric.name not in OBJECTIVES:
            OBJECTIVES.describe(metric.objective, getattr(metric.function, "__module__", "") or "?")
        self._metrics[metric.name] = metric

    def __getitem__(self, name: str) -> Metric:
        if name not in self._metrics:
            raise NasError(did_you_mean("metric", name, self._metrics))
        return self._metrics[name]

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._metrics))


def _same(one: Metric, other: Metric) -> bool:
    """Whether two metrics come of the same lines; a script that a worker imports defines them once more."""

    def said(metric: Metric) -> tuple[object, ...]:
        place = getattr(getattr(metric.function, "__code__", None), "co_filename", None)
        line = getattr(getattr(metric.function, "__code__", None), "co_firstlineno", None)
        return metric.objective, metric.function if line is None else (place, line)

    return said(one) == said(other)


METRICS = Metrics()


# ---------------------------------------------------------------- ours


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Return the mean cross-entropy of logits (n, n_classes) with class indices y (n,), in nats; NaN for a burst net.

    >>> round(cross_entropy(np.zeros((2, 4)), np.array([0, 3])), 4)  # log 4
    1.3863
    """
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        z -= z.max(axis=1, keepdims=True)
        losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
    return float(losses.mean())


def accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the share of class indices predicted (n,) that are those of y (n,)."""
    return int((predicted == y).sum()) / len(y)


def balanced_accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the mean over the classes in y of the share of their samples that are right.

    Brodersen et al., ICPR 2010, https://doi.org/10.1109/ICPR.2010.764. Guessing gives 1 / n_classes, however rare some
    classes are.

    >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    0.5
    """
    right, _, there = _counts(predicted, y)
    present = there > 0
    return float((right[present] / there[present]).mean())


def macro_f1(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of the F1 scores of the classes that are in y or were predicted; 0 for one never predicted.

    >>> round(macro_f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])), 4)  # (4/5 + 2/3) / 2
    0.7333
    """
    right, said, there = _counts(predicted, y)
    both = said + there
    return float((2 * right[both > 0] / both[both > 0]).mean())


def _counts(predicted: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each class was predicted rightly, was predicted, and is there."""
    n = int(max(predicted.max(), y.max())) + 1
    return (
        np.bincount(y[predicted == y], minlength=n),
        np.bincount(predicted, minlength=n),
        np.bincount(y, minlength=n),
    )


def rmse(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the root of the mean squared error, (n, n_targets) both; of several targets the mean of theirs.

    >>> rmse(np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])) ** 2
    2.0...
    """
    return float(np.sqrt(np.square(predicted - y).mean(axis=0)).mean())


def mae(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the mean absolute error, (n, n_targets) both."""
    return float(np.abs(predicted - y).mean())


def r2(predicted: np.ndarray, y: np.ndarray) -> float:
    """Return 1 - (squared error) / (that of guessing the mean of y), (n, n_targets) both; of several the mean.

    Of a target that is constant here it is 1 where that was predicted exactly, else 0.
    """
    left, total = np.square(predicted - y).sum(axis=0), np.square(y - y.mean(axis=0)).sum(axis=0)
    share = np.divide(left, total, out=np.where(left > 0, 1.0, 0.0), where=total > 0)
    return float((1 - share).mean())


@dataclass(frozen=True, slots=True)
class Judge:
    """Says how good outputs are, in every figure of the task and those of a user's own that are asked for."""

    own: tuple[Metric, ...] = ()
    """A user's metrics, asked for beside ours."""

    kind: Kind = "classification"

    mean: tuple[float, ...] = ()
    """Of the targets of a regression: outputs are standardised ones."""

    std: tuple[float, ...] = ()
    """As `mean`."""

    @property
    def usual(self) -> str:
        """The figure that one looks at first."""
        return "accuracy" if self.kind == "classification" else "rmse"

    def scores(self, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Return the figures by name of the objective; a burst network has a loss that is not finite.

        Args:
            outputs: logits (n, n_classes), or standardised targets (n, n_targets); n > 0.
            y: (n,) class indices, or standardised targets (n, n_targets).
        Raises:
            TrialFailed: a user's metric cannot be told.

        Cost: 3 ms for 10,000 samples of 10 classes.
        """
        if self.kind == "classification":
            predicted = outputs.argmax(axis=1)
            found = {
                "accuracy": accuracy(predicted, y),
                "loss": cross_entropy(outputs, y),
                "balanced_accuracy": balanced_accuracy(predicted, y),
                "macro_f1": macro_f1(predicted, y),
            }
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                outputs, y = outputs.astype(np.float64), y.astype(np.float64)
                loss = float(np.square(outputs - y).mean())
                outputs, y = (z * np.array(self.std) + np.array(self.mean) for z in (outputs, y))
                found = {"rmse": rmse(outputs, y), "mae": mae(outputs, y), "r2": r2(outputs, y), "loss": loss}
            if outputs.shape[1] == 1:
                outputs, y = outputs[:, 0], y[:, 0]
        return found | {metric.name: metric(outputs, y) for metric in self.own}
