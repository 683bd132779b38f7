"""Every sampler keeps the contract (`nas.testing.samplers`), ours and Optuna's through our adapter.

A registered sampler without a line here fails.
"""

import math

import numpy as np
import pytest

from nas.pareto import hypervolume
from nas.samplers import SAMPLERS, Price
from nas.space import Choice, Float, Integer, Repeat, Space
from nas.testing import SAMPLER_CONTRACT
from nas.testing.samplers import SPACES, evidence_of, figures, run, trouble

# Small start-ups: the part that learns is what can break.
TABLE = {
    "random": "random",
    "evolution": "evolution(population=6, tournament=3)",
    "tpe": "tpe(n_startup=5)",
    "optuna:NSGAIISampler": "optuna:NSGAIISampler(population_size=6)",
    "optuna:TPESampler": "optuna:TPESampler(multivariate=True, group=True, n_startup_trials=4, n_ei_candidates=4)",
}


def test_no_registered_sampler_is_left_out():
    assert set(SAMPLERS) <= set(TABLE)


@pytest.mark.parametrize("spec", TABLE.values(), ids=TABLE)
@pytest.mark.parametrize("test", SAMPLER_CONTRACT, ids=lambda test: test.__name__)
def test_a_sampler_keeps_the_contract(test, spec):
    test(spec)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", [name for name in TABLE if name != "tpe"])
def test_those_that_use_no_evidence_propose_the_same_with_it(name, space):
    with_it, without = (run(TABLE[name], space, 12, tell=trouble, evidence=e) for e in (evidence_of(space), []))
    assert [o.arch for o in with_it] == [o.arch for o in without]


@pytest.mark.parametrize("name", ["evolution", "tpe"])
def test_ours_that_learn_ask_for_prices_where_something_is_limited(name):
    priced = []

    def price(arch):
        priced.append(arch)
        return Price((None, figures(arch)[1]), 0.0)

    run(TABLE[name], SPACES["flat"], 8, price=price, gated=True)
    assert len(priced) >= 8


# An easy net: up to four blocks, wide is accurate and slow, "pool" is free and useless, one good learning rate.
NET = Space(
    input="vector",
    root={
        "body": Repeat(
            Integer(1, 4),
            Choice({"conv": {"width": Integer(8, 96, step=8), "kernel": [3, 5, 7]}, "pool": {"size": [2, 3]}}),
        ),
        "lr": Float(1e-4, 1.0, log=True),
    },
)


def error_and_latency(arch):
    capacity = latency = 0.0
    for i in range(int(arch.values["body.repeat"])):
        if arch.values[f"body.{i}"] == "conv":
            width, kernel = arch.values[f"body.{i}.conv.width"], arch.values[f"body.{i}.conv.kernel"]
            capacity += width / 96 * (1.2 if kernel == 5 else 1.0)
            latency += width / 96 * kernel**2 / 9
    return 0.05 + 0.7 * math.exp(-capacity) + 0.1 * math.log10(arch.values["lr"] / 1e-2) ** 2, 0.05 + latency


def volume_after(n, spec, seed):
    seen = run(spec, NET, n, seed, tell=lambda number, arch: ("complete", error_and_latency(arch), 0.0))
    losses = np.array([o.losses for o in seen])
    return hypervolume(np.column_stack([losses[:, 0], np.log10(losses[:, 1])]), np.array([0.6, 1.0]))


def test_tpe_beats_random_search_on_an_easy_net():
    wins = sum(volume_after(100, "tpe", seed) > volume_after(100, "random", seed) for seed in range(8))
    assert wins >= 7  # chance of this with no real advantage: 9 of 256, 3.5 %
