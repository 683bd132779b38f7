"""On what a figure was measured: goes beside every number that depends on it."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "onnxruntime", "numpy")


def describe() -> dict[str, object]:
    """Return the machine and the software as JSON has them; no path, no host name, no user name.

    What the system does not tell is None.
    """
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "ram_gb": _ram_gb(),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _cpu_model() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        # x86 says "model name"; on ARM there is a line of that name only on some kernels.
        match = re.search(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if match:
            return match[1].strip()
    board = Path("/proc/device-tree/model")  # of ARM, where cpuinfo names none
    if board.exists():
        return board.read_text().rstrip("\0")
    return platform.processor() or None


def _usable_cores() -> int | None:
    """Those this process may run on, which a container or `taskset` can make fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _ram_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
