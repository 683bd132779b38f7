"""Predicted prices: every candidate is looked at, the dear ones are not measured; measurements have the last word."""

import math

import numpy as np
from tpe_cases import ACCURACY, LATENCY, NET, told

from nas.rng import generator
from nas.samplers import TPE, Predicted, Price
from nas.samplers.proposer import MOST_PRICED
from nas.space import Categorical, Space

OBJECTIVES = (ACCURACY, LATENCY)

DISCRETE = Space(input="vector", root={"body": NET.root.fields["body"], "lr": Categorical((1e-3, 1e-2, 1e-1))})


def history(n, space):
    rng = np.random.default_rng(0)
    return [told(space.sample(rng), i, excess=(-1.0,)) for i in range(n)]


def forbidden(arch):
    """Return whether a lot, of which nothing in the tree tells, puts `arch` over the budget."""
    return int(arch.fingerprint()[:8], 16) % 3 != 0


def proposals(screen, n=15, space=NET):
    """Return how many of the priced candidates broke the budget, and what was proposed."""
    broke, chosen = [], []
    for seed in range(n):
        sampler = TPE(space, OBJECTIVES, gated=True, screen=screen, explore=0.0, without="survey")
        asked = []

        def price(arch, asked=asked):
            asked.append(arch)
            over = 1.0 if forbidden(arch) else -1.0
            return Price((None, told(arch, 0).losses[1]), max(over, 0.0), (over,))

        seen = [o for o in history(40, space) if not forbidden(o.arch)]
        chosen.append(sampler.propose(seen, [], price, generator(seed, "screen")))
        assert len(asked) <= MOST_PRICED
        broke.append(sum(map(forbidden, asked)))
    return sum(broke), chosen


def knowing(archs):
    excess = np.array([[1.0 if forbidden(arch) else -1.0] for arch in archs])
    losses = np.array([[math.nan, told(arch, 0).losses[1]] for arch in archs])
    return Predicted(losses, excess, np.full_like(excess, 0.1))


def ignorant(archs):
    nothing = np.full((len(archs), 1), math.nan)
    return Predicted(np.full((len(archs), 2), math.nan), nothing, nothing)


def test_what_is_predicted_to_break_a_budget_is_not_measured():
    blind, _ = proposals(None)
    knowing_, chosen = proposals(knowing)
    assert blind > 30, "two thirds break it, and nobody could tell"
    assert knowing_ == 0
    assert not any(map(forbidden, chosen))


def test_a_wrong_prediction_does_no_more_than_waste_measurements():
    def wrong(archs):
        found = knowing(archs)
        return Predicted(found.losses, -found.excess, found.unsure)

    broke, _ = proposals(wrong, n=3)
    assert broke == 3 * MOST_PRICED, "it measures what it is told to"


def test_every_candidate_is_looked_at_once_and_who_knows_nothing_changes_nothing():
    looked = []

    def screen(archs):
        looked.append(len(archs))
        return ignorant(archs)

    # A space without ranges: within one, where in its cell a value lies is drawn for all candidates or for few.
    assert proposals(screen, n=5, space=DISCRETE) == proposals(None, n=5, space=DISCRETE)
    assert len(looked) == 5
    assert all(n > 50 for n in looked)
