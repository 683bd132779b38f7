"""Job -> Outcome: a network trained on all data but the test set, up to its next checkpoint. In whatever process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.build import Network, build
from nas.errors import RunError, TrialFailed
from nas.measure.quiet import Pause
from nas.rng import torch_seed
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.folder import packed
from nas.study.jobs import Job, Outcome, Progress, Runner, Tell
from nas.study.work import ready
from nas.training import TrainConfig, TrainState, as_trial_failed, fit, torch_seeded
from nas.training.device import device_of

if TYPE_CHECKING:
    from nas.data import Task
    from nas.plugins import Plugin
    from nas.training import EpochLog


@dataclass(frozen=True, kw_only=True)
class SeedJob(Job):
    """One seed of one network up to a checkpoint; `number` counts the trainings of a command."""

    trial: int
    seed: int
    train: TrainConfig

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return f"trial {self.trial}, seed {self.seed + 1}"


def prepare(config: StudyConfig, folder: Path, slots: int, slot: int, *, plugins: Sequence[Plugin] = ()) -> Runner:
    """Make this process one of `slots` that train; see `nas.study.jobs.Prepare`.

    Args:
        folder: where `write_shared` put the data, of which the training samples are all that a network is trained on.
        plugins: what the process of the command has loaded.
    """
    return partial(work, config, ready(config, folder, slots, slot, plugins))


def prepare_here(config: StudyConfig, task: Task, slot: int) -> Runner:
    """Return what runs jobs in this process, which is set up already; see `nas.study.jobs.Prepare`."""
    return partial(work, config, task.to(device_of(config.device, slot)))


def work(config: StudyConfig, task: Task, job: Job, tell: Tell) -> Outcome:
    """Train a seed on the training samples of `task` up to the end of a rung; it pauses while others measure.

    The same seed of the same trial gives the same weights, wherever and beside whatever it is trained, and however
    often it was set aside: it is seeded by the study, the number of the trial, and the seed.
    """
    assert isinstance(job, SeedJob)
    began = time.perf_counter()

    def note(log: EpochLog) -> None:
        tell(Progress(job.number, log))

    with Pause() as pause:
        try:
            with as_trial_failed():
                network = untrained(config, job.arch, task, job.trial, job.seed)
                network.to(task.x_train.device)
            found = fit(
                network,
                task.x_train,
                task.y_train,
                job.train,
                seed=torch_seed(config.seed, "retraining", job.trial, job.seed),
                until=job.rung,
                state=_left_off(job.state),
                on_epoch=note,
                between_batches=pause,
            )
        except TrialFailed as error:
            return Outcome(number=job.number, rung=job.rung, ended="failed", reason=str(error))
        return Outcome(
            number=job.number,
            rung=job.rung,
            ended="rung",
            epochs=found.epochs,
            train_seconds=time.perf_counter() - began - pause.waited_s,
            epoch_seconds=found.train_seconds / found.epochs,
            state=None if found.state is None else found.state.to_bytes(),
            weights=packed(network.cpu().state_dict()) if found.state is None else None,
        )


def untrained(config: StudyConfig, arch: Architecture, task: Task, trial: int, seed: int) -> Network:
    """Build a network with the weights that a seed begins with."""
    with torch_seeded(torch_seed(config.seed, "retrained weights", trial, seed)):
        return build(config.space, arch, task.in_shape, task.n_outputs)


def _left_off(state: bytes | None) -> TrainState | None:
    """Return where a training left off; None, and it begins anew, where that is damaged: it ends the same."""
    try:
        return None if state is None else TrainState.from_bytes(state)
    except RunError:
        return None
