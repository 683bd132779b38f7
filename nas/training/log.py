"""What training tells while it runs: plain values, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Scores: TypeAlias = dict[str, float]
"""How good a network is on some samples: figures by name of the objective, as `nas.metrics.Judge` tells them."""


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What a training gave up to the end of an epoch, or of a rung."""

    epochs: float
    """Samples seen so far, in passes over the training set."""

    train_loss: float
    """Mean over the batches since the entry before, as they were trained on: augmented, smoothed, in training mode."""

    scores: Scores | None
    """On `evaluate_on`, then."""

    train_seconds: float
    """Wall time of training since its start, without evaluation and pauses."""

    rung: int | None = None
    """Index of the rung that ends here; None within one."""
