"""How data are read: what the user says about it, the same for every kind of data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says about reading, the same for every kind of data."""

    data_root: Path = Path("data")
    """Folder of the named data sets that come as files."""

    download: bool = False
    """Fetch a named data set that is not there. Nothing is fetched without it."""

    task: str = "auto"
    """classification, regression, or auto: what the labels are."""

    target_columns: tuple[str, ...] = ()
    """Of a table, what is to be predicted."""

    test_data: str = ""
    """A table to test on; empty: rows of the data are set aside."""

    encoding: str = "utf-8"
    """Of a table."""
