"""Every registered block and head keeps the contract (`nas.testing.blocks`), on the fields in these tables.

A new one gets its tests by one line in each. That the contract notices what breaks it: tests/testing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nas.blocks import BLOCKS, HEADS, config_class
from nas.testing.blocks import BLOCK_CONTRACT, FIELD_CONTRACT, BlockCase, block_cases

BLOCK_CONFIGS: dict[str, list[dict[str, Any]]] = {
    "conv": [
        {},
        {"width": 4, "kernel": 5, "stride": 2, "groups": 2, "act": "hardswish"},
        {"width": 6, "kernel": 1, "stride": 3, "norm": "none", "act": "tanh"},
        {"width": 12, "norm": "group", "act": "silu"},
    ],
    "separable": [{}, {"width": 5, "kernel": 5, "stride": 2, "act": "leaky_relu"}],
    "mbconv": [
        {},
        {"width": 4, "expand": 1, "kernel": 5, "act": "relu6"},
        {"width": 2, "expand": 3, "se": True, "act": "hardswish"},
        {"width": 8, "expand": 6, "stride": 2, "se": True, "act": "silu"},
    ],
    "resblock": [{}, {"width": 4, "act": "elu"}, {"width": 5, "kernel": 5, "stride": 2}],
    "maxpool": [{}, {"kernel": 3, "stride": 1}, {"kernel": 3, "stride": 2}, {"kernel": 4, "stride": 4}],
    "avgpool": [{}, {"kernel": 3, "stride": 1}, {"kernel": 3, "stride": 2}, {"kernel": 4, "stride": 4}],
    "identity": [{}],
    "patches": [{}, {"width": 5, "patch": 2}, {"width": 6, "patch": 3}],
    "conv1d": [
        {},
        {"width": 5, "kernel": 5, "stride": 2, "act": "gelu", "norm": "group"},
        {"width": 4, "kernel": 3, "dilation": 4, "stride": 3, "norm": "none"},
    ],
    "lstm": [{}, {"hidden": 5, "layers": 2, "bidirectional": True}],
    "gru": [{}, {"hidden": 5, "layers": 2, "bidirectional": True}],
    "rnn": [{}, {"hidden": 5, "layers": 2, "bidirectional": True, "nonlinearity": "relu"}],
    "transformer": [
        {},
        {"dim": 6, "heads": 2, "mlp_ratio": 1, "layers": 2, "dropout": 0.3, "positions": "learned"},
        {"dim": 3, "heads": 1, "positions": "none"},
        {"dim": 9, "heads": 3, "mlp_ratio": 3},
    ],
    "project": [{}, {"width": 5}],
    "dense": [
        {},
        {"width": 12, "act": "gelu", "norm": "layer", "dropout": 0.5, "residual": True},
        {"width": 5, "act": "none", "norm": "none", "residual": True},
    ],
}
HEAD_CONFIGS: dict[str, list[dict[str, Any]]] = {
    "pool": [{}, {"dropout": 0.5}],
    "flatten": [{}, {"hidden": 9, "dropout": 0.5}],
    "last": [{}, {"dropout": 0.5}],
    "attention": [{}, {"dropout": 0.5}],
}

# Fields, and what the message must hold: the name of the field and the value.
WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "conv": [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"kernel": 4}, "kernel must be odd and at least 1, got 4"),
        ({"stride": 0}, "stride.*got 0"),
        ({"groups": -1}, "groups.*got -1"),
        ({"act": "rleu"}, "act: no option called 'rleu'. Did you mean 'relu'"),
        ({"norm": "layr"}, "norm: no option called 'layr'"),
        ({"width": "8"}, "width must be of type int, got '8'"),
        ({"width": True}, "width must be of type int, got True"),
    ],
    "separable": [({"kernel": 0}, "kernel.*got 0"), ({"width": 8.0}, "width.*int, got 8.0")],
    "mbconv": [({"expand": 0}, "expand.*got 0"), ({"se": "yes"}, "se must be of type bool, got 'yes'")],
    "resblock": [({"kernel": 2}, "kernel.*got 2"), ({"stride": -2}, "stride.*got -2")],
    "maxpool": [({"kernel": 4, "stride": 2}, "kernel=4 and stride=2"), ({"stride": 0}, "stride.*got 0")],
    "avgpool": [({"kernel": 2, "stride": 1}, "kernel=2 and stride=1"), ({"kernel": 0}, "kernel.*got 0")],
    "identity": [],
    "patches": [({"patch": 0}, "patch.*got 0"), ({"width": -3}, "width.*got -3")],
    "conv1d": [({"dilation": 0}, "dilation.*got 0"), ({"kernel": 6}, "kernel.*got 6")],
    "lstm": [({"hidden": 0}, "hidden.*got 0"), ({"layers": 0}, "layers.*got 0")],
    "gru": [({"hidden": 0}, "hidden.*got 0"), ({"bidirectional": 1}, "bidirectional.*got 1")],
    "rnn": [({"layers": -1}, "layers.*got -1"), ({"nonlinearity": "silu"}, "nonlinearity.*'silu'")],
    "transformer": [
        ({"dim": 10, "heads": 4}, "heads=4 must divide dim=10; write e.g. dim=12"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"positions": "cosine"}, "positions.*Did you mean 'sine'"),
        ({"mlp_ratio": 0}, "mlp_ratio.*got 0"),
    ],
    "project": [({"width": 0}, "width.*got 0")],
    "dense": [({"dropout": -0.1}, "dropout.*got -0.1"), ({"dropout": float("nan")}, "dropout.*got nan")],
    "pool": [({"dropout": 1.5}, "dropout.*got 1.5")],
    "flatten": [({"hidden": -1}, "hidden.*got -1")],
    "last": [({"dropout": 1}, "dropout.*got 1")],
    "attention": [({"dropout": "0.1"}, "dropout must be of type float, got '0.1'")],
}

PARTS: dict[str, Any] = {**{n: BLOCKS[n] for n in BLOCKS}, **{n: HEADS[n] for n in HEADS}}
CONFIGS = BLOCK_CONFIGS | HEAD_CONFIGS
CASES = [case for name in PARTS for case in block_cases(name, fields=CONFIGS.get(name, []))]


def test_no_block_lacks_its_lines() -> None:
    assert set(BLOCK_CONFIGS) == set(BLOCKS)
    assert set(HEAD_CONFIGS) == set(HEADS)
    assert set(WRONG) == set(PARTS)
    assert not set(BLOCKS) & set(HEADS)


@pytest.mark.parametrize("name", PARTS)
def test_every_field_is_set_somewhere(name: str) -> None:
    """Else the contract would say nothing about it."""
    used = {field for fields in CONFIGS[name] for field in fields}
    assert used == {f.name for f in dataclasses.fields(config_class(PARTS[name]))}


@pytest.mark.parametrize(
    ("name", "fields", "message"), [(name, *case) for name, cases in WRONG.items() for case in cases], ids=str
)
def test_a_wrong_config_is_named(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_class(PARTS[name])(**fields)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("test", FIELD_CONTRACT, ids=lambda test: test.__name__)
def test_fields_and_shapes_are_checked(test: Any, name: str) -> None:
    test(name)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("test", BLOCK_CONTRACT, ids=lambda test: test.__name__)
def test_a_block_keeps_the_contract(test: Any, case: BlockCase) -> None:
    test(case)


@pytest.mark.parametrize("name", PARTS)
def test_every_block_of_ours_has_a_plan(name: str) -> None:
    assert "plan" in vars(PARTS[name])
