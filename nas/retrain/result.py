"""What is known of a network that was retrained: `retrained.json`, and the table of all of a run. No torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import RunError
from nas.objectives import Objective, Prices, is_latency, parse_objective
from nas.records import latency_columns, plain_prices, read_json, read_prices, write_rows

if TYPE_CHECKING:
    from nas.study.folder import RunFolder

RESULT = "retrained.json"


@dataclass(frozen=True)
class SeedResult:
    """One training of a network, and how good it is on the test set."""

    seed: int
    scores: Mapping[str, float]
    """On the test set, by name of the figure; what `nas.training.evaluate` tells."""

    confusion: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    """Test samples by class (rows) and by the class that was predicted (columns); empty where there are no classes."""

    train_seconds: float = 0.0
    """Of training alone."""

    @property
    def weights(self) -> str:
        """Name of the file of its weights, in the folder of the retraining."""
        return weights_name(self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "seed": self.seed,
            "weights": self.weights,
            "scores": dict(self.scores),
            "train_seconds": self.train_seconds,
            "confusion": [list(row) for row in self.confusion],
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> SeedResult:
        """Undo `to_dict`."""
        return cls(
            seed=int(kept["seed"]),
            scores={str(name): float(value) for name, value in kept["scores"].items()},
            confusion=tuple(tuple(map(int, row)) for row in kept["confusion"]),
            train_seconds=float(kept["train_seconds"]),
        )


def weights_name(seed: int) -> str:
    """Return the name of the file that holds the weights of a seed; `nas.ship.load_network` reads that of seed 0."""
    return f"seed-{seed}.pt"


@dataclass(frozen=True, kw_only=True, repr=False)
class Retrained:
    """One network that was trained in full, once per seed, and judged on the test set."""

    trial: int
    folder: Path
    """With the weights of every seed, `retrained.json` and the model card."""

    metric: Objective
    """What `mean`, `interval` and `gap` are of."""

    n_test: int
    """Samples in the test set."""

    seeds: tuple[SeedResult, ...]
    searched: float
    """The metric as the search saw it, on its validation data; NaN where it does not know it."""

    epochs: int
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What decided the trainings (`nas.retrain.plan.Plan`); empty in files of version 0.1.0, like what follows."""

    prices: Prices = field(default_factory=dict, repr=False)
    """As the search measured them."""

    blocks: str = ""
    """Its blocks in a few words."""

    def __repr__(self) -> str:
        what = f"test {self.metric.name} {self.mean:.4f}, mean of {len(self.seeds)} seeds of {self.epochs} epochs"
        return f"<trial {self.trial} retrained: {what}>"

    @property
    def values(self) -> tuple[float, ...]:
        """The metric on the test set, of each seed."""
        return tuple(seed.scores[self.metric.name] for seed in self.seeds)

    @property
    def mean(self) -> float:
        """Mean of the metric on the test set."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean over seeds (Student's t); NaN for one seed.

        It says what other seeds would give on the same test set; `sampling_error` what another test set would.
        """
        from scipy.stats import t

        n = len(self.values)
        if n < 2:
            return math.nan, math.nan
        half = float(t.ppf(0.975, n - 1)) * float(np.std(self.values, ddof=1)) / n**0.5
        low, high = self.mean - half, self.mean + half
        if self.metric.unit == "share":
            return max(0.0, low), min(1.0, high)
        if self.metric.best is None:
            return low, high
        best = self.metric.best
        return (max(best, low), high) if self.metric.direction == "minimize" else (low, min(best, high))

    @property
    def sampling_error(self) -> float:
        """Half of the 95 % interval that a test set of this size leaves for an accuracy; NaN of other figures.

        Wilson's interval (JASA 22, 1927): it does not shrink to nothing where all samples, or none, are right.
        """
        if self.metric.name != "accuracy":
            return math.nan
        z, n = 1.96, self.n_test
        return z / (1 + z**2 / n) * (self.mean * (1 - self.mean) / n + (z / (2 * n)) ** 2) ** 0.5

    @property
    def gap(self) -> float:
        """By how much the search saw it better on validation data than it is on the test set; below 0: worse."""
        return self.metric.loss(self.mean) - self.metric.loss(self.searched)

    def test_cells(self) -> dict[str, object]:
        """Return the columns of a table with its figure on the test set: mean, and ends of the interval over seeds."""
        name, (low, high) = self.metric.name, self.interval
        cells = {f"test_{name}": self.mean, f"test_{name}_low": low, f"test_{name}_high": high}
        return {column: "" if math.isnan(cell) else cell for column, cell in cells.items()}

    @property
    def train_seconds(self) -> float:
        """Of training alone, all seeds together."""
        return sum(seed.train_seconds for seed in self.seeds)

    @property
    def weights(self) -> tuple[Path, ...]:
        """The files of weights, one for each seed."""
        return tuple(self.folder / seed.weights for seed in self.seeds)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        low, high = self.interval
        name = self.metric.name
        return {
            "trial": self.trial,
            "metric": name,
            f"test_{name}_mean": self.mean,
            f"test_{name}_low": low,
            f"test_{name}_high": high,
            "test_samples": self.n_test,
            "test_sampling_error": self.sampling_error,
            f"searched_validation_{name}": self.searched,
            "gap": self.gap,
            "epochs": self.epochs,
            "train_seconds": self.train_seconds,
            "seeds": [seed.to_dict() for seed in self.seeds],
            "prices": plain_prices(self.prices),
            "blocks": self.blocks,
            "plan": dict(self.plan),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any], folder: Path) -> Retrained:
        """Undo `to_dict`, also of what version 0.1.0 wrote.

        Raises:
            KeyError, TypeError, ValueError, NasError: it is none of ours.
        """
        metric = parse_objective(kept.get("metric", "accuracy"))
        if "seeds" in kept:
            seeds = tuple(map(SeedResult.from_dict, kept["seeds"]))
        else:  # version 0.1.0
            pairs = zip(kept["test_accuracies"], kept["test_losses"], strict=True)
            seeds = tuple(SeedResult(i, {"accuracy": float(a), "loss": float(b)}) for i, (a, b) in enumerate(pairs))
        searched = kept[f"searched_validation_{metric.name}"]
        return cls(
            trial=int(kept["trial"]),
            folder=folder,
            metric=metric,
            n_test=int(kept["test_samples"]),
            seeds=seeds,
            searched=math.nan if searched is None else float(searched),
            epochs=int(kept["epochs"]),
            plan=dict(kept.get("plan", {})),
            prices=read_prices(kept.get("prices", {})),
            blocks=str(kept.get("blocks", "")),
        )


def read_retrained(folder: Path) -> Retrained | None:
    """Return what is known of a retraining by its folder; None where it has none that is finished.

    Raises:
        RunError: the file cannot be read, or is none of ours.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    kept = read_json(path)
    try:
        found = Retrained.from_dict(kept, folder)
        if not found.seeds or any(found.metric.name not in seed.scores for seed in found.seeds):
            raise ValueError("no seed")
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{path}: not a retraining of ours: {type(error).__name__} {error}; --overwrite begins anew"
        ) from None


def write_table(run: RunFolder) -> None:
    """Write `retrained.csv` of a run: a row for each network that was retrained, best first.

    Raises:
        RunError: it cannot be written, or a retraining cannot be read.
    """
    rows = [_row(one) for one in sorted(all_retrained(run), key=lambda one: (one.metric.loss(one.mean), one.trial))]
    columns = dict.fromkeys(column for row in sorted(rows, key=len, reverse=True) for column in row)
    write_rows(run.retrained_table, rows, columns)


def all_retrained(run: RunFolder, but: Collection[Path] = ()) -> Iterable[Retrained]:
    """Yield every finished retraining of a run, by number of the trial, `but` those of some folders.

    Raises:
        RunError: one cannot be read.
    """
    for path in sorted(run.retrained.glob(f"trial-*/{RESULT}")):
        if path.parent not in but and (found := read_retrained(path.parent)) is not None:
            yield found


def _row(one: Retrained) -> dict[str, object]:
    name = one.metric.name
    figures = [value for price, m in one.prices.items() for value in _cells(price, m.value, m.low, m.high)]
    row = {
        "trial": one.trial,
        **one.test_cells(),
        "seeds": len(one.seeds),
        "test_samples": one.n_test,
        "test_sampling_error": one.sampling_error,
        f"searched_{name}": one.searched,
        "gap": one.gap,
        **dict(figures),
        "epochs": one.epochs,
        "train_seconds": round(one.train_seconds, 2),
        "fingerprint": one.plan.get("fingerprint", ""),
        "blocks": one.blocks,
        "weights": (Path(one.folder.parent.name) / one.folder.name / one.seeds[0].weights).as_posix(),
    }
    return {column: "" if isinstance(cell, float) and math.isnan(cell) else cell for column, cell in row.items()}


def _cells(name: str, value: float, low: float, high: float) -> Iterable[tuple[str, object]]:
    if is_latency(name):
        return zip(latency_columns(name), (value, low, high), strict=True)
    return [(name, int(value) if float(value).is_integer() else value)]
