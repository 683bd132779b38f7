"""Does the latency protocol read the same in every process, and does it read the truth?

Several fresh processes, one after the other, measure the same twelve nets: with the protocol of the package (ratio of
lower deciles over interleaved pairs), with the median of the ratios of the same pairs, with the protocol without its
untimed runs, and with the plain median of a block of 20 runs. Reported are, per protocol, Kendall's tau between the
rankings of two processes, how far a reading lies from the median over the processes, and, per net, how far it lies from
the ratio of two undisturbed blocks (bias: negative is too fast).

Writes results/reference/latency_protocol.json. Takes a minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from nas.measure import describe, measure_ratio, reference
from nas.measure.latency import CALM, Run, bootstrap_interval, time_pairs
from nas.measure.runtimes import OnnxRuntime

OURS, MEDIAN, PLAIN, BLOCK = PROTOCOLS = (
    "interleaved, lower deciles",
    "interleaved, median of ratios",
    "interleaved, lower deciles, no untimed runs",
    "block median of 20",
)


def export_nets(folder: Path) -> dict[str, tuple[int, ...]]:
    """Export twelve nets of many kinds, 4 microseconds to 5 ms and 16 kB to 80 MB; return their input shapes."""
    import torch
    from torch import nn

    from nas.export import export_onnx

    class Recurrent(nn.Module):
        def __init__(self, layer: nn.RNNBase) -> None:
            super().__init__()
            self.layer = layer
            self.head = nn.Linear(layer.hidden_size * (1 + layer.bidirectional), 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(x)[0].mean(1))

    def conv(*widths: int, kernel: int = 3) -> nn.Module:
        layers: list[nn.Module] = []
        for i, (c, d) in enumerate(itertools.pairwise((3, *widths))):
            layers += [nn.Conv2d(c, d, kernel, 2 - i % 2, kernel // 2, bias=False), nn.BatchNorm2d(d), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))

    def depthwise(c: int) -> nn.Module:
        block = [nn.Conv2d(c, 6 * c, 1), nn.SiLU(), nn.Conv2d(6 * c, 6 * c, 5, 1, 2, groups=6 * c), nn.SiLU()]
        stem, head = nn.Conv2d(3, c, 3, 2, 1), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10)]
        return nn.Sequential(stem, *block, nn.Conv2d(6 * c, c, 1), *head)

    def linear(*widths: int) -> nn.Module:
        return nn.Sequential(*(m for c, d in itertools.pairwise((*widths, 10)) for m in (nn.Linear(c, d), nn.ReLU())))

    def encoder(layers: int) -> nn.Module:
        layer = [nn.TransformerEncoderLayer(64, 4, 128, batch_first=True) for _ in range(layers)]
        return nn.Sequential(*layer, nn.Flatten(), nn.Linear(49 * 64, 10))

    torch.manual_seed(0)
    nets: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "linear 64-64": (linear(64, 64), (64,)),
        "linear 64-1024-1024": (linear(64, 1024, 1024), (64,)),
        "linear 64-2000-2800": (linear(64, 2000, 2800), (64,)),
        "linear 64-4000-5000": (linear(64, 4000, 5000), (64,)),
        "rnn 48": (Recurrent(nn.RNN(16, 48, batch_first=True)), (28, 16)),
        "gru 48": (Recurrent(nn.GRU(16, 48, batch_first=True)), (28, 16)),
        "lstm 48, two layers, both ways": (
            Recurrent(nn.LSTM(16, 48, 2, batch_first=True, bidirectional=True)),
            (28, 16),
        ),
        "encoder, one layer": (encoder(1), (49, 64)),
        "conv 16-16-32": (conv(16, 16, 32), (3, 32, 32)),
        "conv 64-64-128-128-256-256": (conv(64, 64, 128, 128, 256, 256), (3, 32, 32)),
        "conv 32-32-32 on 192 x 192": (conv(32, 32, 32), (3, 192, 192)),
        "mbconv 16": (depthwise(16), (3, 32, 32)),
    }
    for i, (module, shape) in enumerate(nets.values()):
        export_onnx(module, shape, folder / f"{i}.onnx")
    return {name: shape for name, (_, shape) in nets.items()}


def block_ns(run: Run, runs: int, warmups: int = 10) -> float:
    """Return the median ns of `runs` runs in a row."""
    times = []
    for i in range(warmups + runs):
        start = time.perf_counter_ns()
        run()
        if i >= warmups:
            times.append(time.perf_counter_ns() - start)
    return float(np.median(times))


def measure_all(folder: Path, shapes: list[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Measure every net with every protocol in this process."""
    runtime = OnnxRuntime()
    fixed = runtime.prepare(reference.model(), reference.IN_SHAPE)
    rows = []
    for i, shape in enumerate(shapes):
        run = runtime.prepare(folder / f"{i}.onnx", shape)
        row: dict[str, Any] = {"seconds": {}, "reading": {}}
        start = time.perf_counter()
        pairs = time_pairs(run, fixed)
        row["seconds"][OURS] = row["seconds"][MEDIAN] = time.perf_counter() - start
        row["reading"][OURS] = float(np.divide(*np.quantile(pairs, CALM, axis=0)))
        row["reading"][MEDIAN] = float(np.median(pairs[:, 0] / pairs[:, 1]))
        row["interval"] = bootstrap_interval(pairs)
        start = time.perf_counter()
        row["reading"][PLAIN] = measure_ratio(run, fixed, untimed=0).value
        row["seconds"][PLAIN] = time.perf_counter() - start
        start = time.perf_counter()
        row["reading"][BLOCK] = block_ns(run, 20) / 1e6
        row["seconds"][BLOCK] = time.perf_counter() - start
        row["undisturbed"] = float(
            np.divide(*np.quantile([(block_ns(run, 9), block_ns(fixed, 9)) for _ in range(9)], CALM, axis=0))
        )
        rows.append(row)
    return rows


def summary(protocol: str, processes: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Return how well the processes agree under `protocol`, and what it cost."""
    from scipy.stats import kendalltau

    readings = np.array([[row["reading"][protocol] for row in rows] for rows in processes])  # (processes, nets)
    deviation = np.abs(readings / np.median(readings, axis=0) - 1)
    return {
        "deviation_median_percent": round(float(np.median(deviation)) * 100, 2),
        "kendall_tau_mean": round(
            float(np.mean([kendalltau(a, b).statistic for a, b in itertools.combinations(readings, 2)])), 4
        ),
        "deviation_p95_percent": round(float(np.quantile(deviation, 0.95)) * 100, 2),
        "deviation_max_percent": round(float(deviation.max()) * 100, 2),
        "median_ms_per_net": round(
            float(np.median([row["seconds"][protocol] for rows in processes for row in rows])) * 1e3, 1
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("results/reference/latency_protocol.json"))
    args = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shapes = export_nets(folder)
        task = (folder, list(shapes.values()))
        processes = []
        for _ in range(args.processes):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                processes.append(pool.apply(measure_all, task))
        sizes = [(folder / f"{i}.onnx").stat().st_size for i in range(len(shapes))]
    nets = []
    for net, size, rows in zip(shapes, sizes, zip(*processes, strict=True), strict=True):
        ratios = [row["reading"][OURS] for row in rows]
        bias = {p: np.median([row["reading"][p] / row["undisturbed"] - 1 for row in rows]) for p in (OURS, PLAIN)}
        nets.append(
            {
                "net": net,
                "size_kb": size // 1000,
                "block_ms": round(float(np.median([row["reading"][BLOCK] for row in rows])), 4),
                "ratios": [round(r, 4) for r in ratios],
                "interval_width_percent": round(
                    float(
                        np.median([np.diff(row["interval"])[0] / r * 100 for row, r in zip(rows, ratios, strict=True)])
                    ),
                    2,
                ),
                "bias_percent": {p: round(float(b) * 100, 1) for p, b in bias.items()},
            }
        )
    result = {
        "machine": machine,
        "load_average_after": describe()["load_average"],
        "note": "one process measures at a time; the load average says what else ran on the machine",
        "processes": args.processes,
        "protocols": {p: summary(p, processes) for p in PROTOCOLS},
        "nets": nets,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1)
    text = re.sub(r"\[[-0-9.,\s]+\]", lambda m: re.sub(r"\s+", " ", m[0]), text)  # lists of numbers on one line
    args.out.write_text(text + "\n")
    print(json.dumps(result["protocols"], indent=1))
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
