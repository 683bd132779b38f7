"""A search in TensorBoard: event files in a folder, by default in the run's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.records import TrialRecord
from nas.trackers.base import Ended, RunInfo, Standing, final


class TensorBoard:
    """Scalars `search/...` over trained trials and `trial/...` over trial numbers; the front as table and picture.

    Trials are points of a few scalars, and no runs of their own: the HParams page wants a folder for each, and with
    2,000 of them TensorBoard takes minutes to open.

    Args:
        folder: of the event files; "": `tensorboard` in the run folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._writer: Any = None

    def begin(self, run: RunInfo) -> None:
        """Open an event file beside those that are there."""
        from torch.utils.tensorboard import SummaryWriter

        where = Path(self._folder).expanduser() / run.folder.name if self._folder else run.folder / "tensorboard"
        self._writer = SummaryWriter(str(where))
        rows = ["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in run.settings.items())]
        self._writer.add_text("run", "\n".join(rows))

    def trial(self, record: TrialRecord, standing: Standing) -> None:
        """Write how the search stands; of a trial that is over its figures and its architecture."""
        for name, value in standing.figures.items():
            self._writer.add_scalar(f"search/{name}", value, standing.trained)
        if final(record):
            for name, value in record.metrics.items():
                if math.isfinite(value):
                    self._writer.add_scalar(f"trial/{name.replace('@', '_at_')}", value, record.number)
            self._writer.add_text("trial/architecture", f"    {record.arch.to_json()}", record.number)
        self._writer.flush()

    def end(self, ended: Ended, files: Sequence[Path], front: str) -> None:
        """Write the front, and close the file."""
        self._writer.add_text("front", front)
        for path in files:
            if path.suffix == ".png":
                import numpy as np
                from PIL import Image

                with Image.open(path) as image:
                    self._writer.add_image(path.stem, np.asarray(image.convert("RGB")), dataformats="HWC")
        self._writer.close()
