"""`nas retrain`."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import click

from nas.cli.group import RULES, data_options, given_again, pick_option, picked, plugin_option, say_notices, say_plugins
from nas.errors import NasError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.api import Front, Member
    from nas.retrain.result import Retrained, SeedResult
    from nas.training.log import EpochLog

_SAY_EVERY = 3.0
"""Seconds between two lines of a retraining."""

_HELP = f"""Train networks of RUN on all data but the test set, with several seeds, and judge them on the test set.

Weights, figures and a model card go to RUN/retrained/trial-NUMBER, the table of all to RUN/retrained.csv. What is
interrupted goes on when the command is given again; what is finished stays, and --seeds 5 after 3 adds two.

{RULES}"""


@click.command(help=_HELP)
@click.argument("run", type=click.Path())
@pick_option("Which network, see above; repeat for several.  [default: knee]")
@click.option("--front", "whole", is_flag=True, help="Every network of the front.")
@click.option(
    "--members", "n_members", type=click.IntRange(min=1), metavar="N", help="The N that together dominate most of it."
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings of each network.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of each training.  [default: 3 times the search's]")
@click.option(
    "-t",
    "--time-limit",
    metavar="TIME",
    help="As many epochs (300 or --epochs at most) as let all trainings end within this: 90s, 15m, 1.5h.",
)
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, 1000),  # as nas.api.MOST_WORKERS, which is not loaded for --help
    help="Processes that train, one core each.  [default: one for each core, or each GPU]",
)
@click.option(
    "--training",
    metavar="YAML",
    help="Train with these fields of training: instead of those searched, for example "
    "'{optimizer: sgd, augment: {crop: {flip: true}}}', or a file of them.",
)
@click.option("--overwrite", is_flag=True, help="Begin anew; what is finished stays until the new one is.")
@data_options
@plugin_option
def retrain(
    run: str,
    picks: tuple[str, ...],
    whole: bool,
    n_members: int | None,
    seeds: int,
    epochs: int | None,
    time_limit: str | None,
    workers: int | None,
    training: str | None,
    overwrite: bool,
    data: str | None,
    data_root: str | None,
) -> None:
    from nas.api import Front
    from nas.retrain.recipe import read_recipe
    from nas.study.elsewhere import targets_again
    from nas.tables import print_retrained

    if (whole or n_members is not None) and picks:
        raise click.UsageError("--pick excludes --front and --members, which take networks from the front")
    found = Front.load(run, data=data, data_root=data_root)
    say_plugins(found)
    members = _chosen(found, picks, whole, n_members)
    telling = _Telling(members, seeds)
    try:
        models = found.retrain(
            members,
            seeds,
            epochs,
            time_limit=time_limit,
            workers=workers,
            training=None if training is None else read_recipe(training),
            overwrite=overwrite,
            watcher=telling,
        )
    except KeyboardInterrupt:
        if telling.any_begun:
            click.echo("what was trained is kept: the same command goes on from there, without --overwrite", err=True)
        raise
    print_retrained(models)
    for model in models if len(models) == 1 else ():
        click.echo(f"weights, figures, model card: {model.folder}", err=True)
    click.echo(f"table: {found.folder.retrained_table}", err=True)
    rules = " ".join(f"--pick trial:{one.trial}" for one in models)
    given = given_again(data) + "".join(f" {shlex.quote(word)}" for word in targets_again(found.config))
    again = " --overwrite" if any(model.member.exported for model in models) else ""
    click.echo(f"next: nas export {shlex.quote(run)} {rules}{given}{again}", err=True)
    if telling.any_failed:
        raise SystemExit(1)


def _chosen(found: Front, picks: Sequence[str], whole: bool, n: int | None) -> list[Member]:
    """Return the networks that the options name.

    Raises:
        NasError: there is no front, or nothing fits a rule.
    """
    if not whole and n is None:
        return picked(found, picks or ["knee"])
    if not found.members:
        raise NasError(f"{found.folder.path}: there is no front to retrain")
    if n is None:
        return list(found.members)
    chosen = found.spread(n)
    if len(chosen) < n:
        there = len(found.members)
        rest = (
            "" if len(chosen) == there else "; the others are far more often wrong than the best (--front takes them)"
        )
        click.echo(f"--members {n}: {len(chosen)} of the {there} networks of the front{rest}", err=True)
    return chosen


class _Telling:
    """Says on stderr how it goes; see `nas.retrain.Watcher`."""

    def __init__(self, members: Sequence[Member], seeds: int) -> None:
        objectives = members[0].front.config.parsed_objectives() if members else ()
        self._metric = next((o.name for o in objectives if not o.cheap), "")
        self.any_failed = self.any_begun = False
        self._members = {member.record.number: member for member in members}
        self._seeds, self._said = seeds, time.monotonic()
        self._epochs: dict[int, int] = {}

    def begun(self, trial: int, epochs: int, n_seeds: int, known: int, resumed: bool) -> None:
        """Say what is to be done, and what is there already."""
        self.any_begun = True
        self._epochs[trial] = epochs
        member = self._members[trial]
        words = (
            f"trial {trial}: {member.summary}; {epochs} epoch{'s' * (epochs > 1)}, {n_seeds} seed{'s' * (n_seeds > 1)}"
        )
        if known >= n_seeds:
            words += f": {known} are trained already; --overwrite trains them again"
        elif resumed:
            words += f"; goes on with what was kept, {known} of them trained"
        click.echo(words, err=True)
        say_notices([member])

    def planned_again(self, trial: int, epochs: int, before: int) -> None:
        """Say for how many epochs."""
        self._epochs[trial] = epochs
        why = f"since those take {'longer' if epochs < before else 'less time'} than in the search"
        click.echo(f"trial {trial}: {epochs} epochs instead of {before}, {why}", err=True)

    def epoch(self, trial: int, seed: int, log: EpochLog) -> None:
        """Say so now and then."""
        if time.monotonic() - self._said > _SAY_EVERY:
            self._said = time.monotonic()
            words = f"epoch {log.epochs:.3g} of {self._epochs[trial]}, training loss {log.train_loss:.4f}"
            click.echo(f"trial {trial}, seed {seed + 1} of {self._seeds}: {words}", err=True)

    def judged(self, trial: int, result: SeedResult) -> None:
        """Say how good a seed is."""
        from nas.durations import readable
        from nas.progress import figure

        first = self._metric if self._metric in result.scores else next(iter(result.scores))
        words = f"test {first} {figure(first, result.scores[first])}, {readable(result.train_seconds)} of training"
        click.echo(f"trial {trial}, seed {result.seed + 1} of {self._seeds}: {words}", err=True)

    def done(self, found: Retrained) -> None:
        """All is said at the end."""

    def failed(self, trial: int, reason: str) -> None:
        """Say why."""
        self.any_failed = True
        click.echo(f"trial {trial} failed: {reason}", err=True)

    def late(self, seconds: float, limit_s: float) -> None:
        """Say by how much, and why nothing was cut short."""
        from nas.durations import readable

        over = f"{readable(seconds)}, {seconds / limit_s - 1:.0%} over the time limit of {readable(limit_s)}"
        click.echo(f"it took {over}: a training that is well under way is not cut short", err=True)
