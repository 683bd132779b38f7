"""A space against every part there is, before anything is searched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from nas.build import build, check_buildable, check_network, check_parts
from nas.build.check import LAYOUTS
from nas.errors import BuildError, NasError, SpaceError, did_you_mean
from nas.export.quantize import DeployConfig
from nas.measure.module import own_price
from nas.measure.target import Target
from nas.space import Categorical, Fixed, Group, Space, When
from nas.space.fields import check_fields, parts
from nas.training import AUGMENTATIONS, TrainConfig
from nas.training.config import PARTS

if TYPE_CHECKING:
    from nas.data import Task
    from nas.study.config import StudyConfig

_TRIED = 5
"""Networks that are priced before a search."""

SECTIONS = ("stem", "body", "head", "training", "deploy")


def check_space(space: Space) -> None:
    """Check every part, field and value of a space against the part's own config.

    Raises:
        SpaceError: naming file, line, path, value and the nearest name.
    """
    for name in space.root.fields:
        if name not in SECTIONS:
            raise SpaceError(f"{space.where(name)}: {did_you_mean('section', name, SECTIONS)}")
    for needed in ("body", "head"):
        if needed not in space.root.fields:
            raise SpaceError(f"{space.name}: '{needed}' is missing; write e.g. head: {{pool: {{}}}}")
    check_network(space)
    training, deploy = _group(space, "training"), _group(space, "deploy")
    for field, table in PARTS.items():
        if field in training.fields:
            check_parts(space, f"training.{field}", table)
    _check_augmentations(space, training)
    if "rungs" in training.fields:
        raise SpaceError(
            f"{space.where('training.rungs')}: where trainings are judged on the way is the study's matter, the same "
            "for all: nas search --rung 0.1 --rung 0.3"
        )
    plain = {name: node for name, node in training.fields.items() if name not in PARTS}
    check_fields(space, "training", "training", plain, TrainConfig)
    check_fields(space, "deploy", "deploy", deploy.fields, DeployConfig)


def check_task(space: Space, task: Task) -> None:
    """Check that the data are of the space's kind, and that something can be built on them.

    Raises:
        SpaceError: as `check_buildable`.
    """
    check_buildable(space, task.in_shape, task.n_outputs)


def check_prices(config: StudyConfig, task: Task) -> None:
    """Check that each price of a user's own that is asked for can be told of one of a few random networks.

    Raises:
        NasError: it fails for all of them, and how.
    """
    rng, wanted = np.random.default_rng(0), config.own_prices()
    problems: dict[str, NasError] = {}
    for _ in range(_TRIED if wanted else 0):
        try:
            network = build(config.space, config.space.sample(rng), task.in_shape, task.n_outputs)
        except (BuildError, RuntimeError, MemoryError):
            continue  # some can be built, as `check_task` has seen
        for name in tuple(wanted):
            try:
                own_price(name, network, task.in_shape)
                wanted.remove(name)
            except NasError as error:
                problems[name] = error
    for name in wanted:
        if name in problems:
            raise problems[name]


def check_targets(space: Space, targets: Iterable[str]) -> None:
    """Check that a file of every precision in a checked space can be measured on every target.

    Raises:
        SpaceError: a network may be int8, and a target runs torch modules.
    """
    quantised = [p for p in precisions(space) if p != "fp32"]
    for target in map(Target.parse, targets):
        if quantised and target.make().takes != "onnx":
            raise SpaceError(
                f"{space.where('deploy.precision')}: {' and '.join(quantised)} are of ONNX files, and target {target} "
                "runs torch modules\n  measure in a runtime that takes ONNX, such as onnxruntime, or write "
                "precision: fp32"
            )


def precisions(space: Space) -> list[str]:
    """Return every precision in which a network of a checked space may ship."""
    said = _group(space, "deploy").fields.get("precision", Fixed(DeployConfig().precision))
    node = said.node if isinstance(said, When) else said
    values = node.options if isinstance(node, Categorical) else [node.value] if isinstance(node, Fixed) else []
    return [str(value) for value in values]


def _group(space: Space, section: str) -> Group:
    """Return a section that maps fields to values; an empty one where it is missing."""
    found = space.root.fields.get(section, Group({}))
    if not isinstance(found, Group):
        raise SpaceError(f"{space.where(section)}: {section} maps fields to values")
    return found


def _check_augmentations(space: Space, training: Group) -> None:
    """An augmentation for maps has no meaning on tokens: say so before the first trial."""
    if "augment" not in training.fields:
        return
    for path, name, _ in parts(training.fields["augment"], "training.augment"):
        allowed = AUGMENTATIONS[name].layouts
        if LAYOUTS[space.input] not in allowed:
            raise SpaceError(
                f"{space.where(path)}: augmentation '{name}' works on {' or '.join(allowed)}, "
                f"and input: {space.input} gives {LAYOUTS[space.input]}"
            )
