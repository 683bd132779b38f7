"""Multi-objective neural architecture search that keeps a measured budget.

>>> import nas
>>> nas.Budget.parse("latency_ms<=2").limit
2.0

The names below load what they need on first use; importing this package sets nothing and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import Front as Front
    from nas.api import Study as Study
    from nas.api import load_space as load_space
    from nas.blocks import BLOCKS as BLOCKS
    from nas.blocks import HEADS as HEADS
    from nas.data import DATASETS as DATASETS
    from nas.data import Task as Task
    from nas.data import load_task as load_task
    from nas.errors import NasError as NasError
    from nas.measured import measure_file as measure_file
    from nas.measure.runtimes import RUNTIMES as RUNTIMES
    from nas.objectives import OBJECTIVES as OBJECTIVES
    from nas.objectives import Budget as Budget
    from nas.plugins import load as load_plugin
    from nas.samplers import SAMPLERS as SAMPLERS
    from nas.samplers.for_optuna import NasSampler as NasSampler
    from nas.space import Space as Space

_HOMES = {
    "Front": "nas.api",
    "Study": "nas.api",
    "load_space": "nas.api",
    "Task": "nas.data",
    "load_task": "nas.data",
    "NasError": "nas.errors",
    "measure_file": "nas.measured",
    "Budget": "nas.objectives",
    "NasSampler": "nas.samplers.for_optuna",
    "Space": "nas.space",
    "BLOCKS": "nas.blocks",
    "HEADS": "nas.blocks",
    "SAMPLERS": "nas.samplers",
    "RUNTIMES": "nas.measure.runtimes",
    "DATASETS": "nas.data",
    "OBJECTIVES": "nas.objectives",
    "load_plugin": "nas.plugins",
}
_CALLED = {"load_plugin": "load"}
"""What has another name where it is at home."""


__all__ = [  # noqa: RUF022  # in the order of use
    "Study",
    "Front",
    "Space",
    "load_space",
    "Task",
    "load_task",
    "Budget",
    "NasSampler",
    "measure_file",
    "NasError",
    "load_plugin",
    "BLOCKS",
    "HEADS",
    "SAMPLERS",
    "RUNTIMES",
    "DATASETS",
    "OBJECTIVES",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), _CALLED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
