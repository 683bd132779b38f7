"""What the tests of TPE share: parameters of every kind, a net whose figures are formulas, and a search on it."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from nas.objectives import OBJECTIVES
from nas.rng import generator
from nas.samplers import TPE, Observation, Price
from nas.samplers.tpe.activity import Activity
from nas.samplers.tpe.cells import MOST_CELLS
from nas.samplers.tpe.columns import Columns
from nas.space import Categorical, Centre, Choice, Float, Integer, Repeat, Space

sys.path.insert(0, str(Path(__file__).parents[1] / "space"))

from space_strategies import fixed, parameters, spaces

ACCURACY, LATENCY, MACS = (OBJECTIVES[name] for name in ("accuracy", "latency_ms", "macs"))

PARAMETERS = {
    "words": Categorical(("conv", "lstm", "pool")),
    "switch": Categorical((False, True)),
    "kernels": Categorical((3, 5, 7)),
    "mixed": Categorical((1, "auto", 2.5)),
    "steps": Integer(8, 32, step=8),
    "log integer": Integer(1, 40, log=True),
    "many": Integer(0, 1000),
    "many, log": Integer(1, 5000, log=True),
    "rate": Float(1e-4, 1.0, log=True),
    "share": Float(0.0, 0.5),
    "grid": Float(0.0, 1.0, step=0.1),
    "constant": Integer(4, 4),
    "point": Float(2.0, 2.0),
    "believed words": Categorical(("conv", "lstm", "pool"), prior=(3, 1, 0)),
    "believed kernels": Categorical((3, 5, 7), prior={5: 2}),
    "believed log integer": Integer(1, 40, log=True, prior=Centre(12)),
    "believed rate": Float(1e-4, 1.0, log=True, prior=Centre(0.01, 0.99)),
}

exact_leaves = fixed | parameters.filter(lambda p: p.cardinality() <= MOST_CELLS)
exact_spaces = spaces(leaves=exact_leaves)
any_spaces = spaces(conditions=False) | exact_spaces
"""All but those with a condition on a parameter whose cells hold many values: a row does not say if it is met."""

seeds = st.integers(0, 2**32 - 1)

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
"""Up to four blocks; wide is accurate and slow, "pool" is free and useless, and there is one good learning rate."""


def figures(arch):
    """Return error and latency in ms."""
    capacity = latency = 0.0
    for i in range(int(arch.values["body.repeat"])):
        if arch.values[f"body.{i}"] == "conv":
            width, kernel = arch.values[f"body.{i}.conv.width"], arch.values[f"body.{i}.conv.kernel"]
            capacity += width / 96 * (1.2 if kernel == 5 else 1.0)
            latency += width / 96 * kernel**2 / 9
    return 0.05 + 0.7 * math.exp(-capacity) + 0.1 * math.log10(arch.values["lr"] / 1e-2) ** 2, 0.05 + latency


def told(arch, number=0, **more):
    """Return the trial of an architecture of `NET`."""
    return Observation(arch, "complete", figures(arch), number=number, **more)


def random_trials(n, seed=0, space=NET, tell=told, **more):
    """Return trials of random architectures, no two the same."""
    rng, archs = np.random.default_rng(seed), {}
    while len(archs) < n:
        arch = space.sample(rng)
        archs[arch.fingerprint()] = arch
    return [tell(arch, i, **more) for i, arch in enumerate(archs.values())]


def free(n_losses=2):
    """Return prices that say nothing."""
    return lambda arch: Price((None,) * n_losses, 0.0)


def search(n, space=NET, objectives=(ACCURACY, LATENCY), tell=told, *, start=(), seed=0, price=None, **options):
    """Propose and tell, one after the other; return what was told, without `start`."""
    sampler, seen = TPE(space, objectives, seed=seed, **options), list(start)
    price = price or free(len(objectives))
    while len(seen) < len(start) + n:
        number = len(seen) - len(start)
        arch = sampler.propose(seen, [], price, generator(seed, "sampler", number))
        seen.append(tell(arch, number))
    return seen[len(start) :]


def prior(columns):
    """Return the distributions of the prior."""
    return columns.steps([columns.cells[alike[0]].prior for alike in columns.roles])


def chances(columns, steps):
    """Undo `Columns.steps`: the probabilities of the cells of each column."""
    found = {}
    for alike, distribution in zip(columns.roles, steps, strict=True):
        edges = np.pad(distribution, ((0, 0), (1, 1)), constant_values=((0, 0), (0.0, 1.0)))
        found |= dict(zip(alike.tolist(), np.diff(edges, axis=1), strict=True))
    return [found[column] for column in range(len(columns.names))]


def drawn(space, n, seed=0):
    """Return the columns of a space, their activity, and `n` rows from the prior."""
    columns = Columns(space)
    activity = Activity(columns)
    return columns, activity, activity.draw(prior(columns), n, np.random.default_rng(seed))
