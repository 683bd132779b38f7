"""Mixed precision, as far as a machine without a GPU can tell."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas.training import Rung, TrainConfig, TrainState, bfloat16, fit, rungs, torch_seeded
from nas.training.config import RmsProp, Sgd
from nas.training.precision import Precision


def net():
    with torch_seeded(0):
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def with_scaler(self, module, device, mixed):
    """A CPU as if it were a card without bfloat16, but in float32."""
    self._forward, self._scaler = nullcontext(), torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)


def convolves(**options):
    with torch_seeded(0):
        norm, out = nn.BatchNorm2d(8), nn.Linear(8, 2)
        return nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, **options)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), out),
        )


def is_mixed(module, mixed=True):
    precision = Precision(module, torch.device("cpu"), mixed)
    assert precision.state() == {}
    return isinstance(precision.forward(), bfloat16.InBfloat16)


def test_a_cpu_computes_in_bfloat16_where_it_pays_and_may(monkeypatch):
    monkeypatch.setattr(bfloat16, "pays", lambda: True)
    assert is_mixed(convolves())
    assert is_mixed(nn.LSTM(4, 4))
    assert not is_mixed(net())
    assert not is_mixed(convolves(), mixed=False)
    monkeypatch.setattr(bfloat16, "pays", lambda: False)
    assert not is_mixed(convolves())


def test_what_pays_is_what_was_quicker(monkeypatch):
    """A clock that goes slower for one of both decides, not which is called first."""
    for slow in (torch.bfloat16, torch.float32):
        monkeypatch.setattr(bfloat16, "_convolution", lambda dtype: dtype)
        monkeypatch.setattr(bfloat16, "_seconds", lambda dtype, slow=slow: 2.0 if dtype is slow else 1.0)
        assert bfloat16.pays.__wrapped__() == (slow is torch.float32)


def test_a_machine_without_such_kernels_stays_with_float32(monkeypatch):
    def refuses(call):
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(bfloat16, "_seconds", refuses)
    assert not bfloat16.pays.__wrapped__()


X, CHANNELS = torch.ones(2, 8, 8, 8), torch.ones(8, 1, 3, 3)


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda: F.conv2d(X, torch.ones(4, 8, 3, 3), stride=2), torch.bfloat16),
        (lambda: F.conv2d(X, CHANNELS, groups=8), torch.bfloat16),
        (lambda: F.conv2d(X, torch.ones(8, 4, 3, 3), None, (2, 2), (1, 1), (1, 1), 2), torch.bfloat16),
        (lambda: F.conv2d(X, CHANNELS, None, (2, 2), (1, 1), (1, 1), 8), torch.float32),
        (lambda: F.conv2d(X.bfloat16(), CHANNELS.bfloat16(), stride=2, groups=8), torch.float32),
        (lambda: F.conv2d(X, CHANNELS, dilation=2, groups=8), torch.float32),
        (lambda: F.conv2d(X, torch.ones(8, 1, 5, 5), groups=8), torch.float32),
        (lambda: F.conv1d(X[0], CHANNELS[..., 0], stride=2, groups=8), torch.float32),
        (lambda: F.scaled_dot_product_attention(*[X.bfloat16()] * 3), torch.float32),
        (lambda: nn.MultiheadAttention(8, 2)(X[0].bfloat16(), X[0], X[0])[0], torch.float32),
        (lambda: nn.LSTM(8, 4, bidirectional=True)(X[0])[0], torch.bfloat16),
        (lambda: nn.GRU(8, 4)(X[0].bfloat16(), torch.zeros(1, 8, 4).bfloat16())[0], torch.float32),
        (lambda: nn.RNN(8, 4)(X[0].bfloat16())[0], torch.float32),
        (lambda: F.conv2d(X[..., :1], torch.ones(4, 8, 3, 3), stride=2, padding=1), torch.float32),
        (lambda: X[0] @ X[1], torch.bfloat16),
    ],
    ids=[
        *("dense", "plain single", "groups", "strided", "strided, given halves", "dilated", "five wide", "series"),
        *("attention", "several heads", "lstm", "gru", "rnn", "narrow", "product"),
    ],
)
def test_what_bfloat16_slows_down_is_computed_in_float32(call, dtype):
    with bfloat16.InBfloat16():
        assert call().dtype is dtype
    assert not torch.is_autocast_enabled("cpu")


def poison():
    """Fill memory that is free with what spoils whoever reads it before writing."""
    for n in (16, 64, 256, 1024, 4096):
        torch.full((n,), torch.nan)


@given(
    n_axes=st.integers(1, 2),
    n=st.integers(4, 16),
    channels=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_gradients_of_convolutions_are_whole(n_axes, n, channels, kernel, stride, size):
    convolve, (c_in, c_out) = {1: F.conv1d, 2: F.conv2d}[n_axes], channels
    with torch_seeded(0):
        x = torch.randn(n, c_in, *size[-n_axes:], requires_grad=True)
        weight = torch.randn(c_out, c_in, *[kernel] * n_axes, requires_grad=True)
    found = []
    for mode in (nullcontext(), bfloat16.InBfloat16()):
        poison()
        with mode:
            y = convolve(x, weight, stride=stride, padding=kernel // 2)
        poison()
        found.append(torch.autograd.grad(y, (x, weight), torch.ones_like(y)))
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).norm() <= 0.05 * exact.norm() + 0.01 * exact.numel() ** 0.5


@pytest.mark.parametrize("stride", [1, 2])
def test_training_in_bfloat16_is_nearly_that_in_float32_and_repeats(monkeypatch, stride):
    monkeypatch.setattr(bfloat16, "pays", lambda: True)
    with torch_seeded(1):
        x, y = torch.randn(64, 1, 8, 8), torch.arange(64) % 2
        x[y == 1] += 0.5
    config, losses = TrainConfig(epochs=4, batch_size=16), []
    for mixed in (False, True, True):
        module = convolves(stride=stride)
        result = fit(module, x, y, dataclasses.replace(config, mixed_precision=mixed), seed=0, evaluate_on=(x, y))
        assert all(p.dtype is torch.float32 for p in module.parameters())
        losses.append([log.train_loss for log in result.curve] + [log.scores["loss"] for log in result.curve])
    assert losses[1] == losses[2]
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("optimizer", [Sgd(), RmsProp()], ids=["fused", "not fused"])
def test_a_scaled_loss_gives_the_same_steps_and_the_scale_is_kept(monkeypatch, optimizer):
    with torch_seeded(1):
        x, y = torch.randn(60, 4), torch.arange(60) % 2
    config = TrainConfig(epochs=4, batch_size=20, optimizer=optimizer, clip_norm=0.1, rungs=rungs(["0.5"]))
    plain = net()
    expected = fit(plain, x, y, config, seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "__init__", with_scaler)
        first = fit(net(), x, y, config, seed=0, until=0)
        state = TrainState.from_bytes(first.state.to_bytes())
        assert state.scaler["scale"] == 2.0**11  # six steps went well, so it grew once
        scaled = net()
        result = fit(scaled, x, y, config, seed=0, state=state)
    assert [log.train_loss for log in result.curve] == pytest.approx([log.train_loss for log in expected.curve])
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_step_that_overflows_is_left_out(monkeypatch):
    monkeypatch.setattr(Precision, "__init__", with_scaler)

    class Overflows(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            logits = self.net(x)
            if self.training:
                logits.register_hook(lambda gradient: gradient * torch.inf)
            return logits

    module, x, y = Overflows(), torch.randn(10, 4), torch.arange(10) % 2
    fit(module, x, y, TrainConfig(epochs=2, average=0.0, rungs=(Rung(1.0),)), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(module.net.parameters(), net().parameters(), strict=True))
