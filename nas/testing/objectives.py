"""What every objective of a user's own has to do: prices before training, metrics after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from nas.build import Network, build_tree
from nas.errors import NasError, TrialFailed
from nas.measure.module import own_price
from nas.metrics import METRICS
from nas.objectives import OBJECTIVES
from nas.shapes import Shape
from nas.testing.broken import ContractBroken, need

_NETWORKS: list[tuple[Shape, dict[str, Any]]] = [
    ((3, 8, 8), {"body": [{"mbconv": {"width": 8, "se": True}}, "maxpool"], "head": "pool"}),
    ((1, 9, 7), {"stem": {"conv": {"width": 4}}, "body": [{"gru": {"hidden": 5}}], "head": "attention"}),
    ((10, 6), {"body": [{"transformer": {"dim": 8, "heads": 2}}], "head": "last"}),
    ((6,), {"body": ["identity"], "head": "flatten"}),
    ((6,), {"body": [{"dense": {"width": 8}}], "head": "pool"}),
]


def check_objective(name: str) -> None:
    """Check a price on a few networks, a metric on outputs that are chance.

    Raises:
        ContractBroken: what it does not keep.
    """
    for test in OBJECTIVE_CONTRACT if OBJECTIVES[name].cheap else METRIC_CONTRACT:
        test(name)


def is_described(name: str) -> None:
    """It has a unit, for axes and tables, and code."""
    objective = OBJECTIVES[name]
    need(objective.unit.strip(), f"{name}: its unit is empty; write e.g. unit='uJ'")
    need(objective.price is not None, f"{name}: its code is not loaded")


def tells_a_finite_number(name: str) -> None:
    """Of networks on maps, tokens and vectors."""
    for network, shape in _networks():
        _price(name, network, shape)


def depends_on_the_network_alone(name: str) -> None:
    """Neither on chance nor on the weights: a network is priced once, untrained."""
    for (network, shape), (other, _) in zip(_networks(0), _networks(1), strict=True):
        told = _price(name, network, shape)
        need(told == _price(name, network, shape), f"{name}: is another the second time; leave chance out of it")
        need(
            told == _price(name, other, shape),
            f"{name}: is another with other weights; tell it from modules and shapes, before any training",
        )


def leaves_the_network_as_it_is(name: str) -> None:
    """Its weights are the same, and no hook is left behind."""
    for network, shape in _networks():
        before = {key: value.clone() for key, value in network.state_dict().items()}
        _price(name, network, shape)
        after = network.state_dict()
        need(all(torch.equal(after[key], before[key]) for key in before), f"{name}: changes weights; copy first")
        hooks = [part for part in network.modules() if part._forward_hooks or part._forward_pre_hooks]
        need(not hooks, f"{name}: leaves a hook behind; call remove() on it in a finally")


def judges_chance(name: str) -> None:
    """A metric is a number, the same each time, and leaves outputs and labels as they are."""
    need(name in METRICS, f"{name}: its code is not loaded")
    rng, metric = np.random.default_rng(0), METRICS[name]
    regression = metric.kind == "regression"
    outputs = rng.standard_normal(60 if regression else (60, 3)).astype(np.float32)
    y = rng.standard_normal(60).astype(np.float32) if regression else np.arange(60) % 3
    before = outputs.copy(), y.copy()
    try:
        told = metric(outputs, y)
    except TrialFailed as error:
        raise ContractBroken(f"{error}, of outputs {outputs.shape} that are chance") from error
    need(told == metric(outputs, y), f"{name}: is another the second time; leave chance out of it")
    same = np.array_equal(outputs, before[0]) and np.array_equal(y, before[1])
    need(same, f"{name}: changes its arguments; copy first")


METRIC_CONTRACT: tuple[Callable[[str], None], ...] = (judges_chance,)

OBJECTIVE_CONTRACT: tuple[Callable[[str], None], ...] = (
    is_described,
    tells_a_finite_number,
    depends_on_the_network_alone,
    leaves_the_network_as_it_is,
)


def _networks(seed: int = 0) -> Iterator[tuple[Network, Shape]]:
    for shape, tree in _NETWORKS:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            network = build_tree(tree, shape, 3)
        yield network, shape


def _price(name: str, network: Network, shape: Shape) -> float:
    try:
        return own_price(name, network, shape)
    except NasError as error:
        raise ContractBroken(f"{error}, of {network.steps[0].name} on {shape}") from error
