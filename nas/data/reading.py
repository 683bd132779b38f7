"""How data are read: where from, and what is done to images and sequences on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.errors import DataError

MOST_PIXELS = 4096
"""Sides above this are a slip of the finger: one such image takes 200 MB as float32."""


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
    """Sequences are cut at the end, or padded there with zeros, to so many steps; None: as they are."""

    def __post_init__(self) -> None:
        whole = [(name, getattr(self, name)) for name in ("resolution", "channels", "length")]
        for name, value in whole:
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise DataError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels must be 1 (grey) or 3 (RGB), got {self.channels}")
        if self.resolution is not None and self.resolution > MOST_PIXELS:
            raise DataError(f"resolution must be at most {MOST_PIXELS} pixels, got {self.resolution}")


AS_THEY_ARE = Reading()
