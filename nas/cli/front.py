"""`nas front`."""

from __future__ import annotations

import shlex

import click

from nas.cli.group import RULES, pick_option, picked, say_notices
from nas.errors import NasError

_HELP = f"""Show the Pareto front of RUN, cheapest first, with the test accuracy of what was retrained.

{RULES}"""


@click.command(help=_HELP)
@click.argument("run", type=click.Path())
@click.option("-b", "--budget", "budgets", multiple=True, help="Only networks that keep this, e.g. 'latency_ms<=1'.")
@pick_option("Only the network of this rule, see above; repeat for several.")
@click.option("--sort", metavar="NAME", help="Best in this figure first.  [default: the first price that was searched]")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(dir_okay=False),
    help="Write it as CSV here: the columns of the table first, then all else that is known.",
)
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
    from nas.tables import print_front

    found = Front.load(run, budgets=budgets)
    members = picked(found, picks) if picks else found.members
    if not members:
        kept = f" keeps {', '.join(budgets)}" if budgets else " is complete"
        raise NasError(f"{run}: no trial{kept}, so there is no front")
    if sort is not None:
        members = found.sorted_by(sort, members)
    if csv_path is not None:
        found.to_csv(csv_path, members)
    if plot_path is not None:
        found.plot(plot_path)
    print_front(found, members)
    if budgets and found.members and found.pick("knee").record.number != Front.load(run).pick("knee").record.number:
        rule = shlex.quote(f"knee where {' and '.join(budgets)}")
        click.echo(f"the knee is of these networks, not of the whole front; elsewhere say --pick {rule}", err=True)
    say_notices(members)
    if csv_path is not None:
        click.echo(f"{csv_path}: {len(members)} network" + ("" if len(members) == 1 else "s"), err=True)
    if plot_path is not None:
        click.echo(plot_path, err=True)
