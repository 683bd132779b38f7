"""Keep freed memory in the process: page faults can take a good part of the time of a small conv net.

How much depends on the kernel: nothing on the machine of results/training/throughput.json, in bfloat16.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1  # glibc malloc.h
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc not to give large freed blocks back to the kernel; return whether there was a glibc to tell.

    To be called once at the start of a process that trains, before the first large tensor. The activations of a batch
    are freed and wanted again some hundred times a second; by default each is mapped, zeroed page by page and
    unmapped anew. From here on the process keeps its peak memory until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
