"""What a sampler sees and what it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from nas.objectives import Objective
from nas.registry import Registry
from nas.space import Architecture, Space

MOST_PRICED = 5
"""How many candidates a sampler prices for one proposal: a new price is a measurement of some 60 ms."""

MOST_DESCRIBED = 10
"""How many candidates it asks for their zero-cost proxies for one proposal: 10 to 40 ms for a new network."""

N_SURVEYED = 40
"""How many it may price once, before its first proposal, to see what there is."""


class Describe(Protocol):
    """Architecture -> its zero-cost proxies, always as many and in the same order; NaN for what cannot be told."""

    def __call__(self, arch: Architecture, wanted: Collection[int] | None = None, /) -> tuple[float, ...]:
        """Return them; it raises nothing.

        Args:
            wanted: indices of those that are looked at: some take ten times as long as others. None: all.
        """


@dataclass(frozen=True, slots=True)
class Price:
    """What is known of an architecture before training it."""

    losses: tuple[float | None, ...]
    """One per objective, minimised; None where only training tells."""

    violation: float
    """0.0 keeps every budget; else the sum of the relative excesses; inf where it cannot be built."""

    excess: tuple[float, ...] = ()
    """One per budget, as `Budget.excess`: the logarithm of price over limit, at most 0 where it is kept."""

    cost: float | None = None
    """Predicted seconds of training, where somebody can tell."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """Prices of architectures as somebody predicts them who has not measured, nor built, a single one.

    Attributes:
        losses: (n, n_objectives), as `Price.losses`; NaN where nothing is predicted.
        excess: (n, n_budgets), as `Price.excess`; NaN where nothing is predicted.
        unsure: (n, n_budgets) standard deviation of the excess.
    """

    losses: np.ndarray
    excess: np.ndarray
    unsure: np.ndarray

    def at(self, indices: np.ndarray) -> Predicted:
        """Return those of some of the architectures."""
        return Predicted(self.losses[indices], self.excess[indices], self.unsure[indices])


Screen = Callable[[Sequence[Architecture]], Predicted]
"""Architectures -> their predicted prices, from what was priced so far. For hundreds at a time; it raises nothing."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A finished trial."""

    arch: Architecture

    state: Literal["complete", "over_budget", "failed"]

    losses: tuple[float | None, ...]
    """One per objective, minimised; all known of a complete trial, else what is known."""

    violation: float = 0.0
    """As in `Price`."""

    number: int = 0
    """The trial's number in the study."""

    excess: tuple[float, ...] = ()
    """As in `Price`."""

    cost: float | None = None
    """Seconds of training it took."""

    source: str = ""
    """Empty for a trial of this study. Else what it is evidence from: a cheaper fidelity ('3 epochs'), another run.
    Evidence may help to choose; it is no trial: its architecture can still be proposed."""


def trials(seen: Sequence[Observation]) -> Sequence[Observation]:
    """Return the trials of the study itself, without evidence from elsewhere."""
    return [observation for observation in seen if not observation.source]


class Proposer(Protocol):
    """A sampler. It keeps nothing between calls but memory of what it computed: the same arguments, the same answer.

    (Samplers of other libraries keep what they keep; see `nas.samplers.optuna`.)
    """

    def propose(
        self,
        seen: Sequence[Observation],
        pending: Sequence[Architecture],
        price: Callable[[Architecture], Price],
        rng: np.random.Generator,
    ) -> Architecture:
        """Return the architecture to try next.

        Args:
            seen: every finished trial.
            pending: what is being tried right now.
            price: measures a candidate. Called for at most `MOST_PRICED`, and once for `N_SURVEYED` more; the caller
                remembers the answers, and puts a priced candidate that breaks a budget into `seen` the next time.
            rng: the only source of chance.
        """


class SamplerFactory(Protocol):
    """How a registered sampler is made: `SAMPLERS[name](space, objectives, gated=True)`.

    One that can use zero-cost proxies takes a further argument `describe`; one that can use predicted prices, `screen`.
    """

    def __call__(self, space: Space, objectives: Sequence[Objective], *, gated: bool = False) -> Proposer:
        """Return a sampler; `gated` says that prices tell something: budgets, or objectives known before training."""


def _check_factory(name: str, part: SamplerFactory) -> None:
    if not callable(part):
        raise ValueError(f"must be a class or function that makes a sampler, got {part!r}")
    parameters = inspect.signature(part).parameters
    found = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(found) < 2 or "gated" not in parameters:
        raise ValueError(
            f"it is made with ({', '.join(parameters)}); write def __init__(self, space, objectives, *, gated=False)"
        )
    for p in list(parameters.values())[2:]:
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD:
            raise ValueError(f"its argument {p.name} has no default; 'nas search --sampler {name}' gives none")
    if isinstance(part, type) and not callable(getattr(part, "propose", None)):
        raise ValueError("it has no propose; write def propose(self, seen, pending, price, rng)")


SAMPLERS: Registry[SamplerFactory] = Registry("sampler", _check_factory)
