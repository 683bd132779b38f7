"""Multiply-adds told without building are those that are counted."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from test_predict import SHAPES, samples
from torch import nn

from nas.blocks import BLOCKS
from nas.build import build
from nas.catalog import find_space
from nas.measure import count_macs
from nas.measure.planned_macs import PlannedMacs
from nas.space import Architecture
from nas.space.yaml import parse


@pytest.mark.parametrize("name", SHAPES)
def test_of_shipped_blocks_they_are_exact(name):
    space = find_space(name)
    archs = samples(space, 25, name, "macs")
    told = PlannedMacs(space, SHAPES[name], 10)(archs)
    with torch.random.fork_rng(devices=()):
        counted = [count_macs(build(space, arch, SHAPES[name], 10), SHAPES[name]) for arch in archs]
    assert told.tolist() == counted


def test_what_cannot_be_built_has_none():
    space = parse("input: image\nbody: {conv: {width: 8, groups: [1, 3]}}\nhead: {pool: {}}\n")
    one, three = (Architecture.of({"body.conv.groups": n}) for n in (1, 3))
    told = PlannedMacs(space, (1, 8, 8), 10)([three, one])
    assert math.isnan(told[0])
    assert told[1] == 64 * 8 * 9 + 8 * 10


def test_a_block_without_a_plan_is_built_and_counted(monkeypatch):
    class Twice(nn.Module):
        takes: ClassVar = "map"

        @dataclass(frozen=True, kw_only=True, slots=True)
        class Config:
            width: int = 8

        def __init__(self, in_shape, config):
            super().__init__()
            self.both = nn.Sequential(nn.Conv2d(in_shape[0], 5, 1), nn.Conv2d(5, config.width, 3, padding=1))
            self.out_shape = (config.width, *in_shape[1:])

        def forward(self, x):
            return self.both(x)

    monkeypatch.setitem(BLOCKS._parts, "twice", Twice)
    space = parse("input: image\nbody: {twice: {width: [4, 6]}}\nhead: {pool: {}}\n")
    archs = [Architecture.of({"body.twice.width": n}) for n in (4, 6)]
    np.testing.assert_array_equal(
        PlannedMacs(space, (2, 8, 8), 10)(archs), [64 * (2 * 5 + 5 * 9 * n) + n * 10 for n in (4, 6)]
    )
