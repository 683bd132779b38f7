"""Does a run keep what it promises? Measures its front again in this fresh process, and reads its trials.

    python scripts/check_run.py results/RUN [--out results/reference/NAME.json] [--repeats 3]

Reports: how far each front member's latency, measured anew, is from the searched one, and how many miss a budget;
whether any trial over budget has training seconds; how many trials of each kind of block were built and priced,
trained, and are on the front. Writes that with the machine's description, and exits with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from nas.api import Front
from nas.export.onnx import export_onnx
from nas.measure import describe
from nas.records import TrialRecord, write_json
from nas.study.limits import training_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, help="the JSON file; default: only print")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each member; the median counts")
    args = parser.parse_args()

    front = Front.load(args.run)
    budgets = front.config.parsed_budgets()
    with training_process():
        members = [again(front, member.record, args.repeats) for member in front]
    misses = [m["trial"] for m in members if any(not b.kept(m["again"].get(b.objective, 0.0)) for b in budgets)]
    trained_over = [r.number for r in front.records if r.state == "over_budget" and r.train_seconds]
    states = Counter(r.state for r in front.records)
    deviations = [abs(m["again"]["latency_ms"] / m["searched_ms"] - 1) for m in members]
    found = {
        "question": "Does the front keep its budgets when measured again?",
        "space": front.config.space.name,
        "data": Path(front.config.data).name,
        "budgets": list(front.config.budgets),
        "states": dict(states),
        "blocks": {
            "priced": blocks(front, [r for r in front.records if r.prices]),
            "trained": blocks(front, [r for r in front.records if r.state == "complete"]),
            "front": blocks(front, [m.record for m in front]),
        },
        "best_accuracy": max((r.scores["accuracy"] for r in front.records if r.on_front), default=None),
        "front": members,
        "latency_deviation_median": statistics.median(deviations),
        "latency_deviation_max": max(deviations),
        "front_members_that_miss_a_budget": misses,
        "trials_over_budget_with_training_seconds": trained_over,
        "train_seconds": sum(r.train_seconds for r in front.records),
        "machine": describe(),
    }
    for key, value in found.items():
        if key not in ("front", "machine"):
            print(f"{key}: {value}")
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, found)
    if misses or trained_over:
        raise SystemExit(1)


def again(front: Front, record: TrialRecord, repeats: int) -> dict[str, object]:
    """Export a front member with its weights and measure it anew, by the run's own calibration."""
    from nas.ship import load_network

    network = load_network(front.config, record, front.task, front.folder)[1]
    with tempfile.TemporaryDirectory() as folder, front.meters()["latency_ms"] as meter:
        path = Path(folder) / "network.onnx"
        export_onnx(network, front.task.in_shape, path)
        measured = [meter.measure(path, front.task.in_shape).value for _ in range(repeats)]
        size = path.stat().st_size
    return {
        "trial": record.number,
        "accuracy": record.scores["accuracy"],
        "searched_ms": record.prices["latency_ms"].value,
        "again": {"latency_ms": statistics.median(measured), "size_bytes": float(size)},
    }


def blocks(front: Front, records: list[TrialRecord]) -> dict[str, int]:
    """Count the records that hold each kind of block in their body."""
    found: Counter[str] = Counter()
    for record in records:
        body = front.config.space.resolve(record.arch)["body"]
        assert isinstance(body, list)
        found.update({name for part in body for name in (part if isinstance(part, dict) else [str(part)])})
    return dict(found.most_common())


if __name__ == "__main__":
    main()
