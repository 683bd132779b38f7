"""Synaptic flow against paths counted by hand, and that no kind of layer cuts it or makes it explode."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_modules import First
from torch import Tensor, nn

from nas.blocks import BLOCKS, HEADS
from nas.blocks.activations import ACTIVATIONS
from nas.build.network import build_tree
from nas.measure.synflow import _summing, flows, synflow
from nas.registry import Registry


def seeded(make, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return make()


class Self(nn.Module):
    """Attention from and to the same positions."""

    def __init__(self, layer: nn.MultiheadAttention, weights: bool) -> None:
        super().__init__()
        self.layer, self.weights = layer, weights

    def forward(self, x: Tensor) -> Tensor:
        narrow = x[..., : self.layer.kdim]
        return self.layer(x, narrow, narrow, need_weights=self.weights)[0]


# --- paths counted by hand ------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(widths=st.lists(st.integers(1, 5), min_size=3, max_size=5), seed=st.integers(0, 99))
def test_of_linear_layers_in_a_row_each_carries_every_path(widths, seed):
    pairs = list(itertools.pairwise(widths))
    net = seeded(lambda: nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairs)), seed)
    paths = torch.ones(widths[0], dtype=torch.double)
    for layer in net:
        paths = layer.weight.detach().double().abs() @ paths
    total = float(paths.sum())
    found = flows(net, (widths[0],))
    assert list(found) == [f"{i}.weight" for i in range(len(pairs))]
    assert list(found.values()) == pytest.approx([total] * len(pairs))
    assert synflow(net, (widths[0],)) == pytest.approx(len(pairs) * math.log1p(total))


def test_a_skip_is_a_path_of_its_own_and_a_shared_layer_is_counted_once():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
            self.again = self.inner

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x + self.again(self.inner(x)))

    net = Skip()
    net.load_state_dict(
        {"inner.weight": Tensor([[-3.0]]), "out.weight": Tensor([[2.0]]), "again.weight": Tensor([[3]])}
    )
    assert flows(net, (1,)) == {"inner.weight": 2 * 9 * 2.0, "out.weight": (1 + 9) * 2.0}


def test_a_recurrent_layer_by_hand():
    """Two steps: w, and w after u w."""
    net = First(nn.RNN(1, 1, batch_first=True))
    with torch.no_grad():
        for name, value in {"weight_ih_l0": -2.0, "weight_hh_l0": 0.5, "bias_ih_l0": 3.0, "bias_hh_l0": -4.0}.items():
            getattr(net.layer, name).fill_(value)
    wanted = {"layer.weight_ih_l0": 2 + 2 + 0.5 * 2, "layer.weight_hh_l0": 0.5 * 2}
    assert flows(net, (2, 1)) == pytest.approx(wanted)
    with torch.no_grad():
        net.layer.weight_hh_l0.fill_(-7.0)
    assert flows(net, (2, 1)) == pytest.approx({"layer.weight_ih_l0": 6, "layer.weight_hh_l0": 2}), "as if it were 1"


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("kdim", [4, 2])
def test_attention_is_even(kdim, need_weights):
    """What is left is the mean over the positions of the values, which are all alike here."""
    layer = seeded(lambda: nn.MultiheadAttention(4, 2, batch_first=True, kdim=kdim, vdim=kdim))
    net = Self(layer, need_weights)
    values = layer.v_proj_weight if layer.in_proj_weight is None else layer.in_proj_weight[8:]
    wanted = 5 * float((layer.out_proj.weight.abs() @ values.abs()).detach().sum())
    assert flows(net, (5, 4))["layer.out_proj.weight"] == pytest.approx(wanted)
    assert sum(flow for name, flow in flows(net, (5, 4)).items() if "out" not in name) == pytest.approx(wanted)


# --- what it does not depend on -------------------------------------------------------------------------------------


def small(**options) -> nn.Module:
    """A network of every kind of layer."""
    body = [{"mbconv": {"se": True, "width": 6}}, {"lstm": {"hidden": 6}}, {"transformer": {"dim": 8, "heads": 2}}]
    tree = {"stem": [{"conv": {"width": 4}}], "body": body, "head": {"attention": {"dropout": 0.5}}}
    return seeded(lambda: build_tree(tree, (1, 8, 8), 3), **options)


@settings(max_examples=20)
@given(seed=st.integers(0, 999))
def test_the_sign_of_a_weight_is_no_matter(seed):
    net = small()
    other, rng = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter *= torch.randint(0, 2, parameter.shape, generator=rng) * 2.0 - 1
    assert flows(other, (1, 8, 8)) == flows(net, (1, 8, 8))


NORMS = {
    "batch": (nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.BatchNorm3d(4), nn.SyncBatchNorm(4)),
    "instance": (nn.InstanceNorm1d(4, affine=True), nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm3d(4)),
    "group": (nn.GroupNorm(2, 4),),
    "last axes": (nn.LayerNorm([4, 2]), nn.RMSNorm(2)),
    "response": (nn.LocalResponseNorm(2),),
    "bounded": (nn.Tanh(), nn.ReLU6(inplace=True), nn.Hardtanh()),
}


@pytest.mark.parametrize("module", [m for ms in NORMS.values() for m in ms], ids=lambda m: type(m).__name__)
def test_norms_and_bounds_are_passed_by(module):
    axes = {"BatchNorm2d": 2, "InstanceNorm2d": 2, "BatchNorm3d": 3, "InstanceNorm3d": 3}.get(type(module).__name__, 1)
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    first, last = seeded(lambda: conv(3, 4, 1)), seeded(lambda: nn.Linear(2, 2), 1)
    with torch.no_grad():
        first.weight *= 100
        for parameter in module.parameters():
            parameter.fill_(0.3)
    in_shape = (3, *[2] * axes)
    wanted = flows(nn.Sequential(first, nn.Identity(), last), in_shape)
    assert len(wanted) == 2
    assert flows(nn.Sequential(first, module, last), in_shape) == wanted


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_precision_of_the_weights_is_no_matter(dtype):
    net = small().to(torch.bfloat16).float()
    assert flows(copy.deepcopy(net).to(dtype), (1, 8, 8)) == pytest.approx(flows(net, (1, 8, 8)), rel=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_where_the_weights_are_is_no_matter():
    assert flows(small().cuda(), (1, 8, 8)) == flows(small(), (1, 8, 8))


def test_the_network_is_left_alone():
    net = small().train()
    net.modules_in_order[0].eval()
    for i, parameter in enumerate(net.parameters()):
        if i % 2:
            parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes, grads = [m.training for m in net.modules()], [p.grad for p in net.parameters()]
    within = [dict(vars(m)) for m in net.modules()]
    generator = torch.get_rng_state()
    once, again = flows(net, (1, 8, 8)), flows(net, (1, 8, 8))
    assert once == again
    assert torch.equal(torch.get_rng_state(), generator)
    assert [m.training for m in net.modules()] == modes
    assert all(p.grad is grad for p, grad in zip(net.parameters(), grads, strict=True))
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [vars(m).keys() for m in net.modules()] == [before.keys() for before in within]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_network_that_draws_leaves_the_generator_alone():
    class Draws(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x), 0.5, training=True)

    net, generator = Draws(4, 64), torch.get_rng_state()
    assert flows(net, (4,))["weight"] > 0
    assert torch.equal(torch.get_rng_state(), generator)


def test_gradients_may_be_switched_off_around_it():
    with torch.no_grad():
        assert flows(small(), (1, 8, 8)) == flows(small(), (1, 8, 8))
    assert synflow(small(), (1, 8, 8)) == sum(map(math.log1p, flows(small(), (1, 8, 8)).values()))


# --- what is counted ------------------------------------------------------------------------------------------------


def test_what_is_frozen_or_of_no_use_is_skipped():
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(8, 2))
            self.unused = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    net = Half()
    everything = flows(net, (2, 2))
    assert list(everything) == ["used.0.weight", "used.1.weight", "used.3.weight"], "no biases"
    net.used[1].requires_grad_(False)
    assert flows(net, (2, 2)) == {name: flow for name, flow in everything.items() if "1" not in name}
    assert flows(net.requires_grad_(False), (2, 2)) == {}


@pytest.mark.parametrize("module", [nn.Identity(), nn.ReLU(inplace=True), nn.BatchNorm1d(3)])
def test_nothing_flows_through_no_weights(module):
    assert flows(module, (3,)) == {}
    assert synflow(module, (3,)) == 0.0


def test_a_network_cut_in_two_has_no_flow():
    net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    assert flows(net, (3,)) == {f"{i}.weight": 0.0 for i in range(3)}
    assert synflow(net, (3,)) == 0.0

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
            nn.init.zeros_(self.other[1].weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.other(x)

    found = flows(Branches(), (3,))
    assert found.pop("one.weight") > 0
    assert found == {"other.0.weight": 0.0, "other.1.weight": 0.0}


# --- every kind of layer --------------------------------------------------------------------------------------------

STEMS = {"map": [{"conv": {"width": 64}}] * 3, "tokens": [{"conv1d": {"width": 64}}] * 3, "vector": [{"dense": {}}] * 3}
SHAPES = {"map": (3, 8, 8), "tokens": (12, 5), "vector": (6,)}
GATES = (".query.", ".se.")
"""Weights that say where to look, or how much to let through: behind layers without norms there is no doubt of it."""


def every_path(tree: dict, in_shape: tuple[int, ...]) -> dict[str, float]:
    """Return the flows of a network, of which none is cut or explodes."""
    found = flows(seeded(lambda: build_tree(tree, in_shape, 4)), in_shape)
    for name, flow in found.items():
        assert math.isfinite(flow), name
        assert flow < 1e30, name
        assert flow > 1e-3 or any(gate in name for gate in GATES), name
    return found


def of_each_kind(parts: Registry) -> list[tuple[str, str]]:
    return [(name, kind) for name in parts for kind in SHAPES if parts[name].takes in ("any", kind)]


@pytest.mark.parametrize(("name", "kind"), [case for case in of_each_kind(BLOCKS) if case[0] != "embedding"])
def test_every_block_lets_it_through(name, kind):
    """Behind layers without norms, where signals are large."""
    found = every_path({"stem": STEMS[kind], "body": [{name: {}}] * 2, "head": {"pool": {}}}, SHAPES[kind])
    assert len(found) >= 4


def test_an_embedding_is_where_it_begins():
    assert len(every_path({"stem": {"embedding": {}}, "body": [{"conv1d": {}}], "head": {"max": {}}}, (6,))) == 3


@pytest.mark.parametrize(("name", "kind"), of_each_kind(HEADS))
def test_every_head_lets_it_through(name, kind):
    every_path({"stem": STEMS[kind], "body": [], "head": {name: {}}}, SHAPES[kind])


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_lets_it_through(act):
    body = [{"conv": {"act": act, "width": 32}}, {"separable": {"act": act}}, {"mbconv": {"act": act, "se": True}}]
    every_path({"body": body, "head": {"pool": {}}}, (3, 8, 8))


RECURRENT = {
    "lstm": lambda: nn.LSTM(6, 8, batch_first=True),
    "lstm, two layers, both ways": lambda: nn.LSTM(6, 8, 2, bidirectional=True),
    "lstm, projected": lambda: nn.LSTM(6, 8, batch_first=True, proj_size=3),
    "gru": lambda: nn.GRU(6, 8, batch_first=True, bias=False),
    "rnn": lambda: nn.RNN(6, 8, batch_first=True),
    "rnn, relu": lambda: nn.RNN(6, 8, batch_first=True, nonlinearity="relu"),
}
LAYERS = {
    **{name: (lambda make=make: First(make())) for name, make in RECURRENT.items()},
    "attention": lambda: Self(nn.MultiheadAttention(6, 2, bias=False, batch_first=True), True),
    "encoder layer": lambda: nn.TransformerEncoderLayer(6, 2, 12, bias=False, batch_first=True, activation="relu"),
    "encoder layer, norms first": lambda: nn.TransformerEncoderLayer(
        6, 2, 12, bias=False, batch_first=True, norm_first=True
    ),
}


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
def test_twice_the_signal_is_twice_the_flow(name, frozen):
    """There is no bound and no norm in it, whether the layer may take a fast path or not."""
    first, layer = seeded(lambda: nn.Linear(6, 6, bias=False)), seeded(LAYERS[name])
    width = layer(torch.zeros(1, 40, 6)).shape[-1]
    net = nn.Sequential(first, layer, seeded(lambda: nn.Linear(width, 2, bias=False)))
    net[1].requires_grad_(not frozen)
    once = flows(net, (40, 6))
    with torch.no_grad():
        first.weight *= 1e6
    assert flows(net, (40, 6)) == pytest.approx({name: 1e6 * flow for name, flow in once.items()}, rel=1e-6)
    assert once["0.weight"] == pytest.approx(once["2.weight"])
    assert once["0.weight"] > 1e-3


def test_a_packed_sequence_and_a_state_of_ones_own():
    class Packed(nn.Module):
        def __init__(self, lstm: nn.LSTM, packed: bool) -> None:
            super().__init__()
            self.lstm, self.packed = lstm, packed

        def forward(self, x: Tensor) -> Tensor:
            state = x.new_zeros(1, len(x), 4)
            if self.packed:
                x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5]), batch_first=True)
            return self.lstm(x, hx=(state, state))[1][0]

    lstm = seeded(lambda: nn.LSTM(3, 4, batch_first=True))
    packed, plain = flows(Packed(lstm, True), (7, 3)), flows(Packed(lstm, False), (5, 3))
    assert packed == pytest.approx(plain)
    assert min(plain.values()) > 1e-3


def test_the_copy_is_gone_at_once():
    """In double precision it is large; it does not wait for the garbage to be collected."""
    gc.collect()
    gc.disable()
    try:
        parts = [weakref.ref(part) for part in _summing(small()).modules()]
        assert not any(part() for part in parts)
    finally:
        gc.enable()
