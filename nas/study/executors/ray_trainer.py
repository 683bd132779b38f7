"""What runs on the nodes of a Ray cluster: plain classes, which `OnRay` makes actors of. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nas.study.executors.serve import Broken, attempt
from nas.study.jobs import Job, Outcome, Prepare, Progress, Runner

Mail: TypeAlias = "tuple[int, int, Progress]"
"""Which run of a job tells, how much of its progress came before, and what is told."""


@dataclass(frozen=True)
class Carried:
    """A `Prepare` that reads a folder, which `OnRay` takes along to machines that do not share it.

    What is in the folder goes to each machine once and lies there as files, among the temporary ones, as long as the
    executor is open. Other executors read the folder itself.
    """

    prepare: Callable[[Path, int, int], Runner]
    """Told where the folder is, how many processes train on that machine, and the slot."""

    folder: Path

    slots: int = 1
    """How many processes train where the folder is."""

    def __call__(self, slot: int) -> Runner:
        return self.prepare(self.folder, self.slots, slot)


class Trainer:
    """A process that trains.

    Args:
        prepare: makes it ready.
        slot: which one it is.
        mailbox: the actor that `Mailbox` is.
        files: of the folder that `prepare` carries, by path in it.
        name: of that folder here.
    """

    def __init__(
        self,
        prepare: Prepare,
        slot: int,
        mailbox: Any,
        files: Mapping[str, np.ndarray] | None = None,
        name: str = "",
    ) -> None:
        self._made, self._slot, self._mailbox = prepare, slot, mailbox
        self._files, self._name = files, name

    def prepare(self) -> str | Broken:
        """Make the process ready; return the version of this package here, or why it cannot be."""
        try:
            if isinstance(self._made, Carried) and self._files is not None:
                folder = unpack(self._files, self._name)
                self._runner = self._made.prepare(folder, self._made.slots, self._slot)
            else:
                self._runner = self._made(self._slot)
        except Exception as error:
            return Broken.of(error)
        return here()

    def run(self, job: Job, run: int) -> tuple[Outcome | Broken, list[Progress]]:
        """Run a job, which is the driver's `run`th; return how it ended, and all of its progress."""
        told: list[Progress] = []

        def tell(progress: Progress) -> None:
            self._mailbox.put.remote((run, len(told), progress))
            told.append(progress)

        try:
            return attempt(self._runner, job, tell), told
        except Exception as error:
            return Broken.of(error), told

    def post_to(self, mailbox: Any) -> None:
        """Tell progress to another mailbox from the next job on."""
        self._mailbox = mailbox

    def ping(self) -> None:
        """Answer that the process is there."""


class Mailbox:
    """Holds progress until the driver asks for it."""

    def __init__(self) -> None:
        self._mail: asyncio.Queue[Mail] = asyncio.Queue()

    async def put(self, mail: Mail) -> None:
        """Take something in."""
        self._mail.put_nowait(mail)

    async def take(self) -> list[Mail]:
        """Return all there is, as soon as there is something."""
        found = [await self._mail.get()]
        while not self._mail.empty():
            found.append(self._mail.get_nowait())
        return found


def pack(folder: Path) -> dict[str, np.ndarray]:
    """Return the files in a folder, by path in it, as bytes that the processes of a machine can share."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8) for path in paths}


def unpack(files: Mapping[str, np.ndarray], name: str) -> Path:
    """Undo `pack` in a temporary folder of this machine, unless another process has; return where it is."""
    folder = Path(tempfile.gettempdir()) / name
    if not folder.exists():
        beside = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        try:
            for path, content in files.items():
                (beside / path).parent.mkdir(parents=True, exist_ok=True)
                content.tofile(beside / path)
            beside.rename(folder)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            if not folder.exists():  # no other process was faster
                raise
    return folder


def forget(name: str) -> None:
    """Remove what `unpack` has made here; who has it mapped keeps it."""
    shutil.rmtree(Path(tempfile.gettempdir()) / name, ignore_errors=True)


def here() -> str:
    """Return the version of this package, which driver and nodes have to share."""
    return version("pareto-nas")
