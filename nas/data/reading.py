"""How data are read: what the user says about it, the same for every kind of data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.errors import DataError

VOCABULARY = 4096
"""As many as `nas.blocks.stems.Embedding` expects where a space does not say."""


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

    text_column: str = ""
    """Of a table, the texts to classify; empty: found by itself beside a single column of labels."""

    vocabulary: int = VOCABULARY
    """Tokens that a tokenizer may know."""

    length: int | None = None
    """Tokens that texts are cut or filled to; None: what is enough for most."""

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 16), ("length", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise DataError(f"{name} must be a whole number of at least {least}, got {value!r}")
