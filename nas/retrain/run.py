"""The chosen ones, trained in full: all data but the test set, several seeds, judged once on the test set."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout

from nas.errors import NasError, RunError
from nas.measure.machine import describe
from nas.records import TrialRecord
from nas.retrain.clock import TimeLimit
from nas.retrain.drive import DATA, Member, Retraining, n_searched
from nas.retrain.folder import RetrainFolder, plan_from
from nas.retrain.held_out import HeldOut
from nas.retrain.plan import MOST_EPOCHS, Plan, epochs_within
from nas.retrain.recipe import full_training, recipe_of
from nas.retrain.result import RESULT, Retrained, SeedResult, all_retrained
from nas.retrain.watch import Unwatched, Watcher
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.judging import judge_of
from nas.training.augment import check_augment
from nas.training.device import device_of

if TYPE_CHECKING:
    from nas.data import Task


def retrain(
    config: StudyConfig,
    records: Sequence[TrialRecord],
    task: Task,
    run: RunFolder,
    *,
    seeds: int = 3,
    epochs: int | None = None,
    time_limit_s: float | None = None,
    workers: int | None = 1,
    training: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    began: float | None = None,
) -> list[Retrained]:
    """Train networks on training and validation data together, once per seed, and judge them on the test set.

    The seeds of a network, and the networks, share the workers; what each of them finds does not depend on how many
    there are. Every seed is kept as soon as it is judged, and a training that is under way every few seconds, where an
    epoch ends: called again, it goes on from there. What is finished is not trained again; more seeds are added to it.
    A retraining that replaces another one (`overwrite`) leaves that whole until it is finished.

    A network that ships in 8 bits is trained in float32, and judged as the file that it ships as.

    Args:
        records: of the networks, each once.
        run: its folder `retrained/trial-00017` gets the weights of every seed, `retrained.json` and the model card;
            `retrained.csv` a row for each network.
        seeds: at least so many; a finished retraining of more stays as it is.
        epochs: of each training; None: as before where one is gone on with, else three times the search's. With a time
            limit: at most so many; None: 300.
        time_limit_s: chooses the epochs so that all trainings end within it. They are chosen from the seconds of the
            search; a network that turns out to take longer, or much less, is begun again with fewer or more, as long as
            little of it is done.
            What ends more than a twentieth later all the same is told, and said in the model card.
        workers: processes that train; 1: this one. None: one for each core, or each GPU, and no more than trainings.
        training: fields of a space's `training:` that take the place of those that were searched, for every network;
            None: as before where one is gone on with, else as searched. What is best for a short training of the search
            is often not for a long one.
        began: when the time limit began, on the clock of `time.monotonic`; None: now.
    Returns:
        What was found, in the order of `records`; without those that failed.
    Raises:
        RunError: one was begun or finished with other settings, and `overwrite` is False; names them. Or another
            retraining is at work in this run.
        DataError: the data have no test set.
        TrialFailed: no network could be trained. Where others could, the watcher is told of those that could not, or
            that the time limit is too short for.
        NasError: anything else the user can mend, before anything is begun.
    """
    began = time.monotonic() if began is None else began
    if seeds < 1:
        raise RunError(f"seeds must be at least 1, got {seeds}")
    if workers is not None and workers < 1:
        raise RunError(f"workers must be at least 1, got {workers}")
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "this script was begun once more, by a worker of the retraining that it starts; keep what it does under "
            "'if __name__ == \"__main__\":', since workers import the script, or use workers=1"
        )
    device = device_of(config.device)
    test = HeldOut(task, device, judge_of(config.objectives, task))
    with _working_in(run):
        chosen = [RetrainFolder(run.retrained_trial(r.number)) for r in records]
        for folder in chosen:
            folder.recover()  # before `overwrite` drops it: half moved are the weights of one, the figures of another
        for _ in all_retrained(run, but=[folder.path for folder in chosen] if overwrite else ()):
            pass  # what cannot be read is told now, not when the table of all is written
        found = [_Found() if overwrite else _look(folder) for folder in chosen]
        missing = {r.number: len(set(range(seeds)) - one.seeds.keys()) for r, one in zip(records, found, strict=True)}
        as_before = {
            r.number: one.plan.epochs
            for r, one in zip(records, found, strict=True)
            if one.plan is not None and _chose_the_same(one.plan, epochs, time_limit_s)
        }
        fitting: Mapping[int, int] = {}
        too_slow: Mapping[int, NasError] = {}
        if time_limit_s is not None:
            fitting, too_slow = epochs_within(
                [r for r in records if r.number not in as_before],
                missing,
                larger=(len(task.x_train) + len(task.x_val)) / n_searched(config, task),
                workers=workers or _places(device),
                limit_s=time_limit_s,
                spent_s=time.monotonic() - began,
                most=epochs,
            )
            if too_slow and len(too_slow) == len(records):
                raise next(iter(too_slow.values()))
        members = []
        for record, folder, one in zip(records, chosen, found, strict=True):
            if record.number in too_slow:
                continue
            n_epochs = as_before.get(record.number, fitting.get(record.number, epochs))
            train = full_training(config, record, n_epochs, recipe_of(one.plan) if training is None else training)
            check_augment(train.augment, task.x_train)
            plan = Plan.new(
                config,
                record,
                train,
                data=task.fingerprint(),
                test_data=test.fingerprint,
                time_limit_s=time_limit_s,
            )
            if one.plan is not None:
                _check_same(one.plan, plan, folder)
                plan = one.plan
            most = epochs or MOST_EPOCHS
            members.append(Member(record, folder, one.plan, plan, one.finished, dict(one.seeds), seeds, most))
        limit = None if time_limit_s is None else TimeLimit(time_limit_s, began)
        slots = min(workers or _places(device), max(1, sum(len(member.missing) for member in members)))
        watcher = watcher or Unwatched()
        for number, error in too_slow.items():
            watcher.failed(number, str(error).removeprefix(f"trial {number}: "))
        return Retraining(config, members, task, run, test, slots, watcher, limit).run(overwrite)


@contextmanager
def _working_in(run: RunFolder) -> Iterator[None]:
    """Keep a second retraining out of a run, and leave nothing behind but what was found."""
    try:
        run.retrained.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run.retrained / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{run.retrained}: another retraining is at work in this run; wait for it, or stop it and give one command "
            "all networks (--front, or --pick several times): they share its workers"
        ) from None
    except OSError as error:
        raise RunError(f"{run.retrained}: cannot be written: {error.strerror}") from None
    try:
        shutil.rmtree(run.retrained / DATA, ignore_errors=True)
        yield
    finally:
        shutil.rmtree(run.retrained / DATA, ignore_errors=True)
        lock.release()
        (run.retrained / ".lock").unlink(missing_ok=True)
        with suppress(OSError):  # there is something in it
            run.retrained.rmdir()


@dataclass(frozen=True)
class _Found:
    """What a folder holds that is gone on with; nothing where a network is trained anew."""

    plan: Plan | None = None
    finished: Retrained | None = None
    """Of this plan."""

    seeds: Mapping[int, SeedResult] = field(default_factory=dict)


def _look(folder: RetrainFolder) -> _Found:
    plan, finished = folder.plan(), folder.finished()
    if plan is None and finished is not None:
        if not finished.plan:
            raise RunError(
                f"{folder.path}: trial {finished.trial} was retrained by version 0.1.0, which kept no plan to go on "
                "with; --overwrite does it again"
            )
        plan = plan_from(finished.plan, folder.path / RESULT)
    if plan is None:
        return _Found()
    of_it = finished is not None and finished.plan.get("id") == plan.id
    return _Found(plan, finished if of_it else None, folder.trained(plan))


def _chose_the_same(before: Plan, epochs: int | None, time_limit_s: float | None) -> bool:
    """Whether nothing was said of the epochs that chose others than those of an earlier plan."""
    if time_limit_s is None:
        return epochs is None
    return before.time_limit_s == time_limit_s and (epochs is None or before.epochs <= epochs)


def _check_same(before: Plan, plan: Plan, folder: RetrainFolder) -> None:
    if differences := before.differences(plan):
        begun = "is half-way through a retraining" if folder.plan() is not None else "was retrained already,"
        what = "\n".join(f"  {line}" for line in differences)
        raise RunError(
            f"{folder.path}: trial {before.trial} {begun} with something else:\n{what}\n"
            f"  leave --epochs, --time-limit and --training out to go on with it as it is ({before.epochs} epochs); "
            "--overwrite begins anew, and what is finished stays until that is"
        )


def _places(device: torch.device) -> int:
    """Return how many processes train unless told otherwise: one for each GPU, or core."""
    if device.type == "cuda":
        return torch.cuda.device_count()
    cores = describe()["cores"]
    return cores if isinstance(cores, int) else 1
