"""What `--data SPEC` may be: a table, looked through from the top. A new kind of data is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.data.arrays import Arrays
from nas.data.csv_file import is_csv
from nas.data.datasets import DATASETS
from nas.data.npz import read_npz
from nas.data.reading import Reading
from nas.data.table import read_table
from nas.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Source:
    """One kind of data."""

    what: str
    """In a few words, for the message that nothing fits."""

    fits: Callable[[str], bool]
    """Whether a spec is of this kind; reads no data, opens no file."""

    read: Callable[[str, Reading], Arrays]


def _path(spec: str) -> Path:
    return Path(spec).expanduser()


SOURCES: tuple[Source, ...] = (
    Source(
        "a named data set",
        lambda spec: spec in DATASETS,
        lambda spec, how: DATASETS[spec](how.data_root, how.download),
    ),
    Source("a .csv or .tsv file", is_csv, lambda spec, how: read_table(_path(spec), how)),
    Source(
        "a .npz file",
        lambda spec: _path(spec).suffix == ".npz" or _path(spec).exists(),
        lambda spec, how: read_npz(_path(spec)),
    ),
)


def read_source(spec: str, how: Reading) -> Arrays:
    """Return what `spec` names, read by the first source that it fits.

    Raises:
        DataError: nothing fits, or what fits cannot be read.
    """
    for source in SOURCES:
        if source.fits(spec):
            return source.read(spec, how)
    kinds = ", ".join(source.what for source in SOURCES[1:])
    raise DataError(f"{did_you_mean('data set', spec, DATASETS)}; nor is there a file {spec!r} ({kinds})")
