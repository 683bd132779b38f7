"""`nas export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.group import (
    data_options,
    executor_option,
    pick_option,
    picked,
    plugin_option,
    say_notices,
    say_plugins,
    targets_option,
)
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.api import Front, Member
    from nas.export.quantize import Precision
    from nas.ship import Exports, Job


@click.command()
@click.argument("run", type=click.Path())
@pick_option("Which network; see nas front --help; repeat for several.  [default: knee]")
@click.option("--front", "whole", is_flag=True, help="Every network of the front.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "pt2", "openvino", "executorch"]),
    multiple=True,
    help="Of the file; repeat for several. openvino and executorch need the extras of those names.  [default: onnx]",
)
@click.option(
    "--out",
    type=click.Path(),
    help="The file, or a folder that is there; with --front, several --pick or --format the folder of the files.  "
    "[default: RUN/exports]",
)
@click.option(
    "--quantize",
    type=click.Choice(["fp32", "int8_dynamic", "int8_static"]),
    help="Precision of the file: onnx has all, openvino int8_static too.  [default: what the space says, else fp32]",
)
@targets_option(
    "Where to measure, e.g. openvino:threads=2; repeat for several.  [default: the run's own on this machine]"
)
@executor_option
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@data_options
@plugin_option
def export(
    run: str,
    picks: tuple[str, ...],
    whole: bool,
    formats: tuple[str, ...],
    out: str | None,
    quantize: Precision | None,
    targets: tuple[str, ...],
    executor: str,
    overwrite: bool,
    data: str | None,
    data_root: str | None,
) -> None:
    """Write networks as files of one or several formats, compare each with torch, and measure its latency again.

    A file takes float32 (N, ...), standardised: (x * scale - mean) / std per channel; scale, mean, std, shape and
    class names are in the metadata of an ONNX file, and beside another in FILE.json. Beside each lies
    FILE.example.py, which predicts with it from images, rows of a table, texts, ... as you have them, and needs no
    part of this package. The weights are those of
    `nas retrain` (seed 0), or the search's where there was none. A file that differs from torch is not left behind.

    Latencies are those of the run's targets that run such files, with the run's calibration, else of the format's own
    runtime, calibrated now. Targets on other machines are named again with --target. Exit code 1 where a file breaks a
    budget of the run, or one of several cannot be written.

    int8 files are calibrated on training data; how good they are on validation data is shown beside torch,
    and a file that is not faster than fp32 or loses more than a hundredth is not worth it.
    """
    from nas.api import Front
    from nas.ship import check_free, in_the_way
    from nas.tables import print_shipped

    if whole and picks:
        raise click.UsageError("--pick and --front exclude each other")
    found = Front.load(run, data=data, data_root=data_root)
    say_plugins(found)
    members = found.members if whole else picked(found, picks or ["knee"])
    if not members:
        raise NasError(f"{run}: there is no front to export")
    several = whole or len(picks) > 1 or len(formats) > 1
    jobs = _jobs(found, members, dict.fromkeys(formats or ("onnx",)), quantize, out, several)
    taken = [path for job in jobs for path in in_the_way(job.format, job.path)]
    check_free(taken, overwrite, "--overwrite replaces it")
    say_notices(members)
    done = _export(found, jobs, quantize, targets, executor, overwrite)
    if not done.shipped:
        raise NasError(f"{run}: nothing was exported")
    print_shipped(done.shipped)
    for s in done.shipped:
        if s.differs:
            click.echo(f"trial {s.trial}: latency differs from the searched one: {s.differs}", err=True)
    for error in done.unlisted:
        click.echo(str(error), err=True)
    if len(done.unlisted) < len(done.shipped):
        click.echo(f"table: {found.folder.exports_table}", err=True)
    if done.refused or not all(s.kept for s in done.shipped):
        raise SystemExit(1)


def _jobs(
    found: Front,
    members: list[Member],
    formats: dict[str, None],
    quantize: Precision | None,
    out: str | None,
    several: bool,
) -> list[Job]:
    """Return the files to be written, network by network; `several`: `out` is a folder, however many they are."""
    from nas.ship import Job, exported_path, placed

    if out is not None and several and Path(out).exists() and not Path(out).is_dir():
        raise NasError(f"{out} is a file, and several files go into a folder; name one with --out")
    jobs = []
    for member in members:
        for name in formats:
            path = exported_path(found.config, member.record, found.folder, quantize, name)
            if out is not None:
                path = Path(out) / path.name if several else placed(Path(out), path)
            jobs.append(Job(member.record, name, path))
    return jobs


def _export(
    found: Front,
    jobs: list[Job],
    quantize: Precision | None,
    targets: Sequence[str],
    executor: str,
    overwrite: bool,
) -> Exports:
    """Write the files; say what cannot be written, and why.

    Raises:
        NasError: the only one cannot be.
    """
    from nas.ship import ship_all

    begun = 0

    def before(job: Job) -> None:
        nonlocal begun
        begun += 1
        if len(jobs) > 1:
            click.echo(f"[{begun}/{len(jobs)}] {job}", err=True)

    done = ship_all(
        found.config,
        found.task,
        found.folder,
        jobs,
        precision=quantize,
        overwrite=overwrite,
        targets=targets,
        executor=executor,
        before=before,
    )
    if len(jobs) == 1 and done.refused:
        raise done.refused[0][1]
    for job, error in done.refused:
        click.echo(f"{job}: {error}", err=True)
    return done
