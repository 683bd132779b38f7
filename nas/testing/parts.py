"""The contract of whatever a plugin files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas.testing.blocks import check_block
from nas.testing.data import check_dataset
from nas.testing.objectives import check_objective
from nas.testing.runtimes import check_runtime
from nas.testing.samplers import check_sampler


def check_part(part: str, data_root: str | Path = "data") -> bool:
    """Check a part by its kind and name, such as "block glu_conv".

    Returns:
        Whether there is a contract for its kind.
    Raises:
        ContractBroken: what it does not keep.
        NasError: what it needs is not here, such as a data set's files.
    """
    checks: dict[str, Callable[[str], None]] = {
        "block": check_block,
        "head": check_block,
        "sampler": check_sampler,
        "runtime": check_runtime,
        "objective": check_objective,
        "data set": lambda name: check_dataset(name, data_root),
    }
    kind, _, name = part.rpartition(" ")
    if kind not in checks:
        return False
    checks[kind](name)
    return True
