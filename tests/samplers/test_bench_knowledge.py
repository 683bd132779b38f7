"""The benchmark of knowledge: what an expert says is where good or bad ones lie, and evidence costs no evaluation."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_sampler_knowledge as bench
import sampler_tasks as tasks

from nas.space import Space
from nas.space.priors import Centre

N = 12
SYNTHETIC = [name for name, e in bench.EXPERIMENTS.items() if not e.needs]


def best_of_random(task, drawn, losses, rng):
    return losses[[task.excess(arch) <= 0 for arch in drawn]]


@pytest.fixture
def quick(monkeypatch):
    """Make scales and experts from a few architectures, and earlier searches short."""
    monkeypatch.setattr(tasks, "N_RANDOM", 300)
    monkeypatch.setattr(bench, "N_RANDOM", 300)
    monkeypatch.setattr(bench, "EARLIER", N)
    monkeypatch.setattr(tasks.Task, "_best", best_of_random)


@pytest.fixture
def world(quick):
    """Return the synthetic tasks and both experts."""
    both = {budget: tasks.mixed(budget=budget, group="development") for budget in (False, True)}
    return bench.World({task.name: task for task in both.values()}, bench.experts(both[False]))


def test_the_right_expert_believes_in_what_the_surface_rewards_and_the_wrong_one_does_not(world):
    right, wrong = world.experts["right"], world.experts["wrong"]
    assert list(right) == list(wrong) == list(bench.ROLES)
    for beliefs in (right, wrong):
        for role, belief in beliefs.items():
            if not isinstance(belief, Centre):
                assert sum(belief.values()) == pytest.approx(1, abs=0.01), role
    assert right["training.epochs"].value > wrong["training.epochs"].value  # few epochs train nothing
    assert right["training.lr"].value < 0.1 < wrong["training.lr"].value  # nothing learns at such rates


def test_beliefs_become_priors_of_their_roles_and_of_no_other(world):
    space = world.tasks[bench.MIXED].space
    told = bench.believing(space, world.experts["right"])
    for role, slots in told.roles.items():
        assert all((slot.parameter.prior is not None) == (role in bench.ROLES) for slot in slots), role
    assert list(told.slots) == list(space.slots)
    assert bench.believing(space, {}) == space


def test_a_belief_is_where_the_values_lie():
    space = Space(input="vector", root={"body": {"kind": ["a", "b"]}, "training": {"lr": tasks.Float(0.0, 1.0)}})
    archs = [space.architecture({"body.kind": "b", "training.lr": lr}) for lr in (0.31, 0.33, 0.36, 0.9)]
    assert bench.belief(space, "body.kind", archs) == {"a": 0.1, "b": 0.9}
    assert bench.belief(space, "training.lr", archs) == Centre(0.35, bench.CONFIDENCE)


def test_an_earlier_search_tells_errors_alone_and_negated_ones_are_their_opposite(world):
    known = bench.earlier_search(bench.MIXED)(world, 0).evidence
    negated = bench.earlier_search(bench.MIXED, negated=True)(world, 0).evidence
    assert len(known) == N
    assert [o.arch for o in known] == [o.arch for o in negated]
    assert [o.losses for o in negated] == [(-o.losses[0], None) for o in known]
    assert {o.source for o in known} == {f"run {bench.MIXED}"}


@pytest.mark.skipif(not (tasks.DATA / "nasbench201").exists(), reason=f"no nasbench201 in {tasks.DATA}")
def test_short_trainings_are_nested_and_permuting_keeps_the_errors():
    cells = tasks.nasbench201("cifar100", "samsung_s7", group="development")
    world = bench.World({cells.name: cells}, {})
    few, many, wrong = (
        bench.short_trainings(n, permuted=p)(world, 3).evidence for n, p in ((5, False), (20, False), (20, True))
    )
    assert few == many[:5]
    assert [o.arch for o in many] == [o.arch for o in wrong]
    assert sorted(o.losses[0] for o in many) == sorted(o.losses[0] for o in wrong)
    after_200 = [cells.losses(o.arch)[0] for o in many]
    assert np.corrcoef([o.losses[0] for o in many], after_200)[0, 1] > 0.5


@pytest.mark.parametrize("name", SYNTHETIC)
def test_an_experiment_is_paired_by_seed_and_compared(world, name):
    experiment = bench.EXPERIMENTS[name]
    rows = [bench.search(world, bench.Job(name, variant, 0, N)) for variant in experiment.knows]
    again = bench.search(world, bench.Job(name, bench.NONE, 0, N))
    assert again == rows[0]
    result = bench.compared(name, rows, N)
    assert [c["evaluations"] for c in result["variants"][0]["at"]] == [10, 12]
    assert all(
        0 <= c["scores"][0] <= 2 for variant in result["variants"] for c in variant["at"]
    )  # of a few random ones
    table = bench.markdown(name, result)
    assert all(f"| {variant} |" in table for variant in experiment.knows)
    assert json.loads(bench.as_text({name: result})) == {name: result}


def test_better_and_worse_are_said_against_nothing_known():
    name = SYNTHETIC[0]
    at = bench.evaluations(N)
    level = {bench.NONE: 0.5, "right": 0.6, "wrong": 0.4}
    rows = [
        {"variant": variant, "seed": seed, "scores": {e: score * e / N + 0.01 * seed for e in at}}
        for variant, score in level.items()
        for seed in range(5)
    ]
    none, right, wrong = bench.compared(name, rows, N)["variants"]
    assert [c["p_better"] for c in right["at"]] == [c["p_worse"] for c in wrong["at"]] == [0.03125] * 2
    assert none["at"][-1]["p_better"] == 1.0
    assert none["reached_after"] == N
    assert right["reached_after"] < N
    assert wrong["reached_after"] is None


def test_a_wrong_name_and_absent_tables_are_said(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="no experiment has a name with nonsense; there are"):
        bench.chosen(["nonsense"])
    monkeypatch.setattr(bench, "DATA", tmp_path)
    assert list(bench.chosen([])) == SYNTHETIC
    assert capsys.readouterr().out.count("no nasbench201 in") == len(bench.EXPERIMENTS) - len(SYNTHETIC)


def test_what_was_left_out_keeps_what_it_had(quick, tmp_path, capsys):
    path = tmp_path / "knowledge.json"
    kept = next(name for name in bench.EXPERIMENTS if name not in SYNTHETIC)
    path.write_text(json.dumps({kept: {"task": "as it was"}}))
    bench.main(["--only", SYNTHETIC[0], "--seeds", "1", "-n", "3", "--jobs", "1", "--out", str(tmp_path)])
    found = json.loads(path.read_text())
    assert list(found) == [SYNTHETIC[0], kept]
    assert found[kept] == {"task": "as it was"}
    assert set(found[SYNTHETIC[0]]["beliefs"]) == {"right", "wrong"}
    assert f"### {SYNTHETIC[0]}" in capsys.readouterr().out
