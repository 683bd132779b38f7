"""Who is told how a retraining goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nas.retrain.result import Retrained, SeedResult
    from nas.training.log import EpochLog


class Watcher(Protocol):
    """What it does changes nothing; what it raises ends the retraining, and is passed on."""

    def begun(self, trial: int, epochs: int, n_seeds: int, known: int, resumed: bool) -> None:
        """A network is to be trained, with `n_seeds` seeds, of which `known` are there already.

        Args:
            resumed: it goes on with one that was interrupted, or with fewer seeds.
        """

    def planned_again(self, trial: int, epochs: int, before: int) -> None:
        """A network is trained for fewer epochs than `before`, or for more, as there is time; from its start."""

    def epoch(self, trial: int, seed: int, log: EpochLog) -> None:
        """An epoch has ended."""

    def judged(self, trial: int, result: SeedResult) -> None:
        """A seed is trained and judged."""

    def done(self, found: Retrained) -> None:
        """All seeds of a network are."""

    def failed(self, trial: int, reason: str) -> None:
        """A network cannot be trained; the others go on."""

    def late(self, seconds: float, limit_s: float) -> None:
        """All is done, and took `seconds`, more than a twentieth over its time limit."""


class Unwatched:
    """Says nothing."""

    def begun(self, trial: int, epochs: int, n_seeds: int, known: int, resumed: bool) -> None:
        """See `Watcher`."""

    def planned_again(self, trial: int, epochs: int, before: int) -> None:
        """See `Watcher`."""

    def epoch(self, trial: int, seed: int, log: EpochLog) -> None:
        """See `Watcher`."""

    def judged(self, trial: int, result: SeedResult) -> None:
        """See `Watcher`."""

    def done(self, found: Retrained) -> None:
        """See `Watcher`."""

    def failed(self, trial: int, reason: str) -> None:
        """See `Watcher`."""

    def late(self, seconds: float, limit_s: float) -> None:
        """See `Watcher`."""
