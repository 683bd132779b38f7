"""Which rungs a study's trainings have: what 'auto' means for these data."""

from __future__ import annotations

import dataclasses

from nas.rng import generator
from nas.space import Categorical, Integer, Space
from nas.study.config import StudyConfig
from nas.training import TrainConfig
from nas.training.fidelity import rungs

_LEAST_SAMPLES = 1500
"""Fewer than these are not worth judging by: on digits they are 20 to 40 steps, and the order of networks is chance."""


def settled(config: StudyConfig, n_train: int) -> StudyConfig:
    """Return the config with rungs in place of 'auto', and checked.

    Args:
        n_train: samples in the training set.
    Raises:
        SpaceError: they are not in order.
    """
    if config.rungs == ("auto",):
        samples = n_train * config.subset * (config.epochs or _least_epochs(config.space))
        worth = tuple(str(rung) for rung in rungs("auto")[:-1] if rung.share * samples >= _LEAST_SAMPLES)
        config = dataclasses.replace(config, rungs=worth or ("none",))
    config.parsed_rungs()
    return config


def _least_epochs(space: Space) -> int:
    """Return the fewest epochs that a training of the space may have."""
    slot = space.slots.get("training.epochs")
    if slot is None:
        tree = space.resolve(space.sample(generator(0, "epochs"))).get("training", {})
        assert isinstance(tree, dict)
        return TrainConfig.from_tree(tree).epochs
    here = slot.parameter
    if isinstance(here, Categorical):
        return min(int(option) for option in here.options)
    assert isinstance(here, Integer)
    return here.low
