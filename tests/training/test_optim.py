"""Optimizers hold what their configs say; schedules against torch's own."""

import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

from nas.training import OPTIMIZERS, SCHEDULES
from nas.training.config import Adam, AdamW, Constant, Cosine, OneCycle, RmsProp, Sgd, Step
from nas.training.optim import lr_factor, make_optimizer

NET = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3), nn.LayerNorm(3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_norms_and_biases_are_not_decayed(name):
    matrices, vectors = make_optimizer(NET, OPTIMIZERS[name]()).param_groups
    assert {p.ndim for p in matrices["params"]} == {2, 4}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(NET.parameters()))
    assert matrices["weight_decay"] == getattr(OPTIMIZERS[name](), "weight_decay", 0)


@pytest.mark.parametrize(
    ("config", "kind", "wanted"),
    [
        (Sgd(lr=0.3, momentum=0.8, weight_decay=1e-3), torch.optim.SGD, {"lr": 0.3, "momentum": 0.8, "nesterov": True}),
        (Sgd(momentum=0.0, nesterov=True), torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
        (Adam(beta1=0.8, beta2=0.9, weight_decay=0.1), torch.optim.Adam, {"betas": (0.8, 0.9), "weight_decay": 0.1}),
        (AdamW(lr=1, beta2=0.9, weight_decay=0.2), torch.optim.AdamW, {"betas": (0.9, 0.9), "weight_decay": 0.2}),
        (RmsProp(alpha=0.5, momentum=0.6), torch.optim.RMSprop, {"alpha": 0.5, "momentum": 0.6}),
    ],
)
def test_fields_arrive(config, kind, wanted):
    optimizer = make_optimizer(NET, config)
    assert type(optimizer) is kind
    assert {key: optimizer.param_groups[0][key] for key in wanted} == wanted


def test_frozen_parameters_are_left_alone():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0].requires_grad_(False)
    assert sum(len(g["params"]) for g in make_optimizer(net, Sgd()).param_groups) == 2


@pytest.mark.parametrize("n_steps", [10, 37, 300])
@pytest.mark.parametrize(
    ("config", "oracle"),
    [
        (Cosine(warmup=0.0), lambda o, n: CosineAnnealingLR(o, n)),
        (OneCycle(warmup=0.3), lambda o, n: OneCycleLR(o, 1.0, n, cycle_momentum=False)),
        (Step(drops=1, factor=0.2), lambda o, n: StepLR(o, -(-n // 2), 0.2)),
        (Constant(), lambda o, n: StepLR(o, n)),
    ],
    ids=["cosine", "onecycle", "step", "constant"],
)
def test_schedules_agree_with_torch(config, oracle, n_steps):
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = oracle(optimizer, n_steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses optimizer.step()
        for step in range(n_steps):
            assert lr_factor(config, step, n_steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
            scheduler.step()


@pytest.mark.parametrize("n_steps", [1, 2, 3, 50])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_stays_in_its_bounds(name, n_steps):
    factors = [lr_factor(SCHEDULES[name](), step, n_steps) for step in range(n_steps)]
    assert all(0 < f <= 1 for f in factors)
    assert max(factors) > 0.9


def test_warm_up_is_linear_and_ends_at_the_top():
    factors = [lr_factor(Cosine(warmup=0.3), step, 10) for step in range(10)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[3:] == sorted(factors[3:], reverse=True)


def test_two_drops_cut_into_thirds():
    assert [round(lr_factor(Step(), step, 6), 6) for step in range(6)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
