"""What runtimes that run torch modules are handed: it gives the network that was built, and nothing else."""

import json

import numpy as np
import pytest
import torch

from nas.build import build, build_tree
from nas.catalog import find_space, shipped
from nas.errors import NasError
from nas.measure.runtimes import RUNTIMES, write_network
from nas.measure.runtimes.network import read_network

SHAPES = {"map": (3, 28, 28), "tokens": (25, 12), "vector": (20,)}


@pytest.mark.parametrize("name", shipped())
def test_what_is_read_is_what_was_built(name, tmp_path):
    space, rng, path = find_space(name), np.random.default_rng(1), tmp_path / "network.json"
    in_shape = {"image": (1, 28, 28), "sequence": (25, 12), "vector": (20,)}[space.input]
    for _ in range(30):
        network = build(space, space.sample(rng), in_shape, 7)
        write_network(network, path)
        found, found_shape = read_network(path)
        assert found_shape == in_shape
        assert found.signature() == network.signature()
        assert [(s.name, s.in_shape, s.out_shape) for s in found.steps] == [
            (s.name, s.in_shape, s.out_shape) for s in network.steps
        ]
        assert not found.training


def dense(tmp_path, width=4):
    path = tmp_path / "network.json"
    write_network(build_tree({"body": [{"dense": {"width": width}}], "head": {"pool": {}}}, (6,), 3), path)
    return path


def test_its_weights_are_always_the_same_and_no_generator_is_touched(tmp_path):
    path = dense(tmp_path)
    before = torch.get_rng_state()
    a, b = (read_network(model)[0].state_dict() for model in (path, path.read_bytes()))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[key], b[key]) for key in a)


def changed(path, **fields):
    return json.dumps(json.loads(path.read_text()) | fields).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"in_shape": 6},
        {"n_outputs": "3"},
        {"parts": 1},
        {"parts": [["body", "dense"]]},
        {"parts": [["tail", "pool", {}]]},
    ],
    ids=str,
)
def test_what_describes_no_network_is_told(fields, tmp_path):
    with pytest.raises(NasError, match="the model in memory: "):
        read_network(changed(dense(tmp_path), **fields))


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b'{"reference": "conv-1/0"}', b"\xff\xfe"])
def test_nonsense_is_told(content, tmp_path):
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(NasError, match=r"odd\.json: describes no network"):
        read_network(tmp_path / "odd.json")


def test_a_block_that_only_the_user_has_is_told_with_a_way_out(tmp_path):
    parts = [["body", "denes", {"width": 4}], ["head", "pool", {}]]
    with pytest.raises(NasError, match=r"Did you mean 'dense'(.|\n)*a runtime that takes ONNX needs no block"):
        read_network(changed(dense(tmp_path), parts=parts))


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(NasError, match=r"network\.json: cannot be written"):
        dense(tmp_path / "nowhere")


@pytest.mark.slow
def test_the_next_network_is_compiled_like_the_first(tmp_path):
    """Torch stops compiling after so many networks, which share one `forward`, and says so in a warning alone."""
    from torch._dynamo import config, reset
    from torch._dynamo.utils import counters

    if reason := RUNTIMES["compiled"].unavailable():
        pytest.skip(reason)
    reset()
    counters.clear()
    threads = torch.get_num_threads()
    with config.patch(recompile_limit=1):
        for width in (3, 4, 5):
            RUNTIMES["compiled"]().prepare(dense(tmp_path, width), (6,))
    torch.set_num_threads(threads)
    assert counters["frames"]["ok"] == 3
