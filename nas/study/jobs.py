"""What goes to a process that trains and what comes back: plain values, and bytes for weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from nas.space import Architecture
from nas.study.curves import Bar
from nas.training.log import EpochLog


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training up to the end of a rung."""

    number: int
    """Of the trial; owns its random streams."""

    arch: Architecture
    rung: int
    """Index of the rung to train to."""

    state: bytes | None = field(default=None, repr=False)
    """Where it left off (`nas.training.TrainState`); None: from the start."""

    seconds_left: float | None = None
    """Until the end of the run."""

    trial_limit_s: float | None = None
    """Seconds that the training may take, those behind `state` among them, pauses not; longer is a failed trial."""

    bar: Bar | None = None
    """When to give up within the rung; None: never."""

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return f"trial {self.number}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job."""

    number: int
    rung: int

    ended: Literal["rung", "stopped", "time", "failed", "died"]
    """rung: its end was reached. stopped: given up for its learning curve. time: the run's time was over. failed: for
    the reason given. died: its process did, and nothing is known but how."""

    blameless: bool = False
    """It died of something that no training does: its machine left."""

    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Figures on the validation data by name of the objective, where they are known."""

    rung_scores: tuple[Mapping[str, float], ...] = ()
    """The same at the end of every rung that the trial has finished, those of earlier jobs too."""

    curve: tuple[tuple[float, float], ...] = ()
    """(epochs, figure on the validation data), from the trial's beginning."""

    curve_of: str = "accuracy"
    """Name of that figure."""

    epochs: float = 0.0
    """Trained in all, in passes over the training set."""

    train_seconds: float = 0.0
    """Wall time of this job: building, training and judging, without pauses for others' measurements."""

    epoch_seconds: float = 0.0
    """Of training alone, a pass over the training set."""

    state: bytes | None = field(default=None, repr=False)
    """To go on from; None where the training is over."""

    weights: bytes | None = field(default=None, repr=False)
    """State of the network that was judged, where the full training is done."""


@dataclass(frozen=True)
class Progress:
    """A job that is under way: one more epoch, or the end of a rung."""

    number: int
    log: EpochLog


Tell: TypeAlias = Callable[[Progress], None]
"""Told of progress; what it does changes nothing."""

Runner: TypeAlias = Callable[[Job, Tell], Outcome]
"""Runs a job in the process it is called in."""

Prepare: TypeAlias = Callable[[int], Runner]
"""Makes a process ready to train (its data, its threads), once; told which slot it is, from 0. Can be pickled."""


class Executor(Protocol):
    """Runs jobs somewhere. Every job that was submitted gives one `Outcome`, whatever happens to its process.

    Attributes:
        slots: how many jobs run at a time.
        apart: whether jobs run beside the caller, who has time to do something else meanwhile.
    """

    slots: int
    apart: bool

    def submit(self, job: Job) -> None:
        """Begin a job, or have it begin with the next `wait`. At most `slots` are under way."""

    def wait(self, timeout_s: float | None = None) -> Sequence[Outcome]:
        """Return what ended, one at least; nothing after `timeout_s`, or where nothing is under way."""

    def close(self) -> None:
        """End everything that is under way, and wait until it has ended; what runs then gives no outcome."""
