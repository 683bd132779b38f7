"""What every runtime has to do, where it can run."""

from __future__ import annotations

import gc
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nas.build import build_tree
from nas.errors import NasError
from nas.export.onnx import export_onnx
from nas.measure import reference
from nas.measure.runtimes import RUNTIMES, Runtime, write_network
from nas.measure.runtimes.network import read_network, reference_network
from nas.shapes import Shape
from nas.testing.broken import need, refused

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
    "text": (
        (5,),
        {"stem": [{"embedding": {"dim": 4, "vocabulary": 9}}], "body": [{"conv1d": {"width": 6}}], "head": {"max": {}}},
    ),
    "vector": ((6,), {"body": [{"dense": {"width": 8, "norm": "layer", "residual": True}}], "head": {"pool": {}}}),
}
"""Each block and head of ours is in one of them."""


@dataclass(frozen=True)
class Models:
    """The files of `NETWORKS`, by the name of the network and what a runtime takes."""

    files: dict[tuple[str, str], Path]

    @classmethod
    def write(cls, folder: Path) -> Models:
        """Write them into an existing folder."""
        files = {}
        for i, (name, (in_shape, tree)) in enumerate(NETWORKS.items()):
            files[name, "network"], files[name, "onnx"] = folder / f"{i}.json", folder / f"{i}.onnx"
            write_network(build_tree(tree, in_shape, 3), files[name, "network"])
            module, _ = read_network(files[name, "network"])
            export_onnx(module, in_shape, files[name, "onnx"])
        return cls(files)

    def module(self, name: str) -> nn.Module:
        """Return the network that a file was made of."""
        return read_network(self.files[name, "network"])[0]


def check_runtime(name: str) -> None:
    """Check a runtime.

    Raises:
        ContractBroken: what it does not keep.
        NasError: it cannot run here, and why.
    """
    if reason := RUNTIMES[name].unavailable():
        raise NasError(reason)
    with tempfile.TemporaryDirectory(prefix="nas-") as folder, _threads_kept():
        models = Models.write(Path(folder))
        for test in RUNTIME_CONTRACT:
            test(RUNTIMES[name], models)


def says_what_it_is(runtime: type[Runtime], models: Models) -> None:
    """Its name and its precisions; settings are checked, and cross to the process that measures."""
    name = runtime.called
    need(runtime().name == name, f"{name}: called {runtime().name!r} without settings; leave `name` to Runtime")
    need(runtime.precisions[0] == "fp32", f"{name}: precisions begin with fp32, got {runtime.precisions}")
    need("\n" not in runtime.unavailable(), f"{name}: unavailable() is one line, or empty")
    for setting in ("threads", "batch"):
        naming = f"{name}: {setting} must be at least 1, got 0"
        with refused(f"{name}:{setting}=0", "call super().__post_init__()", naming=naming, error=NasError):
            runtime(**{setting: 0})  # type: ignore[arg-type]  # the settings are numbers
    with refused(f"{name}:precision=fp23", "call super().__post_init__()", naming="precision", error=NasError):
        runtime(precision="fp23")
    made = runtime(batch=2)
    need(pickle.loads(pickle.dumps(made)) == made, f"{name}: is another after pickling; settings are fields")


def computes_what_torch_computes(runtime: type[Runtime], models: Models) -> None:
    """From a file and from its bytes, for one sample and for three."""
    for network, (in_shape, _) in NETWORKS.items():
        computes_a_network(runtime, models, network, in_shape)


def computes_a_network(
    runtime: type[Runtime], models: Models, network: str, in_shape: Shape, sizes: tuple[int, ...] = (1, 3)
) -> None:
    """The same for one network and batches of `sizes`."""
    module, path = models.module(network), models.files[network, runtime.takes]
    for n in sizes:
        inputs = draw(n, in_shape)
        need_alike(runtime, runtime().outputs(path if n == 3 else path.read_bytes(), inputs), module, inputs)


def runs_the_reference_net(runtime: type[Runtime], models: Models) -> None:
    """Which all latencies are measured beside."""
    run = runtime().prepare_reference()
    need(run() is None, f"{runtime.called}: a run returns something; it runs, waits and returns None")
    inputs = draw(2, reference.IN_SHAPE)
    need_alike(runtime, runtime().outputs(runtime().reference(), inputs), reference_network(), inputs)


def keeps_all_that_it_needs(runtime: type[Runtime], models: Models) -> None:
    """Its input, its weights, its program: nobody else holds them, and the memory is soon another's."""
    in_shape, _ = NETWORKS["vector"]
    opened = runtime()._open(models.files["vector", runtime.takes], draw(2, in_shape))
    first = opened.output()
    run = runtime().prepare(models.files["vector", runtime.takes], in_shape)
    gc.collect()
    for i in range(30):
        others = [np.full(n, float(i), np.float32) for n in (12, 48, 1000, 30_000)]
        run()
        opened.run()
        need(np.array_equal(opened.output(), first), f"{runtime.called}: gives another output later; keep its input")
        del others


def its_clock_tells_the_time_of_a_run(runtime: type[Runtime], models: Models) -> None:
    """In nanoseconds, and no more than passed."""
    made = runtime()
    run = made.prepare_reference()
    start, wall = made.clock(), time.perf_counter_ns()
    run()
    spent, wall = made.clock() - start, time.perf_counter_ns() - wall
    need(0 < spent <= wall + 1e6, f"{runtime.called}: its clock says {spent} ns for a run of {wall} ns")


def what_cannot_be_run_is_named(runtime: type[Runtime], models: Models) -> None:
    """A file that is missing, broken, of another kind, or for another shape."""
    made, path = runtime(), models.files["vector", runtime.takes]
    remedy = "let load raise; prepare names the file"
    broken = path.with_name("broken.file")
    broken.write_bytes(b"\x08\xff no network")
    other = models.files["vector", "onnx" if runtime.takes == "network" else "network"]
    cases: list[tuple[str, Path | bytes]] = [
        *(("missing.file", path.with_name("missing.file")), ("broken.file", broken)),
        *(("the model in memory", b"no network"), (str(other), other)),
    ]
    for naming, model in cases:
        with refused(f"{runtime.called} on {naming}", remedy, naming=naming, error=NasError):
            made.prepare(model, (6,))
    for batch, words in ((1, "one sample"), (4, "4 samples")):
        naming = f"{path}: cannot be run on {words} of shape (7,)"
        with refused(f"{runtime.called} on shape (7,)", remedy, naming=naming, error=NasError):
            runtime(batch=batch).prepare(path, (7,))


RUNTIME_CONTRACT: tuple[Callable[[type[Runtime], Models], None], ...] = (
    says_what_it_is,
    computes_what_torch_computes,
    runs_the_reference_net,
    keeps_all_that_it_needs,
    its_clock_tells_the_time_of_a_run,
    what_cannot_be_run_is_named,
)


def draw(n: int, in_shape: Shape) -> np.ndarray:
    """Return (n, *in_shape) float32, standard normal."""
    return np.random.default_rng(n).standard_normal((n, *in_shape)).astype(np.float32)


def need_alike(runtime: type[Runtime], found: np.ndarray, module: nn.Module, inputs: np.ndarray) -> None:
    """Need outputs to be those of torch, within 1e-4 of the largest."""
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs)).numpy()
    need(found.shape == expected.shape, f"{runtime.called}: gives {found.shape}, and torch {expected.shape}")
    off = float(np.abs(found - expected).max())
    limit = 1e-4 * max(1e-2, float(np.abs(expected).max()))
    need(off <= limit, f"{runtime.called}: is {off:.3g} off what torch computes, more than {limit:.3g}")


@contextmanager
def _threads_kept() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
