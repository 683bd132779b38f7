"""Never the same architecture twice: a sampler's memory of fingerprints, and the way to one not seen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from nas.errors import SpaceError
from nas.samplers.proposer import Observation, trials
from nas.space import Architecture, Slot, Space
from nas.space.parameters import Scalar, grid

_TRIES = 50
_SMALL = 4096


class Fresh:
    """Tells the architectures of a space that are taken, and finds others."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._known: list[Observation] = []
        self._prints: set[str] = set()
        """Of the observations that are known."""
        self._everything: list[Architecture] | None = None

    def taken(self, seen: Sequence[Observation], pending: Iterable[Architecture]) -> set[str]:
        """Return the fingerprints of what was tried and of what is being tried; evidence from elsewhere is neither.

        Cost: 30 microseconds for an observation not there the last time, 0.1 for the others where they are the very
        same objects in the same order.
        """
        tried = list(trials(seen))
        if self._known != tried[: len(self._known)]:  # another history; of the same objects this looks at no value
            self._known, self._prints = [], set()
        self._prints.update(observation.arch.fingerprint() for observation in tried[len(self._known) :])
        self._known = tried
        return self._prints.union(arch.fingerprint() for arch in pending)

    def draw(self, taken: Collection[str], rng: np.random.Generator) -> Architecture:
        """Draw from the prior until the architecture is not in `taken`.

        After 50 draws a space of up to 4,096 discrete combinations is listed, and one of those left is drawn;
        so it is exhausted without a repetition. Where nothing is left the last draw is returned.
        """
        for _ in range(_TRIES):
            arch = self.space.sample(rng)
            if arch.fingerprint() not in taken:
                return arch
        left = [other for other in self._listed() if other.fingerprint() not in taken]
        return left[int(rng.integers(len(left)))] if left else arch

    def draws(self, taken: Collection[str], rng: np.random.Generator) -> Iterator[Architecture]:
        """Yield draws that are different from one another and not in `taken`, without end."""
        gone = set(taken)
        while True:
            arch = self.draw(gone, rng)
            gone.add(arch.fingerprint())
            yield arch

    def _listed(self) -> Sequence[Architecture]:
        if self._everything is None:
            combinations, continuous = self.space.count()
            small = not continuous and combinations <= _SMALL
            self._everything = list(islice(every(self.space), _SMALL)) if small else []
        return self._everything


def every(space: Space) -> Iterator[Architecture]:
    """Yield every architecture of a discrete space once, in the order of the tree.

    Raises:
        SpaceError: a parameter is continuous.

    >>> space = Space(input="vector", root={"body": {"a": [1, 2], "b": [3, 4]}}, forbid=({"body.a": 1, "body.b": 3},))
    >>> [arch.to_json() for arch in every(space)]
    ['{"body.a":1,"body.b":4}', '{"body.a":2,"body.b":3}', '{"body.a":2,"body.b":4}']
    """
    start: list[int] = []  # the option to take at each of the first decisions; 0 from there on
    while True:
        made: list[tuple[int, int]] = []  # (option taken, number of options)

        def choose(slot: Slot, made: list[tuple[int, int]] = made, start: list[int] = start) -> Scalar:
            options = slot.parameter.cardinality()
            if options == math.inf:
                raise SpaceError(f"{slot.path} is continuous, its values cannot be listed")
            option = start[len(made)] if len(made) < len(start) else 0
            made.append((option, int(options)))
            return grid(slot.parameter, most=int(options))[option]

        arch = space.walk(choose)
        if space.forbidden(arch) is None:
            yield arch
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return
        start = [option for option, _ in made]
        start[-1] += 1
