"""What every sampler must do, ours and Optuna's through our adapter. A registered sampler without a line here fails."""

import math

import numpy as np
import pytest

from nas.objectives import OBJECTIVES, Objective
from nas.pareto import hypervolume
from nas.rng import generator
from nas.samplers import SAMPLERS, Observation, Price, make_sampler
from nas.samplers.fresh import every
from nas.samplers.proposer import MOST_PRICED, N_SURVEYED
from nas.space import Choice, Float, Integer, Repeat, Space, When

# Small start-ups: the part that learns is what can break.
TABLE = {
    "random": "random",
    "evolution": "evolution(population=6, tournament=3)",
    "tpe": "tpe(n_startup=5)",
    "optuna:NSGAIISampler": "optuna:NSGAIISampler(population_size=6)",
    "optuna:TPESampler": "optuna:TPESampler(multivariate=True, group=True, n_startup_trials=4, n_ei_candidates=4)",
}
TWO = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
SPACES = {
    "flat": Space(
        input="vector",
        root={
            "a": [3, 5, 7],
            "b": Integer(8, 64, step=8),
            "c": Float(1e-4, 1.0, log=True),
            "d": Float(0.0, 1.0, step=0.1),
        },
    ),
    "branched": Space(
        input="vector",
        root={
            "op": Choice(
                {
                    "conv": {"kernel": [3, 5], "se": [True, False]},
                    "lstm": {"hidden": Integer(1, 300, log=True)},
                    "skip": {},
                }
            ),
            "act": ["relu", "silu"],
        },
    ),
    "repeats": Space(
        input="vector",
        root={"body": Repeat(Integer(0, 4), Choice({"conv": {"width": Integer(8, 96, step=8)}, "pool": {}}))},
    ),
    "conditional": Space(
        input="vector",
        root={
            "stride": [1, 2],
            "pool": When({"stride": 1}, {"size": Integer(2, 4)}),  # type: ignore[arg-type]
            "rate": Float(0.0, 0.5),
            "tail": When({"rate": ">0.25"}, {"n": [1, 2, 3]}),  # type: ignore[arg-type]
        },
    ),
    "forbidding": Space(
        input="vector",
        root={"x": Integer(0, 7), "y": Integer(0, 7)},
        forbid=({"x": ">3", "y": ">3"}, {"x": 0, "y": 0}),  # type: ignore[arg-type]
    ),
}
SMALL = Space(
    input="vector",
    root={"op": Choice({"conv": {"kernel": [3, 5, 7]}, "rare": {}}), "act": ["relu", "silu", "gelu"]},
    forbid=({"op": "rare", "act": "gelu"},),  # type: ignore[arg-type]
)  # 3 * 3 + 2 = 11 architectures


@pytest.fixture(params=TABLE)
def spec(request):
    return TABLE[request.param]


def figures(arch):
    """Two smooth figures of any architecture: accuracy (maximised) and latency in ms."""
    numbers = [len(v) if isinstance(v, str) else float(v) for v in arch.values.values()]
    total = sum(math.log1p(abs(n)) for n in numbers)
    return math.tanh(total / 10), 0.1 + total**2


def losses_of(arch, objectives=TWO):
    return tuple(o.loss(v) for o, v in zip(objectives, figures(arch), strict=True))


def free(arch):
    return Price((None,) * 2, 0.0)


def run(spec, space, n, seed=0, tell=None, objectives=TWO, price=free, gated=False, evidence=()):
    """Propose and tell, one after the other; return the observations of the run itself."""
    sampler = make_sampler(spec, space, objectives, seed, gated=gated)
    seen: list[Observation] = []
    for number in range(n):
        arch = sampler.propose([*evidence, *seen], [], price, generator(seed, "sampler", number))
        told = tell(number, arch) if tell else ("complete", losses_of(arch, objectives), 0.0)
        seen.append(Observation(arch, *told, number))
    return seen


def test_no_registered_sampler_is_left_out():
    assert set(SAMPLERS) <= set(TABLE)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_proposal_is_in_the_space(spec, space):
    for observation in run(spec, space, 15):
        assert space.contains(observation.arch), observation.arch.values


@pytest.mark.parametrize("space", [SPACES["branched"], SPACES["repeats"]], ids=["branched", "repeats"])
def test_the_same_seed_gives_the_same_run(spec, space):
    first, second, other = (run(spec, space, 12, seed) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def trouble(number, arch):
    """Every way a trial can end."""
    return [
        ("failed", (None, None), 0.0),
        ("complete", losses_of(arch), 0.0),
        ("over_budget", (None, figures(arch)[1]), 0.5),
        ("complete", (math.nan, 1.0), 0.0),
        ("over_budget", (None, None), math.inf),
        ("complete", (math.inf, math.inf), 0.0),
        ("complete", (-math.inf, 2.0), 0.0),
    ][number % 7]


def test_failed_gated_and_strange_trials_are_survived(spec):
    seen = run(spec, SPACES["branched"], 21, tell=trouble)
    assert len({o.arch.fingerprint() for o in seen}) == 21


@pytest.mark.parametrize("told", [("failed", (None, None), 0.0), ("over_budget", (None, 3.0), 1.0)])
def test_a_run_without_any_complete_trial_goes_on(spec, told):
    assert len(run(spec, SPACES["repeats"], 14, tell=lambda number, arch: told)) == 14


def test_nothing_but_ties(spec):
    seen = run(spec, SPACES["flat"], 20, tell=lambda number, arch: ("complete", (1.0, 1.0), 0.0))
    assert len({o.arch.fingerprint() for o in seen}) == 20


@pytest.mark.parametrize("n_losses", [1, 3])
def test_one_and_three_objectives(spec, n_losses):
    objectives = [OBJECTIVES[name] for name in ("latency_ms", "macs", "accuracy")[:n_losses]]

    def tell(number, arch):
        accuracy, latency = figures(arch)
        return "complete", (latency, latency**0.5, -accuracy)[:n_losses], 0.0

    assert len(run(spec, SPACES["branched"], 12, tell=tell, objectives=objectives)) == 12


def test_maximising_f_is_minimising_minus_f(spec):
    up = [Objective("f", "", "maximize", cheap=False), OBJECTIVES["latency_ms"]]
    down = [Objective("f", "", "minimize", cheap=False), OBJECTIVES["latency_ms"]]

    def tell(objectives, sign):
        def told(number, arch):
            f, latency = figures(arch)
            return "complete", (objectives[0].loss(sign * f), latency), 0.0

        return told

    runs = [run(spec, SPACES["repeats"], 14, tell=tell(o, s), objectives=o) for o, s in ((up, 1.0), (down, -1.0))]
    assert runs[0] == runs[1]


def test_a_small_space_is_exhausted_without_repetition_and_answered_afterwards(spec):
    everything = {arch.fingerprint() for arch in every(SMALL)}
    seen = run(spec, SMALL, len(everything) + 3)
    assert len(everything) == 11
    assert [o.arch.fingerprint() in everything for o in seen] == [True] * 14
    assert {o.arch.fingerprint() for o in seen[:11]} == everything


def evidence_of(space, n=30, n_losses=2):
    """Every kind of evidence: what a trained loss was elsewhere, without prices; and figures that are no numbers."""
    rng = generator(0, "evidence")
    losses = [(-0.5, None), (-math.inf, None), (math.nan, None), (None, None), (-0.7, 3.0), (0.0, None)]
    archs = [space.sample(rng) for _ in range(n)]
    found = [
        Observation(arch, "complete", (*losses[i % 6], 1.0)[:n_losses], number=i % 20, cost=1.0, source=f"run {i % 3}")
        for i, arch in enumerate(archs)
    ]
    state = ["failed", "over_budget"]
    return [
        *found,
        *(Observation(arch, state[i % 2], (None,) * n_losses, source="x") for i, arch in enumerate(archs[:4])),
    ]


def test_what_evidence_shows_is_not_taken(spec):
    everything = list(every(SMALL))
    evidence = [
        Observation(a, "complete", (losses_of(a)[0], None), number=i, source="run old")
        for i, a in enumerate(everything)
    ]
    seen = run(spec, SMALL, len(everything), evidence=evidence)
    assert {o.arch.fingerprint() for o in seen} == {arch.fingerprint() for arch in everything}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_evidence_of_any_kind_breaks_nothing(spec, space):
    evidence = evidence_of(space)
    first, second = (run(spec, space, 12, tell=trouble, evidence=evidence) for _ in range(2))
    assert all(space.contains(o.arch) for o in first)
    assert [o.arch for o in first] == [o.arch for o in second]
    if not spec.startswith("tpe"):  # the others look at trials alone
        assert [o.arch for o in first] == [o.arch for o in run(spec, space, 12, tell=trouble)]


def test_evidence_alone_and_nothing_but_evidence_of_failures(spec):
    space = SPACES["repeats"]
    sampler = make_sampler(spec, space, TWO, 0)
    assert space.contains(sampler.propose(evidence_of(space), [], free, generator(0, "sampler", 0)))
    assert space.contains(sampler.propose(evidence_of(space)[-4:], [], free, generator(0, "sampler", 1)))


def test_pending_trials_are_not_proposed_again(spec):
    sampler = make_sampler(spec, SMALL, TWO, 0)
    seen = []
    for number in range(2):
        pending = []
        for worker in range(5 + number):  # 5 then 6 at once: all of the 11
            arch = sampler.propose(seen, pending, free, generator(0, "sampler", number, worker))
            taken = {other.fingerprint() for other in (*pending, *(o.arch for o in seen))}
            assert arch.fingerprint() not in taken
            pending.append(arch)
        seen += [Observation(arch, "complete", losses_of(arch), 0.0, len(seen) + i) for i, arch in enumerate(pending)]
    assert len({o.arch.fingerprint() for o in seen}) == 11


def test_a_resumed_run_respects_what_it_did_not_propose(spec):
    space = SPACES["branched"]
    before = run("random", space, 14, seed=9, tell=trouble)
    seen, pending = before[:10], [o.arch for o in before[10:]]
    sampler = make_sampler(spec, space, TWO, 0)
    arch = sampler.propose(seen, pending, free, generator(0, "sampler", 14))
    assert space.contains(arch)
    assert arch.fingerprint() not in {o.arch.fingerprint() for o in before}
    # The pending ones come back, and one of them was given up.
    seen += [Observation(a, "complete", losses_of(a), 0.0, 10 + i) for i, a in enumerate(pending[:-1])]
    assert space.contains(sampler.propose(seen, [arch], free, generator(0, "sampler", 15)))


@pytest.mark.parametrize("name", [name for name in TABLE if ":" not in name])
def test_our_samplers_keep_no_state(name):
    space = SPACES["repeats"]
    history = run("random", space, 20, seed=5)
    used = make_sampler(TABLE[name], space, TWO, 0)
    for number in range(20):  # with another history in between
        used.propose(history[:number], [], free, generator(1, "sampler", number))
        used.propose(history[::-1][:number], [], free, generator(2, "sampler", number))
    new = make_sampler(TABLE[name], space, TWO, 0)
    answers = {s.propose(history, [], free, generator(0, "sampler", 20)) for s in (used, new)}
    assert len(answers) == 1


@pytest.mark.parametrize("name", [name for name in TABLE if ":" not in name])
@pytest.mark.parametrize("gated", [True, False])
def test_prices_are_asked_for_sparingly(name, gated):
    priced: list[float] = []

    def price(arch):
        priced.append(max(figures(arch)[1] - 5.0, 0.0))  # a limit of 5 ms that about a third of the space keeps
        return Price((None, figures(arch)[1]), priced[-1])

    sampler = make_sampler(TABLE[name], SPACES["flat"], TWO, 0, gated=gated)
    seen: list[Observation] = []
    for number in range(25):
        priced.clear()
        arch = sampler.propose(seen, [], price, generator(0, "sampler", number))
        violation = max(figures(arch)[1] - 5.0, 0.0)
        if not gated or name == "random":
            assert not priced
        else:
            assert 1 <= len(priced) <= MOST_PRICED + (N_SURVEYED if number == 0 else 0)
            # One that keeps it, or of the last few the least beyond: what a survey rejects is not proposed.
            assert violation == (min(priced[-MOST_PRICED:]) if min(priced) else 0.0)
        state = "over_budget" if violation else "complete"
        seen.append(Observation(arch, state, losses_of(arch), violation, number))


# An easy net: up to four blocks, wide is accurate and slow, "pool" is free and useless, one good learning rate.
NET = Space(
    input="vector",
    root={
        "body": Repeat(
            Integer(1, 4),
            Choice({"conv": {"width": Integer(8, 96, step=8), "kernel": [3, 5, 7]}, "pool": {"size": [2, 3]}}),
        ),
        "lr": Float(1e-4, 1.0, log=True),
    },
)


def error_and_latency(arch):
    capacity = latency = 0.0
    for i in range(int(arch.values["body.repeat"])):
        if arch.values[f"body.{i}"] == "conv":
            width, kernel = arch.values[f"body.{i}.conv.width"], arch.values[f"body.{i}.conv.kernel"]
            capacity += width / 96 * (1.2 if kernel == 5 else 1.0)
            latency += width / 96 * kernel**2 / 9
    return 0.05 + 0.7 * math.exp(-capacity) + 0.1 * math.log10(arch.values["lr"] / 1e-2) ** 2, 0.05 + latency


def volume_after(n, spec, seed):
    seen = run(spec, NET, n, seed, tell=lambda number, arch: ("complete", error_and_latency(arch), 0.0))
    losses = np.array([o.losses for o in seen])
    return hypervolume(np.column_stack([losses[:, 0], np.log10(losses[:, 1])]), np.array([0.6, 1.0]))


def test_tpe_beats_random_search_on_an_easy_net():
    wins = sum(volume_after(100, "tpe", seed) > volume_after(100, "random", seed) for seed in range(8))
    assert wins >= 7  # chance of this with no real advantage: 9 of 256, 3.5 %
