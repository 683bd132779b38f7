"""`nas front`."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli.group import say_notices
from nas.errors import NasError


@click.command()
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
    say_notices(members)
    if csv_path is not None:
        click.echo(f"{csv_path}: {len(members)} networks", err=True)
    if plot_path is not None:
        click.echo(plot_path, err=True)
