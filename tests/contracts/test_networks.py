"""What any shipped space can build exports with a free batch axis, computes the same in ONNX Runtime, and has MACs."""

import numpy as np
import pytest
import torch

from nas.build import build
from nas.build.network import build_tree
from nas.catalog import find_space, shipped
from nas.export import check_parity, export_onnx
from nas.measure import count_macs

SHAPES = {
    "digits": (1, 8, 8),
    "image": (1, 28, 28),
    "image_conv": (3, 32, 32),
    "sequence": (25, 12),
    "mlp": (20,),
    "text": (20,),
}


def test_every_shipped_space_is_here():
    assert set(shipped()) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_random_networks_of_a_shipped_space_export(name, tmp_path):
    space, rng = find_space(name), np.random.default_rng(0)
    for i in range(12):
        arch = space.sample(rng)
        network = build(space, arch, SHAPES[name], 5)
        export_onnx(network, SHAPES[name], tmp_path / f"{i}.onnx")
        check_parity(network, tmp_path / f"{i}.onnx", torch.randn(7, *SHAPES[name]))
        assert count_macs(network, SHAPES[name]) > 0


TOKENS = [{"lstm": {"hidden": 8}}, {"gru": {"hidden": 8}}, {"rnn": {"hidden": 8}}, {"transformer": {"dim": 8}}]


@pytest.mark.parametrize("last", TOKENS, ids=lambda part: next(iter(part)))
@pytest.mark.parametrize("first", TOKENS, ids=lambda part: next(iter(part)))
def test_tokens_after_a_map_after_tokens_keep_the_batch_free(first, last, tmp_path):
    """Back and forth: here the exporter once froze the initial state at the batch it was traced with."""
    body = [first, {"conv": {"width": 8, "stride": 2}}, last]
    network = build_tree({"body": body, "head": {"pool": {}}}, (1, 8, 8), 5)
    export_onnx(network, (1, 8, 8), tmp_path / "network.onnx")
    check_parity(network, tmp_path / "network.onnx", torch.randn(7, 1, 8, 8), batch_sizes=(1, 2, 7))
