"""Configs check themselves, and a tree of plain values reads and writes them."""

import dataclasses
import math
import subprocess
import sys
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.training import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, Rung, TrainConfig, rungs
from nas.training.config import PARTS, AdamW, Cosine, NoAugment, Sgd

ALL = [(key, name) for key, table in PARTS.items() for name in table]


def test_defaults():
    assert TrainConfig.from_tree({}) == TrainConfig()
    assert TrainConfig() == TrainConfig(
        epochs=10,
        batch_size=128,
        optimizer=AdamW(),
        schedule=Cosine(),
        augment=NoAugment(),
        label_smoothing=0.0,
        clip_norm=5.0,
        subset=1.0,
        mixup=0.0,
        average=0.05,
        rungs=(Rung(1.0),),
    )
    assert set(OPTIMIZERS) == {"sgd", "adam", "adamw", "rmsprop"}
    assert set(SCHEDULES) == {"constant", "cosine", "onecycle", "step"}
    assert set(AUGMENTATIONS) == {"none", "crop", "cutout", "standard", "jitter", "timeshift"}


@pytest.mark.parametrize(("key", "name"), ALL)
def test_every_part_by_name_and_with_fields(key, name):
    part = PARTS[key][name]()
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    for node in (name, {name: values}, {name: {}}, {name: None}, part):
        assert getattr(TrainConfig.from_tree({key: node}), key) == part


@pytest.mark.parametrize(("key", "name"), ALL)
def test_every_number_of_every_part_is_checked(key, name):
    part = PARTS[key][name]
    for f in fields(part):
        for bad in (-1, math.nan, "many", None):
            with pytest.raises(SpaceError, match=rf"^training\.{key}\.{name}\.{f.name} must be .*, got"):
                TrainConfig.from_tree({key: {name: {f.name: bad}}})


@given(
    st.fixed_dictionaries(
        {
            "epochs": st.integers(1, 300),
            "batch_size": st.integers(1, 4096),
            "optimizer": st.builds(
                lambda lr, m: {"sgd": {"lr": lr, "momentum": m}}, st.floats(1e-6, 10), st.floats(0, 0.99)
            )
            | st.sampled_from(sorted(OPTIMIZERS)),
            "schedule": st.sampled_from(sorted(SCHEDULES)),
            "augment": st.sampled_from(sorted(AUGMENTATIONS)),
            "label_smoothing": st.floats(0, 0.9),
            "subset": st.floats(0.01, 1),
            "mixup": st.floats(0, 2),
            "average": st.floats(0, 0.5),
            "rungs": st.sampled_from([["1"], ["0.3", "1"], ["1/9,subset=0.5,resolution=0.7", "1/3", "1"]]),
        }
    )
)
def test_to_tree_and_back(tree):
    config = TrainConfig.from_tree(tree)
    assert TrainConfig.from_tree(config.to_tree()) == config


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"optimizer": {"sgd": {"lr": 0}}}, r"^training\.optimizer\.sgd\.lr must be in \(0, inf\), got 0$"),
        ({"optimizer": {"sgd": {"lr": "1e-3"}}}, r"sgd\.lr must be a number, got '1e-3'; YAML reads"),
        ({"optimizer": {"sgd": {"learning_rate": 1}}}, r"^training\.optimizer\.sgd: no field called 'learning_rate'"),
        ({"optimizer": {"sgd": {"nesterov": 1}}}, r"sgd\.nesterov must be true or false, got 1"),
        ({"optimizer": {"sdg": {}}}, r"^training\.optimizer: no optimizer called 'sdg'. Did you mean 'sgd'"),
        ({"optimizer": {"sgd": {}, "adam": {}}}, r"^training\.optimizer: expected one name, .*known: adam, adamw"),
        ({"optimizer": 3}, r"^training\.optimizer: expected one name"),
        ({"optimizer": {"sgd": 0.1}}, r"^training\.optimizer\.sgd: expected 'field: value' pairs, got 0\.1"),
        ({"schedule": {"constant": {"x": 1}}}, r"^training\.schedule\.constant: no field called 'x': it has none"),
        ({"batchsize": 64}, r"^training: no field called 'batchsize'\. Did you mean 'batch_size'"),
        ({"batch_size": 64.0}, r"^training\.batch_size must be a whole number, got 64\.0"),
        ({"epochs": True}, r"^training\.epochs must be a whole number, got True"),
        ({"subset": 30}, r"^training\.subset must be in \(0, 1\], got 30"),
        ({"average": 0.6}, r"^training\.average must be in \[0, 0\.5\], got 0\.6"),
        ({"mixup": -1}, r"^training\.mixup must be in \[0, inf\), got -1"),
        ({"rungs": "0.1"}, r"^training\.rungs must be a tuple of Rung, got '0\.1'"),
        ({"rungs": ["0.3", "0.1"]}, r"^training\.rungs must have shares that increase, got 0\.1 after 0\.3"),
        (["epochs"], r"^training: expected 'field: value' pairs"),
    ],
)
def test_errors_name_the_path(tree, words):
    with pytest.raises(SpaceError, match=words):
        TrainConfig.from_tree(tree)


def test_rungs_are_in_the_tree_so_that_trainings_that_differ_in_them_have_different_keys():
    config = dataclasses.replace(TrainConfig(), rungs=rungs("auto"))
    assert config.to_tree()["rungs"] == ["1/27", "1/9", "1/3", "1"]
    assert TrainConfig.from_tree(config.to_tree()) == config != TrainConfig()


def test_a_part_in_the_wrong_place():
    with pytest.raises(SpaceError, match="schedule must be one of constant"):
        TrainConfig(schedule=Sgd())


def test_configs_load_no_torch():
    code = "import nas.training, sys; nas.training.TrainConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
