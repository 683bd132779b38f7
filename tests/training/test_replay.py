"""Recorded steps do what steps do; on a GPU alone."""

import dataclasses
import time

import pytest
import torch
from torch import nn

from nas.build import build
from nas.catalog import find_space
from nas.rng import generator
from nas.shapes import Shape
from nas.training import TrainConfig, fit, replay, rungs, torch_seeded
from nas.training import config as c
from nas.training.config import OPTIMIZERS
from nas.training.feed import Batch
from nas.training.learner import Learner
from nas.training.replay import Replay, can_be_recorded

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture
def recordings(monkeypatch):
    """Forms of the batches that were recorded; a recording that fails is an error."""
    found = []

    def record(self, step, batch):
        found.append(batch.inputs.shape)
        made = recording(self, step, batch)
        assert torch.cuda.current_stream() == torch.cuda.default_stream()
        return made

    recording = Replay._recording
    monkeypatch.setattr(Replay, "_recording", record)
    yield found
    assert not replay._GIVEN_UP


SHAPES: dict[str, Shape] = {"image": (1, 28, 28), "image_conv": (3, 32, 32), "sequence": (24, 6), "digits": (1, 8, 8)}
"""Of the inputs of shipped spaces."""


def net(dropout: float = 0.0) -> nn.Module:
    with torch_seeded(0):
        return nn.Sequential(
            *(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
            *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(32, 3)),
        )


def data(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    y = torch.randint(3, (n,), generator=rng)
    return torch.randn(n, 1, 9, 9, generator=rng) + y[:, None, None, None], y


def test_only_parts_of_torch_and_ours_are_recorded():
    class Own(nn.Module):
        pass

    assert can_be_recorded(net())
    assert not can_be_recorded(nn.Sequential(net(), Own()))
    assert not can_be_recorded(nn.BatchNorm1d(3, momentum=None))


@on_gpu
@pytest.mark.parametrize("mixup", [0.0, 0.2])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_recorded_steps_move_the_weights_as_others_do(name, mixup, recordings):
    """With batches of 32 of 200 samples the last of each pass has another form; a rate of 1 is a number like others."""
    x, y = (t.cuda() for t in data())
    config = TrainConfig(
        epochs=8,
        batch_size=32,
        optimizer=OPTIMIZERS[name](lr=0.01),
        mixup=mixup,
        augment=c.Crop(pad=1),
        schedule=c.OneCycle(),
        mixed_precision=False,
    )
    found = []
    for graphs in (True, False):
        network = net().cuda()
        result = fit(network, x, y, dataclasses.replace(config, cuda_graphs=graphs), seed=0)
        found.append((result.curve[-1].train_loss, network.state_dict()))
        assert [len(shape) for shape in recordings] == [4, 4]  # once for each form, and none without graphs
    assert found[0][0] == pytest.approx(found[1][0], rel=0.02)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0.05, atol=0.01)


@on_gpu
@pytest.mark.parametrize("lr", [1e-9, 1])
def test_dropout_draws_anew_at_each_step(lr, recordings):
    x, y = (t.cuda() for t in data(64))
    config = TrainConfig(optimizer=c.RmsProp(lr=lr), schedule=c.Constant(), class_weights=True)
    learner = Learner(net(dropout=0.5).cuda().train(), config, 100, x.device, torch.ones(3, device=x.device))
    losses = [float(learner.learn(Batch(x, y))) for _ in range(12)]
    assert len(set(losses[5:])) > 3
    assert len(recordings) == 1


@on_gpu
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_it_goes_on_from_the_cpu_and_back(name):
    x, y = data(512)
    config = TrainConfig(epochs=9, optimizer=OPTIMIZERS[name](lr=0.01), rungs=rungs(["1/3", "2/3"]), batch_size=64)
    state = fit(net(), x, y, config, seed=0, until=0).state
    there = x.cuda(), y.cuda()
    state = fit(net().cuda(), *there, config, seed=0, until=1, state=state).state
    result = fit(net(), x, y, config, seed=0, state=state, evaluate_on=(x, y))
    assert result.curve[-1].scores is not None
    assert result.curve[-1].scores["accuracy"] > 0.9


@on_gpu
@pytest.mark.parametrize("space", sorted(SHAPES))
def test_networks_of_the_shipped_spaces_are_recorded(space, recordings):
    found, shape = find_space(space), SHAPES[space]
    x, y = torch.randn(96, *shape, device="cuda"), torch.arange(96, device="cuda") % 4
    for i in range(25):
        arch = found.sample(generator(0, "replay", i))
        with torch_seeded(i):
            network = build(found, arch, shape, 4).cuda()
        tree = found.resolve(arch)["training"]
        config = dataclasses.replace(TrainConfig.from_tree(tree), epochs=6, batch_size=32)
        assert can_be_recorded(network)
        fit(network, x, y, config, seed=0, evaluate_on=(x, y))
    assert len(recordings) == 25


@on_gpu
def test_memory_stays_flat():
    x, y = (t.cuda() for t in data(256))
    used = []
    for i in range(30):
        fit(net().cuda(), x, y, TrainConfig(epochs=3, batch_size=32), seed=i)
        used.append(torch.cuda.memory_reserved())
    assert max(used[10:]) <= max(used[:10])


@on_gpu
def test_a_deadline_comes_when_it_says():
    x, y = (t.cuda() for t in data(2000))
    began = time.monotonic()
    result = fit(net().cuda(), x, y, TrainConfig(epochs=100_000, batch_size=32), seed=0, deadline=began + 2)
    torch.cuda.synchronize()
    assert result.ended == "time"
    assert time.monotonic() - began < 4


@on_gpu
def test_what_cannot_be_recorded_is_trained_as_usual():
    class Waits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            float(x.detach().sum())
            return x

    Waits.__module__ = "nas.blocks.waits"
    x, y = (t.cuda() for t in data(256))
    config = TrainConfig(epochs=4, batch_size=32)
    try:
        for parts in ([Waits()], []):
            network = nn.Sequential(*parts, net(dropout=0.3)).cuda()
            result = fit(network, x, y, config, seed=0, evaluate_on=(x, y))
            assert result.curve[-1].train_loss < result.curve[0].train_loss
            assert x.device in replay._GIVEN_UP
            assert torch.cuda.current_stream() == torch.cuda.default_stream()
    finally:
        replay._GIVEN_UP.clear()
