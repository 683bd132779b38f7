"""Several files of a run: what fails says why, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.export import FORMATS
from nas.export.quantize import Precision
from nas.measure import opened
from nas.records import TrialRecord
from nas.ship.meters import shipping_meters
from nas.ship.one import ship
from nas.ship.shipped import Shipped, write_table
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.limits import training_process

if TYPE_CHECKING:
    from nas.data import Task


@dataclass(frozen=True)
class Job:
    """One file that is to be written."""

    record: TrialRecord
    format: str
    path: Path

    def __str__(self) -> str:
        return f"trial {self.record.number}, {self.format}"


@dataclass
class Exports:
    """What became of several jobs."""

    shipped: list[Shipped] = field(default_factory=list)
    refused: list[tuple[Job, NasError]] = field(default_factory=list)

    unlisted: list[NasError] = field(default_factory=list)
    """Why files that are there have no row in the table of the run."""


def ship_all(
    config: StudyConfig,
    task: Task,
    folder: RunFolder,
    jobs: Sequence[Job],
    *,
    precision: Precision | None = None,
    overwrite: bool = False,
    targets: Sequence[str] = (),
    executor: str = "local",
    before: Callable[[Job], None] = lambda job: None,
) -> Exports:
    """Export one file after the other, with one calibration of each target for all of them; see `ship`.

    Each is a row of the run's `exports/exports.csv` as soon as it is there.

    Args:
        targets, executor: on what they are measured, see `shipping_meters`.
        before: told of each file when it is begun.
    Raises:
        NasError: what concerns all files, such as a run without a calibration.
    """
    done = Exports()
    formats = [name for name in dict.fromkeys(job.format for job in jobs) if not FORMATS[name].unavailable()]
    by_format = shipping_meters(config, folder, formats, targets, executor)
    with training_process(), ExitStack() as stack:
        for meters in by_format.values():
            stack.enter_context(opened(meters))  # to close one twice is no harm
        for job in jobs:
            before(job)
            try:
                found = ship(
                    config,
                    job.record,
                    task,
                    folder,
                    by_format.get(job.format, {}),
                    path=job.path,
                    format=job.format,
                    precision=precision,
                    overwrite=overwrite,
                )
            except NasError as error:
                done.refused.append((job, error))
                continue
            done.shipped.append(found)
            try:
                write_table(folder.exports_table, [found])
            except NasError as error:
                done.unlisted.append(error)
    return done
