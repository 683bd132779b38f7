"""Averaged weights against their definition."""

import dataclasses

import pytest
import torch
from torch import nn

from nas.training import TrainConfig, evaluate, fit, torch_seeded
from nas.training.average import Average
from nas.training.config import Constant, Sgd


def net():
    with torch_seeded(0):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
def test_its_mean_age_is_that_share_of_the_steps(share):
    module = nn.Linear(1, 1)
    average = Average(module, share)
    for step in range(1, 2001):
        nn.init.constant_(module.weight, step)
        average.after(step)
    average.apply()
    assert (2000 - module.weight.item()) / 2000 == pytest.approx(share, abs=1 / 64)  # a step stands for its neighbours


def test_half_is_the_plain_mean_and_all_floats_take_part():
    module, seen = net(), []
    average = Average(module, 0.5)
    for step in range(1, 21):
        module(torch.randn(8, 3)).sum().backward()
        with torch.no_grad():
            for p in module.parameters():
                p -= 0.1 * p.grad
        average.after(step)
        seen.append({k: t.clone() for k, t in module.state_dict().items()})
    weights = seen[-1]
    with average.in_place():
        for name, found in module.state_dict().items():
            if name == "1.num_batches_tracked":
                assert found == 20
            else:
                wanted = torch.stack([s[name] for s in seen]).mean(0)
                torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
                assert not torch.equal(found, weights[name])
    assert all(torch.equal(t, weights[k]) for k, t in module.state_dict().items())


def test_the_weights_come_back_after_an_error():
    module = net()
    average, before = Average(module, 0.1), module[0].weight.detach().clone()
    nn.init.zeros_(module[0].weight)

    def judge():
        with average.in_place():
            assert torch.equal(module[0].weight, before)
            raise KeyError

    with pytest.raises(KeyError):
        judge()
    assert not module[0].weight.any()


@pytest.mark.parametrize(("n_steps", "every"), [(1, 1), (40, 1), (63, 1), (100, 2), (500, 8)])
def test_what_all_weights_up_to_a_step_count_together(n_steps, every):
    for s in range(every, n_steps + 1, every):
        module = nn.Linear(1, 1, bias=False).double()
        average = Average(module, 0.1)
        for step in range(1, n_steps + 1):
            nn.init.constant_(module.weight, float(step <= s))
            average.after(step)
        average.apply()
        assert module.weight.item() == pytest.approx((s / (n_steps - n_steps % every)) ** 9)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_batch_norm_forgets_where_it_began_and_then_remembers_as_ever(share):
    module = nn.BatchNorm1d(1)
    average = Average(module, share)
    for step in range(1, 401):
        average.before(step)
        module(torch.full((4, 1), 7.0 if step <= 12 else float(step)))
        average.after(step)
        if step == 12:
            assert module.running_mean.item() == pytest.approx(7)
            with average.in_place():
                assert module.running_mean.item() == pytest.approx(7)
    assert module.running_mean.item() == pytest.approx(400 - 9, abs=1e-3)  # the mean age of a memory of 0.1
    average.before(1)
    average.apply()
    assert module.momentum == 0.1
    fixed, none = nn.BatchNorm1d(1, momentum=None), nn.BatchNorm1d(1, track_running_stats=False)
    Average(nn.Sequential(fixed, none), share).before(1)
    assert fixed.momentum is None  # a mean over all batches, as it was asked for


def test_after_a_training_the_averages_are_in_the_module_and_were_judged():
    with torch_seeded(1):
        x = torch.randn(64, 3)
    y = (x[:, 0] > 0).long()
    config = TrainConfig(epochs=3, batch_size=16, average=0.5, schedule=Constant(), optimizer=Sgd(lr=0.5))
    averaged, raw, steps = net(), net(), []
    assert fit(averaged, x, y, config, seed=0, evaluate_on=(x, y)).curve[-1].scores == evaluate(averaged, x, y)
    raw.register_forward_pre_hook(lambda m, _: steps.append(m[0].weight.detach().clone()) if m.training else None)
    fit(raw, x, y, dataclasses.replace(config, average=0.0), seed=0, evaluate_on=(x, y))
    steps = [*steps[1:], raw[0].weight.detach()]
    assert len(steps) == 12
    torch.testing.assert_close(averaged[0].weight.detach(), torch.stack(steps).mean(0), rtol=1e-5, atol=1e-6)


def test_a_training_tells_the_average_of_every_step_before_and_after(monkeypatch):
    told = []
    monkeypatch.setattr(Average, "before", lambda self, step: told.append(("before", step)))
    monkeypatch.setattr(Average, "after", lambda self, step: told.append(("after", step)))
    fit(net(), torch.randn(20, 3), torch.arange(20) % 2, TrainConfig(epochs=2, batch_size=10), seed=0)
    assert told == [(when, step) for step in (1, 2, 3, 4) for when in ("before", "after")]


def test_batch_norms_of_one_momentum_forget_as_those_whose_momentum_changes():
    """What a recorded step needs comes to the same; beyond 190 steps a batch norm forgets by itself."""
    found = []
    for constant in (False, True):
        module = net()
        module[1].momentum = 0.2
        average = Average(module, 0.05, constant=constant)
        rng = torch.Generator().manual_seed(0)
        for step in range(1, 301):
            average.before(step)
            with torch.no_grad():
                module(torch.randn(8, 3, generator=rng) + step / 100)
            average.after(step)
            if step in (1, 20, 300):
                found.append({name: t.clone() for name, t in module.state_dict().items()})
        with average.in_place():
            found.append({name: t.clone() for name, t in module.state_dict().items()})
        average.apply()
        assert module[1].momentum == 0.2
    for changing, one in zip(found[:4], found[4:], strict=True):
        torch.testing.assert_close(one, changing, rtol=1e-4, atol=1e-5)
