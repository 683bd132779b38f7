"""What is knowledge from elsewhere worth to a search? An expert's priors, a cheaper fidelity, an earlier search.

    python scripts/bench_sampler_knowledge.py [--only SUBSTRING] [--seeds 10] [-n 200]

Each experiment is one task, searched by our sampler with nothing known, with knowledge that is right, and with
knowledge that is wrong: the first should be faster, the second should be forgotten. A seed means the same noise and
the same stream of chance for all of them, so they are compared in pairs. Evidence is told before the search and costs
no evaluation: what it does cost stands beside it.

Prints a table for each experiment and writes results/samplers/knowledge.json, where experiments that were left out
keep what they had. `-n` beyond 200 adds a checkpoint at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from bench_samplers import (
    FOLDER,
    ONE_THREAD,
    Ours,
    Row,
    check_specs,
    first_at,
    load_tasks,
    machine,
    scale_of,
    scaled,
    signed_rank_p,
)
from sampler_tasks import DATA, N_RANDOM, Task, stream

from nas.pareto import non_dominated, ranks
from nas.records import write_text
from nas.samplers import Observation
from nas.space import Architecture, Categorical, Choice, Group, Repeat, Space
from nas.space.parameters import Float, Integer
from nas.space.priors import Centre
from nas.space.tree import Chain, Node, When

CHECKPOINTS = (10, 25, 50, 100, 200)
STEP = 5
"""Evaluations between two scores on the curve that says when a score was reached."""
NONE = "none"
"""The variant that knows nothing; the others are compared with it."""
EARLIER = 100
"""Trials of an earlier search."""
CONFIDENCE = 0.8
"""Of an expert, right or wrong."""
ROLES = (
    "body",
    "body.conv.kernel",
    "training.optimizer",
    "training.lr",
    "training.weight_decay",
    "training.epochs",
    "training.label_smoothing",
    "training.schedule",
)
"""The parameters of the mixed blocks that an expert says something about."""

Belief: TypeAlias = "Centre | dict[Any, float]"
Beliefs: TypeAlias = dict[str, Belief]


# ---------------------------------------------------------------- what is known


@dataclass(frozen=True)
class Known:
    """What somebody knows before a search: beliefs about parameters by role, and evidence from elsewhere."""

    beliefs: Beliefs = field(default_factory=dict)
    evidence: tuple[Observation, ...] = ()


@dataclass(frozen=True)
class World:
    """What a process knows: the tasks with their scales, what the expert and the mistaken one say, and who searches."""

    tasks: dict[str, Task]
    experts: dict[str, Beliefs]
    sampler: str = "tpe"


Knower: TypeAlias = Callable[[World, int], Known]
"""(world, seed) -> what is known."""


@dataclass(frozen=True)
class Experiment:
    """A task, and what may be known of it by the name of the variant; `NONE` is among them.

    Attributes:
        sources: other tasks that evidence comes from.
        needs: folders of tables under `DATA`.
    """

    task: str
    knows: dict[str, Knower]
    sources: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def nothing(world: World, seed: int) -> Known:
    return Known()


def expert(name: str) -> Knower:
    return lambda world, seed: Known(beliefs=world.experts[name])


def short_trainings(n: int, *, permuted: bool = False) -> Knower:
    """Know the validation error of `n` random cells of CIFAR-100 after 12 of 200 epochs; `permuted`: of other cells."""

    def know(world: World, seed: int) -> Known:
        space = world.tasks[CELLS].space
        rng = stream(seed, "short trainings", 0)
        cells: dict[Architecture, None] = {}
        while len(cells) < n:  # the first 30 are among the first 100
            cells[space.sample(rng)] = None
        errors = np.array([error_after_12_epochs(cell) for cell in cells])
        if permuted:
            errors = rng.permutation(errors)
        return Known(evidence=as_evidence(zip(cells, errors, strict=True), "12 epochs"))

    return know


def earlier_search(name: str, *, negated: bool = False) -> Knower:
    """Know the errors of `EARLIER` trials of a search on another task; `negated`: with the sign turned round."""

    def know(world: World, seed: int) -> Known:
        task = world.tasks[name]
        asked = Ours(task, world.sampler, seed + 1000)
        for number in range(EARLIER):
            asked.tell(number, asked.ask(number))
        sign = -1.0 if negated else 1.0
        # Errors alone, as `nas.study.warm` tells them: prices of another device are left behind.
        found = [(o.arch, sign * float(o.losses[0] or 0.0)) for o in asked.seen if o.state == "complete"]
        return Known(evidence=as_evidence(found, f"run {name}"))

    return know


def as_evidence(errors: Iterable[tuple[Architecture, float]], source: str) -> tuple[Observation, ...]:
    return tuple(
        Observation(arch, "complete", (float(error), None), number=number, source=source)
        for number, (arch, error) in enumerate(errors)
    )


_SHORT: dict[tuple[str, ...], float] = {}


def error_after_12_epochs(arch: Architecture) -> float:
    """Return the validation error of a cell of NAS-Bench-201 on CIFAR-100 after its training of 12 epochs."""
    if not _SHORT:
        with np.load(DATA / "nasbench201" / "nasbench201.npz") as table:
            errors = 1 - table["val_acc_12ep"][:, list(table["datasets"]).index("cifar100")].astype(float) / 100
            names = table["ops"][table["encoding"]].tolist()
        _SHORT.update({tuple(ops): float(error) for ops, error in zip(names, errors, strict=True)})
    return _SHORT[tuple(str(arch.values[f"body.{edge}"]) for edge in range(6))]


MIXED = "mixed blocks, latency"
MIXED_BUDGET = "mixed blocks, parameters under a latency budget"
CELLS = "nasbench201 cifar100 samsung_s7"
CELLS_EARLIER = "nasbench201 cifar10 raspi4"
CELLS_ASIDE = "nasbench201 ImageNet16-120 gold_6240"


def warm(task: str, source: str, **fields: Any) -> Experiment:
    knows: dict[str, Knower] = {
        NONE: nothing,
        f"{EARLIER} trials of an earlier search": earlier_search(source),
        "the same, errors negated": earlier_search(source, negated=True),
    }
    return Experiment(task, knows, sources=(source,), **fields)


EXPERIMENTS = {
    "expert priors: mixed blocks": Experiment(
        MIXED, {NONE: nothing, "right": expert("right"), "wrong": expert("wrong")}
    ),
    "cheaper fidelity: cifar100 after 12 of 200 epochs": Experiment(
        CELLS,
        {
            NONE: nothing,
            "30 random cells (as 1.8 evaluations)": short_trainings(30),
            "100 random cells (as 6 evaluations)": short_trainings(100),
            "100 random cells, errors permuted": short_trainings(100, permuted=True),
        },
        needs=("nasbench201",),
    ),
    "warm start: cifar10 -> cifar100, another device": warm(CELLS, CELLS_EARLIER, needs=("nasbench201",)),
    "warm start: cifar100 -> ImageNet16-120, another device": warm(CELLS_ASIDE, CELLS, needs=("nasbench201",)),
    "warm start: no budget -> latency budget, mixed blocks": warm(MIXED_BUDGET, MIXED),
}


# ---------------------------------------------------------------- the expert


def experts(task: Task, roles: Sequence[str] = ROLES) -> dict[str, Beliefs]:
    """Return what is believed of some roles by somebody who is right, and by somebody who is wrong.

    The one looks at the front that a long noise-free climb ends with, the other at as many of the worst ranks of
    random architectures.
    """
    met: dict[Architecture, tuple[float, ...]] = {}

    def losses(arch: Architecture) -> tuple[float, ...]:
        if arch not in met:
            met[arch] = task.losses(arch)
        return met[arch]

    replace(task, losses=losses, _scale=None).scale  # noqa: B018  # climbs, and calls `losses` on all it meets
    archs, values = list(met), np.array(list(met.values()))
    front = np.flatnonzero(non_dominated(values))
    worst = np.argsort(-ranks(values[:N_RANDOM]), kind="stable")[: len(front)]  # the first ones met are random
    return {
        name: {role: belief(task.space, role, [archs[i] for i in which]) for role in roles}
        for name, which in (("right", front), ("wrong", worst))
    }


def belief(space: Space, role: str, archs: Sequence[Architecture]) -> Belief:
    """Return where the values of a role lie: weights of options, or the middle of the fullest tenth of a range."""
    slots = space.roles[role]
    parameter = slots[0].parameter
    values = [arch.values[slot.path] for arch in archs for slot in slots if slot.path in arch.values]
    if isinstance(parameter, Categorical):
        seen, n = Counter(values), len(parameter.options)
        shares = [
            CONFIDENCE * seen[option] / max(len(values), 1) + (1 - CONFIDENCE) / n for option in parameter.options
        ]
        return {option: round(share, 3) for option, share in zip(parameter.options, shares, strict=True)}
    units = [parameter.to_unit(float(value)) for value in values]
    fullest = int(np.argmax(np.histogram(units, bins=10, range=(0.0, 1.0))[0]))
    value = float(f"{parameter.from_unit((fullest + 0.5) / 10):.2g}")
    return Centre(min(max(value, parameter.low), parameter.high), CONFIDENCE)


def believing(space: Space, beliefs: Beliefs) -> Space:
    """Return the space with an expert's beliefs as priors."""
    root = _believing(space.root, "", beliefs)
    assert isinstance(root, Group)
    return replace(space, root=root)


def _believing(here: Node, role: str, beliefs: Beliefs) -> Node:
    def below(child: Node, name: str = "") -> Any:
        return _believing(child, ".".join(filter(None, (role, name))), beliefs)

    if isinstance(here, Group):
        return Group({name: below(child, name) for name, child in here.fields.items()})
    if isinstance(here, Choice):
        options = {name: below(group, name) for name, group in here.options.items()}
        return Choice(options, beliefs.get(role))  # type: ignore[arg-type]
    if isinstance(here, Repeat):
        return Repeat(below(here.count, "repeat"), below(here.block))
    if isinstance(here, Chain):
        return Chain(tuple(below(child, str(i)) for i, child in enumerate(here.items)))
    if isinstance(here, When):
        return When(here.conditions, below(here.node))
    if isinstance(here, Categorical | Integer | Float) and role in beliefs:
        return replace(here, prior=beliefs[role])  # type: ignore[arg-type]
    return here


# ---------------------------------------------------------------- one run


@dataclass(frozen=True)
class Job:
    """One search: an experiment, what is known, and a seed."""

    experiment: str
    variant: str
    seed: int
    n: int


def search(world: World, job: Job) -> Row:
    """Search with what is known, and return the scores every `STEP` evaluations and at the checkpoints."""
    experiment = EXPERIMENTS[job.experiment]
    task = world.tasks[experiment.task]
    known = experiment.knows[job.variant](world, job.seed)
    asked = Ours(replace(task, space=believing(task.space, known.beliefs)), world.sampler, job.seed)
    asked.seen += known.evidence
    found: list[tuple[float, ...]] = []
    scores = {}
    for number in range(job.n):
        arch = asked.ask(number)
        asked.tell(number, arch)
        found.append(task.losses(arch))  # `ask` gives nothing over budget
        if number + 1 in evaluations(job.n):
            scores[number + 1] = round(task.score(np.array(found)), 5)
    return {"variant": job.variant, "seed": job.seed, "scores": scores}


def evaluations(n: int) -> list[int]:
    """Return after how many evaluations a run is scored."""
    return sorted({*range(STEP, n + 1, STEP), *checkpoints(n)})


def checkpoints(n: int) -> list[int]:
    return sorted({*(c for c in CHECKPOINTS if c <= n), n})


_WORLD: list[World] = []
"""The one of a child process."""


def begin_child(scales: dict[str, Row], experts: dict[str, Beliefs], sampler: str) -> None:
    tasks = load_tasks()
    _WORLD.append(World({name: scaled(tasks[name], scale) for name, scale in scales.items()}, experts, sampler))


def work(job: Job) -> Row:
    return search(_WORLD[0], job)


# ---------------------------------------------------------------- comparing


def compared(name: str, rows: Sequence[Row], n: int) -> Row:
    """Return the scores of an experiment by variant, each against `NONE` paired by seed."""
    by_variant: dict[str, dict[int, dict[int, float]]] = {variant: {} for variant in EXPERIMENTS[name].knows}
    for row in sorted(rows, key=lambda row: row["seed"]):
        by_variant[row["variant"]][row["seed"]] = row["scores"]
    seeds = list(by_variant[NONE])
    every = evaluations(n)

    def medians(variant: str) -> list[float]:
        return [float(np.median([by_variant[variant][seed][at] for seed in seeds])) for at in every]

    plain = dict(zip(every, medians(NONE), strict=True))
    halfway = max((at for at in checkpoints(n) if at <= 100), default=n)
    variants = []
    for variant, scores in by_variant.items():
        at_checkpoints = []
        for at in checkpoints(n):
            here = [scores[seed][at] for seed in seeds]
            ahead = [scores[seed][at] - by_variant[NONE][seed][at] for seed in seeds]
            q1, median, q3 = (round(float(x), 4) for x in np.quantile(here, (0.25, 0.5, 0.75)))
            at_checkpoints.append(
                {
                    "evaluations": at,
                    "median": median,
                    "q1": q1,
                    "q3": q3,
                    "of_none": round(median / plain[at], 4) if plain[at] > 0 else None,
                    "p_better": round(signed_rank_p(ahead), 5),
                    "p_worse": round(signed_rank_p([-d for d in ahead]), 5),
                    "scores": here,
                }
            )
        reached = first_at(plain[halfway], every, medians(variant))
        variants.append(
            {
                "variant": variant,
                "at": at_checkpoints,
                "reached_after": None if reached is None else round(reached, 1),
            }
        )
    return {
        "task": EXPERIMENTS[name].task,
        "n": n,
        "seeds": seeds,
        "reached": f"what {NONE!r} has at {halfway} evaluations",
        "variants": variants,
    }


def markdown(name: str, result: Row) -> str:
    """Write an experiment as a table: scores as median (quartiles), one-sided p against nothing known."""
    counts = [c["evaluations"] for c in result["variants"][0]["at"]]
    halfway, end = result["reached"].split()[-2], counts[-1]
    head = [
        "known",
        *map(str, counts),
        f"has {NONE}'s {halfway} after",
        f"of {NONE}'s at {end}",
        f"p better at {', '.join(str(c) for c in counts[:-1])}",
        f"p better, worse at {end}",
    ]
    lines = [
        f"### {name}\n\n{result['task']}; {len(result['seeds'])} seeds\n",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    for variant in result["variants"]:
        at = variant["at"]
        cells = [variant["variant"], *(f"{c['median']:.3f} ({c['q1']:.3f}-{c['q3']:.3f})" for c in at)]
        reached = variant["reached_after"]
        cells.append("not" if reached is None else f"{reached:.0f}")
        cells.append(f"{at[-1]['of_none']:.3f}" if at[-1]["of_none"] is not None else "")
        compared_with_itself = variant["variant"] == NONE
        cells.append("" if compared_with_itself else ", ".join(f"{c['p_better']:.2g}" for c in at[:-1]))
        cells.append("" if compared_with_itself else f"{at[-1]['p_better']:.2g}, {at[-1]['p_worse']:.2g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- the command


def chosen(wanted: Sequence[str]) -> dict[str, Experiment]:
    """Return the experiments whose name holds one of `wanted` (all, where nothing is wanted) and whose tables exist."""
    found = {name: e for name, e in EXPERIMENTS.items() if not wanted or any(w in name for w in wanted)}
    if not found:
        raise SystemExit(f"--only: no experiment has a name with {' or '.join(wanted)}; there are: {list(EXPERIMENTS)}")
    for name, experiment in list(found.items()):
        if missing := [folder for folder in experiment.needs if not (DATA / folder).exists()]:
            print(f"left out: {name}; no {' and '.join(missing)} in {DATA}; NAS_TEST_DATA names another folder")
            del found[name]
    return found


def run(experiments: dict[str, Experiment], args: argparse.Namespace) -> None:
    """Run experiments, print a table of each and write the file after each."""
    args.out.mkdir(parents=True, exist_ok=True)
    tasks = load_tasks()
    names = dict.fromkeys(task for e in experiments.values() for task in (e.task, *e.sources))
    scales = {name: scale_of(tasks[name], args.out / "scales.json") for name in names}
    check_specs([args.sampler], next(iter(tasks.values())))
    told: dict[str, Beliefs] = {}
    if any(name.startswith("expert") for name in experiments):
        print("climbing to the best there is, for an expert to look at", flush=True)
        told = experts(tasks[MIXED])
        print(json.dumps({name: written(beliefs) for name, beliefs in told.items()}, indent=1), flush=True)
    path = args.out / "knowledge.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    os.environ.update(ONE_THREAD)  # children load their numpy with it
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, spawn, begin_child, (scales, told, args.sampler)) as pool:
        try:
            for name, experiment in experiments.items():
                jobs = [Job(name, variant, seed, args.n) for seed in range(args.seeds) for variant in experiment.knows]
                rows = []
                for future in as_completed([pool.submit(work, job) for job in jobs]):
                    rows.append(row := future.result())
                    last = row["scores"][args.n]
                    print(
                        f"[{len(rows)}/{len(jobs)}] {name} | {row['variant']} | seed {row['seed']}: {last:.3f}",
                        flush=True,
                    )
                result = compared(name, rows, args.n) | {"sampler": args.sampler, "machine": machine()}
                if name.startswith("expert"):
                    result["beliefs"] = {who: written(beliefs) for who, beliefs in told.items()}
                results[name] = result
                write_text(path, as_text({n: results[n] for n in EXPERIMENTS if n in results}))
                print(f"\n{markdown(name, result)}", flush=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def written(beliefs: Beliefs) -> dict[str, Any]:
    """Return beliefs as JSON can hold them."""
    return {
        role: {"centre": b.value, "confidence": b.confidence}
        if isinstance(b, Centre)
        else {str(option): weight for option, weight in b.items()}
        for role, b in beliefs.items()
    }


def as_text(results: dict[str, Row]) -> str:
    """Return JSON with one line for each experiment."""
    lines = (f" {json.dumps(name)}: {json.dumps(result, separators=(',', ':'))}" for name, result in results.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="SUBSTRING", help="repeatable; default: all")
    parser.add_argument("--sampler", default="tpe", metavar="SPEC")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("-n", type=int, default=200, help="evaluations")
    parser.add_argument("--jobs", type=int, default=max((os.cpu_count() or 2) // 2, 1), help="processes")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder; default: {FOLDER}")
    args = parser.parse_args(argv)
    if args.seeds < 1 or args.n < 1:
        parser.error(f"--seeds and -n are at least 1, got {args.seeds} and {args.n}")
    try:
        run(chosen(args.only), args)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the experiments finished before are in the file") from None


if __name__ == "__main__":
    main()
