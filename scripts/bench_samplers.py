"""How good are the samplers, and what do they cost? Ours and Optuna's on the same tasks, noise and seeds.

    python scripts/bench_samplers.py run [--group development] [--task SUBSTRING] [--sampler SPEC] [--seeds 10] [-n 200]
    python scripts/bench_samplers.py report
    python scripts/bench_samplers.py overhead

`run` appends every finished run to results/samplers/runs.jsonl; it can be interrupted, and goes on where it was.
`report` prints a table for each task and writes results/samplers/summary.csv and docs/images/samplers.png.
`overhead` measures CPU time and memory of a suggestion after many trials, and writes results/samplers/overhead.json.

A sampler is written as for `nas search` ('tpe', 'tpe(explore=0.1)', 'evolution'), or 'peer:NAME': then Optuna runs in
its own ask-and-tell loop, as its users write it: duplicates and trials over budget are evaluations, the latter with
their excess as constraint. 'peer:NAME +gate' is told what is over budget as pruned, with the constraint, and not
charged for it. Ours are charged for what is trained: a candidate over budget was priced alone. It comes back as an
observation, and prices are counted.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import heapq
import json
import math
import multiprocessing
import os
import sys
import time
import traceback
import tracemalloc
import warnings
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sampler_tasks import DATA, Task, development, mixed_proxies, mixed_space, mixed_surface, stream
from sampler_tasks_aside import aside

from nas.errors import NasError
from nas.measure import describe
from nas.records import write_json, write_text
from nas.samplers import Observation, Predicted, Price, make_sampler
from nas.space import Architecture, Categorical, Integer, Slot
from nas.space.parameters import Scalar

FOLDER = Path("results/samplers")
FIGURE = Path("docs/images/samplers.png")
CHECKPOINTS = (25, 50, 75, 100, 150, 200, 300, 400, 500)
GP = "peer:GP"
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "peer:TPE default": ("TPESampler", {}),
    "peer:TPE multivariate+group": ("TPESampler", {"multivariate": True, "group": True}),
    "peer:NSGA-II": ("NSGAIISampler", {}),
    GP: ("GPSampler", {}),
}
TPES = tuple(name for name, (cls, _) in PEERS.items() if cls == "TPESampler")
GATE = " +gate"
DEFAULT = ("tpe", "random", *(name for name in PEERS if name != GP))  # which takes hours on all tasks
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
MOST_FORBIDDEN = 50
MOST_BARREN = 10_000
"""Proposals in a row that are over budget, after which a run gives up."""
N_TIMES, SHOWN_TIMES = 13, (6, 9, 12)
"""Checkpoints over two decades of simulated time, and those at 10 %, 32 % and 100 % of it."""
MOST_IN_TIME = 10
"""With `--time`, a run ends after this many times `-n` evaluations, however short they are."""

Row = dict[str, Any]


# ---------------------------------------------------------------- who searches


class Searcher(Protocol):
    """Somebody who is asked what to evaluate and told what came out."""

    cpu_seconds: float
    """Spent on suggestions, without what is asked meanwhile."""
    suggestions: int
    price_seconds: float
    """Spent on prices and proxies."""
    priced: int
    described: int
    """Architectures whose proxies were asked for, each counted once."""

    def ask(self, number: int) -> Architecture: ...

    def tell(self, number: int, arch: Architecture) -> None: ...


class Ours:
    """A sampler of this project in the manner of a study: what is over budget is priced and never evaluated."""

    def __init__(self, task: Task, spec: str, seed: int, *, tell_cost: bool = False) -> None:
        gated = task.limited is not None or any(task.cheap)
        told = self.describe if task.proxies else None
        screen = self.screen if task.counted else None
        self.sampler = make_sampler(spec, task.space, task.objectives, seed, gated=gated, describe=told, screen=screen)
        self.task, self.seed, self.tell_cost = task, seed, tell_cost
        self.seen: list[Observation] = []
        self.pending: dict[int, Architecture] = {}
        self.prices: dict[Architecture, Price] = {}
        self.proxies: dict[Architecture, tuple[float, ...]] = {}
        self.cpu_seconds = self.price_seconds = 0.0
        self.suggestions = self.priced = 0

    def ask(self, number: int) -> Architecture:
        for _ in range(MOST_BARREN):
            rng = stream(self.seed, "sampler", self.suggestions)
            started, inside = time.process_time(), self.price_seconds
            arch = self.sampler.propose(list(self.seen), list(self.pending.values()), self.price, rng)
            self.cpu_seconds += time.process_time() - started - (self.price_seconds - inside)
            self.suggestions += 1
            if self.task.excess(arch) <= 0:
                self.pending[number] = arch
                return arch
            self.price(arch)
        raise RuntimeError(f"{self.task.name}: {MOST_BARREN} proposals in a row are over budget")

    def price(self, arch: Architecture) -> Price:
        started = time.process_time()
        if arch not in self.prices:
            self.priced += 1
            losses = [
                x if cheap else None for x, cheap in zip(self.task.noisy(arch, self.seed), self.task.cheap, strict=True)
            ]
            excess = self.excess(arch)
            self.prices[arch] = price = Price(tuple(losses), sum(max(math.expm1(x), 0.0) for x in excess), excess)
            if price.violation > 0:
                number = len(self.seen)
                seen = Observation(arch, "over_budget", price.losses, price.violation, number, excess)
                self.seen.append(seen)
        self.price_seconds += time.process_time() - started
        return self.prices[arch]

    def screen(self, archs: Sequence[Architecture]) -> Predicted:
        started, losses = time.process_time(), np.full((len(archs), len(self.task.cheap)), math.nan)
        losses[:, 1] = [10 ** self.task.losses(arch)[1] for arch in archs]
        self.price_seconds += time.process_time() - started
        return Predicted(losses, np.zeros((len(archs), 0)), np.zeros((len(archs), 0)))

    def describe(self, arch: Architecture, wanted: Collection[int] | None = None) -> tuple[float, ...]:
        started = time.process_time()
        if arch not in self.proxies:
            assert self.task.proxies is not None
            self.proxies[arch] = self.task.proxies(arch)
        self.price_seconds += time.process_time() - started
        return self.proxies[arch]

    @property
    def described(self) -> int:
        return len(self.proxies)

    def tell(self, number: int, arch: Architecture) -> None:
        del self.pending[number]
        cost = self.task.seconds(arch) if self.tell_cost else None
        losses = self.task.noisy(arch, self.seed)
        self.seen.append(Observation(arch, "complete", losses, 0.0, len(self.seen), self.excess(arch), cost))

    def excess(self, arch: Architecture) -> tuple[float, ...]:
        return (self.task.excess(arch),) if self.task.limited else ()


class Peer:
    """Optuna's own loop. Suggestions are evaluated as they come, unless `GATE` stands behind the name."""

    def __init__(self, task: Task, spec: str, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        cls, options = PEERS[spec.removesuffix(GATE)]
        self.task, self.seed, self.gated = task, seed, spec.endswith(GATE)
        self.states = optuna.trial.TrialState
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = getattr(optuna.samplers, cls)(seed=seed, **options)
        self.study = optuna.create_study(directions=["minimize"] * len(task.cheap), sampler=sampler)
        self.pending: dict[int, Any] = {}
        self.cpu_seconds = self.price_seconds = 0.0
        self.suggestions = self.priced = self.described = 0

    def ask(self, number: int) -> Architecture:
        forbidden = 0
        for _ in range(MOST_BARREN):
            started = time.process_time()
            trial = self.study.ask()
            arch = self.task.space.walk(lambda slot, trial=trial: suggest(trial, slot))  # type: ignore[misc]
            self.cpu_seconds += time.process_time() - started
            self.suggestions += 1
            if self.task.space.forbidden(arch) is not None:
                self.study.tell(trial, state=self.states.FAIL)
                forbidden += 1
                if forbidden % MOST_FORBIDDEN == 0:  # it insists; go on from an allowed one, as its user would
                    self.study.enqueue_trial(self.task.space.sample(stream(self.seed, "allowed", number)).values)
                continue
            if self.task.limited:
                trial.set_constraint("budget", self.task.excess(arch))
            if self.gated:
                self.priced += 1
            if self.gated and self.task.excess(arch) > 0:
                self.study.tell(trial, state=self.states.PRUNED)
                continue
            self.pending[number] = trial
            return arch
        raise RuntimeError(f"{self.task.name}: {MOST_BARREN} suggestions in a row are forbidden or over budget")

    def tell(self, number: int, arch: Architecture) -> None:
        losses = list(self.task.noisy(arch, self.seed))
        started = time.process_time()
        self.study.tell(self.pending.pop(number), losses)
        self.cpu_seconds += time.process_time() - started


def suggest(trial: Any, slot: Slot) -> Scalar:
    """Return what an Optuna trial suggests for a parameter of ours."""
    p = slot.parameter
    if isinstance(p, Categorical):
        return trial.suggest_categorical(slot.path, p.options)
    if isinstance(p, Integer):
        return trial.suggest_int(slot.path, p.low, p.high, step=p.step, log=p.log)
    value = trial.suggest_float(slot.path, p.low, p.high, step=p.step, log=p.log)
    return value if p.step is None else p.from_unit(p.to_unit(value))  # to the last bit as a space writes it


def searcher(task: Task, spec: str, seed: int, *, tell_cost: bool = False) -> Searcher:
    return Peer(task, spec, seed) if spec.startswith("peer:") else Ours(task, spec, seed, tell_cost=tell_cost)


# ---------------------------------------------------------------- one run


@dataclass(frozen=True)
class Job:
    """One run: a sampler on a task under a seed."""

    task: str
    sampler: str
    seed: int
    n: int
    pending: int = 1
    """How many evaluations run at a time."""
    total: float | None = None
    """Simulated seconds that end the run, and tell the sampler seconds; None: `n` evaluations."""

    @property
    def row(self) -> Row:
        return {name: getattr(self, name) for name in ("task", "sampler", "seed", "n", "pending")} | {
            "time": self.total is not None
        }


def search(task: Task, job: Job) -> Row:
    """Search `task`, and return the scores at the checkpoints and what it took.

    `job.pending` workers evaluate on a simulated clock; whoever is free gets the next suggestion.
    """
    asked = searcher(task, job.sampler, job.seed, tell_cost=job.total is not None)
    most, until = (job.n, math.inf) if job.total is None else (MOST_IN_TIME * job.n, job.total)
    times = [] if job.total is None else list(np.geomspace(until / 100, until, N_TIMES))
    counts = sorted({*(c for c in CHECKPOINTS if c <= job.n), job.n}) if job.total is None else []
    kept: list[tuple[float, ...]] = []  # noise-free losses of what keeps the budget
    evaluated: list[str] = []
    running: list[tuple[float, int, Architecture]] = []
    found: list[tuple[int, float, float]] = []  # evaluations, simulated seconds, score
    clock, begun = 0.0, 0

    def note(seconds: float) -> None:
        score = task.score(np.array(kept).reshape(-1, len(task.cheap)))
        found.append((len(evaluated), float(f"{seconds:.5g}"), round(score, 5)))

    while True:
        while begun < most and len(running) < job.pending:
            arch = asked.ask(begun)
            heapq.heappush(running, (clock + task.seconds(arch), begun, arch))
            begun += 1
        if not running:
            break
        clock, number, arch = heapq.heappop(running)
        while len(found) < len(times) and times[len(found)] < clock:
            note(times[len(found)])
        if clock > until:
            break
        asked.tell(number, arch)
        evaluated.append(arch.fingerprint())
        if task.excess(arch) <= 0:
            kept.append(task.losses(arch))
        if len(evaluated) in counts:
            note(clock)
    for seconds in times[len(found) :]:
        note(seconds)
    evaluations, seconds_at, scores = zip(*found, strict=True)
    return job.row | {
        "group": task.group,
        "evaluations": evaluations,
        "seconds": seconds_at,
        "score": scores,
        "suggestions": asked.suggestions,
        "ms": round(1e3 * asked.cpu_seconds / asked.suggestions, 2),
        "price_s": round(asked.price_seconds, 3),
        "priced": round(asked.priced / asked.suggestions, 2),
        "described": round(asked.described / asked.suggestions, 2),
        "duplicates": len(evaluated) - len(set(evaluated)),
        "code": "" if job.sampler.startswith("peer:") else code(),
    }


_TASKS: dict[str, Task] = {}
"""The tasks of a child process, with their scales."""


def begin_child(scales: dict[str, Row]) -> None:
    tasks = load_tasks()
    _TASKS.update({name: scaled(tasks[name], scale) for name, scale in scales.items()})


def work(job: Job) -> Row:
    """Run a job in a child process; what went wrong comes back as text."""
    started = time.process_time()
    try:
        row = search(_TASKS[job.task], job)
    except Exception:
        return job.row | {"problem": traceback.format_exc(limit=-3)}
    return row | {"cpu_s": round(time.process_time() - started, 1)}


# ---------------------------------------------------------------- tasks and their scales


def load_tasks() -> dict[str, Task]:
    return {**development(), **aside()}


def chosen_tasks(group: str, wanted: Sequence[str]) -> dict[str, Task]:
    """Return the tasks of a group whose name holds one of `wanted` (all, where nothing is wanted)."""
    missing = [name for name in ("nasbench201", "nasbench_macro") if not (DATA / name).exists()]
    if missing:
        print(f"left out: tasks on {' and '.join(missing)}, not in {DATA}; NAS_TEST_DATA names another folder")
    tasks = load_tasks()
    found = {
        name: task
        for name, task in tasks.items()
        if group in ("all", task.group) and (not wanted or any(w in name for w in wanted))
    }
    if not found:
        raise SystemExit(f"no task of group {group} has a name with {' or '.join(wanted)}; there are: {list(tasks)}")
    return found


def scale_of(task: Task, path: Path) -> Row:
    """Return the task's reference point, limit and best hypervolume; computed once (some 30 s) and kept in `path`."""
    known = json.loads(path.read_text()) if path.exists() else {}
    rng = np.random.default_rng(0)
    drawn = [task.space.sample(rng) for _ in range(500)]
    losses = [[round(x, 6) for x in task.losses(arch)] for arch in drawn[:20]]
    fingerprint = f"{task.space.fingerprint()}-{zlib.crc32(json.dumps(losses).encode()):08x}"
    if known.get(task.name, {}).get("fingerprint") != fingerprint:
        print(f"{task.name}: looking for the best front there is", flush=True)
        reference, limit, best = task.scale
        seconds = [task.seconds(arch) for arch in drawn]
        known[task.name] = {
            "fingerprint": fingerprint,
            "reference": reference.tolist(),
            "limit": limit if math.isfinite(limit) else None,
            "best": best,
            "mean_seconds": float(np.mean(seconds)) if len(set(seconds)) > 1 else None,
        }
        write_json(path, known)
    return known[task.name]


def scaled(task: Task, scale: Row) -> Task:
    """Return the task with a scale that was computed before."""
    limit = math.inf if scale["limit"] is None else scale["limit"]
    return replace(task, _scale=(np.array(scale["reference"]), limit, scale["best"]))


# ---------------------------------------------------------------- the file of runs


def read_runs(path: Path) -> list[Row]:
    """Return the lines of a file of runs: machines, each followed by what ran on it. A torn line is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            print(f"{path}: one line cannot be read and is left out: {line[:60]!r}")
    return rows


def write_runs(path: Path, rows: Sequence[Row]) -> None:
    """Write the lines anew, without machines that nothing ran on."""
    follows = [*rows[1:], {"machine": None}]
    write_text(
        path, "".join(as_line(r) for r, f in zip(rows, follows, strict=True) if not ("machine" in r and "machine" in f))
    )


def as_line(row: Row) -> str:
    return json.dumps(row, separators=(",", ":")) + "\n"


def same_kind(row: Row) -> tuple[Any, ...]:
    return row["task"], row["sampler"], row["pending"], row["time"]


def is_there(job: Job, stored: Iterable[Row]) -> bool:
    """Whether a run is stored that tells what `job` would: the same, or a longer one where it begins the same."""
    wanted = job.row
    for row in stored:
        same = same_kind(row) == same_kind(wanted) and row["seed"] == job.seed
        if same and (row["n"] == job.n or (row["n"] > job.n and job.pending == 1 and not row["time"])):
            return True
    return False


@cache
def code() -> str:
    """Return 8 hex digits that change with the source of the samplers: runs of several versions are told apart."""
    import nas.samplers

    total = hashlib.sha256()
    for path in sorted(Path(nas.samplers.__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:8]


def machine() -> Row:
    return describe() | {package: version(package) for package in ("optuna", "scipy", "moocore")}


def run(args: argparse.Namespace) -> None:
    """Run samplers over tasks and seeds."""
    specs = [spec.strip() for spec in args.sampler or DEFAULT]
    tasks = chosen_tasks(args.group, args.task)
    check_specs(specs, next(iter(tasks.values())))
    args.out.mkdir(parents=True, exist_ok=True)
    scales = {name: scale_of(task, args.out / "scales.json") for name, task in tasks.items()}
    if args.time:
        for name in [name for name in tasks if scales[name]["mean_seconds"] is None]:
            print(f"left out: {name}, all its trainings take the same time")
            del tasks[name], scales[name]
    jobs = [
        Job(name, spec, seed, args.n, args.pending, args.n * scales[name]["mean_seconds"] if args.time else None)
        for seed in range(args.seeds)
        for name, task in tasks.items()
        for spec in specs
        if task.limited or not spec.endswith(GATE)
    ]
    path = args.out / "runs.jsonl"
    stored = read_runs(path)
    if args.fresh:
        kinds = {same_kind(job.row) for job in jobs}
        write_runs(path, stored := [row for row in stored if "machine" in row or same_kind(row) not in kinds])
    by_kind = defaultdict(list)
    for row in stored:
        if "machine" not in row:
            by_kind[same_kind(row)].append(row)
    todo = [job for job in jobs if not is_there(job, by_kind[same_kind(job.row)])]
    print(f"{len(jobs)} runs, {len(jobs) - len(todo)} are there")
    if todo:
        with path.open("a") as file:
            if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                file.write("\n")
            file.write(as_line({"machine": machine(), "jobs": args.jobs}))
            problems = [row for row in finish(todo, scales, args.jobs, file) if "problem" in row]
        if problems:
            raise SystemExit(f"{len(problems)} of {len(todo)} runs failed; the same command tries them again")


def check_specs(specs: Sequence[str], task: Task) -> None:
    for spec in specs:
        if spec.startswith("peer:"):
            if spec.removesuffix(GATE) not in PEERS:
                raise SystemExit(f"no peer {spec!r}; there are: {', '.join(PEERS)}, each also with '{GATE}'")
            continue
        try:
            make_sampler(spec, task.space, task.objectives, 0)
        except NasError as error:
            raise SystemExit(f"--sampler {spec}: {error}") from None


def finish(jobs: Sequence[Job], scales: dict[str, Row], n_processes: int, file: Any) -> Iterator[Row]:
    """Run the jobs in processes of one thread each; write and yield each as it is finished."""
    os.environ.update(ONE_THREAD)  # children load their numpy with it
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, spawn, begin_child, (scales,)) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for i, future in enumerate(as_completed(futures), 1):
                row = future.result()
                name = f"[{i}/{len(jobs)}] {row['task']} | {row['sampler']} | seed {row['seed']}"
                if "problem" in row:
                    print(f"{name} failed:\n{row['problem']}", file=sys.stderr, flush=True)
                else:
                    file.write(as_line(row))
                    file.flush()
                    print(f"{name}: {row['score'][-1]:.3f}, {row['ms']} ms each, {row['cpu_s']} s", flush=True)
                yield row
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# ---------------------------------------------------------------- the report


def report(args: argparse.Namespace) -> None:
    """Print tables, and write a summary and a figure."""
    rows = [row for row in read_runs(args.out / "runs.jsonl") if "machine" not in row]
    if not rows:
        raise SystemExit(f"{args.out / 'runs.jsonl'}: no runs; first 'bench_samplers.py run'")
    plain = longest(row for row in rows if row["pending"] == 1 and not row["time"])
    summary = []
    for group in dict.fromkeys(task_rows[0]["group"] for task_rows in by_task(plain).values()):
        results = [
            TaskResult.of(name, task_rows, args.ours)
            for name, task_rows in by_task(plain).items()
            if task_rows[0]["group"] == group
        ]
        print(f"\n## {group}: {len(results)} tasks\n")
        for result in results:
            print(result.markdown())
            summary += result.summary()
        print("\n".join(verdicts(results)))
    report_workers(rows, plain, args.ours)
    report_time([row for row in rows if row["time"] and row["pending"] == 1], args.ours)
    if summary:
        with (args.out / "summary.csv").open("w", newline="") as csv_file:
            writer = csv.DictWriter(csv_file, list(dict.fromkeys(key for row in summary for key in row)))
            writer.writeheader()
            writer.writerows(summary)
        draw(plain, args.ours, args.figure)


def longest(rows: Iterable[Row]) -> list[Row]:
    """Return the longest run of each task, sampler and seed."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (*same_kind(row), row["seed"])
        if key not in found or row["n"] >= found[key]["n"]:
            found[key] = row
    return list(found.values())


def by_task(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row["task"]].append(row)
    return dict(found)


@dataclass
class Scores:
    """The runs of one sampler on one task, by seed."""

    rows: dict[int, Row]

    @property
    def checkpoints(self) -> list[int]:
        """Those that all seeds have."""
        return sorted(set.intersection(*(set(row["evaluations"]) for row in self.rows.values())))

    def at(self, evaluations: int) -> dict[int, float]:
        """Return the score by seed."""
        return {s: row["score"][row["evaluations"].index(evaluations)] for s, row in self.rows.items()}

    def quartiles(self, evaluations: int) -> np.ndarray:
        return np.quantile(list(self.at(evaluations).values()), (0.25, 0.5, 0.75))

    def median(self, evaluations: int) -> float:
        return float(self.quartiles(evaluations)[1])

    def mean(self, key: str) -> float:
        """Return the mean over seeds; what runs from before it was counted do not have is 0."""
        return float(np.mean([row.get(key, 0) for row in self.rows.values()]))


def scores(rows: Iterable[Row]) -> dict[str, Scores]:
    """Return the runs of one task by sampler."""
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["seed"]):
        found[row["sampler"]][row["seed"]] = row
    return {sampler: Scores(runs) for sampler, runs in found.items()}


@dataclass
class TaskResult:
    """All samplers on one task, and how ours compares."""

    name: str
    group: str
    samplers: dict[str, Scores]
    ours: str

    @classmethod
    def of(cls, name: str, rows: Sequence[Row], ours: str) -> TaskResult:
        found = scores(rows)
        order = [ours, *sorted(found, key=lambda s: (not s.startswith("peer:"), s))]
        return cls(name, rows[0]["group"], {s: found[s] for s in dict.fromkeys(order) if s in found}, ours)

    @property
    def end(self) -> int:
        """Where samplers are compared: 200 evaluations, or the last checkpoint before that all have."""
        common = set.intersection(*(set(s.checkpoints) for s in self.samplers.values()))
        return max((c for c in common if c <= 200), default=0)

    @property
    def target(self) -> float | None:
        """The median of the better of Optuna's TPEs at the end."""
        medians = [self.samplers[name].median(self.end) for name in TPES if name in self.samplers]
        return max(medians) if medians and self.end else None

    def against(self, name: str, at: int | None = None) -> tuple[int, int, float]:
        """Return how often ours is ahead, of how many seeds, and the one-sided p of the signed-rank test."""
        at = at or self.end
        first, second = self.samplers[self.ours].at(at), self.samplers[name].at(at)
        differences = [first[seed] - second[seed] for seed in first.keys() & second.keys()]
        return sum(d > 0 for d in differences), len(differences), signed_rank_p(differences)

    def tied(self, name: str) -> bool:
        """Whether both are within 1 % of the best known front: nothing is left to win."""
        return min(self.samplers[s].median(self.end) for s in (self.ours, name)) >= 0.99

    def reached(self) -> float | None:
        """Return the evaluations after which our median is at the target, interpolated; None where it is not."""
        found = self.samplers[self.ours]
        return first_at(self.target, found.checkpoints, [found.median(c) for c in found.checkpoints])

    def markdown(self) -> str:
        shown = [c for c in (50, 100, 200, 500) if any(c in s.checkpoints for s in self.samplers.values())] or [
            self.end
        ]
        head = [
            "sampler",
            "seeds",
            *map(str, shown),
            "ms",
            "priced",
            "described",
            "duplicates",
            f"{self.ours} ahead at {self.end}",
            "p",
        ]
        lines = [f"### {self.name}\n", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for name, scores in self.samplers.items():
            cells = [name, str(len(scores.rows))]
            for c in shown:
                low, middle, high = scores.quartiles(c) if c in scores.checkpoints else (math.nan,) * 3
                cells.append(f"{middle:.3f} ({low:.3f}-{high:.3f})" if c in scores.checkpoints else "")
            cells += [f"{scores.mean(key):.1f}" for key in ("ms", "priced", "described")]
            cells.append(f"{scores.mean('duplicates'):.0f}")
            if self.ours in self.samplers and name != self.ours and self.end:
                ahead, n, p = self.against(name)
                cells += [f"{ahead} of {n}", f"{p:.2g}" + (" (tie)" if self.tied(name) else "")]
            lines.append("| " + " | ".join(cells + [""] * (len(head) - len(cells))) + " |")
        if self.ours in self.samplers and self.target is not None:
            reached = self.reached()
            words = f"after {reached:.0f} evaluations" if reached else "never"
            lines.append(f"\n{self.ours} has the {self.target:.3f} of the better TPE at {self.end} {words}.")
        return "\n".join(lines) + "\n"

    def summary(self) -> list[Row]:
        rows = []
        for name, scores in self.samplers.items():
            row: Row = {"task": self.name, "group": self.group, "sampler": name, "seeds": len(scores.rows)}
            for c in scores.checkpoints:
                low, middle, high = (round(float(x), 4) for x in scores.quartiles(c))
                row |= {f"median_{c}": middle, f"q1_{c}": low, f"q3_{c}": high}
            row |= {key: round(scores.mean(key), 2) for key in ("ms", "price_s", "priced", "described", "duplicates")}
            if name == self.ours:
                row |= {"target": self.target, "reached_after": self.reached()}
            elif self.ours in self.samplers and self.end:
                ahead, n, p = self.against(name)
                row |= {"compared_at": self.end, "ours_ahead": ahead, "paired": n, "p": round(p, 5)}
                row |= {"tie": self.tied(name)}
            rows.append(row)
        return rows


def verdicts(results: Sequence[TaskResult]) -> list[str]:
    """Count the goals over the tasks on which ours and both of Optuna's TPEs ran."""
    full = [r for r in results if {r.ours, *TPES} <= set(r.samplers) and r.end]
    if not full:
        return []
    early = [r for r in full if 50 in r.samplers[r.ours].checkpoints]
    missed = [r.name for r in early if r.samplers[r.ours].median(50) < (r.target or 0.0)]
    won: list[str] = []
    tied: list[str] = []
    open_: list[str] = []
    for r in full:
        shown = [r.against(name)[2] < 0.05 for name in TPES]
        ties = [r.tied(name) for name in TPES]
        kind = won if all(shown) else tied if all(s or t for s, t in zip(shown, ties, strict=True)) else open_
        kind.append(r.name)
    late = [r for r in full if all(500 in r.samplers[name].checkpoints for name in (r.ours, *TPES))]
    behind = [
        r.name for r in late if r.samplers[r.ours].median(500) <= max(r.samplers[name].median(500) for name in TPES)
    ]
    return [
        f"- At 50 evaluations at least the better TPE's median at the end: {len(early) - len(missed)} of {len(early)}"
        + (f"; not on {'; '.join(missed)}" if missed else ""),
        f"- Ahead of both TPEs at the end with p < 0.05: {len(won)} of {len(full)}"
        + (f"; ties within 1 % of the best front: {'; '.join(tied)}" if tied else "")
        + (f"; not on {'; '.join(open_)}" if open_ else ""),
        f"- Median ahead of both at 500: {len(late) - len(behind)} of {len(late)}"
        + (f"; not on {'; '.join(behind)}" if behind else ""),
    ]


def signed_rank_p(differences: Sequence[float]) -> float:
    """Return the exact one-sided p of Wilcoxon's signed-rank test: how likely chance alone is as far above 0.

    Zero differences are ranked with the rest and their ranks halved between the sides ("zsplit"); equal ones share
    their mean rank. The distribution is over all signs of those that are not zero, so it is exact with ties too.

    Reference: Pratt, JASA 54, 1959 (zeros); Streitberg & Roehmel, Statistical Software Newsletter 12, 1986.

    >>> signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5]), signed_rank_p([0.0, 0.0])
    (0.03125, 1.0)
    """
    from scipy.stats import rankdata

    d = np.round(differences, 9)
    doubled = np.rint(2 * rankdata(np.abs(d))).astype(int)  # whole numbers
    moving = doubled[d != 0]
    ways = np.ones(1)  # ways[s]: sets of ranks whose sum is s
    for rank in moving:
        ways = np.concatenate([ways, np.zeros(rank)]) + np.concatenate([np.zeros(rank), ways])
    return float(ways[doubled[d > 0].sum() :].sum() / ways.sum())


def first_at(target: float | None, positions: Sequence[float], medians: Sequence[float]) -> float | None:
    """Return where `medians` first reach `target`, linear between positions; the first position may be late.

    >>> first_at(0.5, [25, 50], [0.4, 0.6]), first_at(0.7, [25, 50], [0.4, 0.6])
    (37.5, None)
    """
    if target is None:
        return None
    for i, (here, value) in enumerate(zip(positions, medians, strict=True)):
        if value >= target:
            if i == 0 or value == medians[i - 1]:
                return float(here)
            share = (target - medians[i - 1]) / (value - medians[i - 1])
            return float(positions[i - 1] + share * (here - positions[i - 1]))
    return None


def report_workers(rows: Sequence[Row], plain: Sequence[Row], ours: str) -> None:
    """Say what is lost where several evaluations run at once."""
    found = list(at_once(rows, plain))
    if not found:
        return
    print(
        "\n## Several evaluations at once\n\n| task | sampler | at once | evaluations | score | one at a time | ratio |"
    )
    print("|---" * 7 + "|")
    for name, sampler, pending, n, middle, one in found:
        print(f"| {name} | {sampler} | {pending} | {n} | {middle:.3f} | {one:.3f} | {middle / one:.3f} |")


def at_once(rows: Iterable[Row], plain: Sequence[Row]) -> Iterator[tuple[str, str, int, int, float, float]]:
    """Yield task, sampler, evaluations at once and in all, the median score, and that of one at a time (or NaN)."""
    alone = {name: scores(task_rows) for name, task_rows in by_task(plain).items()}
    many = by_task(row for row in rows if row["pending"] > 1 and not row["time"])
    for name, task_rows in many.items():
        for n, pending in sorted({(row["n"], row["pending"]) for row in task_rows}):
            here = scores(row for row in task_rows if (row["n"], row["pending"]) == (n, pending))
            for sampler, found in here.items():
                one = alone.get(name, {}).get(sampler)
                known = math.nan if one is None or n not in one.checkpoints else one.median(n)
                yield name, sampler, pending, n, found.median(n), known


def report_time(rows: Sequence[Row], ours: str) -> None:
    """Say in what share of the simulated time ours has what another sampler has."""
    if not rows:
        return
    print(f"\n## Over simulated time\n\nTime in which {ours} has the other's median, over the other's time.\n")
    print("| task | other | evaluations | score at the end | at 10 % | at 32 % | at the end |\n" + "|---" * 7 + "|")
    for name, sampler, count, score, shares in over_time(rows, ours):
        cells = [f"{share:.2f}" if share is not None else "not" for share in shares]
        print(f"| {name} | {sampler} | {count:.0f} | {score:.3f} | {' | '.join(cells)} |")


def over_time(rows: Sequence[Row], ours: str) -> Iterator[tuple[str, str, float, float, list[float | None]]]:
    """Yield task, sampler, median evaluations and score at the end, and the shares of the time in which ours has it.

    The shares are of `SHOWN_TIMES`; None where ours never has what the sampler has by then.
    """
    for name, task_rows in by_task(rows).items():
        n = max(row["n"] for row in task_rows)  # the same n, the same seconds
        found = scores(row for row in task_rows if row["n"] == n)
        medians = {s: np.median([row["score"] for row in f.rows.values()], axis=0).tolist() for s, f in found.items()}
        times = next(row["seconds"] for row in task_rows if row["n"] == n)
        for sampler, values in medians.items():
            count = float(np.median([row["evaluations"][-1] for row in found[sampler].rows.values()]))
            at = [first_at(values[i], times, medians[ours]) if ours in medians else None for i in SHOWN_TIMES]
            shares = [None if t is None else t / times[i] for t, i in zip(at, SHOWN_TIMES, strict=True)]
            yield name, sampler, count, values[-1], shares


COLOURS = {
    "random": "#b8c2cc",
    "peer:NSGA-II": "#8a7f5c",
    "peer:TPE default": "#eab308",
    "peer:TPE multivariate+group": "#c2410c",
}
MAIN = (
    "mixed blocks, latency",
    "mixed blocks, parameters under a latency budget",
    "nasbench201 cifar100 samsung_s7",
    "nasbench-macro cifar10 flops",
    "stages, latency",
    "stages, parameters under a latency budget",
    "nasbench201 ImageNet16-120 gold_6240",
    "nasbench201 cifar10 titan_rtx_1",
)


def draw(rows: Sequence[Row], ours: str, path: Path) -> None:
    """Draw the median score over evaluations, with the interquartile range, for the main tasks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = by_task(rows)
    shown = [name for name in MAIN if name in tasks] or list(tasks)[:8]
    columns = min(len(shown), 4)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * lines + 0.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, name in zip(panels, shown, strict=False):
        result = TaskResult.of(name, tasks[name], ours)
        for sampler, colour in [*COLOURS.items(), (ours, "#0b6e99")]:
            if sampler in result.samplers:
                scores = result.samplers[sampler]
                low, middle, high = np.array([scores.quartiles(c) for c in scores.checkpoints]).T
                axes.fill_between(scores.checkpoints, low, high, color=colour, alpha=0.18, linewidth=0)
                width = 2.0 if sampler == ours else 1.3
                label = sampler.removeprefix("peer:")
                axes.plot(scores.checkpoints, middle, color=colour, linewidth=width, label=label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eef1f4", linewidth=0.8)
        axes.set_title(f"{name}\n({result.group})", loc="left", fontsize=7.5)
        axes.tick_params(labelsize=8)
    for axes in list(panels):
        axes.axis("off")  # left over
    labels: dict[str, Any] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    figure.legend(
        labels.values(), labels, loc="outside upper center", ncols=len(labels) or 1, frameon=False, fontsize=9
    )
    figure.supxlabel("evaluations", fontsize=9)
    figure.supylabel("hypervolume over the best known front's", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


# ---------------------------------------------------------------- overhead


def overhead(args: argparse.Namespace) -> None:
    """Measure CPU time and memory of a suggestion by the number of finished trials."""
    os.environ.update(ONE_THREAD)
    rows = []
    for n_losses in args.objectives:
        for spec in args.sampler or ("tpe", "tpe(without='proxies')", *TPES):
            for n in args.finished:
                slow = spec.startswith("peer:") and n > 2000
                n_suggestions = min(args.suggestions, 3) if slow else args.suggestions
                # A process of its own: memory, and what a library remembers, begin anew.
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    rows.append(pool.submit(measure_overhead, spec, n_losses, n, n_suggestions).result())
                print(json.dumps(rows[-1]), flush=True)
    mean = {(r["sampler"], r["objectives"], r["finished"]): r["ms_mean"] for r in rows}
    ratios = [
        {"sampler": spec, "objectives": k, "ms_10000_over_1000": round(ms / mean[spec, k, 1_000], 2)}
        for (spec, k, n), ms in mean.items()
        if n == 10_000 and mean.get((spec, k, 1_000))
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "overhead.json", {"machine": machine(), "growth": ratios, "suggestions": rows})
    print(json.dumps(ratios, indent=1))


def overhead_task(n_losses: int) -> Task:
    """Error, latency and, of three, parameters over five to ten mixed blocks: 40 active parameters on average."""

    def losses(arch: Architecture) -> tuple[float, ...]:
        net = mixed_surface(arch)
        return (net.error, math.log10(net.latency_ms), math.log10(net.params))[:n_losses]

    cheap, noise = (False, True, True)[:n_losses], (0.01, 0.005, 0.0)[:n_losses]
    return Task(f"mixed blocks, {n_losses} objectives", mixed_space(5, 10), losses, cheap, noise, proxies=mixed_proxies)


def measure_overhead(spec: str, n_losses: int, n_finished: int, n_suggestions: int) -> Row:
    """Return what a suggestion costs after `n_finished` random trials, each suggestion finished before the next.

    The first one is apart: it looks at all trials at once, which only a resumed study has to do.
    """
    task = overhead_task(n_losses)
    rng = np.random.default_rng(0)
    drawn = [task.space.sample(rng) for _ in range(n_finished)]
    told = [task.noisy(arch, 0) for arch in drawn]
    asked = with_history(task, spec, drawn, told)
    before = peak_rss_mb()
    spent, arch = [], drawn[0]
    price_seconds = priced = described = 0.0
    for i in range(n_suggestions + 1):
        cpu, price_s, n_priced, n_described = asked.cpu_seconds, asked.price_seconds, asked.priced, asked.described
        arch = asked.ask(i)
        asked.tell(i, arch)
        spent.append((asked.cpu_seconds - cpu) * 1e3)
        if i > 0:
            price_seconds += asked.price_seconds - price_s
            priced += asked.priced - n_priced
            described += asked.described - n_described
    growth = peak_rss_mb() - before
    first, *rest = spent
    row = {
        "sampler": spec,
        "objectives": n_losses,
        "finished": n_finished,
        "active_parameters": round(float(np.mean([len(a.values) for a in drawn])), 1),
        "suggestions": n_suggestions,
        "ms_mean": round(float(np.mean(rest)), 2),
        "ms_median": round(float(np.median(rest)), 2),
        "ms_max": round(max(rest), 2),
        "ms_first": round(first, 1),
        "price_ms": round(price_seconds * 1e3 / n_suggestions, 2),
        "priced": round(priced / n_suggestions, 2),
        "described": round(described / n_suggestions, 2),
        "rss_growth_mb": round(growth, 1),
    }
    if not spec.startswith("peer:"):  # again, slower, to count what it allocates itself
        asked = with_history(task, spec, drawn, told)
        tracemalloc.start()
        for i in range(3):
            asked.tell(i, asked.ask(i))
        row["allocated_peak_mb"] = round(tracemalloc.get_traced_memory()[1] / 2**20, 2)
        tracemalloc.stop()
    return row


def with_history(task: Task, spec: str, drawn: Sequence[Architecture], told: Sequence[tuple[float, ...]]) -> Searcher:
    """Return a searcher that knows finished trials."""
    asked = searcher(task, spec, 0)
    if isinstance(asked, Ours):
        pairs = enumerate(zip(drawn, told, strict=True))
        asked.seen = [Observation(arch, "complete", losses, 0.0, i) for i, (arch, losses) in pairs]
    elif isinstance(asked, Peer):
        from optuna.trial import create_trial

        from nas.samplers.optuna import to_distribution

        distributions = {path: to_distribution(slot.parameter) for path, slot in task.space.slots.items()}
        asked.study.add_trials(
            create_trial(
                values=list(losses),
                params=arch.values,
                distributions={path: distributions[path] for path in arch.values},
            )
            for arch, losses in zip(drawn, told, strict=True)
        )
    return asked


def peak_rss_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else kB
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


# ---------------------------------------------------------------- the command


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("run", help="run samplers over tasks and seeds")
    command.set_defaults(call=run)
    command.add_argument("--task", action="append", default=[], metavar="SUBSTRING", help="repeatable; default: all")
    command.add_argument("--group", choices=("development", "aside", "all"), default="all")
    command.add_argument(
        "--sampler", action="append", metavar="SPEC", help=f"repeatable; default: {', '.join(DEFAULT)}"
    )
    command.add_argument("--seeds", type=int, default=10)
    command.add_argument("-n", type=int, default=200, help="evaluations")
    command.add_argument("--pending", type=int, default=1, metavar="K", help="evaluations that run at once")
    command.add_argument(
        "--time",
        action="store_true",
        help="tell training seconds, and end after the simulated time that N random architectures take",
    )
    command.add_argument("--jobs", type=int, default=max((os.cpu_count() or 2) // 2, 1), help="processes")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--resume", action="store_true", help="run what is not there yet (default)")
    which.add_argument("--fresh", action="store_true", help="forget earlier runs of these samplers on these tasks")

    command = commands.add_parser("report", help="tables, summary.csv and the figure")
    command.set_defaults(call=report)
    command.add_argument("--ours", default="tpe", metavar="SPEC", help="the sampler that is compared with the others")
    command.add_argument("--figure", type=Path, default=FIGURE)

    command = commands.add_parser("overhead", help="CPU time and memory of a suggestion")
    command.set_defaults(call=overhead)
    command.add_argument("--sampler", action="append", metavar="SPEC", help="repeatable; default: tpe, both TPEs")
    command.add_argument("--finished", type=int, nargs="+", default=[100, 1_000, 10_000], help="finished trials")
    command.add_argument("--objectives", type=int, nargs="+", choices=(2, 3), default=[2, 3])
    command.add_argument("--suggestions", type=int, default=20)

    for command in commands.choices.values():
        command.add_argument("--out", type=Path, default=FOLDER, help=f"folder; default: {FOLDER}")
    args = parser.parse_args(argv)
    try:
        args.call(args)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; what was finished is kept, and 'run' goes on from there") from None


if __name__ == "__main__":
    main()
