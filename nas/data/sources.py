"""What `--data SPEC` may be: a table, looked through from the top. A new kind of data is a file and a line here."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.data.arrays import Arrays
from nas.data.code import is_code, run_code
from nas.data.csv_file import is_csv
from nas.data.datasets import DATASETS, known_name, read_named
from nas.data.folders import read_folder
from nas.data.npz import read_npz
from nas.data.reading import Reading
from nas.data.table import read_table
from nas.data.ts import holds_ts, read_ts
from nas.errors import DataError

if TYPE_CHECKING:
    from nas.data.task import Task


@dataclass(frozen=True)
class Source:
    """One kind of data."""

    what: str
    """In a few words, for the message that nothing fits."""

    fits: Callable[[str], bool]
    """Whether a spec is of this kind; reads no data, opens no file."""

    read: Callable[[str, Reading], Arrays | Task]
    """Arrays are split and standardised by `make_task`; a Task is taken as it is."""

    table: bool = False
    """Whether it heeds what is said of columns and lines of a file."""


def _path(spec: str) -> Path:
    return Path(os.path.expanduser(spec))  # which leaves ~nobody as it is, where Path's raises


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # false for a name that is too long, where Path's raises


def _is_npz(path: Path) -> bool:
    return path.suffix == ".npz" and not _is_folder(path)


SOURCES: tuple[Source, ...] = (
    Source("a named data set (digits, cifar10, ...)", lambda spec: known_name(spec) is not None, read_named),
    Source("a .csv or .tsv file", is_csv, lambda spec, how: read_table(_path(spec), how), table=True),
    Source("a .npz file", lambda spec: _is_npz(_path(spec)), lambda spec, how: read_npz(_path(spec), how)),
    Source("a .ts file", lambda spec: holds_ts(_path(spec)), lambda spec, how: read_ts(_path(spec), how)),
    Source("a folder of images", lambda spec: _is_folder(_path(spec)), lambda spec, how: read_folder(_path(spec), how)),
    Source("a function (file.py:function, module:function)", is_code, run_code),
)


def read_source(spec: str, how: Reading) -> Arrays | Task:
    """Return what `spec` names, read by the first source that it fits.

    Raises:
        DataError: nothing fits, or what fits cannot be read.
    """
    for source in SOURCES:
        if source.fits(spec):
            if not source.table and (given := how.of_tables()):
                raise DataError(f"{spec}: {', '.join(given)}: of tables (.csv, .tsv) alone; leave it out")
            return source.read(spec, how)
    *kinds, last = (source.what for source in SOURCES)
    known = f"data are {', '.join(kinds)}, or {last}"
    if os.path.exists(_path(spec)):
        raise DataError(f"{spec}: a file of no kind that is read here; {known}")
    beside = os.listdir(_path(spec).parent) if _is_folder(_path(spec).parent) else []
    near = difflib.get_close_matches(spec, [*DATASETS, *(str(_path(spec).with_name(name)) for name in beside)], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise DataError(
        f"no data set called '{spec}', and no file or folder.{hint} {known[0].upper()}{known[1:]}\n"
        "  where the data of a run were moved, --data says where they are now (in Python: data=...)"
    )
