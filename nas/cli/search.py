"""`nas search`."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.group import given_again, plugin_option, reading_options
from nas.counts import large
from nas.errors import NasError
from nas.objectives import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.data import Task
    from nas.records import TrialRecord
    from nas.study.loop import Search, Watcher

_PARTS = {
    "loading": "loading the data",
    "calibrating": "calibrating latencies",
    "pricing": "building and pricing candidates",
    "proposing": "choosing what to try next",
    "waiting": "training",
}
_NOTHING = 0.005
"""Seconds that are not worth a word."""

_TIMES = 10
"""What comes before a first training is to be a tenth of a search."""

MOST_WORKERS = 1000
"""As in nas.api, which is not loaded for --help."""

DEFAULT_TRIALS = 80
DEFAULT_SECONDS = 180.0
"""A search without --trials and --time-limit ends at whichever comes first."""


@click.command()
@click.argument("space", required=False)
@reading_options
@click.option("--download", is_flag=True, help="Fetch a named data set into --data-root if it is not there.")
@click.option(
    "--val-share",
    type=float,
    help="Share of the training data that judges candidates.  [default: the data's own validation split, else 0.2]",
)
@click.option(
    "-o",
    "--objective",
    "objectives",
    multiple=True,
    metavar="NAME",
    help=f"One of {', '.join(OBJECTIVES)}, or one of a --plugin; repeat for several.  "
    "[default: accuracy, in regression rmse, and latency_ms]",
)
@click.option(
    "-b", "--budget", "budgets", multiple=True, help="A hard limit, e.g. 'latency_ms<=2'; repeat for several."
)
@click.option(
    "--enough",
    multiple=True,
    metavar="LIMIT",
    help="What is good enough of an objective, e.g. 'latency_ms<=0.1'; better counts as that. Repeat for several.",
)
@click.option(
    "-n",
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="End after N trainings, those stopped early and failed ones too; what is over budget or a duplicate is not "
    "trained and does not count. Of a resumed run all are counted.  "
    "[default: 80 within 3 minutes, unless --time-limit or --plateau is given]",
)
@click.option("-t", "--time-limit", metavar="TIME", help="End after this time: 90s, 15m, 1.5h.")
@click.option(
    "--trial-time-limit",
    metavar="TIME",
    help="A training that takes longer fails.  [default: a tenth of --time-limit, at least 10 s]",
)
@click.option(
    "--plateau",
    type=click.IntRange(min=1),
    metavar="N",
    help="End after N trainings in a row that did not make the front better (its hypervolume).",
)
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    help="Processes that train, one core each.  [default: 1, the search's own; --resume: as many as last time; on Ray, "
    "all there is room for]",
)
@click.option(
    "--executor",
    metavar="WHERE",
    default="local",
    help="Where to train: local, or ray or ray:ADDRESS for a Ray cluster (extra 'ray').  [default: local]",
)
@click.option(
    "--rung",
    "rungs",
    multiple=True,
    metavar="SHARE",
    help="Where a training may be stopped for better ones: a share of a full one, as 1/9 or '0.3,resolution=0.5'; "
    "repeat for several; 'none': nowhere.  [default: 1/27, 1/9, 1/3, as far as the data are large enough]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of every trial, whatever the space says.")
@click.option(
    "--subset-method",
    metavar="NAME",
    help="How shares of the samples are chosen: stratified, herding, kcentre.  [default: stratified]",
)
@click.option("--subset", type=float, help="Share of the training samples that trials are trained on.  [default: 1]")
@click.option(
    "--sampler",
    help="tpe, random, evolution, or optuna:NAME for any of Optuna's; with arguments: 'tpe(thrift=0)'.  [default: tpe]",
)
@click.option(
    "--warm-start",
    multiple=True,
    metavar="RUN",
    help="Folder of an earlier run (other budget, device or data) whose trials guide tpe; repeat for several.",
)
@click.option(
    "--target",
    "--runtime",
    "runtime",
    metavar="RUNTIME[:SETTING=VALUE,...]",
    help="In what latency is measured, e.g. openvino:threads=2 or onnxruntime:batch=8.  [default: onnxruntime]",
)
@click.option(
    "--device", help="Where networks are trained: cpu, cuda, or auto, which is a GPU if there is one.  [default: auto]"
)
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that is random.  [default: 0]")
@click.option("--out", metavar="DIR", help="Run folder.  [default: results/SPACE-001, or the next number]")
@click.option(
    "--storage",
    metavar="URL",
    help="Where the study is kept instead of study.db in the run folder: sqlite:///FILE, journal:///FILE or "
    "postgresql://USER@HOST/DATABASE (extra 'postgresql').",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out; what is not given is taken from it.")
@click.option(
    "--track",
    multiple=True,
    metavar="WHERE",
    help="Follow it in tensorboard[:DIR] or mlflow[:URI] (extras of these names); repeat for several.",
)
@plugin_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and where the results are.")
@click.option("-v", "--verbose", is_flag=True, help="A line for every trial.")
def search(
    space: str | None,
    out: str | None,
    resume: bool,
    trials: int | None,
    time_limit: str | None,
    trial_time_limit: str | None,
    plateau: int | None,
    workers: int | None,
    executor: str,
    storage: str | None,
    track: tuple[str, ...],
    download: bool,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Search SPACE for the Pareto front: the name of a shipped space, or a YAML file.  [default: digits; tables: mlp]

    Candidates over a budget are priced, recorded and never trained. Ctrl-C ends cleanly; --resume goes on.
    """
    from nas.catalog import find_space
    from nas.durations import seconds
    from nas.study.config import StudyConfig
    from nas.study.elsewhere import targets_in
    from nas.study.folder import RunFolder
    from nas.study.loop import Limits
    from nas.study.session import open_search
    from nas.trackers import Tracking

    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    limit_s = None if time_limit is None else seconds(time_limit)
    if trials is None and limit_s is None and plateau is None:
        trials, limit_s, plateau = _limits_of(out if resume else None)
    if workers is None and resume and executor == "local":
        workers = _workers_of(out)
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    if trial_time_limit is not None:
        chosen["trial_time_limit_s"] = seconds(trial_time_limit)
    if space is not None or not resume:
        chosen["space"] = find_space(space or _usual_space(given))
    if resume:
        if out is None:
            raise NasError("--resume needs the run folder: nas search --resume --out results/NAME")
        folder = RunFolder(out)
        config = replace(folder.read_config(), **chosen)
    else:
        config = StudyConfig(**chosen)
        folder = RunFolder.numbered(Path("results"), config.space.name) if out is None else RunFolder(out)
    with ExitStack() as outer:
        with ExitStack() as stack:
            shown = _watcher(stack, quiet, verbose)
            tracking = outer.enter_context(Tracking(track, shown, lambda line: click.echo(line, err=True)))
            opened = stack.enter_context(
                open_search(
                    config,
                    folder,
                    Limits(trials, limit_s, plateau),
                    storage_url=storage,
                    resume=resume,
                    watcher=tracking,
                    download=download,
                    code="data" in chosen,
                    workers=workers,
                    executor=executor,
                    targets=targets_in(given["runtime"], given["objectives"], given["budgets"]),
                )
            )
            tracking.begin(opened)
            if not quiet:
                _say_start(opened, workers if executor == "local" else None)
            ended = opened.run()
        _say_end(opened, ended, quiet, _go_on(opened, time_limit, workers, executor, storage, track), executor)


def _go_on(
    opened: Search,
    time_limit: str | None,
    workers: int | None,
    executor: str,
    storage: str | None,
    track: Sequence[str],
) -> str:
    """Return the command that goes on with a search as it was given.

    Args:
        time_limit: in the user's words.
    """
    from nas.study.elsewhere import options_again

    limits, config = opened.limits, opened.evaluator.config
    words = ["nas", "search", "--resume", "--out", str(opened.folder.path)]
    words += ["--trials", str(limits.trials)] if limits.trials is not None else []
    if limits.seconds is not None:
        enough_s = _enough_s(opened)
        given = time_limit or f"{limits.seconds:g}s"
        words += ["--time-limit", given if enough_s is None else f"{enough_s}s"]
    words += ["--plateau", str(limits.plateau)] if limits.plateau is not None else []
    words += ["--workers", str(workers)] if workers is not None else []
    words += ["--executor", executor] if executor != "local" else []
    words += ["--storage", storage] if storage is not None else []
    words += [word for one in track for word in ("--track", one)]
    return shlex.join([*words, *options_again(config)]) + given_again(config.data)


def _limits_of(run: str | None) -> tuple[int | None, float | None, int | None]:
    """Return trials, seconds and plateau where nobody says: those of the last search in a run, else the usual ones."""
    for search in _searches(run):
        if limits := search.get("limits"):
            return limits.get("trials"), limits.get("seconds"), limits.get("plateau")
    return DEFAULT_TRIALS, DEFAULT_SECONDS, None


def _workers_of(run: str | None) -> int | None:
    """Return how many workers the last search of a run had on this machine; None: one, or nobody says."""
    for search in _searches(run):
        if search.get("executor", "local") == "local" and isinstance(found := search.get("workers"), int):
            return min(found, MOST_WORKERS) if found > 1 else None
    return None


def _searches(run: str | None) -> list[dict[str, Any]]:
    """Return what a run kept of its searches, the last one first."""
    from nas.records import read_json
    from nas.study.folder import RunFolder

    machine = {} if run is None or not RunFolder(run).machine.exists() else read_json(RunFolder(run).machine)
    return list(reversed(machine.get("searches", [])))


def _usual_space(given: Mapping[str, Any]) -> str:
    """Return the space that is searched where nobody names one."""
    from nas.data.csv_file import is_csv

    if not is_csv(given["data"] or ""):
        return "digits"
    return "text" if given["text_column"] else "mlp"


def _watcher(stack: ExitStack, quiet: bool, verbose: bool) -> Watcher:
    """Return who tells the user how it goes: a live table on a terminal, lines elsewhere."""
    from nas.progress import LineProgress, LiveProgress
    from nas.study.loop import Quiet

    if quiet:
        return Quiet()
    if not sys.stderr.isatty():
        return LineProgress(sys.stderr, verbose=verbose)
    from rich.console import Console

    return stack.enter_context(LiveProgress(Console(stderr=True), verbose=verbose))


def _say_start(opened: Search, workers: int | None) -> None:
    """Say what is searched, on what, for what, and whether that are far too many `workers` for this machine."""
    from nas.measure.machine import describe

    config, task = opened.evaluator.config, opened.evaluator.task
    combinations, continuous = config.space.count()
    at_most = "at most " if config.space.bounded else ""
    size = f"{at_most}{large(combinations)} combinations, {continuous} continuous parameters"
    lines = [
        f"space      {config.space.name}: {size}",
        f"data       {task.name}: {len(task.x_train)} to train on, {len(task.x_val)} to choose by, "
        f"shape {task.in_shape}, {_outputs(task)}",
        *(f"           {note}" for note in task.notes),
        *([] if task.has_test else ["           no test set: nas retrain will need the same data with one (--data)"]),
        f"objectives {', '.join(f'{o.name} ({o.direction})' for o in opened.objectives)}",
        f"budgets    {', '.join(map(str, opened.budgets)) or 'none'}",
        f"limits     {_limits(opened)}",
        f"run        {opened.folder.path}",
    ]
    lines += [f"warm start {run}" for run in opened.earlier]
    if opened.earlier and not getattr(opened.sampler, "uses_evidence", False):
        lines.append("           which is of no use to this sampler; tpe learns from other runs")
    if opened.records or opened.interrupted:
        lines.append(
            f"resumed    {len(opened.records)} trials known, {len(opened.interrupted)} interrupted to run again"
        )
    cores = describe()["cores"]
    if crowd := _crowd(workers, cores if isinstance(cores, int) else None):
        lines.append(crowd)
    click.echo("\n".join(lines), err=True)


def _outputs(task: Task) -> str:
    """Say what is predicted."""
    if task.kind == "classification":
        return f"{task.n_outputs} classes"
    columns = zip(task.targets, task.y_mean, task.y_std, strict=True)
    return "regression of " + ", ".join(f"{name} ({mean:.4g} +- {std:.3g})" for name, mean, std in columns)


def _crowd(workers: int | None, cores: int | None) -> str:
    """Say that there are more than twice as many workers as cores; "" where there are not, or where that is unknown."""
    if workers is None or cores is None or workers <= 2 * cores:
        return ""
    of_them = f"{cores} core" + ("s" if cores > 1 else "")
    return f"{workers} workers on {of_them}: they take turns, and share the memory; --workers {cores} is enough"


def _limits(opened: Search) -> str:
    """Say when the search ends, and when a training does."""
    from nas.durations import readable

    limits, trial_s = opened.limits, opened.trial_limit_s
    ends = [_many(limits.trials, "training")] if limits.trials is not None else []
    ends += [readable(limits.seconds)] if limits.seconds is not None else []
    ends += [f"{_many(limits.plateau, 'training')} without progress"] if limits.plateau is not None else []
    each = "" if trial_s is None else f"; {readable(trial_s)} for one training (--trial-time-limit)"
    return " or ".join(ends) + each


def _say_end(opened: Search, ended: str, quiet: bool, again: str, executor: str) -> None:
    """Print the front, draw it, and say where everything is."""
    from nas.api import Front
    from nas.tables import print_front

    path = opened.folder.path
    front = Front.load(path)
    if front.members:
        front.plot()
    if not quiet:
        why = {
            "trials": "all trials done",
            "time": "the time is over",
            "plateau": "the front has stopped growing",
            "interrupted": "interrupted; nothing finished is lost",
            "exhausted": "the sampler finds nothing that is new: the space seems exhausted",
        }[ended]
        click.echo(f"\n{why}. {_counts(opened)}\n", err=True)
        if ended == "time" and (words := _where_it_went(opened)):
            click.echo(words, err=True)
        if words := _too_long(opened.records, opened.trial_limit_s):
            click.echo(words, err=True)
        if front.members:
            print_front(front)
        for line in opened.noticed:
            click.echo(line, err=True)
    click.echo(
        f"results in {path}: front.csv ({_many(len(front), 'network')}), "
        f"trials.csv ({_many(len(front.records), 'trial')})" + (", front.png" if front.members else "")
    )
    if ended in ("interrupted", "time"):
        click.echo(f"go on with: {again}", err=True)
    if not quiet and front.members:
        given = given_again(opened.evaluator.config.data)
        measured = "".join(f" {shlex.quote(word)}" for word in _measured_again(opened, executor))
        commands = ("retrain", "export") if opened.evaluator.task.has_test else ("export",)
        steps = [f"nas {command} {shlex.quote(str(path))} --pick knee{given}" for command in commands]
        click.echo(f"next: {'    '.join(steps)}{measured}", err=True)
        click.echo(f"page: nas report {shlex.quote(str(path))}", err=True)
    if ended == "interrupted":
        raise SystemExit(130)
    if not front.members:
        reasons = Counter(r.reason for r in front.records if r.reason).most_common(3)
        why_not = "".join(f"\n  {n} times: {reason}" for reason, n in reasons)
        click.echo(f"no trial is complete, so there is no front{why_not}", err=True)
        raise SystemExit(1)


def _measured_again(opened: Search, executor: str) -> list[str]:
    """Return the words that an export needs to measure where the search did; mostly none."""
    from nas.study.elsewhere import targets_again
    from nas.study.executors.ray_meter import made_on_ray

    meters = opened.evaluator.pricer.meters.values()
    on_ray = any(made_on_ray(meter.calibration) for meter in meters if not meter.target.host)
    return [*targets_again(opened.evaluator.config), *(["--executor", executor] if on_ray else [])]


def _enough_s(opened: Search) -> int | None:
    """Return a time limit with which a search would train a network that ends without one; None: it has one."""
    limit = opened.limits.seconds
    if limit is None or opened.ledger.completed:
        return None
    before = sum(s for name, s in opened.seconds().items() if name != "waiting" and not opened.trained_here)
    return 10 * math.ceil(max(_TIMES * before, 3 * limit) / 10)


def _where_it_went(opened: Search) -> str:
    """Say what the time of a search went into that ends without a network, and what would help; else ""."""
    from nas.durations import readable

    enough_s = _enough_s(opened)
    if enough_s is None:
        return ""
    parts = sorted(((s, _PARTS[name]) for name, s in opened.seconds().items() if s >= _NOTHING), reverse=True)
    took = readable(time.monotonic() - opened.started)
    went = ", ".join(f"{readable(s)} {words}" for s, words in parts)
    remedy = f"give more time, such as --time-limit {enough_s}s, or --trials instead of a time"
    return f"no network was trained to the end in {took}: {went}\n  {remedy}\n"


def _too_long(records: Sequence[TrialRecord], limit_s: float | None) -> str:
    """Say what lets more networks be trained, where most were refused for the time that they would take; else ""."""
    from nas.durations import readable
    from nas.study.loop import TOO_LONG

    n = sum(r.state == "over_budget" and r.reason.startswith(TOO_LONG) for r in records)
    if limit_s is None or 2 * n <= len(records):
        return ""
    return (
        f"{n} of {len(records)} networks were not begun, since each would train for longer than one may "
        f"({readable(limit_s)})\n  fewer --epochs, a --subset of the samples, more time, or a larger "
        "--trial-time-limit lets more of them be trained\n"
    )


def _counts(opened: Search) -> str:
    """Say how many trials were trained and what became of them, and how many were not and why; it adds up."""
    from nas.study.ledger import was_trained

    trained = Counter(r.state for r in opened.records if was_trained(r))
    others = Counter(r.state for r in opened.records if not was_trained(r))
    stopped, aside = trained["stopped_early"], sum(r.paused for r in opened.records)
    what = [f"{trained['complete']} to the end"] if trained["complete"] else []
    what += [f"{stopped} stopped early ({_of_stopped(stopped, aside)})"] if stopped else []
    what += [f"{trained['failed']} failed"] if trained["failed"] else []
    why = [f"{others['over_budget']} over budget"] if others["over_budget"] else []
    why += [_many(others["duplicate"], "duplicate")] if others["duplicate"] else []
    why += [f"{others['failed']} could not be built or priced"] if others["failed"] else []
    parts = [f"{trained.total()} trained: {', '.join(what)}"] if what else []
    parts += [f"{others.total()} not trained: {', '.join(why)}"] if why else []
    return "; ".join(parts) or "no trials"


def _of_stopped(n: int, aside: int) -> str:
    """Say how many of `n` trainings that were stopped early are over, and how many wait."""
    if not aside:
        return "given up"
    waiting = "set aside: a search resumed for more trials may go on with " + ("it" if aside == 1 else "them")
    return waiting if aside == n else f"{n - aside} given up, {aside} {waiting}"


def _many(n: int, word: str) -> str:
    """Return how many there are of something."""
    return f"{n} {word}" + ("" if n == 1 else "s")
