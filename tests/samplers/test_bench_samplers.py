"""The benchmark of samplers: its scores and counts have known answers, and it goes on where it was interrupted."""

import csv
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr, wilcoxon

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_samplers as bench
import sampler_tasks as tasks

from nas.space import Categorical, Repeat, Space

BUDGET = "mixed blocks, parameters under a latency budget"
needs = {
    name: pytest.mark.skipif(not (tasks.DATA / name).exists(), reason=f"no {name} in {tasks.DATA}")
    for name in ("nasbench201", "nasbench_macro")
}


def toy(**fields) -> tasks.Task:
    """Return a task of 27 architectures: a sum of digits against the first digit, three seconds each to nine."""
    digits = [f"body.{i}" for i in range(3)]

    def losses(arch):
        a, b, c = (int(arch.values[d]) for d in digits)
        return 1.0 - (a + b + c) / 8, float(a)

    table = np.array([(1.0 - sum(d) / 8, float(d[0])) for d in itertools.product(range(3), repeat=3)])
    return tasks.Task(
        name="toy",
        space=Space(input="vector", root={"body": Repeat(3, Categorical((0, 1, 2)))}),
        losses=losses,
        cheap=(False, True),
        noise=(0.1, 0.0),
        seconds=lambda arch: 3.0 * (1 + int(arch.values["body.2"])),
        listed=lambda: table,
        **fields,
    )


@pytest.fixture
def quick(monkeypatch):
    """Make the scale of a task from a few architectures; what is found can then score above 1."""

    def best(task, drawn, losses, rng):
        return losses[[task.excess(arch) <= 0 for arch in drawn]]

    monkeypatch.setattr(tasks, "N_RANDOM", 300)
    monkeypatch.setattr(tasks.Task, "_best", best)


def test_the_front_of_a_listed_table_scores_one():
    task = toy()
    front = np.array([(1.0 - (a + 4) / 8, float(a)) for a in range(3)])  # the other digits at their best
    assert task.score(task.listed()) == task.score(front) == 1.0
    assert 0.0 < task.score(front[1:]) < 1.0
    assert task.score(front[:0]) == 0.0


@needs["nasbench201"]
@pytest.mark.parametrize(("data", "best"), [("cifar10", 94.373), ("cifar100", 73.513), ("ImageNet16-120", 47.311)])
def test_the_best_of_nasbench201_is_the_published_one(data, best):
    task = tasks.nasbench201(data, "raspi4", group="development")
    assert 100 * (1 - task.listed()[:, 0].min()) == pytest.approx(best, abs=0.001)


@needs["nasbench_macro"]
def test_the_best_of_nasbench_macro_is_the_published_one():
    task = tasks.nasbench_macro(group="development")
    assert 100 * (1 - task.listed()[:, 0].min()) == pytest.approx(93.127, abs=0.005)


@needs["nasbench201"]
def test_the_whole_of_a_table_scores_one():
    task = tasks.nasbench201("cifar100", "samsung_s7", group="development")
    assert task.score(task.listed()) == 1.0


@needs["nasbench201"]
@needs["nasbench_macro"]
def test_proxies_of_the_tables_rank_their_networks():
    for task in (tasks.nasbench201("cifar100", "raspi4", group=""), tasks.nasbench_macro(group="")):
        rng = np.random.default_rng(0)
        archs = [task.space.sample(rng) for _ in range(1000)]
        flow, macs, params = np.array([task.proxies(arch) for arch in archs]).T
        error = np.array([task.losses(arch)[0] for arch in archs])
        assert spearmanr(flow, error).statistic < -0.7, task.name
        assert spearmanr(macs, error).statistic < -0.6, task.name
        assert spearmanr(params, error).statistic < -0.25, task.name


def test_nothing_is_known_of_the_network_where_no_price_is():
    if (tasks.DATA / "nasbench201").exists():
        assert tasks.nasbench201("cifar100", "raspi4", group="", priced=False).proxies is None
    assert tasks.mixed(budget=False, group="", priced=False).proxies is None
    assert len(tasks.mixed_proxies(tasks.mixed_space().sample(np.random.default_rng(0)))) == 2
    told = {name: task.proxies is not None for name, task in bench.aside().items() if task.group == "aside"}
    assert {name for name, known in told.items() if not known} == {
        "stages, no price",
        "flat, one objective",
        "flat, two objectives, no price",
    }


def test_a_missing_file_of_synaptic_flow_is_said_with_the_script_that_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "SYNFLOW", tmp_path / "synflow.npz")
    with pytest.raises(FileNotFoundError, match=r"synflow\.npz is missing; 'python scripts/sampler_synflow\.py'"):
        tasks._synflow.__wrapped__("nasbench201")


def test_each_architecture_is_described_once_and_counted(quick):
    asked = []

    def proxies(arch):
        asked.append(arch)
        return (float(arch.values["body.0"]),)

    task = toy(proxies=proxies)
    row = bench.search(task, bench.Job("toy", "tpe", 0, 15))
    assert 0 < len(asked) == len(set(asked))
    assert row["described"] == round(len(asked) / row["suggestions"], 2)
    assert bench.search(task, bench.Job("toy", "tpe(without='proxies')", 0, 15))["described"] == 0.0
    assert bench.search(toy(), bench.Job("toy", "tpe", 0, 15))["described"] == 0.0
    assert bench.Scores({0: {"ms": 1.0}}).mean("described") == 0.0  # a run from before


def test_a_run_is_written_once_and_reported(quick, tmp_path, capsys):
    def run(*more):
        common = ("--task", BUDGET, "--seeds", "2", "-n", "14", "--jobs", "1", "--out", str(tmp_path))
        bench.main(["run", "--sampler", "random", "--sampler", "tpe", *common, *more])

    run()
    path = tmp_path / "runs.jsonl"
    head, *rows = bench.read_runs(path)
    assert head["machine"]["optuna"]
    assert {(r["sampler"], r["seed"]) for r in rows} == {(s, i) for s in ("random", "tpe") for i in (0, 1)}
    assert all(r["evaluations"] == [14] and r["duplicates"] == 0 and r["score"][0] >= 0 for r in rows)
    assert all(r["suggestions"] >= 14 and r["priced"] > 0 for r in rows)

    before = path.read_text()
    run()
    assert path.read_text() == before
    assert "4 runs, 4 are there" in capsys.readouterr().out

    path.write_text("".join(before.splitlines(keepends=True)[:-1]) + '{"task": "torn')  # as an interrupt leaves it
    run()
    assert "4 runs, 3 are there" in capsys.readouterr().out
    same = [(r["sampler"], r["seed"], r["score"]) for r in bench.read_runs(path) if "machine" not in r]
    assert sorted(same) == sorted((r["sampler"], r["seed"], r["score"]) for r in rows)

    bench.main(["report", "--out", str(tmp_path), "--figure", str(tmp_path / "images" / "f.png")])
    out = capsys.readouterr().out
    assert f"### {BUDGET}" in out
    assert "tpe ahead at 14" in out
    lines = (tmp_path / "summary.csv").read_text().splitlines()
    summary = {row["sampler"]: row for row in csv.DictReader(lines)}
    scores = [r["score"][0] for r in rows if r["sampler"] == "tpe"]
    assert float(summary["tpe"]["median_14"]) == pytest.approx(np.median(scores), abs=1e-4)
    assert (tmp_path / "images" / "f.png").read_bytes().startswith(b"\x89PNG")


def test_forgetting_takes_only_what_is_run_again(tmp_path):
    rows = [{"machine": {}}, bench.Job("a", "tpe", 0, 9).row, {"machine": {}}, bench.Job("a", "random", 0, 9).row]
    path = tmp_path / "runs.jsonl"
    bench.write_runs(path, [rows[0], *rows[2:]])
    assert bench.read_runs(path) == rows[2:]


def test_a_longer_run_answers_for_a_shorter_one_where_it_begins_the_same():
    assert bench.is_there(bench.Job("a", "tpe", 0, 100), [bench.Job("a", "tpe", 0, 500).row])
    assert not bench.is_there(bench.Job("a", "tpe", 0, 500), [bench.Job("a", "tpe", 0, 100).row])
    assert not bench.is_there(bench.Job("a", "tpe", 0, 100, 8), [bench.Job("a", "tpe", 0, 500, 8).row])
    assert not bench.is_there(bench.Job("a", "tpe", 1, 100), [bench.Job("a", "tpe", 0, 100).row])


@pytest.mark.parametrize("sampler", ["random", "peer:NSGA-II"])
def test_workers_share_the_clock_and_evaluate_as_much(sampler):
    task = toy()
    alone, several = (bench.search(task, bench.Job("toy", sampler, 0, 20, k)) for k in (1, 4))
    assert alone["evaluations"][-1] == several["evaluations"][-1] == 20
    assert several["seconds"][-1] < alone["seconds"][-1] / 3
    assert bench.search(task, bench.Job("toy", sampler, 0, 20, 4))["score"] == several["score"]


def test_time_ends_a_run_and_is_told():
    job = bench.Job("toy", "random", 0, 20, total=60.0)
    row = bench.search(toy(), job)
    assert row["seconds"][-1] == 60.0
    assert list(row["evaluations"]) == sorted(row["evaluations"])
    assert 60 / 9 - 1 <= row["evaluations"][-1] <= 60 / 3
    ours = bench.Ours(toy(), "random", 0, tell_cost=True)
    ours.tell(0, ours.ask(0))
    assert ours.seen[0].cost in (3.0, 6.0, 9.0)


def test_ours_never_evaluates_what_is_over_budget_and_peers_pay_for_it(quick):
    task = toy(limited=lambda arch: float(arch.values["body.1"]))
    n = 6
    for sampler in ("evolution", "peer:TPE default +gate"):
        asked = bench.searcher(task, sampler, 0)
        for i in range(n):
            arch = asked.ask(i)
            assert task.excess(arch) <= 0
            asked.tell(i, arch)
        assert asked.priced > n
    peer = bench.searcher(task, "peer:TPE default", 0)
    archs = [peer.ask(i) for i in range(20)]
    assert any(task.excess(arch) > 0 for arch in archs)
    assert peer.suggestions == 20


def test_what_was_priced_over_budget_comes_back_once(quick):
    task = toy(limited=lambda arch: float(arch.values["body.1"]))
    ours = bench.Ours(task, "random", 0)
    for i in range(6):
        ours.tell(i, ours.ask(i))
    over = [o for o in ours.seen if o.state == "over_budget"]
    assert len({o.arch for o in over}) == len(over) > 0
    assert all(o.excess[0] > 0 and o.violation > 0 and o.losses[0] is None for o in over)
    assert [o.number for o in ours.seen] == list(range(len(ours.seen)))


def test_signed_rank_is_scipys_without_ties():
    d = np.random.default_rng(0).normal(0.4, 1.0, size=(20, 10))
    for row in d:
        expected = wilcoxon(row, alternative="greater", method="exact").pvalue
        assert bench.signed_rank_p(row.tolist()) == pytest.approx(expected, rel=1e-12)


def test_signed_rank_with_ties_and_zeros_counts_every_sign():
    d = np.array([0.0, 0.1, 0.1, -0.1, 0.3, 0.3, 0.0])
    ranks = rankdata(np.abs(d))
    signs = np.array(list(itertools.product((0, 1), repeat=7)))
    above = (signs * ranks)[:, d != 0].sum(axis=1) >= ranks[d > 0].sum() - 1e-9
    assert bench.signed_rank_p(d.tolist()) == pytest.approx(above.mean())


def test_overhead_is_measured_for_ours_and_peers(tmp_path):
    common = ["--finished", "30", "--objectives", "2", "--suggestions", "2", "--out", str(tmp_path)]
    bench.main(["overhead", "--sampler", "evolution", "--sampler", "peer:TPE default", *common])
    found = json.loads((tmp_path / "overhead.json").read_text())["suggestions"]
    assert [row["sampler"] for row in found] == ["evolution", "peer:TPE default"]
    assert all(row["ms_mean"] > 0 and row["active_parameters"] > 20 for row in found)
    assert found[0]["allocated_peak_mb"] > 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--task", "nothing of the kind"], "no task"),
        (["--task", BUDGET, "--sampler", "peer:TPE"], "peer:TPE default"),
        (["--task", BUDGET, "--sampler", "tpee"], "Did you mean 'tpe'"),
    ],
)
def test_a_wrong_name_is_said_before_anything_runs(more, words, tmp_path):
    with pytest.raises(SystemExit, match=words):
        bench.main(["run", *more, "--out", str(tmp_path)])
