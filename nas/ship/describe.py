"""What an exported file says about itself: how data become its input, what its outputs mean, where it comes from."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nas.records import TrialRecord

if TYPE_CHECKING:
    from nas.data import Task

_LAYOUTS = {3: "NCHW", 2: "NTC", 1: "NF"}  # token ids are (N, F), too


def describe_file(task: Task, record: TrialRecord, format: str, weights: str, precision: str) -> dict[str, Any]:
    """Return the metadata of a file, as JSON has them: `nas.export.metadata` writes and reads them.

    Whatever a task says of its data beside the samples is in it, under the task's own names.
    """
    return {
        **_plain_fields(task),
        "task": task.kind,
        "made_by": f"pareto-nas {version('pareto-nas')}",
        "format": format,
        "data": task.name,
        "layout": _LAYOUTS[len(task.in_shape)],
        "preprocess": "input = (x * scale - mean) / std per channel, float32, (N, *in_shape)",
        **({"postprocess": "prediction = output * y_std + y_mean, per target"} if task.kind == "regression" else {}),
        "batch": None,
        "trial": record.number,
        "weights": weights,
        "precision": precision,
        "architecture": record.arch.to_json(),
    }


def _plain_fields(task: Task) -> dict[str, Any]:
    """Return what a task says in numbers and words: no samples, and not its name, which is `data`."""
    found = {}
    for field in dataclasses.fields(task):
        value = getattr(task, field.name)
        if field.name.startswith("_") or field.name == "name":
            continue
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        found[field.name] = value
    return found
