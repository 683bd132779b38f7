"""A space against every part there is, before anything is searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.build import check_buildable, check_network, check_parts
from nas.build.check import LAYOUTS
from nas.errors import SpaceError, did_you_mean
from nas.space import Group, Space
from nas.space.fields import check_fields, parts
from nas.training import AUGMENTATIONS, TrainConfig
from nas.training.config import PARTS

if TYPE_CHECKING:
    from nas.data import Task

SECTIONS = ("stem", "body", "head", "training")


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
    training = space.root.fields.get("training", Group({}))
    if not isinstance(training, Group):
        raise SpaceError(f"{space.where('training')}: training maps fields to values")
    for field, table in PARTS.items():
        if field in training.fields:
            check_parts(space, f"training.{field}", table)
    _check_augmentations(space, training)
    plain = {name: node for name, node in training.fields.items() if name not in PARTS}
    check_fields(space, "training", "training", plain, TrainConfig)


def check_task(space: Space, task: Task) -> None:
    """Check that the data are of the space's kind, and that something can be built on them.

    Raises:
        SpaceError: as `check_buildable`.
    """
    check_buildable(space, task.in_shape, task.n_outputs)


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
