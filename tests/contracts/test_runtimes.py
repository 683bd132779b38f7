"""What every registered runtime must do, where it can run; what it cannot run without is said and skipped.

A network for each block and head: one that is in none of `NETWORKS` fails.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.blocks import BLOCKS, HEADS
from nas.build import Network, build_tree
from nas.errors import NasError
from nas.export.onnx import export_onnx
from nas.measure import reference
from nas.measure.runtimes import RUNTIMES, Runtime, write_network
from nas.measure.runtimes.network import read_network, reference_network
from nas.shapes import Shape

NETWORKS: dict[str, tuple[Shape, dict[str, Any]]] = {
    "convolutions": (
        (3, 8, 8),
        {
            "stem": [{"conv": {"width": 6}}],
            "body": [
                *({"separable": {"width": 8}}, {"mbconv": {"width": 8, "expand": 2, "se": True, "stride": 2}}),
                *({"resblock": {"width": 8, "act": "silu"}}, {"maxpool": {"kernel": 3, "stride": 1}}, {"identity": {}}),
                {"avgpool": {}},
            ],
            "head": {"flatten": {"hidden": 8}},
        },
    ),
    "tokens": (
        (4, 5),
        {
            "body": [
                *({"conv1d": {"width": 6}}, {"project": {"width": 8}}, {"transformer": {"dim": 8, "heads": 2}}),
                *({"lstm": {"hidden": 5, "bidirectional": True}}, {"gru": {"hidden": 6}}, {"rnn": {"hidden": 4}}),
            ],
            "head": {"last": {}},
        },
    ),
    "image as tokens and back": (
        (1, 4, 4),
        {
            "stem": [{"patches": {"width": 6, "patch": 2}}],
            "body": [{"gru": {"hidden": 4}}, {"conv": {"width": 5, "norm": "group"}}, {"rnn": {"hidden": 4}}],
            "head": {"attention": {}},
        },
    ),
    "vector": ((6,), {"body": [{"dense": {"width": 8, "norm": "layer", "residual": True}}], "head": {"pool": {}}}),
}
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
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """The files of each network, by what a runtime takes."""
    folder, files = tmp_path_factory.mktemp("models"), {}
    for i, (name, (in_shape, tree)) in enumerate(NETWORKS.items()):
        files[name, "network"], files[name, "onnx"] = folder / f"{i}.json", folder / f"{i}.onnx"
        write_network(build(in_shape, tree), files[name, "network"])
        module, _ = read_network(files[name, "network"])
        export_onnx(module, in_shape, files[name, "onnx"])
    return files


def build(in_shape: Shape, tree: dict[str, Any]) -> Network:
    return build_tree(tree, in_shape, 3)


def draw(n: int, in_shape: Shape) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, *in_shape)).astype(np.float32)


def assert_agree(found: np.ndarray, module: torch.nn.Module, inputs: np.ndarray) -> None:
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1e-2, np.abs(expected).max()))


def test_every_block_and_head_is_in_a_network() -> None:
    names = {step.name for in_shape, tree in NETWORKS.values() for step in build(in_shape, tree).steps}
    assert {*BLOCKS, *HEADS} <= names


@pytest.mark.parametrize("name", RUNTIMES)
def test_says_what_it_is(name: str) -> None:
    part = RUNTIMES[name]
    assert part.called == name == part().name
    assert part.takes in ("onnx", "network")
    assert part.precisions[0] == "fp32"
    assert "\n" not in part.unavailable()


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
    runtime: type[Runtime], network: str, models: dict[tuple[str, str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    in_shape, _ = NETWORKS[network]
    module, _ = read_network(models[network, "network"])
    path = models[network, runtime.takes]
    for n in (3,) if runtime.called in SLOW else (1, 3):
        inputs = draw(n, in_shape)
        assert_agree(runtime().outputs(path if n == 3 else path.read_bytes(), inputs), module, inputs)
    assert capfd.readouterr() == ("", "")


@every_runtime
def test_runs_the_reference_net(runtime: type[Runtime]) -> None:
    run = runtime().prepare_reference()
    assert run() is None
    inputs = draw(2, reference.IN_SHAPE)
    assert_agree(runtime().outputs(runtime().reference(), inputs), reference_network(), inputs)


@every_runtime
def test_what_is_prepared_keeps_all_that_it_needs(runtime: type[Runtime], models: dict[tuple[str, str], Path]) -> None:
    """Its input, its weights, its program: nobody else holds them, and the memory is soon another's."""
    in_shape, _ = NETWORKS["vector"]
    opened = runtime()._open(models["vector", runtime.takes], draw(2, in_shape))
    first = opened.output()
    run = runtime().prepare(models["vector", runtime.takes], in_shape)
    gc.collect()
    for i in range(30):
        others = [np.full(n, float(i), np.float32) for n in (12, 48, 1000, 30_000)]
        run()
        opened.run()
        np.testing.assert_array_equal(opened.output(), first)
        del others


@every_runtime
def test_its_clock_tells_the_time_of_a_run(runtime: type[Runtime]) -> None:
    made = runtime()
    run = made.prepare_reference()
    start, wall = made.clock(), time.perf_counter_ns()
    run()
    spent, wall = made.clock() - start, time.perf_counter_ns() - wall
    assert 0 < spent <= wall + 1e6


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


@every_runtime
def test_what_cannot_be_run_is_named(
    runtime: type[Runtime], models: dict[tuple[str, str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = runtime()
    with pytest.raises(NasError, match=r"missing\.file"):
        made.prepare(tmp_path / "missing.file", (6,))
    (tmp_path / "broken.file").write_bytes(b"\x08\xff no network")
    with pytest.raises(NasError, match=r"broken\.file"):
        made.prepare(tmp_path / "broken.file", (6,))
    with pytest.raises(NasError, match="the model in memory"):
        made.prepare(b"no network", (6,))
    other = models["vector", "onnx" if runtime.takes == "network" else "network"]
    with pytest.raises(NasError, match=str(other)):
        made.prepare(other, (6,))
    path = models["vector", runtime.takes]
    with pytest.raises(NasError, match=rf"{path}: cannot be run on one sample of shape \(7,\)"):
        made.prepare(path, (7,))
    with pytest.raises(NasError, match=rf"{path}: cannot be run on 4 samples of shape \(7,\)"):
        runtime(batch=4).prepare(path, (7,))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", RUNTIMES)
def test_settings_are_checked_and_travel(name: str) -> None:
    for setting in ("threads", "batch"):
        with pytest.raises(NasError, match=f"{name}: {setting} must be at least 1, got 0"):
            RUNTIMES[name](**{setting: 0})
    with pytest.raises(NasError, match=f"{name}: precision must be fp32.*'fp23'"):
        RUNTIMES[name](precision="fp23")
    made = RUNTIMES[name](batch=2)
    assert pickle.loads(pickle.dumps(made)) == made != RUNTIMES[name]()
