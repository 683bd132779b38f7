"""The commands: parsing and printing, a file each. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import click

from nas.cli.dashboard import dashboard
from nas.cli.export import export
from nas.cli.front import front
from nas.cli.group import Commands
from nas.cli.measure import measure
from nas.cli.parts import blocks, check, plugins
from nas.cli.report import report
from nas.cli.retrain import retrain
from nas.cli.search import search
from nas.cli.space import space_command

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pareto-nas", prog_name="nas")
def main() -> None:
    """Search neural networks that are accurate and keep a measured budget, retrain one, and ship it.

    \b
    nas search                                a real search on scikit-learn's digits
    nas search image --data mine.npz --budget 'latency_ms<=2' --time-limit 30m
    nas front results/image-001               the Pareto front as a table
    nas report results/image-001              one HTML page to choose from and to show around
    nas retrain results/image-001 --pick knee
    nas export results/image-001 --pick knee
    """


for command in (
    *(search, front, report, dashboard, retrain, export, measure, space_command),  # in the order of use
    *(blocks, check, plugins),
):
    main.add_command(command)
