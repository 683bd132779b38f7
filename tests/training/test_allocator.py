"""The allocator's two switches, in a process of their own since they cannot be taken back."""

import ctypes
import platform
import subprocess
import sys

import pytest

from nas.training import keep_freed_memory

FAULTS = """
import resource, sys, torch
from nas.training import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(20):
    if i == 6:  # the heap has grown by now
        before = faults()
    torch.zeros(2**24).add_(1)  # 64 MB, above the 32 MB up to which glibc learns to keep blocks by itself
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")
def test_freed_memory_is_kept():
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout)
        for how in ("plain", "keep")
    )
    assert kept < plain / 3


def test_no_glibc_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
