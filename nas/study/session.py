"""A search put together from a config and a run folder: everything is checked before anything is written."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version

from nas.data import Task, is_code, load_task, write_shared
from nas.errors import DataError, NasError, RunError
from nas.measure import OpenMeter, open_meter, opened
from nas.measure.price import Pricer
from nas.measure.target import Target
from nas.objectives import Budget, Objective, thresholds
from nas.plugins import check_same, loaded, together
from nas.records import read_json, write_json
from nas.rng import generator
from nas.samplers import Price, make_sampler
from nas.study.check import check_prices, check_space, check_targets, check_task
from nas.study.config import StudyConfig
from nas.study.deploy import calibration
from nas.study.elsewhere import check_to_resume, read_executor
from nas.study.evaluate import Evaluator
from nas.study.executors.here import Here
from nas.study.executors.local import Local
from nas.study.executors.ray import OnRay
from nas.study.executors.ray_meter import open_meter as open_on_ray
from nas.study.executors.ray_trainer import Carried
from nas.study.folder import RunFolder
from nas.study.jobs import Executor, Tell
from nas.study.judging import check_judge, judge_of, portable_metrics, scaled_to, usual_objectives
from nas.study.ledger import Ledger
from nas.study.limits import free_memory, training_process
from nas.study.loop import Limits, Quiet, Search, Watcher
from nas.study.meters import calibrate, keep_conditions
from nas.study.own import RUN_ID, check_own, check_there, own_url
from nas.study.rungs import settled
from nas.study.storage import Storage
from nas.study.warm import EarlierRun, read_earlier, read_kept, write_kept
from nas.study.work import prepare, prepare_here
from nas.training.device import device_of
from nas.training.judge import MOST_JUDGED

DISTRIBUTION = "pareto-nas"


def load_data(config: StudyConfig, *, download: bool = False, code: bool = False) -> Task:
    """Return the task of a study, its validation split included.

    Args:
        code: whether `config.data` may be a function that is imported and run. Only where the user has just named it:
            a config that was read from a run folder may come from somebody else.
    Raises:
        DataError: data that are not there, cannot be learned from, or come from code that nobody named here.
    """
    if is_code(config.data) and not code:
        raise DataError(
            f"the data of this run come from code, {config.data!r}, and code is not run because a file names it; give "
            f"--data {shlex.quote(config.data)} again to run it (in Python: data={config.data!r})"
        )
    return load_task(
        config.data,
        input=config.space.input,
        seed=config.seed,
        val_share=config.val_share,
        task=config.task,
        data_root=config.data_root,
        download=download,
        resolution=config.resolution,
        channels=config.channels,
        target_column=config.target_column,
        test_data=config.test_data,
        encoding=config.encoding,
        text_column=config.text_column,
        vocabulary=config.vocabulary,
        length=config.length,
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
    code: bool = False,
    workers: int | None = None,
    executor: str = "local",
    targets: Sequence[str] = (),
) -> Iterator[Search]:
    """Yield a search that is ready to run; the folder is this process's while it is open.

    Torch uses one thread meanwhile, which is what makes a run repeatable, and memory beyond what is free raises.

    Args:
        download, code: as for `load_data`, where there is no `task`.
        workers: processes that train; 1: this one. What a trial finds does not depend on it, the order of trials does.
            None: 1 here, and on a cluster as many as it has room for.
        executor: "local", or "ray" or "ray:ADDRESS" for a Ray cluster.
        targets: of a run that is gone on with, those on other machines, which the user has named again.

    Raises:
        NasError: something the user can mend; a new run has left nothing then, so that it can be begun again.
    """
    started = time.monotonic()  # a time limit counts loading and calibrating too
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "this script was begun once more, by a worker of the search that it starts; keep the search under "
            "'if __name__ == \"__main__\":', since workers import the script, or use workers=1"
        )

    def load(config: StudyConfig) -> Task:
        return load_data(config, download=download, code=code) if task is None else task

    before = folder.read_config() if resume else None
    found = _checked(config, folder, before, load, executor, targets, storage_url)
    config = found.config
    with (
        nullcontext() if resume else _made(folder),
        folder.locked(),
        _opened_study(config, folder, storage_url, resume=resume) as storage,
        training_process(workers or 1),
        opened(found.meters),
    ):
        if found.earlier and not resume:
            write_kept(folder.warm_start, found.earlier)
        config.write(folder.config, version(DISTRIBUTION))  # a resume may know another path of the data
        calibrating = time.monotonic()
        calibrate(found.meters, storage, folder)
        setup_s = {"loading": found.loading_s, "calibrating": time.monotonic() - calibrating}
        ledger = Ledger(
            found.objectives,
            found.budgets,
            shares=[rung.share for rung in config.parsed_rungs()],
            n_judged=min(len(found.task.x_val), MOST_JUDGED),
            timed=limits.seconds is not None,
        )
        records, interrupted = storage.load()
        ledger.take_all(records)
        limited, own = thresholds(found.budgets), config.own_prices()
        samples = calibration(found.task, config.seed)
        pricer = Pricer(found.meters, found.task.in_shape, folder.path, limited, samples, folder.keep_price, own)
        evaluator = Evaluator(config, found.task, pricer)
        sampler = make_sampler(
            config.sampler,
            config.space,
            found.objectives,
            config.seed,
            gated=_gated(found.budgets),
            describe=evaluator.describe,
            screen=evaluator.screener if evaluator.screener.tells else None,
        )
        runs = _executor(config, found.task, folder, workers, executor, lambda progress: search.told(progress))
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
            earlier=found.earlier,
            started=started,
            setup_s=setup_s,
        )
        _keep_search(search, folder, executor, began)  # a search that is killed had limits, too
        try:
            yield search
        finally:
            runs.close()
            keep_conditions(found.meters, folder)
            _keep_search(search, folder, executor, began, over=True)


@dataclass(frozen=True)
class _Checked:
    """What a search is put together from: nothing the user could mend is wrong with it, and nothing is written yet."""

    config: StudyConfig
    """As the run keeps it: with its plugins, its id, its rungs, the objectives that the data call for."""

    task: Task
    objectives: Sequence[Objective]
    budgets: Sequence[Budget]

    meters: Mapping[str, OpenMeter]
    """By name of the latency; not opened yet."""

    earlier: tuple[EarlierRun, ...]
    loading_s: float


def _checked(
    config: StudyConfig,
    folder: RunFolder,
    before: StudyConfig | None,
    load: Callable[[StudyConfig], Task],
    executor: str,
    targets: Sequence[str],
    storage_url: str | None,
) -> _Checked:
    """Check all that can be known before a run is made or gone on with; what costs least comes first.

    Args:
        before: config of the run that is gone on with.
    Raises:
        NasError: something the user can mend.
    """
    if before is not None:
        check_same(before.plugins, str(folder.path), strict=True)
    config = replace(config, plugins=together(config.plugins))
    check_space(config.space)
    check_targets(config.space, config.latencies().values())
    place, address = read_executor(executor)
    if before is not None:
        check_to_resume(before, folder, targets)
    if place == "local":
        device_of(config.device)
        _check_threads(config.latencies().values())
    budgets = config.parsed_budgets()
    _try_out(config, config.parsed_objectives(), _gated(budgets))
    open_one = open_meter if place == "local" else partial(open_on_ray, address=address or None)
    meters = {name: open_one(target) for name, target in config.latencies().items()}
    if before is not None:
        _check_same(before, config, folder)
        config = replace(config, rungs=before.rungs, objectives=before.objectives)
        check_there(folder, storage_url)

    loading = time.monotonic()
    task = load(config)
    loading_s = time.monotonic() - loading
    if config.objectives == ("auto",):
        config = replace(config, objectives=usual_objectives(task))
    objectives = scaled_to(config.parsed_objectives(), task)
    if before is None:
        earlier = read_earlier(config.warm_start, config.space, objectives, folder)
    else:
        earlier = read_kept(folder.warm_start, config.space) if config.warm_start else ()
    fingerprint = task.fingerprint()
    if before is not None:
        before.check_data(fingerprint, config.data)
    config = settled(replace(config, data_fingerprint=fingerprint), len(task.x_train))
    config = _identified(config, before, folder, storage_url)
    check_task(config.space, task)
    check_prices(config, task)
    check_judge(judge_of(config.objectives, task), objectives, task)
    return _Checked(config, task, objectives, budgets, meters, earlier, loading_s)


def _gated(budgets: Sequence[Budget]) -> bool | None:
    """Return whether a sampler is to ask for prices before it chooses; None: as it sees fit."""
    return bool(budgets) or None


def _check_threads(targets: Iterable[str]) -> None:
    """Refuse more threads than this machine has cores: their latency is that of a queue, and takes for ever."""
    cores = os.cpu_count()
    for target in map(Target.parse, targets):
        if cores is not None and not target.host and target.threads > cores:
            raise NasError(f"target {target}: this machine has {cores} cores; write threads={cores} or fewer")


def _identified(
    config: StudyConfig, before: StudyConfig | None, folder: RunFolder, storage_url: str | None
) -> StudyConfig:
    """Return the config with the run's id and the name of its study: new ones, or those that the run has."""
    space = config.space if before is None else before.space
    name = folder.path.resolve().name if storage_url else space.name
    if before is None:
        return replace(config, run_id=uuid.uuid4().hex, study_name=name)
    return replace(config, run_id=before.run_id, study_name=before.study_name or name)


@contextmanager
def _made(folder: RunFolder) -> Iterator[None]:
    """Make the folder of a new run; where the block fails and leaves nothing in it, it goes again."""
    new = not folder.path.exists()
    folder.create()
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):  # it is not empty: there is something to go on with
                folder.path.rmdir()
        raise


@contextmanager
def _opened_study(config: StudyConfig, folder: RunFolder, url: str | None, *, resume: bool) -> Iterator[Storage]:
    """Yield the study of a run, made or found, and let go of it in the end.

    A new run that fails before any of its trials ended is undone, so that it can be begun again.

    Raises:
        RunError: it cannot be opened, or is another run's.
    """
    folder.clear_scratch()
    url = url or own_url(folder)
    try:
        storage = Storage(url, config.study_name, config.space, config.parsed_objectives(), resume=resume)
    except BaseException:
        if not resume:
            _empty(folder)
        raise
    gone = False
    try:
        if resume:
            check_own(storage, config, folder, url)
        else:
            storage.keep(RUN_ID, config.run_id)
        yield storage
    except BaseException:
        gone = not resume and storage.discard()
        raise
    finally:
        storage.close()
        folder.clear_scratch()
        if gone:
            _empty(folder)


def _keep_search(search: Search, folder: RunFolder, executor: str, began: str, *, over: bool = False) -> None:
    """Add to `machine.json` what is to end a search, and how long it searched and what the time went into.

    Args:
        over: it was added when it began, and that is replaced.
    """
    seconds = {"all": time.monotonic() - search.started, **search.seconds()}
    here = {
        "began": began,
        "executor": executor.partition(":")[0],  # an address is nobody else's business
        "workers": search.executor.slots,
        "limits": {name: value for name, value in vars(search.limits).items() if value is not None},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    machine = read_json(folder.machine) if folder.machine.exists() else {}
    before = machine.get("searches", [])
    write_json(folder.machine, {**machine, "searches": [*(before[:-1] if over else before), here]})


def _executor(
    config: StudyConfig, task: Task, folder: RunFolder, workers: int | None, executor: str, tell: Tell
) -> Executor:
    """Return what runs the jobs: this process, others that have the data mapped from the run folder, or a cluster."""
    place, address = read_executor(executor)
    if place == "local" and workers in (None, 1):
        return Here(partial(prepare_here, config, task), tell)
    write_shared(task, folder.shared)
    metrics = portable_metrics(config.objectives)
    if place == "local":
        assert workers is not None
        ready = partial(prepare, config, metrics, folder.shared, workers, plugins=loaded(), memory=free_memory(workers))
        return Local(ready, workers, tell)
    carried = Carried(partial(prepare, config, metrics, plugins=loaded()), folder.shared, workers or 1)
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


def _empty(folder: RunFolder) -> None:
    """Take out what a run that was never begun wrote to its folder."""
    for path in folder.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":  # goes with the lock
            path.unlink()
