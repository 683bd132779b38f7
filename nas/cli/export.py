"""`nas export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.group import data_options, pick_option, plugin_option, say_notices, say_plugins
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.export.quantize import Precision


@click.command()
@click.argument("run", type=click.Path())
@pick_option("Which network; see nas front --help; repeat for several.  [default: knee]")
@click.option("--front", "whole", is_flag=True, help="Every network of the front.")
@click.option(
    "--out", type=click.Path(), help="The .onnx file (one network) or folder (several).  [default: RUN/exports]"
)
@click.option(
    "--quantize",
    type=click.Choice(["fp32", "int8_dynamic", "int8_static"]),
    help="Precision of the file.  [default: what the space says, else fp32]",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@data_options
@plugin_option
def export(
    run: str,
    picks: tuple[str, ...],
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

    int8 files are calibrated on training data; how good they are on validation data is shown beside torch,
    and a file that is not faster than fp32 or loses more than a hundredth is not worth it.
    """
    from nas.api import Front
    from nas.ship import exported_path, write_table
    from nas.tables import print_shipped

    if whole and picks:
        raise click.UsageError("--pick and --front exclude each other")
    found = Front.load(run, data=data, data_root=data_root)
    say_plugins(found)
    members = found.members if whole else found.pick_all(picks or ["knee"])
    if not members:
        raise NasError(f"{run}: there is no front to export")
    paths = [exported_path(found.config, member.record, found.folder, quantize) for member in members]
    if out is not None:
        paths = [Path(out) / path.name for path in paths] if whole or len(picks) > 1 else [Path(out)]
    if taken := [path for path in paths if path.exists() and not overwrite]:
        raise NasError(f"{taken[0]} exists already; --overwrite replaces it")
    say_notices(members)
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
