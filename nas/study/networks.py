"""What the networks of a front are made of, block by block: written down, so that a page about a run needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.build import Network
from nas.errors import NasError, RunError
from nas.measure.fast_macs import count_macs_fast
from nas.records import TrialRecord, read_json, write_text
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.data import Task


class Networks:
    """Keeps `networks.json`: what the data are like, and the blocks of each member of the front.

    Args:
        path: of the file; what an earlier search of the run wrote there is not built again.
        build: an architecture to its network.
    """

    def __init__(self, path: Path, task: Task, build: Callable[[Architecture], Network]) -> None:
        self._path, self._build = path, build
        self._data = {
            "name": task.name,
            "in_shape": list(task.in_shape),
            "classes": [str(name) for name in task.classes],
            "targets": list(task.targets),
            "n_train": len(task.x_train),
            "n_val": len(task.x_val),
        }
        self._blocks: dict[str, list[dict[str, Any]]] = {}
        with suppress(RunError):  # it is made anew
            self._blocks = _kept(read_json(path))
        self._written: list[str] | None = None

    def write(self, front: Sequence[TrialRecord]) -> None:
        """Write the file, if the front is another than it was.

        Cost: some 10 ms for each new member.

        Raises:
            RunError: it cannot be written.
        """
        members = [str(record.number) for record in front]
        if members == self._written:
            return
        for record in front:
            if str(record.number) not in self._blocks:
                self._blocks[str(record.number)] = blocks(self._build(record.arch))
        self._blocks = {number: self._blocks[number] for number in members}
        lines = ",\n".join(f"    {json.dumps(n)}: {json.dumps(made)}" for n, made in self._blocks.items())
        data = json.dumps(self._data, ensure_ascii=False)
        write_text(self._path, f'{{\n  "data": {data},\n  "networks": {{\n{lines}\n  }}\n}}\n')
        self._written = members


def blocks(network: Network) -> list[dict[str, Any]]:
    """Return the modules of a network in order, as JSON has them.

    Of each: `path` in the space, `name`, `fields` of its config, shapes `in` and `out` without the batch axis,
    `params`, and `macs` of one sample, None where nobody can count them.
    """
    return [
        {
            "path": step.path,
            "name": step.name,
            "fields": {} if step.config is None else dataclasses.asdict(step.config),
            "in": list(step.in_shape),
            "out": list(step.out_shape),
            "params": sum(p.numel() for p in module.parameters()),
            "macs": _macs(module, step.in_shape),
        }
        for step, module in zip(network.steps, network.modules_in_order, strict=True)
    ]


def _macs(module: Any, in_shape: tuple[int, ...]) -> int | None:
    try:
        return count_macs_fast(module, in_shape)
    except NasError:
        return None


def _kept(file: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    networks = file.get("networks")
    return {n: made for n, made in networks.items() if isinstance(made, list)} if isinstance(networks, dict) else {}
