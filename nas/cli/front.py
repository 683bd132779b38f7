"""`nas front`."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli.group import RULES, pick_option, say_notices
from nas.errors import NasError

_HELP = f"""Show the Pareto front of RUN, cheapest first, with the test accuracy of what was retrained.

{RULES}"""


@click.command(help=_HELP)
@click.argument("run", type=click.Path())
@click.option("-b", "--budget", "budgets", multiple=True, help="Only networks that keep this, e.g. 'latency_ms<=1'.")
@pick_option("Only the network of this rule, see above; repeat for several.")
@click.option("--sort", metavar="NAME", help="Best in this figure first.  [default: the first price that was searched]")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write the table as CSV here.")
@click.option("--plot", "plot_path", type=click.Path(dir_okay=False), help="Draw the front as PNG here.")
def front(
    run: str,
    budgets: tuple[str, ...],
    picks: tuple[str, ...],
    sort: str | None,
    csv_path: str | None,
    plot_path: str | None,
) -> None:
    from nas.api import Front
    from nas.records import write_csv
    from nas.tables import print_front

    found = Front.load(run, budgets=budgets)
    members = found.pick_all(picks) if picks else found.members
    if not members:
        kept = f" keeps {', '.join(budgets)}" if budgets else " is complete"
        raise NasError(f"{run}: no trial{kept}, so there is no front")
    if sort is not None:
        members = found.sorted_by(sort, members)
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
