"""How a network is trained: typed configs without torch, and the loop that reads them. torch loads on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.training.config import AUGMENTATIONS as AUGMENTATIONS
from nas.training.config import OPTIMIZERS as OPTIMIZERS
from nas.training.config import SCHEDULES as SCHEDULES
from nas.training.config import TrainConfig as TrainConfig
from nas.training.allocator import keep_freed_memory as keep_freed_memory

if TYPE_CHECKING:
    from nas.training.loop import EpochLog as EpochLog
    from nas.training.loop import FitResult as FitResult
    from nas.training.loop import Scores as Scores
    from nas.training.loop import as_trial_failed as as_trial_failed
    from nas.training.loop import evaluate as evaluate
    from nas.training.loop import fit as fit
    from nas.training.seeding import torch_seeded as torch_seeded

_LATE = ("EpochLog", "FitResult", "Scores", "as_trial_failed", "evaluate", "fit")

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "SCHEDULES", "TrainConfig", "keep_freed_memory", "torch_seeded", *_LATE]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from nas.training import loop

        return getattr(loop, name)
    if name == "torch_seeded":
        from nas.training.seeding import torch_seeded

        return torch_seeded
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
