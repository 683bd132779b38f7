"""Optuna's samplers in our studies, and ours in Optuna's."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas.errors import NasError
from nas.objectives import OBJECTIVES
from nas.rng import generator
from nas.samplers import Observation, Price, make_sampler
from nas.samplers.for_optuna import NasSampler, infer_space, merged
from nas.samplers.optuna import from_distribution, to_distribution
from nas.space import Categorical, Choice, Float, Integer, Space, When

TWO = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
SPACE = Space(
    input="vector",
    root={
        "op": Choice({"conv": {"kernel": [3, 5, 7]}, "lstm": {"hidden": Integer(8, 64, step=8)}}),
        "lr": Float(1e-4, 1.0, log=True),
    },
)


@pytest.fixture(autouse=True)
def _quiet():
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


@pytest.mark.parametrize(
    "parameter",
    [
        Categorical((3, 5)),
        Categorical((True, "a", 0.5)),
        Integer(8, 64, step=8),
        Integer(1, 9, log=True),
        Float(0.0, 1.0),
        Float(0.0, 1.0, step=0.25),
        Float(1e-4, 1.0, log=True),
    ],
    ids=str,
)
def test_distributions_there_and_back(parameter):
    assert from_distribution(to_distribution(parameter)) == parameter


# --- their samplers, our studies


def free(arch):
    return Price((None, None), 0.0)


def test_states_arrive_as_optuna_knows_them():
    sampler = make_sampler("optuna:TPESampler(n_startup_trials=2)", SPACE, TWO, 0)
    seen = []
    ends = [("complete", (-0.5, 1.0), 0.0), ("over_budget", (None, 9.0), 0.7), ("failed", (None, None), 0.0)]
    for number in range(6):
        arch = sampler.propose(seen, [], free, generator(0, number))
        seen.append(Observation(arch, *ends[number % 3], number))
    # An over-budget candidate that was priced and not proposed, as a caller records it.
    foreign = SPACE.sample(np.random.default_rng(7))
    seen.append(Observation(foreign, "over_budget", (None, 9.0), float("inf"), 6))
    running = SPACE.sample(np.random.default_rng(8))
    sampler.propose(seen, [running], free, generator(0, 9))
    trials = sampler.study.trials
    names = [t.state for t in trials]
    assert names[:6] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL] * 2
    assert trials[0].values == [-0.5, 1.0]
    assert trials[0].constraints == {"budget": 0.0}
    assert trials[1].constraints == {"budget": 0.7}
    assert (trials[6].state, trials[6].params) == (TrialState.PRUNED, foreign.values)
    assert (trials[7].state, trials[7].params) == (TrialState.RUNNING, running.values)
    assert trials[8].state == TrialState.RUNNING  # the one just proposed


def test_nothing_is_said_and_nothing_global_is_changed(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    filters = list(warnings.filters)
    sampler = make_sampler("optuna:TPESampler(multivariate=True, group=True)", SPACE, TWO, 0)  # experimental options
    sampler.propose([], [], free, generator(0))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert warnings.filters == filters
    assert "".join(capfd.readouterr()) == ""


def test_a_brute_force_sampler_that_wants_to_stop_is_survived():
    space = Space(input="vector", root={"a": [1, 2], "b": ["x", "y"]})
    sampler, seen = make_sampler("optuna:BruteForceSampler", space, TWO, 0), []
    for number in range(6):
        arch = sampler.propose(seen, [], free, generator(0, number))
        seen.append(Observation(arch, "complete", (0.0, 1.0), 0.0, number))
    assert len({o.arch.fingerprint() for o in seen[:4]}) == 4


# --- our samplers, their studies


def branched(trial):
    kind = trial.suggest_categorical("kind", ["conv", "lstm"])
    depth = trial.suggest_int("depth", 1, 3)
    lr = trial.suggest_float("lr/base", 1e-4, 1.0, log=True)  # a name that is no name of ours
    cost = abs(np.log10(lr) + 2)
    for i in range(depth):
        if kind == "conv":
            cost += abs(trial.suggest_categorical(f"k{i}", [3, 5, 7]) - 5)
        else:
            cost += 1 + trial.suggest_int(f"h{i}", 8, 64, step=8) / 64
    return cost, depth


@pytest.mark.parametrize("name", ["tpe", "evolution(population=8, tournament=3)", "random"])
def test_a_define_by_run_objective(name):
    def history():
        study = optuna.create_study(directions=["minimize", "maximize"], sampler=NasSampler(name, seed=1))
        study.optimize(branched, n_trials=40)
        return [(t.params, t.values) for t in study.trials]

    first = history()
    assert first == history()
    assert len(first) == 40


def test_conditions_are_found():
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(branched, n_trials=60)
    distributions = merged(study.trials)
    space = infer_space(distributions, study.trials)
    names = {f"p{i}": name for i, name in enumerate(distributions)}
    assert list(names.values())[:3] == ["kind", "depth", "lr/base"]
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        values = {names[key]: value for key, value in space.sample(rng).values.items()}
        blocks = sorted(name for name in values if name[0] in "kh" and name != "kind")
        assert all(name[0] == ("k" if values["kind"] == "conv" else "h") for name in blocks)
        seen.update(blocks)
    assert seen == {"k0", "k1", "k2", "h0", "h1", "h2"}


def test_no_parameter_is_conditional_where_all_trials_ask_for_all():
    study = optuna.create_study(sampler=NasSampler(seed=0))
    study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2 + t.suggest_int("n", 0, 3), n_trials=5)
    assert not any(isinstance(n, When) for n in infer_space(merged(study.trials), study.trials).root.fields.values())


def test_it_minimises_and_maximises():
    def best(direction, seed):
        study = optuna.create_study(direction=direction, sampler=NasSampler("tpe", seed=seed))
        study.optimize(lambda t: sum(t.suggest_int(f"x{i}", 0, 9) for i in range(4)), n_trials=60)
        return np.mean([t.value for t in study.trials[30:]])

    assert best("minimize", 0) < 13  # random search: 18, standard error 1.1
    assert best("maximize", 0) > 23


def test_constraints_failures_and_pruned_trials():
    def objective(trial):
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_categorical("y", [None, float("inf"), "z"])
        trial.set_constraint("limit", x - 0.5)
        if trial.number % 7 == 3:
            raise ValueError("no luck")
        if trial.number % 7 == 5:
            raise optuna.TrialPruned
        return x + (y is None)

    study = optuna.create_study(direction="maximize", sampler=NasSampler("tpe", seed=0))
    study.optimize(objective, n_trials=60, catch=ValueError)
    late = [t.params["x"] for t in study.trials[30:]]
    assert np.mean(late) < 0.6  # without the constraint x would go to 1
    assert max(t.value for t in study.trials if t.state == TrialState.COMPLETE and t.params["x"] <= 0.5) > 1.4
    assert {type(t.params["y"]) for t in study.trials if "y" in t.params} == {type(None), float, str}


def test_ranges_that_change_and_several_threads():
    def objective(trial):
        return trial.suggest_int("n", 0, 5 + trial.number % 3), trial.suggest_float("x", 0, 1 + trial.number)

    study = optuna.create_study(directions=["minimize", "maximize"], sampler=NasSampler("tpe", seed=0))
    study.optimize(objective, n_trials=40, n_jobs=4)
    assert all(t.state == TrialState.COMPLETE for t in study.trials)


def test_optunas_own_sampler_is_used_directly():
    with pytest.raises(NasError, match="use TPESampler directly"):
        NasSampler("optuna:TPESampler")
    with pytest.raises(NasError, match="Did you mean 'tpe'"):
        NasSampler("tpee")
