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
    from nas.api import Front, Member
    from nas.ship import Shipped
    from nas.study.loop import Search, Watcher
    from nas.training import EpochLog

DEFAULT_TRIALS = 80
DEFAULT_SECONDS = 180.0
"""A search without --trials and --time-limit ends at whichever comes first."""

LEAST_TRIAL_SECONDS = 60.0
"""A training may take a tenth of --time-limit, but at least this, unless --trial-time-limit is given."""


_SAY_EVERY = 3.0
"""Seconds between two lines of a retraining."""

_WIDE = 120
"""Characters that the whole table of a front needs."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _data_options(command: _Command) -> _Command:
    """Let a command be told where the data of a run are now."""
    root = click.option("--data-root", metavar="DIR", help="Folder of named data sets.  [default: the search's]")
    data = click.option("--data", help="Where the run's data are now; the same data.  [default: where they were]")
    return data(root(command))


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
    help="A training that takes longer fails.  [default: a tenth of --time-limit, at least 60 s]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of every trial, whatever the space says.")
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
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that is random.  [default: 0]")
@click.option("--out", metavar="DIR", help="Run folder.  [default: results/SPACE-001, or the next number]")
@click.option("--storage", metavar="URL", help="An Optuna storage URL instead of study.db in the run folder.")
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
    if trials is None and limit_s is None:
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
                Limits(trials, limit_s, None if limit_s is None else max(LEAST_TRIAL_SECONDS, limit_s / 10)),
                storage_url=storage,
                resume=resume,
                watcher=_watcher(stack, quiet, verbose),
                download=download,
            )
        )
        if not quiet:
            _say_start(opened)
        ended = opened.run()
    again = ["nas search --resume --out", shlex.quote(str(folder.path))]
    again += [f"--trials {trials}"] if trials is not None else []
    again += [f"--time-limit {time_limit or f'{limit_s:g}s'}"] if limit_s is not None else []
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


def _say_start(opened: Search) -> None:
    """Say what is searched, on what, for what."""
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
    click.echo("\n".join(lines), err=True)


def _limits(opened: Search) -> str:
    """Say when the search ends, and when a training does."""
    from nas.durations import readable

    limits, trial_s = opened.limits, opened.trial_limit_s
    ends = [f"{limits.trials} trainings"] if limits.trials is not None else []
    ends += [readable(limits.seconds)] if limits.seconds is not None else []
    each = "" if trial_s is None else f"; {readable(trial_s)} for one training (--trial-time-limit)"
    return " or ".join(ends) + each


def _say_end(opened: Search, ended: str, quiet: bool, again: str) -> None:
    """Print the front, draw it, and say where everything is."""
    from nas.api import Front

    path = opened.folder.path
    front = Front.load(path)
    if front.members:
        front.plot()
    if not quiet:
        why = {
            "trials": "all trials done",
            "time": "the time is over",
            "interrupted": "interrupted; nothing finished is lost",
            "exhausted": "the sampler finds nothing that is new: the space seems exhausted",
        }[ended]
        click.echo(f"\n{why}. {_counts(opened)}\n", err=True)
        if front.members:
            _print_front(front)
        if n := getattr(opened.evaluator.pricer.meter, "disturbed", 0):
            click.echo(f"{n} latencies were measured beside a training that did not pause; they may be high", err=True)
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
    states = [r.state for r in opened.records]
    words = {"complete": "complete", "failed": "failed", "over_budget": "over budget", "duplicate": "duplicate"}
    return ", ".join(f"{states.count(state)} {word}" for state, word in words.items() if state in states) or "no trials"


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

    found = Front.load(run, budgets=budgets)
    members = found.members if pick is None else [found.pick(pick)]
    if not members:
        kept = f" keeps {', '.join(budgets)}" if budgets else " is complete"
        raise NasError(f"{run}: no trial{kept}, so there is no front")
    if csv_path is not None:
        write_csv(Path(csv_path), [m.record for m in members], found.config.space.slots)
    if plot_path is not None:
        found.plot(plot_path)
    _print_front(found, members)
    if csv_path is not None:
        click.echo(f"{csv_path}: {len(members)} networks", err=True)
    if plot_path is not None:
        click.echo(plot_path, err=True)


def _print_front(found: Front, members: Sequence[Member] | None = None) -> None:
    """Print networks as a table on stdout."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from nas.objectives import PRICES
    from nas.progress import figure

    members = found.members if members is None else members
    best = found.pick("knee").record.number if found.members else None
    console = Console() if sys.stdout.isatty() else Console(width=160)
    names = [*[n for n in found.config.objectives if n not in PRICES], *PRICES]
    if console.width < _WIDE:  # only the figures that were searched for
        names = [name for name in names if name in found.config.objectives]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", *names):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("blocks", overflow="fold", min_width=24)
    for member in members:
        record = member.record
        cells = {n: figure(n, record.metrics[n]) if n in record.metrics else "" for n in names}
        if "latency_ms" in cells and (latency := record.prices.get("latency_ms")) and console.width >= _WIDE:
            ends = figure("latency_ms", latency.low), figure("latency_ms", latency.high)
            cells["latency_ms"] += f" [{ends[0]}, {ends[1]}]"
        mark = " (knee)" if record.number == best else ""
        table.add_row(str(record.number), *map(escape, cells.values()), member.summary + mark)
    console.print(table, highlight=False)


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
            click.echo(f"seed {seed + 1} of {seeds}: epoch {log.epoch}, training loss {log.train_loss:.4f}", err=True)

    said = [time.monotonic()]
    member = Front.load(run, data=data, data_root=data_root).pick(pick)
    click.echo(f"trial {member.record.number}: {member.summary}", err=True)
    found = member.retrain(seeds=seeds, epochs=epochs, overwrite=overwrite, on_epoch=say)
    low, high = found.interval
    spread = f", 95 % interval [{low:.4f}, {high:.4f}]" if seeds > 1 else ": no interval"
    folder = member.front.folder.retrained_trial(member.record.number)
    click.echo(f"test accuracy    {found.mean:.4f} (mean of {seeds} seeds{spread})")
    click.echo(f"test set         {found.n_test} samples, which know an accuracy to +-{found.sampling_error:.4f}")
    click.echo(f"each seed        {', '.join(f'{a:.4f}' for a in found.accuracies)}")
    click.echo(f"in the search    {found.searched_accuracy:.4f} on validation data")
    click.echo(
        f"{found.epochs} epochs each, {readable(found.train_seconds)} in all; weights and retrained.json in {folder}"
    )


@main.command()
@click.argument("run", type=click.Path())
@click.option("--pick", metavar="RULE", help="Which network; see nas front --help.  [default: knee]")
@click.option("--front", "whole", is_flag=True, help="Every network of the front.")
@click.option("--out", type=click.Path(), help="The .onnx file (--pick) or folder (--front).  [default: RUN/exports]")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@_data_options
def export(
    run: str,
    pick: str | None,
    whole: bool,
    out: str | None,
    overwrite: bool,
    data: str | None,
    data_root: str | None,
) -> None:
    """Write ONNX files with dynamic batch, compare each with torch, and measure its latency again.

    A file takes float32 (N, ...), standardised: (x * scale - mean) / std per channel; scale, mean, std, shape and
    class names are in its metadata. The weights are those of `nas retrain` (seed 0), or the search's where there
    was none. A file that differs from torch is not left behind. Exit code 1 where a file breaks a budget of the run.
    """
    from nas.api import Front
    from nas.ship import write_table

    if whole and pick is not None:
        raise click.UsageError("--pick and --front exclude each other")
    found = Front.load(run, data=data, data_root=data_root)
    members = found.members if whole else [found.pick(pick or "knee")]
    if not members:
        raise NasError(f"{run}: there is no front to export")
    paths = [found.folder.exported(member.record.number) for member in members]
    if out is not None:
        paths = [Path(out) / path.name for path in paths] if whole else [Path(out)]
    if taken := [path for path in paths if path.exists() and not overwrite]:
        raise NasError(f"{taken[0]} exists already; --overwrite replaces it")
    shipped = [member.export(path, overwrite=overwrite) for member, path in zip(members, paths, strict=True)]
    table = found.folder.exports / "exports.csv"
    table.parent.mkdir(exist_ok=True)
    write_table(table, shipped)
    _print_shipped(shipped)
    click.echo(f"table: {table}", err=True)
    if not all(s.kept for s in shipped):
        raise SystemExit(1)


def _print_shipped(shipped: Sequence[Shipped]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", "weights", "max difference", "searched ms", "file ms", "bytes", "verdict", "file"):
        table.add_column(
            name, justify="right" if name not in ("weights", "verdict", "file") else "left", overflow="fold"
        )
    for s in shipped:
        again = f"{s.file_ms:.4g} [{s.file_ms_low:.4g}, {s.file_ms_high:.4g}]"
        row = (str(s.trial), s.weights, f"{s.max_difference:.1e}", f"{s.searched_ms:.4g}", again, str(s.size_bytes))
        table.add_row(*map(escape, (*row, s.verdict, s.file)))
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table, highlight=False)


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
@click.option("--samples", type=click.IntRange(min=0), default=5, show_default=True, help="Random architectures shown.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print it as a space file instead.")
@click.option("--python", "as_python", is_flag=True, help="Print it as Python source instead.")
@click.option("--unchecked", is_flag=True, help="Do not check parts and fields (which loads torch).")
def space_command(space: str | None, samples: int, seed: int, as_yaml: bool, as_python: bool, unchecked: bool) -> None:
    """Show SPACE: its tree, its size, and some random architectures. Without SPACE: the names of those shipped."""
    from nas.catalog import find_space, shipped
    from nas.rng import generator
    from nas.space import Group
    from nas.space.tree import count
    from nas.space.write import outline

    if space is None:
        for name, file in shipped().items():
            click.echo(f"{name:12} {file.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    found = find_space(space)
    if not unchecked:
        from nas.study.check import check_space

        check_space(found)
    if as_yaml or as_python:
        click.echo(found.to_yaml() if as_yaml else found.to_python(), nl=False)
        return
    rng = generator(seed, "samples")
    drawn = [found.sample(rng) for _ in range(samples)]
    click.echo(outline(found))
    networks = count(Group({name: node for name, node in found.root.fields.items() if name != "training"}))[0]
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
