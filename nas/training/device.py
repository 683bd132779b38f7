"""On what a process trains: the CPU, or one of the GPUs of its machine."""

from __future__ import annotations

import torch

from nas.errors import NasError

DEVICES = ("auto", "cpu", "cuda")
"""What a study can ask for; auto is a GPU where there is one that torch can use."""


def device_of(wanted: str, slot: int = 0) -> torch.device:
    """Return the device of a process that trains; processes of one machine take its GPUs by turns, or share them.

    Args:
        wanted: one of `DEVICES`.
        slot: which of the processes it is, from 0.
    Raises:
        NasError: there is no such device here.

    >>> device_of("cpu", 3)
    device(type='cpu')
    """
    if wanted not in DEVICES:
        raise NasError(f"device must be one of {', '.join(DEVICES)}, got {wanted!r}")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise NasError("device cuda: torch finds no GPU here that it can use; leave --device out, or say cpu")
    return torch.device("cuda", slot % torch.cuda.device_count()) if there and wanted != "cpu" else torch.device("cpu")


def trains_on_cpu(wanted: str) -> bool:
    """Return whether `wanted`, one of `DEVICES`, is the CPU on a machine like this one."""
    return wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available())
