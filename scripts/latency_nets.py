"""The networks that `bench_latency.py` measures, and what measures them beside the protocol."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.catalog import find_space
from nas.errors import NasError
from nas.measure import RUNTIMES
from nas.rng import generator
from nas.shapes import Shape
from nas.space import Architecture, Space

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
ALONE = Path(__file__).with_name("latency_alone.py")
N_OUTPUTS = 10

MIX: tuple[tuple[str, Shape, int], ...] = (
    ("image", (1, 28, 28), 20),
    ("image_conv", (3, 96, 96), 4),
    ("sequence", (64, 40), 3),
    ("mlp", (784,), 3),
)
"""Spaces, inputs and how many of 30 candidates: from 0.01 to some 20 ms."""

Part = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class File:
    """A network that was written as what each runtime takes.

    Attributes:
        network: see `nas.measure.runtimes.network.write_network`.
        weight_bytes: of float32 parameters.
        macs: multiply-adds.
    """

    name: str
    in_shape: Shape
    onnx: Path
    network: Path
    weight_bytes: int
    macs: int


def draw(space: Space, in_shape: Shape, n: int, *purpose: str | int) -> Iterator[tuple[Architecture, Any]]:
    """Yield `n` random architectures that build different networks on `in_shape`, with their networks."""
    import torch

    from nas.build import build

    torch.manual_seed(0)
    seen: set[str] = set()
    for i in range(100 * n):
        arch = space.sample(generator(0, *purpose, i))
        try:
            network = build(space, arch, in_shape, N_OUTPUTS)
        except NasError:
            continue
        if network.signature() not in seen:
            seen.add(network.signature())
            yield arch, network
        if len(seen) == n:
            return
    raise SystemExit(f"{space.name}: there are no {n} networks on {in_shape}")


def write_mixed(folder: Path, n: int = 30) -> list[File]:
    """Write `n` mixed random candidates: the shares of `MIX`, at least one of each."""
    files = []
    for name, in_shape, of_30 in MIX:
        space = find_space(name)
        drawn = draw(space, in_shape, max(1, round(n * of_30 / 30)), "ranking", name)
        for i, (_, network) in enumerate(drawn):
            files.append(write(folder, f"{name}-{i:02}", in_shape, network))
    return files


def mix_key() -> str:
    """Return what tells the candidates of one version of the shipped spaces from those of another."""
    return " ".join(find_space(name).fingerprint() for name, _, _ in MIX)


def _conv(width: int, **fields: Any) -> Part:
    return {"conv": {"width": width, **fields}}


def _mbconv(width: int, **fields: Any) -> Part:
    return {"mbconv": {"width": width, **fields}}


NETS: dict[str, tuple[Shape, list[Part], Part]] = {
    "conv 16-32": ((1, 28, 28), [_conv(16), _conv(32, stride=2)], {"pool": {}}),
    "mlp 64-64": ((64,), [{"dense": {"width": 64}}] * 2, {"pool": {}}),
    "rnn 64": ((28, 16), [{"rnn": {"hidden": 64}}], {"pool": {}}),
    "mbconv 24-24": ((3, 32, 32), [_conv(16, stride=2), _mbconv(24), _mbconv(24, se=True)], {"pool": {}}),
    "conv 32-32-32 on 160 x 160": ((3, 160, 160), [_conv(32)] * 3, {"pool": {}}),
    "transformer 64": ((49, 64), [{"transformer": {"dim": 64}}], {"pool": {}}),
    "gru 64, two layers, both ways": (
        (28, 16),
        [{"gru": {"hidden": 64, "layers": 2, "bidirectional": True}}],
        {"last": {}},
    ),
    "mbconv 160-160 on 64 x 64": (
        (3, 64, 64),
        [_conv(80, stride=2), *[_mbconv(160, expand=6, kernel=5)] * 2],
        {"pool": {}},
    ),
    "lstm 256, two layers": ((28, 64), [{"lstm": {"hidden": 256, "layers": 2}}], {"last": {}}),
    "mlp 1024-1024": ((64,), [{"dense": {"width": 1024}}] * 2, {"pool": {}}),
    "resblock 64-128-256": (
        (3, 32, 32),
        [{"resblock": {"width": w, "stride": 2}} for w in (64, 128, 256)],
        {"pool": {}},
    ),
    "transformer 256, six layers": (
        (49, 64),
        [{"transformer": {"dim": 256, "layers": 6, "mlp_ratio": 4}}],
        {"pool": {}},
    ),
    "conv 48, flattened to 128": ((1, 28, 28), [_conv(48)], {"flatten": {"hidden": 128}}),
    "mlp 2048-2304": ((64,), [{"dense": {"width": width}} for width in (2048, 2304)], {"pool": {}}),
}
"""Input, body and head of nets of every kind by name: 20 kB to 20 MB of weights, 0.005 to some 12 ms."""

BESIDE = (
    *("conv 16-32", "mbconv 24-24", "transformer 64", "gru 64, two layers, both ways", "resblock 64-128-256"),
    *("conv 32-32-32 on 160 x 160", "mbconv 160-160 on 64 x 64", "transformer 256, six layers"),
)
"""Those measured beside trainers: five below 1 ms, three above 4 ms."""


def write_nets(folder: Path, names: Sequence[str] = tuple(NETS)) -> list[File]:
    """Write these of `NETS`."""
    import torch

    from nas.build import build_tree

    torch.manual_seed(0)
    files = []
    for name in names:
        in_shape, body, head = NETS[name]
        tree: dict[str, Any] = {"body": body, "head": head}
        files.append(write(folder, name, in_shape, build_tree(tree, in_shape, N_OUTPUTS)))
    return files


def write(folder: Path, name: str, in_shape: Shape, network: Any) -> File:
    """Write a network for every runtime."""
    from nas.export import export_onnx
    from nas.measure.fast_macs import count_macs_fast
    from nas.measure.runtimes.network import write_network

    stem = folder / name.replace(" ", "_").replace(",", "")
    onnx, described = stem.with_suffix(".onnx"), stem.with_suffix(".json")
    export_onnx(network, in_shape, onnx)
    write_network(network, described)
    return File(name, in_shape, onnx, described, 4 * n_parameters(network), count_macs_fast(network, in_shape))


def n_parameters(network: Any) -> int:
    return sum(p.numel() for p in network.parameters())


# ---------------------------------------------------------------- other ways to measure


def run_alone(jobs: Sequence[tuple[Path, Shape, float, int]]) -> list[np.ndarray]:
    """Return the ms of each run of each job (path, in_shape, seconds, runs), of a fresh process that does nothing else.

    The jobs run one after the other; see `latency_alone.py`.
    """
    plain = [dict(zip(("path", "in_shape", "seconds", "runs"), (str(job[0]), *job[1:]), strict=True)) for job in jobs]
    done = subprocess.run(
        [sys.executable, str(ALONE), json.dumps(plain)],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
        text=True,
    )
    return [np.array(ns) / 1e6 for ns in json.loads(done.stdout)]


def run_eager(files: Sequence[File], runs: int = 50) -> list[float]:
    """Return the median ms of `runs` runs in torch, of a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_eager_ms, ([(file.network, file.in_shape) for file in files], runs))


def _eager_ms(nets: Sequence[tuple[Path, Shape]], runs: int) -> list[float]:
    runtime = RUNTIMES["eager"]()
    found = []
    for path, in_shape in nets:
        run = runtime.prepare(path, in_shape)
        times = []
        for _ in range(10 + runs):
            start = time.perf_counter_ns()
            run()
            times.append(time.perf_counter_ns() - start)
        found.append(float(np.median(times[10:])) / 1e6)
    return found
