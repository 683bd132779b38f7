"""A search put together from a config and a run folder: everything is checked before anything is written."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import sqlalchemy

from nas.data import Task, load_task, write_shared
from nas.errors import NasError, RunError
from nas.measure import open_meter, opened
from nas.measure.price import Pricer
from nas.objectives import Objective, thresholds
from nas.rng import generator
from nas.samplers import Price, make_sampler
from nas.study.check import check_space, check_targets, check_task
from nas.study.config import StudyConfig
from nas.study.deploy import calibration
from nas.study.evaluate import Evaluator
from nas.study.executors.here import Here
from nas.study.executors.local import Local
from nas.study.executors.ray import OnRay
from nas.study.executors.ray_meter import open_meter as open_on_ray
from nas.study.executors.ray_trainer import Carried
from nas.study.folder import RunFolder
from nas.study.jobs import Executor, Tell
from nas.study.ledger import Ledger
from nas.study.limits import training_process
from nas.study.loop import Limits, Quiet, Search, Watcher
from nas.study.meters import calibrate, keep_conditions
from nas.study.rungs import settled
from nas.study.storage import Storage
from nas.study.warm import read_earlier, read_kept, write_kept
from nas.study.work import prepare, prepare_here
from nas.training.device import device_of
from nas.training.judge import MOST_JUDGED

DISTRIBUTION = "pareto-nas"


def load_data(config: StudyConfig, *, download: bool = False) -> Task:
    """Return the task of a study, its validation split included.

    Raises:
        DataError: data that are not there or cannot be learned from.
    """
    return load_task(
        config.data,
        input=config.space.input,
        seed=config.seed,
        val_share=config.val_share,
        data_root=config.data_root,
        download=download,
    )


@contextmanager
def open_search(
    config: StudyConfig,
    folder: RunFolder,
    limits: Limits,
    *,
    task: Task | None = None,
    storage_url: str | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    download: bool = False,
    workers: int | None = None,
    executor: str = "local",
) -> Iterator[Search]:
    """Yield a search that is ready to run; the folder is this process's while it is open.

    Torch uses one thread meanwhile, which is what makes a run repeatable, and memory beyond what is free raises.

    Args:
        workers: processes that train; 1: this one. What a trial finds does not depend on it, the order of trials does.
            None: 1 here, and on a cluster as many as it has room for.
        executor: "local", or "ray" or "ray:ADDRESS" for a Ray cluster.

    Raises:
        NasError: something the user can mend; nothing was written then.
    """
    started = time.monotonic()  # a time limit counts loading and calibrating too
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "this script was begun once more, by a worker of the search that it starts; keep the search under "
            "'if __name__ == \"__main__\":', since workers import the script, or use workers=1"
        )
    check_space(config.space)
    check_targets(config.space, config.latencies().values())
    place, _, address = executor.partition(":")
    if place not in ("local", "ray") or (address and place == "local"):
        raise NasError(f"executor must be local, ray or ray:ADDRESS, got {executor!r}")
    if place == "local":
        device_of(config.device)
    objectives, budgets = config.parsed_objectives(), config.parsed_budgets()
    gated = bool(budgets) or None
    _try_out(config, objectives, gated)
    open_one = open_meter
    if place == "ray":
        open_one = partial(open_on_ray, address=address or None)
    meters = {name: open_one(target) for name, target in config.latencies().items()}
    if resume:
        before = folder.read_config()
        _check_same(before, config, folder)
        config = replace(config, rungs=before.rungs)
        if storage_url is None and not (folder.path / "study.db").exists():
            raise RunError(f"{folder.path}: there is no study.db to go on with; a run with --storage needs that again")
        earlier = read_kept(folder.warm_start, config.space) if config.warm_start else ()
    else:
        earlier = read_earlier(config.warm_start, config.space, objectives, folder)
    if task is None:
        task = load_data(config, download=download)
    fingerprint = task.fingerprint()
    if resume:
        before.check_data(fingerprint, config.data)
    config = settled(replace(config, data_fingerprint=fingerprint), len(task.x_train))
    check_task(config.space, task)
    if not resume:
        folder.create()
    with folder.locked(), training_process(workers or 1), opened(meters):
        folder.clear_scratch()
        url = storage_url or _sqlite(folder.path / "study.db")
        name = folder.path.resolve().name if storage_url else config.space.name
        try:
            storage = Storage(url, name, config.space, objectives, resume=resume)
        except RunError:
            if not resume:
                _undo(folder)
            raise
        if earlier and not resume:
            write_kept(folder.warm_start, earlier)
        config.write(folder.config, version(DISTRIBUTION))  # a resume may know another path of the data
        try:
            calibrate(meters, storage, folder)
        except NasError:
            if not resume:
                _undo(folder)
            raise
        ledger = Ledger(
            objectives,
            budgets,
            n_rungs=len(config.parsed_rungs()),
            n_judged=min(len(task.x_val), MOST_JUDGED),
            timed=limits.seconds is not None,
        )
        records, interrupted = storage.load()
        ledger.take_all(records)
        samples = calibration(task, config.seed)
        pricer = Pricer(meters, task.in_shape, folder.path, thresholds(budgets), samples, folder.keep_price)
        evaluator = Evaluator(config, task, pricer)
        sampler = make_sampler(
            config.sampler,
            config.space,
            objectives,
            config.seed,
            gated=gated,
            describe=evaluator.describe,
            screen=evaluator.screener if evaluator.screener.names else None,
        )
        runs = _executor(config, task, folder, workers, place, address, lambda progress: search.told(progress))
        search = Search(
            evaluator=evaluator,
            sampler=sampler,
            storage=storage,
            folder=folder,
            ledger=ledger,
            executor=runs,
            limits=limits,
            watcher=watcher or Quiet(),
            interrupted=interrupted,
            earlier=earlier,
            started=started,
        )
        try:
            yield search
        finally:
            runs.close()
            storage.close()
            folder.clear_scratch()
            keep_conditions(meters, folder)


def _executor(
    config: StudyConfig, task: Task, folder: RunFolder, workers: int | None, place: str, address: str, tell: Tell
) -> Executor:
    """Return what runs the jobs: this process, others that have the data mapped from the run folder, or a cluster."""
    if place == "local" and workers in (None, 1):
        return Here(partial(prepare_here, config, task), tell)
    write_shared(task, folder.shared)
    if place == "local":
        assert workers is not None
        return Local(partial(prepare, config, folder.shared, workers), workers, tell)
    carried = Carried(partial(prepare, config), folder.shared, workers or 1)
    gpus = 1.0 if config.device == "cuda" else 0.0  # a process without one of its own sees none
    return OnRay(carried, tell, address=address or None, at_most=workers, gpus_per_trial=gpus)


def _try_out(config: StudyConfig, objectives: Sequence[Objective], gated: bool | None) -> None:
    """Let a sampler of the same kind propose once: what it cannot do is told before anything is written."""
    sampler = make_sampler(config.sampler, config.space, objectives, config.seed, gated=gated)
    nothing_known = Price((None,) * len(objectives), 0.0)
    sampler.propose([], [], lambda arch: nothing_known, generator(config.seed, "trying out"))


def _check_same(before: StudyConfig, config: StudyConfig, folder: RunFolder) -> None:
    if differences := before.differences(config):
        what = "\n".join(f"  {line}" for line in differences)
        raise RunError(
            f"{folder.path}: the run was made with something else:\n{what}\n  choose a new folder with --out"
        )


def _sqlite(path: Path) -> str:
    url = sqlalchemy.URL.create("sqlite", database=str(path.resolve()))
    return url.render_as_string(hide_password=False)


def _undo(folder: RunFolder) -> None:
    """Take away a folder that was just made and holds nothing yet."""
    folder.checkpoints.rmdir()
    for path in folder.path.iterdir():
        path.unlink()
    folder.path.rmdir()
