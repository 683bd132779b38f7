"""How much memory data take, as it is foretold and as it comes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nas.data import Arrays, make_task, memory
from nas.data.memory import available_bytes, peak_bytes


def test_a_linux_machine_says_what_is_free():
    if not Path("/proc/meminfo").exists():
        pytest.skip("there is no /proc/meminfo")
    free = available_bytes()
    assert free is not None
    assert 1e7 < free < 1e14


@pytest.mark.parametrize(("limit", "free"), [("9000", 5500), ("max", 2048_000), ("3000", 0)])
def test_a_container_has_a_limit_of_its_own(tmp_path, monkeypatch, limit, free):
    for name, text in {
        "meminfo": "MemTotal: 9 kB\nMemAvailable:   2000 kB\n",
        "memory.max": f"{limit}\n",
        "memory.current": "4000\n",
        "memory.stat": "anon 1\ninactive_file 500\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / "meminfo" if "meminfo" in path else tmp_path)
    assert available_bytes() == free


def test_elsewhere_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / "absent")
    assert available_bytes() is None


@pytest.mark.parametrize("type_", [np.uint8, np.float32, np.float64])
def test_the_peak_is_foretold(type_):
    """As numpy counts it; what tensors share with arrays is counted once."""
    x = np.zeros((1000, 3, 90, 90), type_)
    x[::2] = 1
    tracemalloc.start()
    task = make_task(Arrays(name="x", where="x", x_train=x, y_train=np.arange(1000) % 2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    told = peak_bytes((), x.shape, x.dtype)
    assert task.in_shape == (3, 90, 90)
    assert 0.8 * told < peak < 1.05 * told
