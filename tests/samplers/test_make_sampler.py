"""From text to sampler, and the small parts that samplers share."""

import numpy as np
import pytest

from nas.errors import NasError, SpaceError
from nas.objectives import OBJECTIVES
from nas.samplers import TPE, Evolution, Price, RandomSearch, make_sampler
from nas.samplers.evolution import mutate
from nas.samplers.fresh import Fresh, every
from nas.samplers.gate import within_budget
from nas.samplers.make import parse_spec
from nas.samplers.optuna import OptunaProposer
from nas.space import Architecture, Choice, Float, Integer, Repeat, Space

SPACE = Space(input="vector", root={"body": {"width": [8, 16], "act": ["relu", "silu"]}})
LATENCY, ACCURACY = OBJECTIVES["latency_ms"], OBJECTIVES["accuracy"]


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("random", RandomSearch),
        ("tpe", TPE),
        ("tpe(n_candidates=64, other=0.5)", TPE),
        ("evolution", Evolution),
        ("optuna:NSGAIISampler", OptunaProposer),
        (" optuna:TPESampler( multivariate = True, group=True ) ", OptunaProposer),
    ],
)
def test_a_name_makes_its_sampler(spec, kind):
    assert isinstance(make_sampler(spec, SPACE, [ACCURACY], 0), kind)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tpee", "Did you mean 'tpe'"),
        ("tpe(candidates=3)", "Did you mean 'n_candidates'"),
        ("tpe(n_candidates=0)", "at least 1"),
        ("tpe(other=2.0)", r"lies in \[0, 1\]"),
        ("tpe(n_candidates='x')", "sampler"),
        ("evolution(tournament=99)", "tournament <= population"),
        ("tpe(3)", "cannot be read"),
        ("tpe(n_candidates=3", "cannot be read"),
        ("tpe(n_candidates=3)()", "cannot be read"),
        ("tpe(**{'a': 1})", "cannot be read"),
        ("tpe(n_candidates=__import__('os').getpid())", "cannot be read"),
        ("optuna:NSGASampler", "Did you mean 'NSGAIISampler'"),
        ("optuna:", "no Optuna sampler called ''"),
        ("optuna:TPESampler(multivariat=True)", "multivariat"),
        ("optuna:BaseSampler", "no Optuna sampler"),
    ],
)
def test_a_miss_is_helpful(spec, words):
    with pytest.raises(NasError, match=words):
        make_sampler(spec, SPACE, [ACCURACY], 0)


def test_literals_only():
    assert parse_spec("x(a=[1, 'b'], c=None, d=-0.5)") == ("x", {"a": [1, "b"], "c": None, "d": -0.5})


@pytest.mark.parametrize(
    ("objectives", "gated", "expected"),
    [([ACCURACY], None, False), ([ACCURACY, LATENCY], None, True), ([ACCURACY], True, True), ([LATENCY], False, False)],
)
def test_prices_are_asked_for_where_they_tell_something(objectives, gated, expected):
    assert make_sampler("tpe", SPACE, objectives, 0, gated=gated).gated is expected


def test_the_gate_takes_the_first_that_fits_or_the_nearest():
    archs = [Architecture.of({"x": i}) for i in range(9)]
    asked = []

    def price(violations):
        def ask(arch):
            asked.append(arch.values["x"])
            return Price((None,), violations[arch.values["x"]])

        return ask

    assert within_budget(archs, price([3.0, 1.0, 0.0, 0.0])) == archs[2]
    assert asked == [0, 1, 2]
    assert within_budget(archs, price([3.0, 1.0, 2.0, float("inf"), 1.0, 0.0])) == archs[1]
    assert within_budget(archs[:2], price([float("nan"), float("inf")])) == archs[0]
    with pytest.raises(ValueError, match="no candidates"):
        within_budget([], price([]))


def test_every_lists_a_conditional_space_once():
    space = Space(input="vector", root={"body": Repeat(Integer(0, 2), Choice({"conv": {"k": [3, 5]}, "pool": {}}))})
    archs = list(every(space))
    assert len(archs) == len(set(archs)) == space.count()[0] == 1 + 3 + 9
    assert all(space.contains(arch) for arch in archs)
    with pytest.raises(SpaceError, match="continuous"):
        list(every(Space(input="vector", root={"x": Float(0.0, 1.0)})))


def test_the_last_one_left_is_found():
    space = Space(input="vector", root={"op": Choice({"a": {}, "b": {"x": Integer(0, 999)}})})
    everything = list(every(space))
    last = everything[-1]
    taken = {arch.fingerprint() for arch in everything} - {last.fingerprint()}
    assert Fresh(space).draw(taken, np.random.default_rng(0)) == last


def test_a_mutation_changes_one_choice_and_what_hangs_on_it():
    space = Space(
        input="vector",
        root={"op": Choice({"conv": {"k": [3, 5]}, "lstm": {"h": [8, 16]}}), "width": Integer(1, 9), "one": [1]},
    )
    rng = np.random.default_rng(0)
    for _ in range(100):
        parent = space.sample(rng)
        child = mutate(space, parent, rng)
        assert space.contains(child)
        changed = [p for p, v in child.values.items() if p in parent.values and parent.values[p] != v]
        assert len(changed) == 1
        new = set(child.values) ^ set(parent.values)
        assert not new or changed == ["op"]


def test_a_space_without_a_choice_is_answered():
    space = Space(input="vector", root={"body": {"width": 8}})
    for spec in ("random", "evolution(population=1, tournament=1)", "tpe(n_startup=1)", "optuna:RandomSampler"):
        sampler = make_sampler(spec, space, [ACCURACY], 0)
        assert sampler.propose([], [], lambda a: Price((None,), 0.0), np.random.default_rng(0)).values == {}
