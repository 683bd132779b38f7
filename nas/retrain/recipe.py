"""How a network is trained in full, where that is not as the search trained it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nas.errors import NasError
from nas.records import TrialRecord
from nas.retrain.plan import Plan
from nas.space.write import Dumper
from nas.space.yaml import Loader
from nas.study.config import StudyConfig
from nas.study.work import train_config
from nas.training import Rung, TrainConfig

LONGER = 3
"""A retraining takes this many times the epochs of the search, unless told otherwise."""

_SAID_ELSEWHERE = {
    "epochs": "the epochs are said by --epochs or --time-limit (in Python: epochs, time_limit)",
    "subset": "a retraining takes all samples",
    "subset_method": "a retraining takes all samples",
    "rungs": "a retraining is not given up on the way",
}


def full_training(
    config: StudyConfig, record: TrialRecord, epochs: int | None, instead: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Return how a network of a run is trained in full.

    Args:
        epochs: None: `LONGER` times those of the search.
        instead: fields of a space's `training:` that take the place of those searched.
    Raises:
        NasError: a field that there is not, or a value that it cannot have; names it.
    """
    train = train_config(config, record.arch)
    for name in instead or ():
        if name in _SAID_ELSEWHERE:
            raise NasError(f"training.{name}: {_SAID_ELSEWHERE[name]}")
    if instead:
        train = TrainConfig.from_tree({**train.to_tree(), **instead})
    return dataclasses.replace(train, subset=1.0, rungs=(Rung(1.0),), epochs=epochs or LONGER * train.epochs)


def recipe_of(plan: Plan | None) -> dict[str, Any]:
    """Return how a retraining that was begun trains, as `full_training` takes it."""
    return {} if plan is None else {name: v for name, v in plan.training.items() if name not in _SAID_ELSEWHERE}


def instead_of_searched(config: StudyConfig, record: TrialRecord, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a training in full that are not as a network was searched, as `full_training` takes them.

    Args:
        training: as `Plan.training`.
    """
    searched = full_training(config, record, None).to_tree()
    return {name: v for name, v in training.items() if name not in _SAID_ELSEWHERE and v != searched.get(name)}


def written(recipe: Mapping[str, Any]) -> str:
    """Return fields of `training:` as one line of YAML, which `read_recipe` reads.

    >>> written({"optimizer": {"sgd": {"lr": 1e-05}}, "mixup": 0.2})
    '{optimizer: {sgd: {lr: 1e-05}}, mixup: 0.2}'
    """
    line: str = yaml.dump(
        dict(recipe), Dumper=Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return line.rstrip("\n")


def read_recipe(text: str) -> dict[str, Any]:
    """Read fields of `training:` from a YAML file, or from the text itself.

    >>> read_recipe("{optimizer: {sgd: {lr: 0.2}}, label_smoothing: 0.05}")
    {'optimizer': {'sgd': {'lr': 0.2}}, 'label_smoothing': 0.05}

    Raises:
        NasError: it is neither.
    """
    where = "--training"
    if not text.lstrip().startswith("{"):
        where = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a zero byte
            why = getattr(error, "strerror", None) or error
            raise NasError(
                f"--training {where}: cannot be read: {why}; name a YAML file, or write '{{optimizer: sgd}}'"
            ) from None
    try:
        found = yaml.load(text, Loader)  # a safe loader
    except (yaml.YAMLError, ValueError) as error:
        raise NasError(f"{where}: not YAML: {error}") from None
    if isinstance(found, dict) and list(found) == ["training"]:
        found = found["training"]  # as in a space
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise NasError(
            f"{where}: fields of training are wanted, such as '{{optimizer: sgd, mixup: 0.2}}', got {text[:80]!r}"
        )
    return found
