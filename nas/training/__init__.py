"""How a network is trained: typed configs without torch, and the loop that reads them. torch loads on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.training.config import AUGMENTATIONS as AUGMENTATIONS
from nas.training.config import OPTIMIZERS as OPTIMIZERS
from nas.training.config import SCHEDULES as SCHEDULES
from nas.training.config import TrainConfig as TrainConfig
from nas.training.allocator import keep_freed_memory as keep_freed_memory
from nas.training.fidelity import FULL as FULL
from nas.training.fidelity import Rung as Rung
from nas.training.fidelity import Stretch as Stretch
from nas.training.fidelity import plan as plan
from nas.training.fidelity import rungs as rungs
from nas.training.log import EpochLog as EpochLog
from nas.training.log import Scores as Scores

if TYPE_CHECKING:
    from nas.training.checkpoint import TrainState as TrainState
    from nas.training.failures import as_trial_failed as as_trial_failed
    from nas.training.judge import evaluate as evaluate
    from nas.training.loop import FitResult as FitResult
    from nas.training.loop import fit as fit
    from nas.training.seeding import torch_seeded as torch_seeded

_LATE = {
    "FitResult": "loop",
    "TrainState": "checkpoint",
    "as_trial_failed": "failures",
    "evaluate": "judge",
    "fit": "loop",
    "torch_seeded": "seeding",
}

__all__ = [
    "AUGMENTATIONS",
    "FULL",
    "OPTIMIZERS",
    "SCHEDULES",
    "EpochLog",
    "FitResult",
    "Rung",
    "Scores",
    "Stretch",
    "TrainConfig",
    "TrainState",
    "as_trial_failed",
    "evaluate",
    "fit",
    "keep_freed_memory",
    "plan",
    "rungs",
    "torch_seeded",
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"nas.training.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
