"""Multiply-adds against formulae worked out by hand, for every kind of operator that multiplies."""

import warnings
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_modules import First
from torch import Tensor, nn

from nas.errors import NasError
from nas.measure.macs import count_macs


class Apply(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.ones(5, 6))
        self.b = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Cell(nn.Module):
    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell = kind(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cell(x)
        return y[0] if isinstance(y, tuple) else y


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, w: Tensor) -> Tensor:
        return 2 * (x @ w.T)


class Nested(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, w: Tensor) -> Tensor:
        return Doubled.apply(x, w) @ w


class Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, w: Tensor) -> Tensor:
        return torch.tensordot(x, w.T, 1)


@cache
def scripted(function):
    """Compile at the first call: it warns that it will be removed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(function)


def _gate(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def _in_slices(module: nn.Module, x: Tensor) -> Tensor:
    y = torch.zeros(1, 8)
    y[:, :5] = x @ module.w.T
    return y


def _unused(module: nn.Module, x: Tensor) -> Tensor:
    _ = x @ module.w.T
    return x


def _sdpa(module: nn.Module, x: Tensor) -> Tensor:
    n, t, d = x.shape
    q = x.reshape(n, t, 2, d // 2).transpose(1, 2)
    return F.scaled_dot_product_attention(q, q, q)


def _cross_many(module: nn.Module, x: Tensor) -> Tensor:
    """One set of queries, keys and values of three heads."""
    return F.scaled_dot_product_attention(x[:, None], x.expand(3, -1, -1)[None], x.expand(3, -1, -1)[None])


def _own_attention(module: nn.Module, x: Tensor) -> Tensor:
    return (x @ x.transpose(1, 2)).softmax(-1) @ x


def _cross(module: nn.Module, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x[:, :4], x[:, :4, :2])


BY_HAND = {
    "conv": (nn.Conv2d(3, 16, 3, padding=1, bias=False), (3, 32, 32), 32 * 32 * 16 * 3 * 9),
    "conv, bias free of charge": (nn.Conv2d(3, 16, 3, padding=1), (3, 32, 32), 442_368),
    "conv, stride and groups": (nn.Conv2d(8, 16, (3, 5), 2, (1, 2), groups=4), (8, 9, 12), 5 * 6 * 16 * 2 * 15),
    "conv, dilated": (nn.Conv2d(2, 4, 3, dilation=2), (2, 10, 10), 6 * 6 * 4 * 2 * 9),
    "conv, padding by name": (nn.Conv2d(2, 4, 3, padding="same"), (2, 7, 7), 7 * 7 * 4 * 2 * 9),
    "conv, reflected": (nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (2, 7, 7), 7 * 7 * 4 * 2 * 9),
    "depthwise": (nn.Conv2d(12, 12, 5, padding=2, groups=12), (12, 8, 8), 8 * 8 * 12 * 25),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, 2), (4, 5, 5), 5 * 5 * 4 * 6 * 4),
    "conv1d": (nn.Conv1d(4, 6, 3, 2), (4, 11), 5 * 6 * 4 * 3),
    "conv3d": (nn.Conv3d(2, 3, 3), (2, 4, 5, 6), 2 * 3 * 4 * 3 * 2 * 27),
    "linear": (nn.Linear(12, 7), (12,), 84),
    "linear over tokens": (nn.Linear(12, 7, bias=False), (5, 12), 5 * 84),
    "bilinear as einsum": (Apply(lambda m, x: torch.einsum("nti, oi -> nto", x, m.w)), (4, 6), 4 * 6 * 5),
    "einsum, implicit output": (Apply(lambda m, x: torch.einsum("nti,oi", x, m.w)), (4, 6), 4 * 6 * 5),
    "einsum, ellipsis": (Apply(lambda m, x: torch.einsum("...i,...i->...", x, x)), (4, 6), 24),
    "einsum, transpose": (Apply(lambda m, x: torch.einsum("nti->nit", x)), (4, 6), 0),
    "einsum that broadcasts": (
        Apply(lambda m, x: torch.einsum("nti,toi->nto", x[:, :1], m.w.expand(4, 5, 6))),
        (4, 6),
        120,
    ),
    "einsum that broadcasts, the other way": (
        Apply(lambda m, x: torch.einsum("nti,toi->nto", x, m.w.expand(1, 5, 6))),
        (4, 6),
        120,
    ),
    "matmul that broadcasts": (Apply(lambda m, x: m.w @ x.transpose(1, 2)), (4, 6), 5 * 6 * 4),
    "matmul with a vector": (Apply(lambda m, x: x @ m.w[0]), (4, 6), 24),
    "addmm": (Apply(lambda m, x: torch.addmm(m.b, x, m.w.T)), (6,), 30),
    "bmm": (Apply(lambda m, x: torch.bmm(x, x.transpose(1, 2))), (4, 6), 96),
    "baddbmm": (Apply(lambda m, x: torch.baddbmm(m.b[:4], x, x.transpose(1, 2))), (4, 6), 96),
    "mv": (Apply(lambda m, x: torch.mv(m.w, x[0])), (6,), 30),
    "inner": (Apply(lambda m, x: torch.inner(x, m.w)), (4, 6), 4 * 6 * 5),
    "in slices": (Apply(_in_slices), (6,), 30),
    "of parameters alone": (Apply(lambda m, x: x @ (m.w.T @ m.w)), (6,), 6 * 5 * 6 + 36),
    "autograd function": (Apply(lambda m, x: Doubled.apply(x, m.w)), (6,), 30),
    "autograd function in another": (Apply(lambda m, x: Nested.apply(x, m.w)), (6,), 60),
    "lstm": (First(nn.LSTM(6, 8, batch_first=True)), (7, 6), 7 * 4 * 8 * (6 + 8)),
    "lstm, two layers, both ways": (
        First(nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)),
        (7, 6),
        7 * 2 * 4 * 8 * ((6 + 8) + (16 + 8)),
    ),
    "lstm, projected": (First(nn.LSTM(6, 8, batch_first=True, proj_size=3)), (7, 6), 7 * (4 * 8 * (6 + 3) + 3 * 8)),
    "gru": (First(nn.GRU(6, 8, batch_first=True, bias=False)), (7, 6), 7 * 3 * 8 * (6 + 8)),
    "rnn": (First(nn.RNN(6, 8, batch_first=True)), (7, 6), 7 * 8 * (6 + 8)),
    "rnn, relu": (First(nn.RNN(6, 8, batch_first=True, nonlinearity="relu")), (7, 6), 7 * 8 * (6 + 8)),
    "lstm cell": (Cell(nn.LSTMCell), (6,), 4 * 8 * (6 + 8)),
    "gru cell": (Cell(nn.GRUCell), (6,), 3 * 8 * (6 + 8)),
    "rnn cell": (Cell(nn.RNNCell), (6,), 8 * (6 + 8)),
    "attention": (Apply(_sdpa), (10, 8), 2 * 10 * 10 * (4 + 4)),
    "attention to fewer, narrower": (Apply(_cross), (10, 8), 10 * 4 * (8 + 2)),
    "attention that broadcasts": (Apply(_cross_many), (10, 8), 3 * 10 * 10 * (8 + 8)),
    "attention written out": (Apply(_own_attention), (10, 8), 2 * 10 * 10 * 8),
    # q, k, v and out: 4 d^2 a token; scores and mixing: 2 t d a token; the two layers: 2 d * 16 a token
    "encoder layer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (10, 8),
        10 * (4 * 64 + 2 * 10 * 8 + 2 * 8 * 16),
    ),
}

FREE = {
    "unused": (Apply(_unused), (6,)),
    "batch norm": (nn.BatchNorm2d(4), (4, 6, 6)),
    "layer norm": (nn.LayerNorm(6), (4, 6)),
    "group norm": (nn.GroupNorm(2, 4), (4, 6, 6)),
    "instance norm": (nn.InstanceNorm2d(4, affine=True), (4, 6, 6)),
    "average pool": (nn.AvgPool2d(2), (4, 6, 6)),
    "global average pool": (nn.AdaptiveAvgPool2d(1), (4, 6, 6)),
    "max pool": (nn.MaxPool2d(2), (4, 6, 6)),
    "upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 6, 6)),
    "gelu": (nn.GELU(), (9,)),
    "softmax": (nn.Softmax(-1), (9,)),
    "prelu": (nn.PReLU(), (9,)),
    "nothing": (nn.Identity(), (9,)),
}


NO_COUNT = [
    (lambda m, x: x @ torch.chain_matmul(m.w.T, m.w), "chain_matmul"),
    (lambda m, x: torch.einsum("ni,oi,o->no", x, m.w, m.b), "more than two operands"),
    (lambda m, x: F.bilinear(x, x, m.w[:1, :, None] * m.w[0]), "bilinear"),
    (lambda m, x: torch.cdist(x, m.w), "cdist"),
    (lambda m, x: Chain.apply(x, m.w), "Chain: no count of multiply-adds for aten::tensordot"),
    (lambda m, x: scripted(_gate)(x), "scripted function _gate"),
    (lambda m, x: x[:, :5] @ torch.linalg.matrix_power(m.w[:, :5], 2), "matrix_power"),
]


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])  # frozen ones may take a fast path
def test_by_hand(name: str, frozen: bool):
    module, shape, macs = BY_HAND[name]
    module.requires_grad_(not frozen)
    counted = count_macs(module, shape)
    assert counted == macs
    assert isinstance(counted, int)


@pytest.mark.parametrize("name", FREE)
def test_norms_pooling_and_activations_are_free(name: str):
    module, shape = FREE[name]
    assert count_macs(module, shape) == 0


@settings(max_examples=30, deadline=None)
@given(
    groups=st.integers(1, 3),
    width_in=st.integers(1, 3),
    width_out=st.integers(1, 3),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    size=st.tuples(st.integers(9, 14), st.integers(9, 14)),
    padding=st.integers(0, 2),
)
def test_any_conv(groups, width_in, width_out, kernel, stride, dilation, size, padding):
    c, d = groups * width_in, groups * width_out
    conv = nn.Conv2d(c, d, kernel, stride, padding, dilation, groups)
    h, w = ((s + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for s in size)
    assert count_macs(conv, (c, *size)) == h * w * d * width_in * kernel**2


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from([(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)]),
    length=st.integers(1, 6),
    width=st.integers(1, 6),
    hidden=st.integers(1, 6),
    layers=st.integers(1, 3),
    both_ways=st.booleans(),
    bias=st.booleans(),
)
def test_any_recurrent_layer(kind, length, width, hidden, layers, both_ways, bias):
    (layer, gates), d = kind, 2 if both_ways else 1
    module = First(layer(width, hidden, layers, bias=bias, batch_first=True, bidirectional=both_ways))
    inputs = width + (layers - 1) * d * hidden  # summed over the layers
    assert count_macs(module, (length, width)) == length * d * gates * hidden * (inputs + layers * hidden)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7]), batch_first=True))[1][0]


def test_a_packed_sequence_counts_its_own_steps():
    assert count_macs(Packed(), (9, 6)) == 7 * 4 * 8 * (6 + 8)


def test_a_layer_used_twice_counts_twice_and_a_sequence_adds_up():
    shared = nn.Linear(8, 8)
    assert count_macs(nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(8, 3)), (8,)) == 2 * 64 + 24


def test_training_mode_and_fast_path_are_left_as_they_were():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    module[1].eval()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    count_macs(module, (3, 8, 8))
    assert [m.training for m in module.modules()] == [True, True, False, True]
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("function", "words"), NO_COUNT)
def test_what_would_be_a_silent_zero_is_an_error(function, words):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.chain_matmul is deprecated")
        with pytest.raises(NasError, match=words):
            count_macs(Apply(function), (6,))


def test_nothing_is_printed_or_logged(caplog, capfd):
    count_macs(nn.Sequential(nn.Linear(4, 4), nn.GELU()), (4,))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
