"""Job -> Outcome: build, train up to the end of a rung, judge. In whatever process; no Optuna, no prices."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.build import Network, build
from nas.data import open_shared
from nas.errors import NasError, RunError, TrialFailed
from nas.measure.quiet import Pause
from nas.metrics import METRICS
from nas.plugins import Plugin, restore
from nas.rng import generator, torch_seed
from nas.space import Architecture
from nas.study.config import StudyConfig
from nas.study.deploy import judge_file, precision_of, shipped_file
from nas.study.folder import packed
from nas.study.jobs import Job, Outcome, Progress, Runner, Tell
from nas.study.judging import judged_by
from nas.study.limits import training_process
from nas.training import TrainConfig, TrainState, as_trial_failed, fit, torch_seeded
from nas.training.device import device_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.data import Task
    from nas.metrics import Judge, Metric
    from nas.training import EpochLog, FitResult, Scores

_WARM = 32
"""Samples in a batch before the first trial."""

_PROCESS = ExitStack()
"""What a process that trains has set up for good."""


def prepare(
    config: StudyConfig,
    metrics: tuple[Metric, ...],
    folder: Path,
    slots: int,
    slot: int,
    *,
    plugins: Sequence[Plugin] = (),
    memory: int | None = None,
) -> Runner:
    """Make this process one of `slots` that train, and return what runs its jobs; see `nas.study.jobs.Prepare`.

    Args:
        metrics: of the user's own, that no import files.
        folder: where `write_shared` put the data.
        plugins: what the process of the search has loaded.
        memory: as for `training_process`.
    """
    task = ready(config, metrics, folder, slots, slot, plugins, memory)
    _warm_up(config, task)
    return partial(work, config, task)


def ready(
    config: StudyConfig,
    metrics: Sequence[Metric],
    folder: Path,
    slots: int,
    slot: int,
    plugins: Sequence[Plugin],
    memory: int | None = None,
) -> Task:
    """Make this process one of `slots` that train, and return the data; arguments as for `prepare`."""
    restore(plugins)
    for metric in metrics:
        METRICS.take(metric)
    task = open_shared(folder).to(device_of(config.device, slot))
    _PROCESS.enter_context(training_process(slots, memory))
    return task


def prepare_here(config: StudyConfig, task: Task, slot: int) -> Runner:
    """Return what runs jobs in the process of the search, which is set up already; see `nas.study.jobs.Prepare`."""
    return partial(work, config, task.to(device_of(config.device, slot)))


def _warm_up(config: StudyConfig, task: Task) -> None:
    """Train a little: the first steps of a process load what they need, and take seconds that are no trial's."""
    with contextlib.suppress(NasError), as_trial_failed(), torch_seeded(0):
        arch = config.space.sample(generator(0, "warm up"))
        network = build(config.space, arch, task.in_shape, task.n_outputs).to(task.x_train.device)
        few = slice(0, 6 * _WARM)  # on a GPU the fourth step is recorded, and played back from the fifth on
        train = TrainConfig(epochs=1, batch_size=_WARM)
        fit(
            network, task.x_train[few], task.y_train[few], train, seed=0, evaluate_on=(task.x_val[few], task.y_val[few])
        )


def work(config: StudyConfig, task: Task, job: Job, tell: Tell) -> Outcome:
    """Train a network up to the end of a rung and judge it on the validation data; it pauses while others measure.

    The weights of trial 12 start the same whatever ran before it: they are seeded by the study and the number. What
    ships in 8 bits is trained in float32, and in the end judged as the file that it ships as; the curve is of float32.
    """
    started = time.perf_counter()
    deadline = None if job.seconds_left is None else time.monotonic() + job.seconds_left
    train = train_config(config, job.arch)
    judge, follows = judged_by(config.objectives, task)
    curve: list[EpochLog] = []

    def note(log: EpochLog) -> None:
        curve.append(log)
        tell(Progress(job.number, log))

    def stop(logs: Sequence[EpochLog]) -> str:
        scores = logs[-1].scores
        if job.bar is None or scores is None:
            return ""
        return job.bar.reason(logs[-1].epochs / train.epochs, follows.error(scores[follows.name]))

    with Pause(deadline=deadline) as pause:
        try:
            before = _left_off(job.state)
            with as_trial_failed(), torch_seeded(torch_seed(config.seed, "weights", job.number)):
                network = build(config.space, job.arch, task.in_shape, task.n_outputs)  # alike for every device
                network.to(task.x_train.device)
            found = fit(
                network,
                task.x_train,
                task.y_train,
                train,
                seed=torch_seed(config.seed, "training", job.number),
                evaluate_on=(task.x_val, task.y_val),
                judge=judge,
                until=job.rung,
                state=before,
                deadline=deadline,
                trial_limit_s=job.trial_limit_s,
                on_epoch=note,
                between_batches=pause,
                stop=stop,
            )
            whole = found.ended == "rung" and found.state is None
            scores = (_scores_of_file(config, task, network, job.arch, judge, pause) if whole else None) or _last(found)
            rung_scores = _rung_scores(
                found, job.rung + 1 if found.ended == "rung" else 0, len(train.rungs) if whole else 0, scores
            )
        except TrialFailed as error:
            seconds = time.perf_counter() - started - pause.waited_s
            trained = curve[-1].epochs if curve else 0.0
            return Outcome(
                number=job.number,
                rung=job.rung,
                ended="failed",
                reason=str(error),
                epochs=trained,
                train_seconds=seconds,
                curve=_points(curve, follows.name),
                curve_of=follows.name,
            )
        return Outcome(
            number=job.number,
            rung=job.rung,
            ended=found.ended,
            reason=found.reason,
            scores=scores or {},
            rung_scores=rung_scores,
            curve=_points(found.curve, follows.name),
            curve_of=follows.name,
            epochs=found.epochs,
            train_seconds=time.perf_counter() - started - pause.waited_s,
            epoch_seconds=_epoch_seconds(found, train),
            state=None if found.state is None else found.state.to_bytes(),
            weights=packed(network.cpu().state_dict()) if whole else None,
        )


def train_config(config: StudyConfig, arch: Architecture) -> TrainConfig:
    """Return how a study trains an architecture: what its tree says, then what the study overrides."""
    tree = config.space.resolve(arch).get("training", {})
    assert isinstance(tree, dict)
    found = TrainConfig.from_tree(tree)
    overrides = {"rungs": config.parsed_rungs(), "subset": config.subset, "subset_method": config.subset_method}
    if config.epochs is not None:
        overrides["epochs"] = config.epochs
    return dataclasses.replace(found, **overrides)  # type: ignore[arg-type]


def _left_off(state: bytes | None) -> TrainState | None:
    """Return where a training left off; None, and it begins anew, where that is damaged: it ends the same."""
    try:
        return None if state is None else TrainState.from_bytes(state)
    except RunError:
        return None


def _rung_scores(found: FitResult, reached: int, n_rungs: int, last: Scores | None) -> tuple[dict[str, float], ...]:
    """Return the scores at the end of each rung that was finished, as they stood there.

    Args:
        reached: how many rungs the training was asked for and reached the end of; 0 where it was given up.
        n_rungs: how many there have to be of a full training: rungs that end at one batch are judged once.
        last: of a full training, which may be those of its file.
    """
    ends: list[Scores] = []
    for log in found.curve:
        if log.rung is not None and log.scores is not None:
            ends += (ends[-1:] or [log.scores]) * (log.rung - len(ends))  # rungs that end where the one before does
            ends.append(log.scores)
    if ends and reached > len(ends):  # the rungs up to there end at one batch
        ends += [ends[-1]] * (reached - len(ends))
    if n_rungs and last is not None:
        ends = [*ends[: n_rungs - 1], *[last] * (n_rungs - min(len(ends), n_rungs - 1))]
    return tuple(ends)


def _epoch_seconds(found: FitResult, train: TrainConfig) -> float:
    """Return the seconds of a pass over the training set at full resolution; 0 where there was none yet."""
    small = [i for i, rung in enumerate(train.rungs) if rung.resolution < 1]
    logs = [log for log in found.curve if small and log.rung is not None and log.rung <= small[-1]]
    if small and small[-1] not in [log.rung for log in logs]:
        return 0.0
    seconds, epochs = (logs[-1].train_seconds, logs[-1].epochs) if logs else (0.0, 0.0)
    return (found.train_seconds - seconds) / (found.epochs - epochs) if found.epochs > epochs else 0.0


def _last(found: FitResult) -> Scores | None:
    return found.curve[-1].scores if found.curve else None


def _points(curve: Sequence[EpochLog], name: str) -> tuple[tuple[float, float], ...]:
    return tuple((log.epochs, log.scores[name]) for log in curve if log.scores)


def _scores_of_file(
    config: StudyConfig, task: Task, network: Network, arch: Architecture, judge: Judge, pause: Pause
) -> Scores | None:
    """Return how good the file is that a network ships as; None where that is as good as the network itself."""
    precision = precision_of(config.space, arch)
    if precision == "fp32":
        return None
    network, task = network.cpu(), task.to("cpu")
    with shipped_file(network, task, precision, config.seed, pause) as path:
        return judge_file(path, task.x_val, task.y_val, judge, pause)
