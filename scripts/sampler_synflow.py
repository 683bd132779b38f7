"""What do the untrained networks of the tables promise? Their synaptic flow, which sampler tasks tell as a proxy.

    python scripts/sampler_synflow.py [--jobs 2]

Builds all 15,625 cells of NAS-Bench-201 and all 6,561 networks of NAS-Bench-Macro as their papers describe them, but
narrow and short, and takes the synaptic flow (`nas.measure.synflow`) of each. At full size the same code has the
parameters of the tables, and of Macro the multiply-adds; that is checked first.

Writes synflow.npz (float16, one number for each network, in the order of the tables) and synflow.json (the machine,
and how far the flow ranks networks as their accuracy does, beside multiply-adds and parameters) to results/samplers.
Takes 4 to 7 minutes on two cores, by what else they do; the tables are looked for where NAS_TEST_DATA says.

References: Dong & Yang, ICLR 2020, https://arxiv.org/abs/2001.00326 (NAS-Bench-201); Su et al., CVPR 2021,
https://arxiv.org/abs/2103.11059 (NAS-Bench-Macro).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sampler_tasks import DATA, SYNFLOW
from scipy.stats import spearmanr
from torch import Tensor, nn

from nas.measure import count_macs, describe
from nas.measure.synflow import synflow
from nas.records import write_json
from nas.shapes import Shape

SEED = 0
"""Of every network's weights."""
N_CHECKED = 20
"""Networks of each table whose full size is compared with the table's."""

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From node to node of a cell, in the order of the table's encoding."""
STRIDED = (0, 2, 5)
"""The layers of Macro that double the width and halve the resolution; no other changes the shape."""
MBCONVS = {1: (3, 3), 2: (5, 6)}
"""Code of a layer of Macro -> kernel, expansion; 0 is the identity."""


@dataclass(frozen=True)
class Skeleton:
    """What stands around what is searched, and how large it is.

    Attributes:
        in_shape: of one image.
        width: channels of the stem; doubled from stage to stage.
        cells: cells in a row in each stage of NAS-Bench-201; 0 for Macro, which has none.
    """

    in_shape: Shape
    width: int
    cells: int = 0


PAPER = {"nasbench201": Skeleton((3, 32, 32), 16, cells=5), "nasbench_macro": Skeleton((3, 32, 32), 32)}
REDUCED = {"nasbench201": Skeleton((3, 16, 16), 8, cells=1), "nasbench_macro": Skeleton((3, 32, 32), 8)}


# ---------------------------------------------------------------- NAS-Bench-201


class Zero(nn.Module):
    """The operation that lets nothing through."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0


def operation(name: str, channels: int) -> nn.Module:
    """Return an operation of a cell; resolution and channels stay."""
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return relu_conv_bn(channels, channels, kernel=int(name[-1]))


def relu_conv_bn(channels: int, out: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(out))


class Cell(nn.Module):
    """Four nodes, each the sum of the operations on all before it. In and out: (N, C, H, W)."""

    def __init__(self, code: Sequence[int], channels: int) -> None:
        super().__init__()
        self.ops = nn.ModuleList(operation(OPS[i], channels) for i in code)

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in (1, 2, 3):
            into = [op(nodes[a]) for (a, b), op in zip(EDGES, self.ops, strict=True) if b == node]
            nodes.append(torch.stack(into).sum(0))
        return nodes[3]


class Reduction(nn.Module):
    """A residual block that doubles the channels and halves the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        out = 2 * channels
        self.convs = nn.Sequential(relu_conv_bn(channels, out, kernel=3, stride=2), relu_conv_bn(out, out, kernel=3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x) + self.shortcut(x)


def nasbench201(code: Sequence[int], size: Skeleton) -> nn.Module:
    """Return the network of a cell: three stages with a reduction between them."""
    c = size.width
    layers: list[nn.Module] = [nn.Conv2d(size.in_shape[0], c, 3, padding=1, bias=False), nn.BatchNorm2d(c)]
    for stage in range(3):
        if stage:
            layers.append(Reduction(c))
            c *= 2
        layers += [Cell(code, c) for _ in range(size.cells)]
    return nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU(), *head(c))


def head(channels: int) -> Iterator[nn.Module]:
    yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


# ---------------------------------------------------------------- NAS-Bench-Macro


def conv_bn(channels: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


class MBConv(nn.Module):
    """1x1 expand -> depthwise -> 1x1 project, with a skip where the shape stays."""

    def __init__(self, channels: int, out: int, *, kernel: int, expand: int, stride: int) -> None:
        super().__init__()
        inner = channels * expand
        self.skip = stride == 1 and channels == out
        self.convs = nn.Sequential(
            *conv_bn(channels, inner),
            nn.ReLU(),
            *conv_bn(inner, inner, kernel=kernel, stride=stride, groups=inner),
            nn.ReLU(),
            *conv_bn(inner, out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x) if self.skip else self.convs(x)


def nasbench_macro(code: Sequence[int], size: Skeleton) -> nn.Module:
    """Return the network of eight layers; an identity that must change the shape is a 1x1 convolution."""
    c = size.width
    layers = [*conv_bn(size.in_shape[0], c, kernel=3), nn.ReLU()]
    for i, kind in enumerate(code):
        out, stride = (2 * c, 2) if i in STRIDED else (c, 1)
        if kind:
            kernel, expand = MBCONVS[kind]
            layers.append(MBConv(c, out, kernel=kernel, expand=expand, stride=stride))
        elif i in STRIDED:
            layers += conv_bn(c, out, stride=stride)
        c = out
    return nn.Sequential(*layers, *conv_bn(c, 40 * size.width), nn.ReLU(), *head(40 * size.width))


# ---------------------------------------------------------------- all of a table

BUILD = {"nasbench201": nasbench201, "nasbench_macro": nasbench_macro}


@dataclass(frozen=True)
class Table:
    """What is needed of a table: of each network its code, mean accuracy by data set, multiply-adds, parameters."""

    codes: list[list[int]]
    accuracy: dict[str, np.ndarray]
    macs: np.ndarray
    params: np.ndarray


def load() -> dict[str, Table]:
    with np.load(DATA / "nasbench201" / "nasbench201.npz") as file:
        assert tuple(file["ops"]) == OPS
        by_data = dict(zip(file["datasets"].tolist(), file["test_acc_200ep_mean"].T, strict=True))
        cells = Table(file["encoding"].tolist(), by_data, file["flops_M"] * 1e6, file["params_M"] * 1e6)
    with np.load(DATA / "nasbench_macro" / "nasbench_macro_cifar10.npz") as file:
        mean = file["test_acc"].mean(axis=1)
        macro = Table(file["encoding"].tolist(), {"cifar10": mean}, file["flops"], file["params"])
    return {"nasbench201": cells, "nasbench_macro": macro}


def check(name: str, table: Table) -> None:
    """Stop where networks of full size are not those of the table."""
    for i in np.random.default_rng(0).choice(len(table.codes), N_CHECKED, replace=False):
        network = BUILD[name](table.codes[i], PAPER[name])
        params = sum(p.numel() for p in network.parameters())
        macs = count_macs(network, PAPER[name].in_shape)
        # Published of NAS-Bench-201: millions with six digits; its multiply-adds count norms and pooling too.
        if abs(params - table.params[i]) > 1 or (name == "nasbench_macro" and macs != table.macs[i]):
            raise SystemExit(
                f"{name} {table.codes[i]}: {params} parameters, {macs} multiply-adds; the table says otherwise"
            )


def flow(code: Sequence[int], name: str) -> float:
    torch.manual_seed(SEED)
    return synflow(BUILD[name](code, REDUCED[name]), REDUCED[name].in_shape)


def begin_child() -> None:
    torch.set_num_threads(1)


def agreement(scores: np.ndarray, accuracy: np.ndarray) -> dict[str, float]:
    """Return Spearman's rank correlation over all networks, and over those better than the median."""
    better = accuracy > np.median(accuracy)
    return {
        "all": round(float(spearmanr(scores, accuracy).statistic), 3),
        "better_half": round(float(spearmanr(scores[better], accuracy[better]).statistic), 3),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--out", type=Path, default=SYNFLOW.parent, help="folder; default: results/samplers")
    args = parser.parse_args(argv)
    tables = load()
    for name, table in tables.items():
        check(name, table)
    flows: dict[str, np.ndarray] = {}
    result: dict[str, Any] = {"machine": describe(), "jobs": args.jobs, "seed": SEED, "tables": {}}
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn"), begin_child) as pool:
        for name, table in tables.items():
            started = time.monotonic()
            found = np.array(list(pool.map(partial(flow, name=name), table.codes, chunksize=50)))
            seconds = round(time.monotonic() - started, 1)
            flows[name] = found.astype(np.float16)
            figures = {"synflow": flows[name].astype(float), "macs": table.macs, "params": table.params}
            result["tables"][name] = {
                "networks": len(found),
                "skeleton": asdict(REDUCED[name]),
                "seconds": seconds,
                "range": [round(float(x), 2) for x in (found.min(), np.median(found), found.max())],
                "spearman": {
                    data: {figure: agreement(x, accuracy) for figure, x in figures.items()}
                    for data, accuracy in table.accuracy.items()
                },
            }
            print(f"{name}: {len(found)} networks in {seconds} s, {result['tables'][name]['spearman']}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / SYNFLOW.name, **flows)  # type: ignore[arg-type]  # names of arrays, says the stub, are options
    write_json(args.out / SYNFLOW.with_suffix(".json").name, result)


if __name__ == "__main__":
    main()
