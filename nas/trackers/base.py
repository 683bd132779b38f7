"""What a tracker is told: plain values, since it works in a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from nas.records import TrialRecord

Ended: TypeAlias = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class RunInfo:
    """A run as it begins, or goes on."""

    folder: Path
    run_id: str
    settings: Mapping[str, str]
    """What is searched, on what, for what: the resolved config in words, by name."""


@dataclass(frozen=True)
class Standing:
    """How a search stands after a training."""

    trained: int
    """Trials that were trained so far."""

    figures: Mapping[str, float]
    """`hypervolume` (relative, never falling after ten trials; from two on), `front_size`, and how many trials are of
    each state."""


class Tracker(Protocol):
    """Takes note of a run somewhere. Called in a thread of its own, one call after the other; it may raise anything."""

    def begin(self, run: RunInfo) -> None:
        """Take up a run; one that was tracked before and is resumed goes on where it was."""

    def trial(self, record: TrialRecord, standing: Standing) -> None:
        """Note a trial that was trained: the same number again where one that was set aside has gone on."""

    def end(self, ended: Ended, files: Sequence[Path], front: str) -> None:
        """Note the end.

        Args:
            files: what the run has made, such as front.csv and front.png.
            front: as a table in Markdown.
        """


def final(record: TrialRecord) -> bool:
    """Whether nothing more is to come of a trial."""
    return not record.paused
