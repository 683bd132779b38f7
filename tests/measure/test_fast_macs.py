"""The fast count against the official one: on everything there is to build, and on what is odd."""

from __future__ import annotations

import dataclasses
import random
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_macs import BY_HAND, FREE, NO_COUNT, Apply, First, Packed
from torch import Tensor, nn

from nas.blocks import BLOCKS, HEADS, config_class
from nas.build import build
from nas.catalog import find_space, shipped
from nas.errors import BuildError, NasError
from nas.measure import fast_macs
from nas.measure.fast_macs import count_macs_fast
from nas.measure.macs import count_macs
from nas.shapes import Shape


def count_alone(module: nn.Module, in_shape: Shape) -> int:
    """Return the fast count; fail where it would ask the official one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_macs, "count_macs", lambda *_: pytest.fail("the fast count was not sure"))
        return count_macs_fast(module, in_shape)


@pytest.fixture
def asked(monkeypatch) -> list[nn.Module]:
    """The modules that the official count was asked about."""
    modules = []

    def listening(module: nn.Module, in_shape: Shape) -> int:
        modules.append(module)
        return count_macs(module, in_shape)

    monkeypatch.setattr(fast_macs, "count_macs", listening)
    return modules


UNSURE = ("in slices", "unused")
"""What is left to the official count of what is counted by hand."""


# --- counted without help -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])  # frozen ones may take a fast path
@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name, frozen):
    module, shape, macs = BY_HAND[name]
    module.requires_grad_(not frozen)
    counted = (count_macs_fast if name in UNSURE else count_alone)(module, shape)
    assert counted == macs
    assert isinstance(counted, int)


@pytest.mark.parametrize("name", FREE)
def test_norms_pooling_and_activations_are_free(name):
    assert (count_macs_fast if name in UNSURE else count_alone)(*FREE[name]) == 0


SHAPES: dict[str, list[Shape]] = {
    "map": [(4, 8, 8), (2, 7, 5), (4, 1, 3), (8, 12, 12)],
    "tokens": [(10, 6), (7, 4), (1, 3)],
    "vector": [(12,), (5,)],
}
SHAPES["any"] = [shape for shapes in SHAPES.values() for shape in shapes]
TABLES = {name: table for table in (BLOCKS, HEADS) for name in table}


def options(kind: Any) -> list[Any]:
    """Return what a field of this type may be, right or wrong."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return {int: [1, 2, 3, 4, 5, 8], bool: [False, True], float: [0.0, 0.5], str: []}[kind]


def configured(name: str, draw: random.Random) -> tuple[nn.Module, Shape]:
    """Return a part and a shape that it takes, some of its fields drawn."""
    part: Any = TABLES[name][name]
    kinds = get_type_hints(config_class(part))
    while True:
        shape = draw.choice(SHAPES[part.takes])
        fields = {
            field.name: draw.choice(options(kinds[field.name]))
            for field in dataclasses.fields(config_class(part))
            if options(kinds[field.name]) and draw.random() < 0.6
        }
        try:
            config = config_class(part)(**fields)
            return (part(shape, config) if name in BLOCKS else part(shape, 3, config)), shape
        except ValueError:
            continue


@pytest.mark.parametrize("name", TABLES)
def test_every_part_in_many_configurations(name):
    draw = random.Random(0)
    for _ in range(12):
        module, shape = configured(name, draw)
        assert count_alone(module, shape) == count_macs(module, shape), (module, shape)


IN_SHAPES = {
    **{"digits": (1, 8, 8), "image": (1, 28, 28), "image_conv": (3, 32, 32), "sequence": (25, 12), "mlp": (20,)},
    "text": (20,),
}


@pytest.mark.parametrize("name", shipped())
def test_networks_of_the_shipped_spaces(name):
    space, shape = find_space(name), IN_SHAPES[name]

    @settings(max_examples=12)
    @given(seed=st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        try:
            network = build(space, space.sample(np.random.default_rng(seed)), shape, 10)
        except BuildError:
            return
        assert count_alone(network, shape) == count_macs(network, shape) > 0

    check()


class Branches(nn.Module):
    """One layer twice, a layer never called, a product of parameters alone, and functions for modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding="same")
        self.unused = nn.Linear(5, 5)
        self.w, self.kernel = nn.Parameter(torch.ones(5, 5)), nn.Parameter(torch.ones(6, 2, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.conv(x)) + x
        y = F.linear(y, self.w @ self.w) @ self.w
        return F.conv2d(y, self.kernel, stride=[2, 1], padding=(1, 0), groups=2)


class ToOther(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x[:, :3, : self.attention.kdim], x[:, :3, : self.attention.vdim])[0]


def _to_itself(module: ToOther, x: Tensor) -> Tensor:
    return module.attention(x, x, x, need_weights=False)[0]


def _grouped_queries(module: nn.Module, x: Tensor) -> Tensor:
    queries = x[:, None].expand(-1, 6, -1, -1)
    return F.scaled_dot_product_attention(queries, queries[:, :2], queries[:, :2], enable_gqa=True)


def _masked(module: nn.Module, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, torch.ones(4, 4, dtype=torch.bool))


class Chained(nn.Module):
    """States of one recurrent layer start the next; sequences stand first."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(6, 4, bidirectional=True), nn.LSTM(6, 4, 2, proj_size=2)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, ended = self.encoder(x.transpose(0, 1))
        _, (ended, cells) = self.decoder(x.transpose(0, 1), (ended[..., :2], ended))
        return self.head(torch.cat((cells, ended), -1))


ODD: dict[str, tuple[nn.Module, Shape]] = {
    "branches": (Branches(), (4, 9, 5)),
    "conv, uneven": (nn.Conv2d(4, 8, (3, 2), (2, 3), (1, 0), (2, 1), groups=2), (4, 11, 9)),
    "conv, circular": (nn.Conv1d(4, 8, 3, padding=2, padding_mode="circular"), (4, 9)),
    "conv, valid": (nn.Conv1d(4, 8, 3, padding="valid"), (4, 9)),
    "transposed, groups": (nn.ConvTranspose2d(4, 6, (3, 2), 2, 1, 1, groups=2), (4, 5, 6)),
    "transposed, 1-D and 3-D": (
        nn.Sequential(nn.ConvTranspose1d(4, 6, 3), nn.Unflatten(2, (1, 1, -1)), nn.ConvTranspose3d(6, 2, 2)),
        (4, 5),
    ),
    "two layers back and forth, projected": (
        First(nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True, proj_size=3)),
        (7, 6),
    ),
    "rnn without batch": (Apply(lambda m, x: m.rnn(x[0])[0]), (7, 6)),
    "states": (Chained(), (5, 6)),
    "attention to itself": (Apply(_to_itself), (5, 6)),
    "attention to other": (ToOther(), (5, 6)),
    "attention to narrower": (ToOther(kdim=2, vdim=4, bias=False), (5, 6)),
    "attention to one more and zeros": (ToOther(add_bias_kv=True, add_zero_attn=True), (5, 6)),
    "attention of many to few": (Apply(_grouped_queries), (4, 6)),
    "attention, masked": (Apply(_masked), (4, 6)),
    "encoder": (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), (6, 8)),
    "matmul of many axes": (Apply(lambda m, x: x[:, None].matmul(m.w.T.expand(3, 1, 6, 5))), (4, 6)),
    "matmul of a vector": (Apply(lambda m, x: x[0, 0].matmul(x[0].T)), (4, 6)),
    "addmv": (Apply(lambda m, x: m.b.addmv(m.w, x[0], beta=0.5)), (6,)),
    "einsum of two with blanks": (Apply(lambda m, x: torch.einsum("n ...i, o i -> n o", x, m.w)), (4, 6)),
    "weights from a parametrization": (nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), (6,)),
    "cells": (Apply(lambda m, x: m.cell(x, m.cell(x))), (6,)),
    "nothing": (nn.Sequential(), (6,)),
    "no parameters": (Apply(lambda m, x: x @ x.transpose(1, 2)), (4, 6)),
}
ODD["rnn without batch"][0].rnn = nn.RNN(6, 4, 2, nonlinearity="relu")
ODD["attention to itself"][0].attention = nn.MultiheadAttention(6, 3, batch_first=True)
ODD["cells"][0].cell = nn.GRUCell(6, 6)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
def test_odd_modules(name):
    module, shape = ODD[name]
    assert count_alone(module, shape) == count_macs(module, shape)


# --- counted by the official count ----------------------------------------------------------------------------------


def _caught(module: nn.Module, x: Tensor) -> Tensor:
    """A network that tries what the fast count does not know, and is ready to go on without."""
    try:
        x = torch.ops.aten.mm(x, module.w.T)
    except Exception:
        return x
    return x @ module.w


def _by_value(module: nn.Module, x: Tensor) -> Tensor:
    """The bias of the layer decides, which zeros in its place would not."""
    y = F.linear(x, module.w, module.b)
    return y @ module.w if y.sum() > 0 else y


def _by_list(module: nn.Module, x: Tensor) -> Tensor:
    y = F.linear(x, module.w, module.b)
    return y @ module.w if y.tolist()[0][0] > 0 else y


def _by_shape(module: nn.Module, x: Tensor) -> Tensor:
    y = F.linear(x, module.w, module.b)[0]
    return y[y > 0][:, None] @ x


def _by_length(module: nn.Module, x: Tensor) -> Tensor:
    length = F.linear(x, module.w, module.b)[0, :1].long() + 1
    packed = nn.utils.rnn.pack_padded_sequence(x.expand(1, 9, 6), length, batch_first=True)
    return packed.data @ module.w.T


def _of_many(module: nn.Module, x: Tensor) -> Tensor:
    return torch.vmap(lambda v: F.linear(v, module.w))(x.expand(7, 6))


def _unused(module: nn.Module, x: Tensor) -> Tensor:
    """The trace, and the file, hold the first product alone."""
    y = x @ module.w.T
    _ = F.linear(y, module.w.T)
    return y


def _weights_alone(module: nn.Module, x: Tensor) -> Tensor:
    return module.attention(x, x, x)[1]


LEFT: dict[str, tuple[nn.Module, Shape]] = {
    "an operator called by its own name": (Apply(lambda m, x: torch.ops.aten.mm(x, m.w.T)), (6,)),
    "caught": (Apply(_caught), (6,)),
    "a branch on a value": (Apply(_by_value), (6,)),
    "a branch on a list of values": (Apply(_by_list), (6,)),
    "a shape of values": (Apply(_by_shape), (6,)),
    "a length of values": (Apply(_by_length), (6,)),
    "a packed sequence": (Packed(), (9, 6)),
    "under vmap": (Apply(_of_many), (6,)),
    "unused": (Apply(_unused), (6,)),
    "unused half of attention": (Apply(_weights_alone), (5, 6)),
}
LEFT["unused half of attention"][0].attention = nn.MultiheadAttention(6, 3, batch_first=True)


@pytest.mark.parametrize("name", LEFT)
def test_what_it_does_not_know_is_left_to_the_official_count(asked, name):
    module, shape = LEFT[name]
    assert count_macs_fast(module, shape) == count_macs(module, shape) > 0
    assert asked == [module]


VECDOT = (lambda m, x: torch.linalg.vecdot(x, m.w), "vecdot")
"""It multiplies and sums, and either is free by itself."""


@pytest.mark.parametrize(("function", "words"), [*NO_COUNT, VECDOT])
def test_what_would_be_a_silent_zero_is_an_error(function, words):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.chain_matmul is deprecated")
        with pytest.raises(NasError, match=words):
            count_macs_fast(Apply(function), (6,))


@pytest.mark.parametrize(
    ("module", "in_shape"),
    [
        (nn.Linear(6, 5), (7,)),
        (nn.Conv2d(4, 6, 3), (5, 8, 8)),
        (nn.Conv2d(4, 6, 5), (4, 3, 3)),
        (nn.Conv2d(4, 6, 3), (4, 8)),
        (First(nn.GRU(6, 5, batch_first=True)), (4, 7)),
        (Apply(lambda m, x: F.scaled_dot_product_attention(x, x[..., :3], x)), (4, 6)),
        (nn.Linear(6, 5).double(), (6,)),
        (First(nn.GRU(6, 5, batch_first=True)).double(), (4, 6)),
    ],
)
def test_a_network_that_does_not_run_has_no_count(module, in_shape):
    with pytest.raises((RuntimeError, ValueError)) as expected:
        count_macs(module, in_shape)
    with pytest.raises(expected.type):
        count_macs_fast(module, in_shape)


# --- and nothing else ------------------------------------------------------------------------------------------------


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=True) + torch.rand_like(x)


@pytest.mark.parametrize("left", [False, True], ids=["alone", "left to the official count"])
def test_everything_is_as_it_was(left):
    odd = [Apply(lambda m, x: torch.ops.aten.mul(x, float(x.sum()) + 1))] if left else []
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Noisy(), *odd).train()
    module[1].eval()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    random_state = torch.get_rng_state()
    assert count_macs_fast(module, (3, 8, 8)) == 36 * 4 * 27
    assert [m.training for m in module.modules()] == [True, True, False, True] + [True] * len(odd)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module[:2].parameters())
    assert left or torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_it_is_fast():
    """A tenth, and less on a busy machine; the best of several, since others may use the machine."""
    space = find_space("image")
    network = build(space, space.sample(np.random.default_rng(1)), (1, 28, 28), 10)

    def best(count: Callable[[nn.Module, Shape], int]) -> float:
        times = []
        for _ in range(9):
            started = time.perf_counter()
            count(network, (1, 28, 28))
            times.append(time.perf_counter() - started)
        return min(times)

    assert best(count_alone) < best(count_macs) / 4
