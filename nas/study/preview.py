"""Before a search: what random samples of its space cost, and what share of them keeps the budgets."""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest

from nas.data import Task
from nas.measure import OpenMeter, open_meter, opened
from nas.measure.price import Pricer
from nas.objectives import Budget, thresholds
from nas.rng import generator
from nas.shapes import Shape
from nas.study.check import check_prices, check_task
from nas.study.config import StudyConfig
from nas.study.deploy import calibration
from nas.study.evaluate import Candidate, Evaluator, excesses
from nas.study.limits import training_process

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_STAND_INS = 64
"""Samples of a stand-in for data."""


class Share(NamedTuple):
    """A share of all samples that a space holds, as far as those drawn tell."""

    n: int
    """How many of those drawn."""

    low: float
    high: float
    """The exact 95 % interval of the share: Clopper & Pearson, Biometrika 26 (1934)."""


@dataclass(frozen=True)
class Preview:
    """What random samples of a space cost.

    Attributes:
        candidates: in the order in which they were drawn, each from its space's own ranges.
        budgets: what they are held against.
        wanted: how many were to be drawn; more than there are where the time was over first.
        seconds: what drawing and pricing took.
        meters: closed again, with what they noticed.
    """

    candidates: tuple[Candidate, ...]
    budgets: tuple[Budget, ...]
    wanted: int
    seconds: float
    meters: tuple[OpenMeter, ...]

    @property
    def priced(self) -> list[Candidate]:
        """Those that can be built and priced."""
        return [c for c in self.candidates if not c.problem]

    @property
    def n_networks(self) -> int:
        """How many of them were measured: others differ in how they are trained alone, or compute the same."""
        return len({frozenset(c.prices.items()) for c in self.priced})

    def keeping(self, budgets: Sequence[Budget]) -> Share:
        """Return what share keeps all of `budgets`, as a search judges; what cannot be built keeps none."""
        n = sum(not c.over(budgets) for c in self.priced)
        low, high = binomtest(n, len(self.candidates)).proportion_ci(method="exact")
        return Share(n, float(low), float(high))

    def quantiles(self) -> dict[str, tuple[float, ...]]:
        """Return `QUANTILES` of each price that is known of any sample, over those of which it is."""
        priced = self.priced
        names = dict.fromkeys(name for c in priced for name in c.prices)
        values = {name: [c.prices[name].value for c in priced if name in c.prices] for name in names}
        return {name: tuple(float(q) for q in np.quantile(known, QUANTILES)) for name, known in values.items()}

    def problems(self) -> list[tuple[int, str]]:
        """Return why samples cannot be built or priced, the commonest first: how many, and one of the messages.

        Messages that differ in their numbers alone are one.
        """
        alike: dict[str, list[str]] = {}
        for problem in (c.problem for c in self.candidates if c.problem):
            alike.setdefault(re.sub(r"\d+", "0", problem), []).append(problem)
        return sorted(((len(group), group[0]) for group in alike.values()), key=lambda found: -found[0])

    def nearest(self, budgets: Sequence[Budget]) -> tuple[Candidate, float] | None:
        """Return the sample that is least beyond `budgets`, and by which factor it breaks the one it breaks most.

        At most 1 where it keeps all of them; None where nothing was priced.
        """
        beyond = [(max(excesses(c.prices, budgets)), c) for c in self.priced]
        if not (beyond and budgets):
            return None
        excess, candidate = min(beyond, key=lambda found: found[0])
        return candidate, math.exp(min(excess, 700.0))


def preview(config: StudyConfig, task: Task, *, samples: int = 60, seconds: float = 60.0) -> Preview:
    """Draw architectures as a random search would, and price them as any search does.

    The same network is measured once, whatever differs in how it is trained. The calibration is made now.

    Args:
        config: the space, what is limited and on which targets; objectives are not looked at beyond these.
        task: gives the shape, the number of outputs and the samples for fixed ranges of int8; see `stand_in`.
        samples: how many to draw, at least 1.
        seconds: after this time no further one is drawn.
    Raises:
        SpaceError: nothing can be built on these data, and why; or nearly all draws are forbidden.
        NasError: a target that cannot be measured on.
    """
    check_task(config.space, task)
    check_prices(config, task)
    budgets, rng = config.parsed_budgets(), generator(config.seed, "samples")
    with ExitStack() as stack:
        stack.enter_context(training_process())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-preview-")))
        meters = {name: open_meter(target) for name, target in config.latencies().items()}
        stack.enter_context(opened(meters))
        for meter in meters.values():
            meter.calibration  # noqa: B018  # made before the first sample, and no part of its time
        samples_of_data, own = calibration(task, config.seed), config.own_prices()
        pricer = Pricer(meters, task.in_shape, scratch, thresholds(budgets), samples_of_data, own=own)
        evaluator, started = Evaluator(config, task, pricer), time.monotonic()
        drawn: list[Candidate] = []
        while len(drawn) < samples and (not drawn or time.monotonic() - started < seconds):
            drawn.append(evaluator.candidate(config.space.sample(rng)))
        spent = time.monotonic() - started
    return Preview(tuple(drawn), budgets, samples, spent, tuple(meters.values()))


def stand_in(in_shape: Shape, n_outputs: int) -> Task:
    """Return data of a shape, where there are none yet: noise, standardised as all data are."""
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(_STAND_INS, *in_shape, generator=made), torch.arange(_STAND_INS) % n_outputs
    channels = in_shape[0] if len(in_shape) == 3 else in_shape[-1]
    return Task(
        name="noise",
        in_shape=in_shape,
        classes=tuple(map(str, range(n_outputs))),
        x_train=x,
        y_train=y,
        x_val=x,
        y_val=y,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
