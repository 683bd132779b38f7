"""How much of a front survives a cheap rung: promotion by all objectives against promotion by accuracy alone?

Cells of NAS-Bench-201 come one after the other in random order. The cheap rung is a training of 12 epochs, the full one
of 200 epochs; one in three goes on, as `nas.study.promote.next_to_promote` says after each arrival. Reported is, per
data set and device, which share of the true front of all that came (mean test error after 200 epochs, measured latency)
was promoted, and which share of its hypervolume the promoted ones have (reference point: the 75 % quantile of the error
and of the log latency over all cells).

Writes results/training/promotion.json. Takes a minute; the table is looked for where NAS_TEST_DATA says.

Reference: Dong & Yang, ICLR 2020, https://arxiv.org/abs/2001.00326 (the table); Lee et al., NeurIPS 2021,
https://arxiv.org/abs/2106.08630 (its latencies).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sampler_tasks import DATA
from scipy.stats import kendalltau

from nas.measure import describe
from nas.pareto import hypervolume, non_dominated
from nas.records import write_json
from nas.rng import generator
from nas.study.promote import Standing, next_to_promote

OUT = Path(__file__).parents[1] / "results" / "training" / "promotion.json"
ETA = 3
WAYS = ("all objectives", "accuracy alone", "best accuracy in the end, as many as by all objectives")


def load() -> dict[str, np.ndarray]:
    with np.load(DATA / "nasbench201" / "nasbench201.npz") as file:
        return {name: file[name] for name in file.files}


def promoted(losses: np.ndarray) -> np.ndarray:
    """Return which of the trials went on, (n,) of bool; they end the rung in the order of their rows.

    Args:
        losses: (n, n_losses) at the end of the rung.
    """
    standings: list[Standing] = []
    gone = np.zeros(len(losses), dtype=bool)
    for number, row in enumerate(losses.tolist()):
        standings.append(Standing(number, 0, tuple(row), open=True))
        while (chosen := next_to_promote(standings, ETA)) is not None:
            gone[chosen] = True
            standings[chosen] = Standing(chosen, 0, standings[chosen].losses, open=False)
    return gone


def one_search(early: np.ndarray, true: np.ndarray, reference: np.ndarray) -> dict[str, dict[str, float]]:
    """Return what each way of promotion keeps.

    Args:
        early: (n, 2) loss at the rung, latency.
        true: (n, 2) error after the full training, log10 of the latency.
        reference: (2,), of hypervolumes, for `true`.
    """
    front = non_dominated(true)
    whole = hypervolume(true, reference)
    found = {}
    by_all = promoted(early)
    as_many = np.argsort(np.argsort(early[:, 0], kind="stable"), kind="stable") < by_all.sum()
    for way, gone in zip(WAYS, (by_all, promoted(early[:, :1]), as_many), strict=True):
        found[way] = {
            "promoted": float(gone.mean()),
            "front_kept": float(gone[front].mean()),
            "hypervolume_kept": hypervolume(true[gone], reference) / whole,
        }
    return found


def summary(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 3), "least": round(min(values), 3), "most": round(max(values), 3)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=500, help="that come to the rung")
    parser.add_argument("--seeds", type=int, default=3, help="searches per data set and device")
    parser.add_argument("--out", type=Path, default=OUT, help="default: results/training/promotion.json")
    args = parser.parse_args(argv)
    table = load()
    tasks: dict[str, Any] = {}
    for (i, data), (j, device) in itertools.product(enumerate(table["datasets"]), enumerate(table["devices"])):
        accuracy = table["val_acc_12ep"][:, i].astype(float) / 100
        error = 1 - table["test_acc_200ep_mean"][:, i].astype(float) / 100
        ms = table["latency_ms"][:, j].astype(float)
        early, true = np.stack([-accuracy, ms], axis=1), np.stack([error, np.log10(ms)], axis=1)
        reference = np.quantile(true, 0.75, axis=0)
        searches, taus, fronts = [], [], []
        for seed in range(args.seeds):
            cells = generator(seed, "promotion").choice(len(ms), args.cells, replace=False)
            searches.append(one_search(early[cells], true[cells], reference))
            taus.append(float(kendalltau(early[cells, 0], true[cells, 0]).statistic))
            fronts.append(int(non_dominated(true[cells]).sum()))
        tasks[f"{data} {device}"] = {
            "rank_correlation_of_the_rung": summary(taus),
            "front": summary(fronts),
            **{
                way: {name: summary([search[way][name] for search in searches]) for name in figures}
                for way, figures in searches[0].items()
            },
        }
        kept = {way: tasks[f"{data} {device}"][way]["front_kept"]["mean"] for way in WAYS}
        print(f"{data} {device}: of the front is kept {kept}", flush=True)
    overall = {
        way: {
            name: summary([task[way][name]["mean"] for task in tasks.values()])
            for name in ("promoted", "front_kept", "hypervolume_kept")
        }
        for way in WAYS
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    note = "kept: share of the front, or of the hypervolume, of all cells that came; mean, least and most over searches"
    settings = {"cells": args.cells, "seeds": args.seeds, "eta": ETA}
    write_json(args.out, {"machine": describe(), "note": note, **settings, "overall": overall, "tasks": tasks})
    print(f"{overall}\nwritten to {args.out}")


if __name__ == "__main__":
    main()
