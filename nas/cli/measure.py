"""`nas measure`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from nas.cli.group import (
    data_options,
    executor_option,
    pick_option,
    picked,
    plugin_option,
    say_plugins,
    targets_option,
)
from nas.errors import NasError


@click.command()
@click.argument("what", metavar="RUN|MODEL.onnx", type=click.Path())
@targets_option(
    "Where to measure, e.g. openvino:threads=2; repeat for several.  [default: the run's own, or onnxruntime]"
)
@pick_option("Of a run: only the network of this rule; see nas front --help; repeat for several.")
@click.option("--front", "whole", is_flag=True, help="Of a run: every network of the front.  [default]")
@click.option("--shape", metavar="SIZES", help="Of a file that leaves axes open: one sample, e.g. 3,32,32.")
@executor_option
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write the table as CSV here.")
@data_options
@plugin_option
def measure(
    what: str,
    targets: tuple[str, ...],
    picks: tuple[str, ...],
    whole: bool,
    shape: str | None,
    executor: str,
    csv_path: str | None,
    data: str | None,
    data_root: str | None,
) -> None:
    """Measure the networks of a RUN again, beside what its search saw; or any ONNX file.

    A run's own targets keep its calibration; those on other machines are named again with --target. For others one is
    made now: such milliseconds compare with what was measured beside them. On what was measured goes beside the CSV
    file, as .machine.json. Exit code 1 where a network cannot be measured on a target.
    """
    if whole and picks:
        raise click.UsageError("--pick and --front exclude each other")
    if Path(what).is_dir() or not (Path(what).exists() or what.endswith(".onnx")):
        if shape is not None:
            raise click.UsageError("--shape is for ONNX files; a run knows the shape of its data")
        _measure_run(what, targets, picks, executor, csv_path, data, data_root)
        return
    if whole or picks or data is not None or data_root is not None or executor != "local":
        raise click.UsageError("--pick, --front, --data, --data-root and --executor are for runs, and this is a file")
    _measure_file(what, targets, shape, csv_path)


def _measure_run(
    run: str,
    targets: Sequence[str],
    picks: tuple[str, ...],
    executor: str,
    csv_path: str | None,
    data: str | None,
    data_root: str | None,
) -> None:
    from nas.api import Front
    from nas.tables import print_measured

    found = Front.load(run, data=data, data_root=data_root)
    say_plugins(found)
    members = picked(found, picks) if picks else found.members
    if not members:
        raise NasError(f"{run}: there is no front to measure")
    measured = found.measure(targets, members=members, csv=csv_path, executor=executor)
    print_measured(measured)
    if csv_path is not None:
        click.echo(f"{csv_path}: {len(measured)} networks", err=True)
    if any(one.problems for one in measured):
        raise SystemExit(1)


def _measure_file(path: str, targets: Sequence[str], shape: str | None, csv_path: str | None) -> None:
    from nas.measure.machine import describe
    from nas.measured import measure_file
    from nas.progress import figure

    found = measure_file(path, targets or ("onnxruntime",), shape=shape, csv=csv_path)
    width = max(map(len, (*found.latencies, "size_bytes"))) + 1
    for name, m in found.latencies.items():
        click.echo(f"{name:<{width}} {m.value:.4g} [{m.low:.4g}, {m.high:.4g}] on {found.targets[name]}")
    for name in ("macs", "n_params", "size_bytes", "peak_bytes"):
        value = getattr(found, name)
        click.echo(f"{name:<{width}} {'unknown' if value is None else f'{figure(name, value)} ({value})'}")
    for note in found.notes:
        click.echo(note, err=True)
    machine = describe()
    where = f"{machine['cpu']}, {machine['cores']} cores"
    click.echo(f"calibrated now ({where}): these milliseconds compare with what is measured beside them", err=True)
    if csv_path is not None:
        click.echo(csv_path, err=True)
