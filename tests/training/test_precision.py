"""Mixed precision, as far as a machine without a GPU can tell."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from nas.training import Rung, TrainConfig, TrainState, fit, rungs, torch_seeded
from nas.training.config import RmsProp, Sgd
from nas.training.precision import Precision


def net():
    with torch_seeded(0):
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def with_scaler(self, device):
    """A CPU as if it were a card without bfloat16, but in float32."""
    self._dtype, self._scaler = None, torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)


def test_a_cpu_computes_in_float32():
    precision = Precision(torch.device("cpu"))
    assert isinstance(precision.forward(), nullcontext)
    assert precision.state() == {}


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
