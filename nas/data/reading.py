"""How data are read: where from, and what is done to images and sequences on the way."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from nas.errors import DataError

MOST_PIXELS = 4096
"""Sides above this are a slip of the finger: one such image takes 200 MB as float32."""

VOCABULARY = 4096
"""As many as `nas.blocks.stems.Embedding` expects where a space does not say."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user says about reading, the same for every kind of data; a kind that cannot heed a field refuses it."""

    data_root: Path = Path("data")
    """Folder of the named data sets that come as files."""

    download: bool = False
    """Fetch a named data set that is not there. Nothing is fetched without it."""

    resolution: int | None = None
    """Images are resized until their shorter side is this, and cut to a square around the centre; None: as they are."""

    channels: int | None = None
    """Images become grey (1) or RGB (3); None: as they are."""

    length: int | None = None
    """Sequences are cut at the end, or padded there with zeros, to so many steps; None: as they are. Texts are cut or
    filled to so many tokens; None: what is enough for most."""

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

    def of_tables(self) -> list[str]:
        """Return the options that only tables heed, where they are not what they are by default."""
        names = ("target_columns", "text_column", "test_data", "encoding", "vocabulary")
        options = {name: f"--{name.removesuffix('s').replace('_', '-')}" for name in names}
        usual = {field.name: field.default for field in fields(self)}
        return [option for name, option in options.items() if getattr(self, name) != usual[name]]

    def __post_init__(self) -> None:
        for name, least in (("resolution", 1), ("channels", 1), ("length", 1), ("vocabulary", 16)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise DataError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels must be 1 (grey) or 3 (RGB), got {self.channels}")
        if self.resolution is not None and self.resolution > MOST_PIXELS:
            raise DataError(f"resolution must be at most {MOST_PIXELS} pixels, got {self.resolution}")


AS_THEY_ARE = Reading()
