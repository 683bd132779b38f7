"""`nas retrain`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from nas.cli.group import data_options, say_notices

if TYPE_CHECKING:
    from nas.training import EpochLog

_SAY_EVERY = 3.0
"""Seconds between two lines of a retraining."""


@click.command()
@click.argument("run", type=click.Path())
@click.option("--pick", metavar="RULE", default="knee", show_default=True, help="Which network; see nas front --help.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many trainings.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of each training.  [default: 3 times the search's]")
@click.option("--overwrite", is_flag=True, help="Do again what was done.")
@data_options
def retrain(
    run: str, pick: str, seeds: int, epochs: int | None, overwrite: bool, data: str | None, data_root: str | None
) -> None:
    """Train one network of RUN on all data but the test set, with several seeds, and judge it on the test set."""
    from nas.api import Front
    from nas.durations import readable
    from nas.progress import figure

    def say(seed: int, log: EpochLog) -> None:
        if time.monotonic() - said[0] > _SAY_EVERY:
            said[0] = time.monotonic()
            words = f"epoch {log.epochs:.3g}, training loss {log.train_loss:.4f}"
            click.echo(f"seed {seed + 1} of {seeds}: {words}", err=True)

    said = [time.monotonic()]
    member = Front.load(run, data=data, data_root=data_root).pick(pick)
    click.echo(f"trial {member.record.number}: {member.summary}", err=True)
    say_notices([member])
    found = member.retrain(seeds=seeds, epochs=epochs, overwrite=overwrite, on_epoch=say)
    low, high = found.interval
    ends = f"[{figure(found.metric, low)}, {figure(found.metric, high)}]"
    spread = f", 95 % interval {ends}" if seeds > 1 else ": no interval"
    folder = member.front.folder.retrained_trial(member.record.number)
    known = f", which know an accuracy to +-{found.sampling_error:.4f}" if found.metric == "accuracy" else ""
    first = f"test {found.metric}".ljust(16)
    click.echo(f"{first} {figure(found.metric, found.mean)} (mean of {seeds} seeds{spread})")
    for name in found.scores[0]:
        if name != found.metric:
            mean = sum(scores[name] for scores in found.scores) / seeds
            click.echo(f"{f'  {name}'.ljust(16)} {figure(name, mean)}")
    click.echo(f"test set         {found.n_test} samples{known}")
    click.echo(f"each seed        {', '.join(figure(found.metric, value) for value in found.values)}")
    share = member.record.share
    then = f", after {100 * share:.3g} % of its training" if member.notice else ""
    click.echo(f"in the search    {figure(found.metric, found.searched)} on validation data{then}")
    click.echo(
        f"{found.epochs} epochs each, {readable(found.train_seconds)} in all; weights and retrained.json in {folder}"
    )
