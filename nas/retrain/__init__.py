"""THE CHOSEN FEW: trained in full, with several seeds, and judged once on the test set. torch loads on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.retrain.result import Retrained as Retrained
from nas.retrain.result import read_retrained as read_retrained
from nas.retrain.watch import Watcher as Watcher

if TYPE_CHECKING:
    from nas.retrain.run import retrain as retrain

__all__ = ["Retrained", "Watcher", "read_retrained", "retrain"]


def __getattr__(name: str) -> Any:
    if name == "retrain":
        return importlib.import_module("nas.retrain.run").retrain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
