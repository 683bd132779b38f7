"""Every registered runtime keeps the contract (`nas.testing.runtimes`), where it can run; else why not is said.

A network for each block and head: one that is in none of its `NETWORKS` fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.blocks import BLOCKS, HEADS
from nas.build import build_tree
from nas.errors import NasError
from nas.measure.runtimes import RUNTIMES, Runtime
from nas.testing.runtimes import (
    NETWORKS,
    RUNTIME_CONTRACT,
    Models,
    computes_a_network,
    computes_what_torch_computes,
    says_what_it_is,
)

RESTS = [test for test in RUNTIME_CONTRACT if test is not computes_what_torch_computes]
PATTERN = {
    "compiled": r"C\+\+ compiler|Python\.h",
    "cuda": "driver|CUDA|GPU",
    "cudagraphs": "driver|CUDA|GPU",
    "executorch": r"pip install 'pareto-nas\[executorch\]'",
    "openvino": r"pip install 'pareto-nas\[openvino\]'",
}
"""What is missing, for runtimes that need more than comes with nas."""

SLOW = ("compiled", "executorch")
"""They take seconds to compile a network for a batch size."""

every_runtime = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in RUNTIMES]
)


@pytest.fixture
def runtime(name: str) -> Iterator[type[Runtime]]:
    """A runtime that can run here; torch's threads are afterwards as they were."""
    if reason := RUNTIMES[name].unavailable():
        pytest.skip(reason)
    threads = torch.get_num_threads()
    yield RUNTIMES[name]
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models.write(tmp_path_factory.mktemp("models"))


def test_every_block_and_head_is_in_a_network() -> None:
    names = {step.name for in_shape, tree in NETWORKS.values() for step in build_tree(tree, in_shape, 3).steps}
    assert {*BLOCKS, *HEADS} <= names


@pytest.mark.parametrize("name", [name for name in RUNTIMES if RUNTIMES[name].unavailable()])
def test_one_that_cannot_run_here_says_why_and_what_to_do(name: str) -> None:
    with pytest.raises(NasError, match=rf"{name}: .*({PATTERN[name]})") as error:
        RUNTIMES[name]().prepare(b"", (1,))
    assert str(error.value) == RUNTIMES[name].unavailable()


def test_asking_which_can_run_loads_none_of_them() -> None:
    code = """
import sys
from nas.measure.runtimes import RUNTIMES
for name in RUNTIMES:
    if not name.startswith("cuda"):  # torch is what knows, where there is a driver
        RUNTIMES[name].unavailable()
print(*{"torch", "onnx", "onnxruntime", "openvino", "executorch"} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("network", NETWORKS)
@every_runtime
def test_computes_what_torch_computes(
    runtime: type[Runtime], network: str, models: Models, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = (3,) if runtime.called in SLOW else (1, 3)
    computes_a_network(runtime, models, network, NETWORKS[network][0], sizes)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("test", RESTS, ids=lambda test: test.__name__)
@every_runtime
def test_a_runtime_keeps_the_contract(
    runtime: type[Runtime], test: Any, models: Models, capfd: pytest.CaptureFixture[str]
) -> None:
    test(runtime, models)
    assert capfd.readouterr() == ("", "")


@every_runtime
def test_a_batch_is_run_as_one(runtime: type[Runtime]) -> None:
    """Hundred samples take several times as long as one."""

    def fastest(batch: int) -> int:
        made, times = runtime(batch=batch), []
        run = made.prepare_reference()
        for _ in range(20):
            start = made.clock()
            run()
            times.append(made.clock() - start)
        return min(times)

    assert runtime(batch=8).name == f"{runtime.called}:batch=8"
    if not runtime.called.startswith("cuda"):  # which does a hundred small images at once
        assert fastest(100) > 5 * fastest(1)


THREADS = """
import os, sys
from nas.measure import reference
from nas.measure.runtimes import RUNTIMES
made = RUNTIMES[sys.argv[1]](threads=int(sys.argv[2]), batch=100)
run = made.prepare(made.reference(), reference.IN_SHAPE)
for _ in range(3):
    run()
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads of a process are seen on Linux alone")
@every_runtime
def test_uses_the_threads_it_is_given(runtime: type[Runtime]) -> None:
    """With two of them the process has more than with one: at least the second, and those a library keeps idle."""
    if runtime.called.startswith("cuda"):
        with pytest.raises(NasError, match="threads are those of the CPU"):
            runtime(threads=2)
        return

    def count(threads: int) -> int:
        command = [sys.executable, "-c", THREADS, runtime.called, str(threads)]
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(done.stdout)

    assert runtime(threads=2).name == f"{runtime.called}:threads=2"
    assert count(2) > count(1)


@pytest.mark.parametrize("name", RUNTIMES)
def test_says_what_it_is_where_it_cannot_run_too(name: str) -> None:
    says_what_it_is(RUNTIMES[name], Models({}))
