"""The commands: parsing and printing. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nas.errors import NasError
from nas.objectives import OBJECTIVES

if TYPE_CHECKING:
    from nas.api import Member
    from nas.export.quantize import Precision
    from nas.space import Space
    from nas.study.loop import Search, Watcher
    from nas.training import EpochLog

DEFAULT_TRIALS = 80
DEFAULT_SECONDS = 180.0
"""A search without --trials and --time-limit ends at whichever comes first."""

_SAY_EVERY = 3.0
"""Seconds between two lines of a retraining."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _data_options(command: _Command) -> _Command:
    """Let a command be told where the data of a run are now."""
    root = click.option("--data-root", metavar="DIR", help="Folder of named data sets.  [default: the search's]")
    data = click.option("--data", help="Where the run's data are now; the same data.  [default: where they were]")
    return data(root(command))


def _targets_option(help_text: str) -> Callable[[_Command], _Command]:
    """Let a command be told on which targets to measure."""
    setting = "RUNTIME[:SETTING=VALUE,...]"
    return click.option("--target", "--runtime", "targets", multiple=True, metavar=setting, help=help_text)


class _Commands(click.Group):
    """Commands in the order of use; each ends with one clear message where the user can mend something."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NasError as error:
            click.echo(f"nas: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("nas: interrupted", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(141)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pareto-nas", prog_name="nas")
def main() -> None:
    """Search neural networks that are accurate and keep a measured budget, retrain one, and ship it.

    \b
    nas search                                a real search on scikit-learn's digits
    nas search image --data mine.npz --budget 'latency_ms<=2' --time-limit 30m
    nas front results/image-001               the Pareto front as a table
    nas retrain results/image-001 --pick knee
    nas export results/image-001 --pick knee
    """


@main.command()
@click.argument("space", required=False)
@click.option("--data", help="digits, fashion_mnist, or a .npz file with x_train and y_train.  [default: digits]")
@click.option("--data-root", metavar="DIR", help="Folder of data sets that come as files.  [default: data]")
@click.option("--download", is_flag=True, help="Fetch a named data set into --data-root if it is not there.")
@click.option("--val-share", type=float, help="Share of the training data that judges candidates.  [default: 0.2]")
@click.option(
    "-o",
    "--objective",
    "objectives",
    multiple=True,
    metavar="NAME",
    help=f"One of {', '.join(OBJECTIVES)}; repeat for several.  [default: accuracy, latency_ms]",
)
@click.option(
    "-b", "--budget", "budgets", multiple=True, help="A hard limit, e.g. 'latency_ms<=2'; repeat for several."
)
@click.option(
    "-n", "--trials", type=click.IntRange(min=1), help="End at so many trained networks, earlier ones included."
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
    help="End after N trainings that did not add to the hypervolume of the front.",
)
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, 1000),  # as nas.api.MOST_WORKERS, which is not loaded for --help
    help="Processes that train, one core each.  [default: 1, the search's own; on Ray, all there is room for]",
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
    download: bool,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Search SPACE for the Pareto front: the name of a shipped space, or a YAML file.  [default: digits]

    Candidates over a budget are priced, recorded and never trained. Ctrl-C ends cleanly; --resume goes on.
    """
    from nas.catalog import find_space
    from nas.durations import seconds
    from nas.study.config import StudyConfig
    from nas.study.folder import RunFolder, next_folder
    from nas.study.loop import Limits
    from nas.study.session import open_search

    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    limit_s = None if time_limit is None else seconds(time_limit)
    if trials is None and limit_s is None and plateau is None:
        trials, limit_s = DEFAULT_TRIALS, DEFAULT_SECONDS
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    if trial_time_limit is not None:
        chosen["trial_time_limit_s"] = seconds(trial_time_limit)
    if space is not None or not resume:
        chosen["space"] = find_space(space or "digits")
    if resume:
        if out is None:
            raise NasError("--resume needs the run folder: nas search --resume --out results/NAME")
        folder = RunFolder(out)
        config = replace(folder.read_config(), **chosen)
    else:
        config = StudyConfig(**chosen)
        folder = RunFolder(out if out is not None else next_folder(Path("results"), config.space.name))
    with ExitStack() as stack:
        opened = stack.enter_context(
            open_search(
                config,
                folder,
                Limits(trials, limit_s, plateau),
                storage_url=storage,
                resume=resume,
                watcher=_watcher(stack, quiet, verbose),
                download=download,
                workers=workers,
                executor=executor,
            )
        )
        if not quiet:
            _say_start(opened, workers if executor == "local" else None)
        ended = opened.run()
    again = ["nas search --resume --out", shlex.quote(str(folder.path))]
    again += [f"--trials {trials}"] if trials is not None else []
    again += [f"--time-limit {time_limit or f'{limit_s:g}s'}"] if limit_s is not None else []
    again += [f"--plateau {plateau}"] if plateau is not None else []
    again += [f"--workers {workers}"] if workers is not None else []
    again += [f"--executor {executor}"] if executor != "local" else []
    again += [f"--storage {shlex.quote(storage)}"] if storage is not None else []
    _say_end(opened, ended, quiet, " ".join(again))


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
    size = f"{at_most}{_large(combinations)} combinations, {continuous} continuous parameters"
    lines = [
        f"space      {config.space.name}: {size}",
        f"data       {task.name}: {len(task.x_train)} to train on, {len(task.x_val)} to choose by, "
        f"shape {task.in_shape}, {task.n_outputs} classes",
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
    ends = [f"{limits.trials} trainings"] if limits.trials is not None else []
    ends += [readable(limits.seconds)] if limits.seconds is not None else []
    ends += [f"{limits.plateau} trainings without progress"] if limits.plateau is not None else []
    each = "" if trial_s is None else f"; {readable(trial_s)} for one training (--trial-time-limit)"
    return " or ".join(ends) + each


def _say_end(opened: Search, ended: str, quiet: bool, again: str) -> None:
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
        if front.members:
            print_front(front)
        for line in opened.noticed:
            click.echo(line, err=True)
    click.echo(
        f"results in {path}: front.csv ({len(front)}), trials.csv ({len(front.records)})"
        + (", front.png" if front.members else "")
    )
    if ended in ("interrupted", "time"):
        click.echo(f"go on with: {again}", err=True)
    if not quiet and front.members:
        click.echo(f"next: nas retrain {path} --pick knee    nas export {path} --pick knee", err=True)
    if ended == "interrupted":
        raise SystemExit(130)
    if not front.members:
        reasons = Counter(r.reason for r in front.records if r.reason).most_common(3)
        why_not = "".join(f"\n  {n} times: {reason}" for reason, n in reasons)
        click.echo(f"no trial is complete, so there is no front{why_not}", err=True)
        raise SystemExit(1)


def _counts(opened: Search) -> str:
    """Say how many trials there are of each state, and how many of the stopped ones are not over yet."""
    states = [r.state for r in opened.records]
    words = ("complete", "stopped_early", "failed", "over_budget", "duplicate")
    counted = {word: f"{states.count(word)} {word.replace('_', ' ')}" for word in words if word in states}
    if aside := sum(r.paused for r in opened.records):
        trials = f"{aside} trial" + ("s" if aside > 1 else "")
        counted["stopped_early"] += f" ({trials} set aside, which a resumed search may go on with)"
    return ", ".join(counted.values()) or "no trials"


def _say_notices(members: Sequence[Member]) -> None:
    """Say of networks whose training was stopped that it was."""
    for notice in filter(None, (member.notice for member in members)):
        click.echo(notice, err=True)


@main.command()
@click.argument("run", type=click.Path())
@click.option("-b", "--budget", "budgets", multiple=True, help="Only networks that keep this, e.g. 'latency_ms<=1'.")
@click.option("--pick", metavar="RULE", help="Only the network of this rule: knee, best:accuracy, trial:17, ...")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write the table as CSV here.")
@click.option("--plot", "plot_path", type=click.Path(dir_okay=False), help="Draw the front as PNG here.")
def front(run: str, budgets: tuple[str, ...], pick: str | None, csv_path: str | None, plot_path: str | None) -> None:
    """Show the Pareto front of RUN, cheapest first; the knee is marked.

    \b
    RULE: knee | best:OBJECTIVE | trial:NUMBER, the first two with limits:
          'best:accuracy where latency_ms<=1 and n_params<=50k'
    """
    from nas.api import Front
    from nas.records import write_csv
    from nas.tables import print_front

    found = Front.load(run, budgets=budgets)
    members = found.members if pick is None else [found.pick(pick)]
    if not members:
        kept = f" keeps {', '.join(budgets)}" if budgets else " is complete"
        raise NasError(f"{run}: no trial{kept}, so there is no front")
    if csv_path is not None:
        write_csv(Path(csv_path), [m.record for m in members], found.config.columns())
    if plot_path is not None:
        found.plot(plot_path)
    print_front(found, members)
    _say_notices(members)
    if csv_path is not None:
        click.echo(f"{csv_path}: {len(members)} networks", err=True)
    if plot_path is not None:
        click.echo(plot_path, err=True)


@main.command()
@click.argument("run", type=click.Path())
@click.option("--pick", metavar="RULE", default="knee", show_default=True, help="Which network; see nas front --help.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many trainings.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of each training.  [default: 3 times the search's]")
@click.option("--overwrite", is_flag=True, help="Do again what was done.")
@_data_options
def retrain(
    run: str, pick: str, seeds: int, epochs: int | None, overwrite: bool, data: str | None, data_root: str | None
) -> None:
    """Train one network of RUN on all data but the test set, with several seeds, and judge it on the test set."""
    from nas.api import Front
    from nas.durations import readable

    def say(seed: int, log: EpochLog) -> None:
        if time.monotonic() - said[0] > _SAY_EVERY:
            said[0] = time.monotonic()
            words = f"epoch {log.epochs:.3g}, training loss {log.train_loss:.4f}"
            click.echo(f"seed {seed + 1} of {seeds}: {words}", err=True)

    said = [time.monotonic()]
    member = Front.load(run, data=data, data_root=data_root).pick(pick)
    click.echo(f"trial {member.record.number}: {member.summary}", err=True)
    _say_notices([member])
    found = member.retrain(seeds=seeds, epochs=epochs, overwrite=overwrite, on_epoch=say)
    low, high = found.interval
    spread = f", 95 % interval [{low:.4f}, {high:.4f}]" if seeds > 1 else ": no interval"
    folder = member.front.folder.retrained_trial(member.record.number)
    click.echo(f"test accuracy    {found.mean:.4f} (mean of {seeds} seeds{spread})")
    click.echo(f"test set         {found.n_test} samples, which know an accuracy to +-{found.sampling_error:.4f}")
    click.echo(f"each seed        {', '.join(f'{a:.4f}' for a in found.accuracies)}")
    share = member.record.share
    then = f", after {100 * share:.3g} % of its training" if member.notice else ""
    click.echo(f"in the search    {found.searched_accuracy:.4f} on validation data{then}")
    click.echo(
        f"{found.epochs} epochs each, {readable(found.train_seconds)} in all; weights and retrained.json in {folder}"
    )


@main.command()
@click.argument("run", type=click.Path())
@click.option("--pick", metavar="RULE", help="Which network; see nas front --help.  [default: knee]")
@click.option("--front", "whole", is_flag=True, help="Every network of the front.")
@click.option("--out", type=click.Path(), help="The .onnx file (--pick) or folder (--front).  [default: RUN/exports]")
@click.option(
    "--quantize",
    type=click.Choice(["fp32", "int8_dynamic", "int8_static"]),
    help="Precision of the file.  [default: what the space says, else fp32]",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@_data_options
def export(
    run: str,
    pick: str | None,
    whole: bool,
    out: str | None,
    quantize: Precision | None,
    overwrite: bool,
    data: str | None,
    data_root: str | None,
) -> None:
    """Write ONNX files with dynamic batch, compare each with torch, and measure its latency again.

    A file takes float32 (N, ...), standardised: (x * scale - mean) / std per channel; scale, mean, std, shape and
    class names are in its metadata. The weights are those of `nas retrain` (seed 0), or the search's where there
    was none. A file that differs from torch is not left behind. Exit code 1 where a file breaks a budget of the run.

    int8 files are calibrated on training data; their accuracy on validation data is shown beside that of torch, and a
    file that is not faster than fp32 or loses more than a point is not worth it.
    """
    from nas.api import Front
    from nas.ship import exported_path, write_table
    from nas.tables import print_shipped

    if whole and pick is not None:
        raise click.UsageError("--pick and --front exclude each other")
    found = Front.load(run, data=data, data_root=data_root)
    members = found.members if whole else [found.pick(pick or "knee")]
    if not members:
        raise NasError(f"{run}: there is no front to export")
    paths = [exported_path(found.config, member.record, found.folder, quantize) for member in members]
    if out is not None:
        paths = [Path(out) / path.name for path in paths] if whole else [Path(out)]
    if taken := [path for path in paths if path.exists() and not overwrite]:
        raise NasError(f"{taken[0]} exists already; --overwrite replaces it")
    _say_notices(members)
    shipped, refused = [], []
    for member, path in zip(members, paths, strict=True):
        try:
            shipped.append(member.export(path, precision=quantize, overwrite=overwrite))
        except NasError as error:
            if quantize is None or len(members) == 1:
                raise
            refused.append(f"trial {member.record.number}: {error}")  # there may be nothing to quantise in it
    for line in refused:
        click.echo(line, err=True)
    if not shipped:
        raise NasError(f"{run}: nothing was exported")
    table = found.folder.exports / "exports.csv"
    table.parent.mkdir(exist_ok=True)
    write_table(table, shipped)
    print_shipped(shipped)
    for s in shipped:
        if s.differs:
            click.echo(f"trial {s.trial}: latency differs from the searched one: {s.differs}", err=True)
    click.echo(f"table: {table}", err=True)
    if refused or not all(s.kept for s in shipped):
        raise SystemExit(1)


@main.command()
@click.argument("what", metavar="RUN|MODEL.onnx", type=click.Path())
@_targets_option(
    "Where to measure, e.g. openvino:threads=2; repeat for several.  [default: the run's own, or onnxruntime]"
)
@click.option("--pick", metavar="RULE", help="Of a run: only the network of this rule; see nas front --help.")
@click.option("--front", "whole", is_flag=True, help="Of a run: every network of the front.  [default]")
@click.option("--shape", metavar="SIZES", help="Of a file that leaves axes open: one sample, e.g. 3,32,32.")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write the table as CSV here.")
@_data_options
def measure(
    what: str,
    targets: tuple[str, ...],
    pick: str | None,
    whole: bool,
    shape: str | None,
    csv_path: str | None,
    data: str | None,
    data_root: str | None,
) -> None:
    """Measure the networks of a RUN again, beside what its search saw; or any ONNX file.

    A run's own targets keep its calibration. Otherwise one is made now, for each target: such milliseconds compare
    with what was measured beside them. On what was measured goes beside the CSV file, as .machine.json. Exit code 1
    where a network cannot be measured on a target.
    """
    if whole and pick is not None:
        raise click.UsageError("--pick and --front exclude each other")
    if Path(what).is_dir() or not (Path(what).exists() or what.endswith(".onnx")):
        if shape is not None:
            raise click.UsageError("--shape is for ONNX files; a run knows the shape of its data")
        _measure_run(what, targets, pick, csv_path, data, data_root)
        return
    if whole or pick is not None or data is not None or data_root is not None:
        raise click.UsageError("--pick, --front, --data and --data-root are for runs, and this is a file")
    _measure_file(what, targets, shape, csv_path)


def _measure_run(
    run: str,
    targets: Sequence[str],
    pick: str | None,
    csv_path: str | None,
    data: str | None,
    data_root: str | None,
) -> None:
    from nas.api import Front
    from nas.tables import print_measured

    found = Front.load(run, data=data, data_root=data_root)
    members = found.members if pick is None else [found.pick(pick)]
    if not members:
        raise NasError(f"{run}: there is no front to measure")
    measured = found.measure(targets, members=members, csv=csv_path)
    print_measured(measured)
    if csv_path is not None:
        click.echo(f"{csv_path}: {len(measured)} networks", err=True)
    if any(one.problems for one in measured):
        raise SystemExit(1)


def _measure_file(path: str, targets: Sequence[str], shape: str | None, csv_path: str | None) -> None:
    from nas.measure.machine import describe
    from nas.measured import measure_file
    from nas.progress import figure

    found = measure_file(path, targets or ("onnxruntime",), shape=shape, csv=csv_path)
    width = max(map(len, (*found.latencies, "size_bytes"))) + 1
    for name, m in found.latencies.items():
        click.echo(f"{name:<{width}} {m.value:.4g} [{m.low:.4g}, {m.high:.4g}] on {found.targets[name]}")
    for name in ("macs", "n_params", "size_bytes", "peak_bytes"):
        value = getattr(found, name)
        click.echo(f"{name:<{width}} {'unknown' if value is None else f'{figure(name, value)} ({value})'}")
    for note in found.notes:
        click.echo(note, err=True)
    machine = describe()
    where = f"{machine['cpu']}, {machine['cores']} cores"
    click.echo(f"calibrated now ({where}): these milliseconds compare with what is measured beside them", err=True)
    if csv_path is not None:
        click.echo(csv_path, err=True)


def _large(n: int) -> str:
    """Return a number one can read, however large.

    >>> _large(5184), _large(1048847626871561568)
    ('5,184', '1.0 x 10^18')
    """
    if n < 10**7:
        return f"{n:,}"
    exponent = len(str(n)) - 1 if n < 10**4000 else int(math.log10(n))
    return f"{10 ** (math.log10(n) - exponent):.1f} x 10^{exponent}"


@main.command("space")
@click.argument("space", required=False)
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    help="Random architectures, shown (5) or priced (60).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print it as a space file instead.")
@click.option("--python", "as_python", is_flag=True, help="Print it as Python source instead.")
@click.option("--unchecked", is_flag=True, help="Do not check parts and fields (which loads torch).")
@click.option(
    "-b", "--budget", "budgets", multiple=True, help="Say what share of random samples keeps it; repeat for several."
)
@click.option("--prices", is_flag=True, help="Say what random samples cost; --budget does too.")
@_targets_option("Where to measure their latency; repeat for several.  [default: onnxruntime]")
@click.option("--data", help="What they are for: digits, fashion_mnist, or a .npz file.  [default: digits]")
@click.option("--data-root", metavar="DIR", help="Folder of data sets that come as files.  [default: data]")
@click.option("--shape", metavar="SIZES", help="Instead of data: one sample, e.g. 3,32,32.")
@click.option("--classes", type=click.IntRange(min=1), help="With --shape: the number of outputs.  [default: 10]")
@click.option("-t", "--time-limit", metavar="TIME", help="No sample is begun after this.  [default: 60s]")
def space_command(
    space: str | None,
    samples: int | None,
    seed: int,
    as_yaml: bool,
    as_python: bool,
    unchecked: bool,
    **priced: Any,
) -> None:
    """Show SPACE: its tree, its size, and some random architectures. Without SPACE: the names of those shipped.

    With --budget or --prices random architectures are priced, as a search does before any training, instead of shown:
    what share of them keeps the budgets, and what they cost. Exit code 1 where none keeps all of them.
    """
    from nas.catalog import find_space, shipped
    from nas.objectives import Budget
    from nas.rng import generator
    from nas.space import Group
    from nas.space.tree import count
    from nas.space.write import outline

    given = {name: value for name, value in priced.items() if value}
    pricing = bool(priced["budgets"] or priced["prices"])
    if given and not pricing:
        option = next(iter(given)).removesuffix("s" if "targets" in given else "").replace("_", "-")
        raise click.UsageError(f"--{option} is for prices; add --prices, or a --budget")
    if pricing and (space is None or as_yaml or as_python):
        raise click.UsageError("--budget and --prices need a SPACE, and go without --yaml and --python")
    if pricing and samples == 0:
        raise click.UsageError("--samples is at least 1 where they are priced")
    if space is None:
        for name, file in shipped().items():
            click.echo(f"{name:12} {file.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    for budget in priced["budgets"]:
        Budget.parse(budget)
    found = find_space(space)
    if not unchecked or pricing:
        from nas.study.check import check_space

        check_space(found)
    if as_yaml or as_python:
        click.echo(found.to_yaml() if as_yaml else found.to_python(), nl=False)
        return
    rng = generator(seed, "samples")
    drawn = [] if pricing else [found.sample(rng) for _ in range(5 if samples is None else samples)]
    click.echo(outline(found))
    networks = count(
        Group({name: node for name, node in found.root.fields.items() if name not in ("training", "deploy")})
    )[0]
    click.echo()
    at_most = "at most " if found.bounded else ""
    combinations, continuous = found.count()
    click.echo(
        f"{at_most}{_large(networks)} networks; {at_most}{_large(combinations)} combinations with training, "
        f"times {continuous} continuous parameters; {len(found.slots)} parameters in all"
    )
    for i, arch in enumerate(drawn):
        click.echo(f"\nsample {i}")
        for path, value in arch.values.items():
            click.echo(f"  {path} = {str(value).lower() if isinstance(value, bool) else value}")
    if pricing:
        click.echo()
        _preview(found, 60 if samples is None else samples, seed, given)


def _preview(space: Space, samples: int, seed: int, given: dict[str, Any]) -> None:
    """Price random samples and say what share of them keeps the budgets; end with exit code 1 where none does."""
    from nas.durations import readable, seconds
    from nas.measure.onnx_file import read_shape
    from nas.measure.open import noticed
    from nas.measured import names_of
    from nas.study.config import StudyConfig
    from nas.study.preview import preview, stand_in
    from nas.study.session import load_data
    from nas.tables import print_preview

    if "shape" in given and ("data" in given or "data_root" in given):
        raise click.UsageError("--shape is there instead of --data")
    if "classes" in given and "shape" not in given:
        raise click.UsageError("--classes goes with --shape; data say themselves how many they have")
    targets = names_of(given.get("targets", ("onnxruntime",)))
    chosen = {name: given[name] for name in ("budgets", "data", "data_root") if name in given}
    config = StudyConfig(space=space, objectives=tuple(targets), runtime=targets["latency_ms"], seed=seed, **chosen)
    shape = given.get("shape")
    task = load_data(config) if shape is None else stand_in(read_shape(shape), given.get("classes", 10))
    found = preview(config, task, samples=samples, seconds=seconds(given.get("time_limit", "60s")))
    n = len(found.candidates)
    asked = "" if n == samples else f" of {samples} asked for (--time-limit)"
    click.echo(
        f"{n} random samples{asked} on {task.name}, shape {task.in_shape}, {task.n_outputs} outputs: "
        f"{found.n_networks} different networks, priced in {readable(found.seconds)}"
    )
    for times, problem in (problems := found.problems())[:3]:
        click.echo(f"  {times} of {n} {problem}")
    if more := sum(times for times, _ in problems[3:]):
        click.echo(f"  {more} of {n} for {len(problems) - 3} other reasons")
    print_preview(found)
    for line in (line for meter in found.meters for line in noticed(meter)):
        click.echo(line, err=True)
    if found.budgets and not found.keeping(found.budgets).n:
        if (near := found.nearest(found.budgets)) is not None:
            figures = ", ".join(f"{b.objective} {near[0].prices[b.objective].value:.4g}" for b in found.budgets)
            click.echo(f"none keeps every budget; the nearest is {near[1]:.3g} times beyond: {figures}", err=True)
        raise SystemExit(1)
