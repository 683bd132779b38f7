"""`nas report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(dir_okay=False), help="The .html file.  [default: RUN/report.html]")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
def report(run: str, out: str | None, show: bool) -> None:
    """Write one HTML page about RUN: the front to choose from, and all that a colleague would ask.

    The page is one file that loads nothing, so it can be sent around and opens without a network. It may be written
    while the search still runs. An earlier page of that name is replaced.
    """
    from nas.api import Front

    path = Front.load(run).report(out)
    click.echo(path)
    if show:
        click.launch(Path(path).resolve().as_uri())
