"""From choices to a network: every shipped space builds, shapes chain, and equal networks are known as equal."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from nas.build import Network, build, build_tree
from nas.catalog import find_space, shipped
from nas.errors import BuildError
from nas.rng import generator
from nas.shapes import layout
from nas.space.yaml import parse

# The shapes that a space is for; odd ones and the smallest too. A space that is shipped without a line here fails.
SHAPES = {
    "digits": [(1, 8, 8)],
    "image": [(1, 28, 28), (3, 32, 32), (3, 33, 41)],
    "image_conv": [(1, 28, 28), (3, 64, 64)],
    "sequence": [(64, 40), (25, 12), (251, 1), (10, 6)],
    "mlp": [(16,), (1,)],
    "text": [(16,), (1,)],
}
TAKES = {"to_map": "map", "to_tokens": "tokens", "to_vector": "vector"}


def test_no_shipped_space_is_left_out():
    assert set(SHAPES) == set(shipped())


@pytest.mark.parametrize(("name", "in_shape"), [(name, s) for name, shapes in SHAPES.items() for s in shapes])
@torch.no_grad()
def test_thirty_random_architectures_build_and_their_shapes_chain(name, in_shape):
    space, rng = find_space(name), generator(0, "build", name, *in_shape)
    for _ in range(30):
        arch = space.sample(rng)
        network = build(space, arch, in_shape, 7).eval()
        x = torch.randn(2, *in_shape)
        assert network(x).shape == (2, 7), arch.to_json()
        shape = in_shape
        for step, module in zip(network.steps, network.modules_in_order, strict=True):
            x = module(x)
            assert (step.in_shape, step.out_shape) == (shape, tuple(x.shape[1:])), f"{step} of {arch.to_json()}"
            shape = step.out_shape
        assert shape == (7,)
        assert torch.isfinite(x).all()


def test_conversions_are_steps_of_their_own():
    tree = {
        "stem": {"conv": {"width": 8, "stride": 2}},
        "body": [
            {"lstm": {"hidden": 6, "bidirectional": True}},
            {"gru": {"hidden": 5}},  # tokens already
            {"maxpool": {}},  # a map again, of the same places
            {"transformer": {"dim": 8, "heads": 2}},
            "identity",
            {"dense": {"width": 3}},
        ],
        "head": {"pool": {}},
    }
    network = build_tree(tree, (1, 9, 6), 4)
    assert [(step.path, step.name, step.in_shape, step.out_shape) for step in network.steps] == [
        ("stem", "conv", (1, 9, 6), (8, 5, 3)),
        ("body.0", "to_tokens", (8, 5, 3), (15, 8)),
        ("body.0", "lstm", (15, 8), (15, 12)),
        ("body.1", "gru", (15, 12), (15, 5)),
        ("body.2", "to_map", (15, 5), (5, 5, 3)),
        ("body.2", "maxpool", (5, 5, 3), (5, 3, 2)),
        ("body.3", "to_tokens", (5, 3, 2), (6, 5)),
        ("body.3", "transformer", (6, 5), (6, 8)),
        ("body.4", "identity", (6, 8), (6, 8)),
        ("body.5", "to_vector", (6, 8), (48,)),
        ("body.5", "dense", (48,), (3,)),
        ("head", "pool", (3,), (4,)),
    ]
    assert str(network.steps[1]) == "body.0: to_tokens() (8, 5, 3) -> (15, 8)"
    assert "stride=2" in str(network.steps[0])


@torch.no_grad()
def test_a_map_comes_back_as_it_went():
    """To tokens and back is the map itself: a Transformer between two convolutions keeps every place where it was."""
    network = build_tree({"body": [{"gru": {"hidden": 2}}, {"maxpool": {}}], "head": {"pool": {}}}, (2, 3, 5), 2)
    to_tokens, _, to_map, *_ = network.modules_in_order
    x = torch.arange(60.0).reshape(2, 2, 3, 5)
    assert torch.equal(to_map(to_tokens(x)), x)


# What cannot be built: where, which block, on what shape, and why.


@pytest.mark.parametrize(
    ("body", "in_shape", "needles"),
    [
        ([{"conv": {"width": 8}}], (10,), ["body.0: conv takes a map", "vector (10,)"]),
        ([{"lstm": {}}], (10,), ["body.0: lstm takes a tokens", "vector (10,)"]),
        (
            ["identity", {"conv": {"width": 9, "groups": 3}}],
            (4, 8, 8),
            ["body.1: conv on (4, 8, 8): ", "groups=3 must divide the channels in (4) and out (9)"],
        ),
        ([{"transformer": {"dim": 10, "heads": 4}}], (5, 3), ["body.0: transformer: ", "heads=4 must divide dim=10"]),
        ([{"maxpool": {"kernel": 2, "stride": 1}}], (1, 8, 8), ["body.0: maxpool: ", "kernel=2 and stride=1"]),
        ([{"mbcov": {}}], (1, 8, 8), ["body.0: mbcov: ", "Did you mean 'mbconv'?"]),
        ([{"conv": {"kernel": 4}}], (1, 8, 8), ["body.0: conv: ", "kernel", "odd", "4"]),
        (
            [{"gru": {"hidden": 4}}, {"conv1d": {"width": 4, "stride": 2}}, {"conv": {"width": 4}}],
            (1, 6, 6),
            ["body.2: conv takes a map", "tokens (18, 4)", "the map of 6 x 6 before it no longer fits"],
        ),
        ([{"conv": {"width": 4}}], (6, 3), ["body.0: conv takes a map", "tokens (6, 3)"]),
    ],
)
def test_what_cannot_be_built_is_named(body, in_shape, needles):
    with pytest.raises(BuildError) as caught:
        build_tree({"body": body, "head": {"pool": {}}}, in_shape, 3)
    assert all(needle in str(caught.value) for needle in needles), str(caught.value)


@pytest.mark.parametrize(
    ("head", "in_shape", "needles"),
    [
        ({"last": {}}, (9,), ["head: last takes a tokens", "vector (9,)"]),
        ({"pol": {}}, (9,), ["head: pol: ", "Did you mean 'pool'?"]),
        ({"pool": {"dropout": 1.5}}, (9,), ["head: pool: ", "dropout", "1.5"]),
    ],
)
def test_heads_too(head, in_shape, needles):
    with pytest.raises(BuildError) as caught:
        build_tree({"body": [], "head": head}, in_shape, 3)
    assert all(needle in str(caught.value) for needle in needles), str(caught.value)


def test_an_image_head_reads_what_came_last():
    """A head that takes tokens, after a map: the conversion is the head's, not an error."""
    network = build_tree({"body": [{"conv": {"width": 4}}], "head": {"attention": {}}}, (1, 4, 4), 3)
    assert [s.name for s in network.steps] == ["conv", "to_tokens", "attention"]


# Equal networks are known as equal, and no others.

SMALL = """
input: image
body:
  repeat: {int: [0, 2]}
  block: {choice: {conv: {width: [3, 4], act: [relu, silu]}, gru: {hidden: 3}, identity: {}}}
head: {choice: {pool: {}, flatten: {hidden: [0, 4]}}}
training: {optimizer: {sgd: {lr: [0.1, 0.2]}}}
"""


def outputs(network: Network) -> bytes:
    """What the network computes, from the same weights for the same network."""
    with torch.no_grad():
        return network.eval()(torch.linspace(-1, 1, 2 * 25).reshape(2, 1, 5, 5)).numpy().tobytes()


def test_signatures_are_equal_where_the_same_network_is_built_and_nowhere_else():
    space, rng = parse(SMALL), np.random.default_rng(0)
    built = {}
    for _ in range(250):
        arch = space.sample(rng)
        torch.manual_seed(0)
        network = build(space, arch, (1, 5, 5), 3)
        built[arch] = network.signature(), outputs(network)
    assert len(built) > 60
    alike = 0
    for (_, (sig_a, out_a)), (_, (sig_b, out_b)) in itertools.combinations(built.items(), 2):
        assert (sig_a == sig_b) == (out_a == out_b)
        alike += sig_a == sig_b
    assert alike > 50


def test_identity_is_no_part_of_a_signature_and_conversions_are():
    def signature(*body: object) -> str:
        return build_tree({"body": list(body), "head": {"pool": {}}}, (1, 4, 4), 2).signature()

    assert signature({"gru": {}}) == signature("identity", {"gru": {}}, "identity")
    assert signature({"gru": {}}) != signature({"lstm": {}})
    assert "to_tokens" in signature({"gru": {}})
    assert signature() == signature("identity")


def test_weights_come_from_the_global_generator_alone():
    space = parse(SMALL)
    arch = space.sample(np.random.default_rng(3))
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([p.flatten() for p in build(space, arch, (1, 5, 5), 3).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_step_is_a_value():
    step = build_tree({"body": [], "head": {"pool": {}}}, (4,), 2).steps[0]
    assert layout(step.in_shape) == "vector"
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.path = "elsewhere"
