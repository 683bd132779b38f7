"""What every sampler has to do. Named as `--sampler` has it: 'tpe(n_startup=5)'; small start-ups show most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from nas.objectives import OBJECTIVES, Objective
from nas.rng import generator
from nas.samplers import Observation, Price, Proposer, make_sampler
from nas.samplers.fresh import every
from nas.samplers.proposer import MOST_PRICED, N_SURVEYED
from nas.space import Architecture, Choice, Float, Integer, Repeat, Space, When
from nas.testing.broken import need

State = Literal["complete", "over_budget", "failed"]
Told = tuple[State, tuple[float | None, ...], float]
"""Of an observation: its state, losses and violation."""

Tell = Callable[[int, Architecture], Told]


# They take plain dicts and lists too, as `_space` does, which their types do not say.
_choice: Any = Choice
_when: Any = When


def _space(root: Any, forbid: Any = ()) -> Space:
    """Return a space of a tree as a user writes it: in plain dicts and lists."""
    return Space(input="vector", root=root, forbid=forbid)


TWO = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
SPACES = {
    "flat": _space(
        {
            "a": [3, 5, 7],
            "b": Integer(8, 64, step=8),
            "c": Float(1e-4, 1.0, log=True),
            "d": Float(0.0, 1.0, step=0.1),
        },
    ),
    "branched": _space(
        {
            "op": _choice(
                {
                    "conv": {"kernel": [3, 5], "se": [True, False]},
                    "lstm": {"hidden": Integer(1, 300, log=True)},
                    "skip": {},
                }
            ),
            "act": ["relu", "silu"],
        },
    ),
    "repeats": _space(
        {"body": Repeat(Integer(0, 4), _choice({"conv": {"width": Integer(8, 96, step=8)}, "pool": {}}))},
    ),
    "conditional": _space(
        {
            "stride": [1, 2],
            "pool": _when({"stride": 1}, {"size": Integer(2, 4)}),
            "rate": Float(0.0, 0.5),
            "tail": _when({"rate": ">0.25"}, {"n": [1, 2, 3]}),
        },
    ),
    "forbidding": _space(
        {"x": Integer(0, 7), "y": Integer(0, 7)},
        forbid=({"x": ">3", "y": ">3"}, {"x": 0, "y": 0}),
    ),
}
"""Each kind of tree that a space may be."""

SMALL = _space(
    {"op": _choice({"conv": {"kernel": [3, 5, 7]}, "rare": {}}), "act": ["relu", "silu", "gelu"]},
    forbid=({"op": "rare", "act": "gelu"},),
)  # 3 * 3 + 2 = 11 architectures


def check_sampler(spec: str) -> None:
    """Check a sampler.

    Raises:
        ContractBroken: what it does not keep.

    Cost: some 200 proposals.
    """
    for test in SAMPLER_CONTRACT:
        test(spec)


# ---------------------------------------------------------------- a run without training


def figures(arch: Architecture) -> tuple[float, float]:
    """Return two smooth figures of any architecture: accuracy (maximised) and latency in ms."""
    numbers = [len(v) if isinstance(v, str) else float(v) for v in arch.values.values()]
    total = sum(math.log1p(abs(n)) for n in numbers)
    return math.tanh(total / 10), 0.1 + total**2


def losses_of(arch: Architecture, objectives: Sequence[Objective] = TWO) -> tuple[float, ...]:
    """Return `figures` as losses."""
    return tuple(o.loss(v) for o, v in zip(objectives, figures(arch), strict=True))


def free(arch: Architecture) -> Price:
    """Return the price of what keeps every budget."""
    return Price((None,) * 2, 0.0)


def run(
    spec: str,
    space: Space,
    n: int,
    seed: int = 0,
    tell: Tell | None = None,
    objectives: Sequence[Objective] = TWO,
    price: Callable[[Architecture], Price] = free,
    gated: bool = False,
    evidence: Sequence[Observation] = (),
) -> list[Observation]:
    """Propose and tell, one after the other; return the observations of the run itself."""
    sampler = make_sampler(spec, space, objectives, seed, gated=gated)
    seen: list[Observation] = []
    for number in range(n):
        arch = sampler.propose([*evidence, *seen], [], price, generator(seed, "sampler", number))
        need(isinstance(arch, Architecture), f"{spec}: proposes {arch!r}; return e.g. space.sample(rng)")
        told: Told = tell(number, arch) if tell else ("complete", losses_of(arch, objectives), 0.0)
        seen.append(Observation(arch, *told, number))
    return seen


def trouble(number: int, arch: Architecture) -> Told:
    """Return every way in which a trial can end, one after the other."""
    ends: list[Told] = [
        ("failed", (None, None), 0.0),
        ("complete", losses_of(arch), 0.0),
        ("over_budget", (None, figures(arch)[1]), 0.5),
        ("complete", (math.nan, 1.0), 0.0),
        ("over_budget", (None, None), math.inf),
        ("complete", (math.inf, math.inf), 0.0),
        ("complete", (-math.inf, 2.0), 0.0),
    ]
    return ends[number % len(ends)]


def evidence_of(space: Space, n: int = 30, n_losses: int = 2) -> list[Observation]:
    """Return every kind of evidence: trained losses of elsewhere, without prices; and figures that are no numbers."""
    rng = generator(0, "evidence")
    losses = [(-0.5, None), (-math.inf, None), (math.nan, None), (None, None), (-0.7, 3.0), (0.0, None)]
    archs = [space.sample(rng) for _ in range(n)]
    found = [
        Observation(arch, "complete", (*losses[i % 6], 1.0)[:n_losses], number=i % 20, cost=1.0, source=f"run {i % 3}")
        for i, arch in enumerate(archs)
    ]
    states: list[State] = ["failed", "over_budget"]
    return [
        *found,
        *(Observation(arch, states[i % 2], (None,) * n_losses, source="x") for i, arch in enumerate(archs[:4])),
    ]


# ---------------------------------------------------------------- the contract


def every_proposal_is_in_the_space(spec: str) -> None:
    """Whatever kind of tree it is."""
    for name, space in SPACES.items():
        for observation in run(spec, space, 15):
            need(
                space.contains(observation.arch),
                f"{spec}: proposes what is not in a space ({name}): {observation.arch.values}; make architectures with "
                "space.sample(rng) or space.walk",
            )


def the_same_seed_gives_the_same_run(spec: str) -> None:
    """And another seed another run."""
    for space in (SPACES["branched"], SPACES["repeats"]):
        first, second, other = (run(spec, space, 12, seed) for seed in (3, 3, 4))
        need(first == second, f"{spec}: the same seed gives another run; draw from the rng that propose is given")
        need(first != other, f"{spec}: another seed gives the same run; draw from the rng that propose is given")


def every_end_of_a_trial_is_survived(spec: str) -> None:
    """Failed, over a budget, and losses that are no numbers; nothing is proposed twice meanwhile."""
    seen = run(spec, SPACES["branched"], 21, tell=trouble)
    need(len({o.arch.fingerprint() for o in seen}) == 21, f"{spec}: proposes what was tried; {_FRESH}")


def a_run_without_any_complete_trial_goes_on(spec: str) -> None:
    """Nothing is known but that nothing works."""
    ends: list[Told] = [("failed", (None, None), 0.0), ("over_budget", (None, 3.0), 1.0)]
    for told in ends:
        run(spec, SPACES["repeats"], 14, tell=lambda number, arch, told=told: told)  # type: ignore[misc]


def ties_are_survived(spec: str) -> None:
    """All trials are equally good."""
    seen = run(spec, SPACES["flat"], 20, tell=lambda number, arch: ("complete", (1.0, 1.0), 0.0))
    need(len({o.arch.fingerprint() for o in seen}) == 20, f"{spec}: proposes what was tried; {_FRESH}")


def one_and_three_objectives_are_served(spec: str) -> None:
    """Not two alone."""
    for n_losses in (1, 3):
        objectives = [OBJECTIVES[name] for name in ("latency_ms", "macs", "accuracy")[:n_losses]]

        def tell(number: int, arch: Architecture, n_losses: int = n_losses) -> Told:
            accuracy, latency = figures(arch)
            return "complete", (latency, latency**0.5, -accuracy)[:n_losses], 0.0

        run(spec, SPACES["branched"], 12, tell=tell, objectives=objectives)


def maximising_f_is_minimising_minus_f(spec: str) -> None:
    """Every loss is minimised, whatever its objective is called."""
    up = [Objective("f", "", "maximize", cheap=False), OBJECTIVES["latency_ms"]]
    down = [Objective("f", "", "minimize", cheap=False), OBJECTIVES["latency_ms"]]

    def telling(objectives: Sequence[Objective], sign: float) -> Tell:
        def tell(number: int, arch: Architecture) -> Told:
            f, latency = figures(arch)
            return "complete", (objectives[0].loss(sign * f), latency), 0.0

        return tell

    first, second = (
        run(spec, SPACES["repeats"], 14, tell=telling(o, sign), objectives=o) for o, sign in ((up, 1.0), (down, -1.0))
    )
    need(first == second, f"{spec}: minimising -f and maximising f differ; all losses of an Observation are minimised")


def a_small_space_is_exhausted_without_repetition(spec: str) -> None:
    """And a proposal is made all the same when nothing is left."""
    everything = {arch.fingerprint() for arch in every(SMALL)}
    seen = run(spec, SMALL, len(everything) + 3)
    need(all(o.arch.fingerprint() in everything for o in seen), f"{spec}: proposes what is not in the space")
    found = {o.arch.fingerprint() for o in seen[: len(everything)]}
    need(found == everything, f"{spec}: repeats itself before a space of {len(everything)} is exhausted; {_FRESH}")


def evidence_is_no_trial(spec: str) -> None:
    """What another run has tried can be proposed; evidence of any kind breaks nothing, and tells the same each time."""
    everything = list(every(SMALL))
    evidence = [
        Observation(a, "complete", (losses_of(a)[0], None), number=i, source="run old")
        for i, a in enumerate(everything)
    ]
    seen = run(spec, SMALL, len(everything), evidence=evidence)
    need(
        {o.arch.fingerprint() for o in seen} == {arch.fingerprint() for arch in everything},
        f"{spec}: takes evidence of another run for trials of this one; nas.samplers.proposer.trials tells them apart",
    )
    for name, space in SPACES.items():
        found = evidence_of(space)
        first, second = (run(spec, space, 12, tell=trouble, evidence=found) for _ in range(2))
        need(
            all(space.contains(o.arch) for o in first),
            f"{spec}: with evidence, proposes what is not in a space ({name})",
        )
        need([o.arch for o in first] == [o.arch for o in second], f"{spec}: with evidence, a seed gives two runs")
    space = SPACES["repeats"]
    sampler = make_sampler(spec, space, TWO, 0)
    for i, known in enumerate((evidence_of(space), evidence_of(space)[-4:])):
        need(space.contains(sampler.propose(known, [], free, generator(0, "sampler", i))), f"{spec}: leaves the space")


def pending_trials_are_not_proposed_again(spec: str) -> None:
    """Several workers ask before the first of them is done."""
    sampler = make_sampler(spec, SMALL, TWO, 0)
    seen: list[Observation] = []
    for number in range(2):
        pending: list[Architecture] = []
        for worker in range(5 + number):  # 5 then 6 at once: all of the 11
            arch = sampler.propose(seen, pending, free, generator(0, "sampler", number, worker))
            taken = {other.fingerprint() for other in (*pending, *(o.arch for o in seen))}
            need(arch.fingerprint() not in taken, f"{spec}: proposes what is being tried; {_FRESH}")
            pending.append(arch)
        seen += [Observation(arch, "complete", losses_of(arch), 0.0, len(seen) + i) for i, arch in enumerate(pending)]


def what_it_did_not_propose_is_respected(spec: str) -> None:
    """A run is resumed, or trials were queued by somebody."""
    space = SPACES["branched"]
    before = run("random", space, 14, seed=9, tell=trouble)
    seen, pending = before[:10], [o.arch for o in before[10:]]
    sampler = make_sampler(spec, space, TWO, 0)
    arch = sampler.propose(seen, pending, free, generator(0, "sampler", 14))
    need(space.contains(arch), f"{spec}: of a resumed run, leaves the space")
    tried = {o.arch.fingerprint() for o in before}
    need(arch.fingerprint() not in tried, f"{spec}: of a resumed run, proposes what was tried; {_FRESH}")
    # The pending ones come back, and one of them was given up.
    seen += [Observation(a, "complete", losses_of(a), 0.0, 10 + i) for i, a in enumerate(pending[:-1])]
    need(
        space.contains(sampler.propose(seen, [arch], free, generator(0, "sampler", 15))),
        f"{spec}: of a resumed run, leaves the space",
    )


def no_state_is_kept(spec: str) -> None:
    """The same history gives the same answer, whatever was asked in between (Optuna's keep what they keep)."""
    if ":" in spec:
        return
    space = SPACES["repeats"]
    history = run("random", space, 20, seed=5)
    used, new = (make_sampler(spec, space, TWO, 0) for _ in range(2))
    for number in range(20):  # with another history in between
        used.propose(history[:number], [], free, generator(1, "sampler", number))
        used.propose(history[::-1][:number], [], free, generator(2, "sampler", number))
    answers = {s.propose(history, [], free, generator(0, "sampler", 20)) for s in (used, new)}
    need(len(answers) == 1, f"{spec}: answers by what it was asked before; tell everything from `seen` and `pending`")


def prices_are_asked_for_sparingly(spec: str) -> None:
    """Where nothing is limited, not at all; else for a few candidates, of which it proposes one that is least beyond.

    One that never asks for a price, limited or not, keeps the contract as well.
    """
    if ":" in spec:
        return
    for gated in (True, False):
        priced: list[float] = []

        def price(arch: Architecture, priced: list[float] = priced) -> Price:
            priced.append(_excess(arch))
            return Price((None, figures(arch)[1]), priced[-1])

        sampler: Proposer = make_sampler(spec, SPACES["flat"], TWO, 0, gated=gated)
        seen: list[Observation] = []
        for number in range(25):
            priced.clear()
            arch = sampler.propose(seen, [], price, generator(0, "sampler", number))
            violation, most = _excess(arch), MOST_PRICED + (N_SURVEYED if number == 0 else 0)
            need(gated or not priced, f"{spec}: asks for prices where `gated` is False and nothing is limited")
            need(len(priced) <= most, f"{spec}: asks for {len(priced)} prices for one proposal; {most} are the most")
            if priced:  # what a survey rejects is not proposed
                best = min(priced[-MOST_PRICED:]) if min(priced) else 0.0
                need(
                    violation == best,
                    f"{spec}: proposes what is {violation:.3g} over a budget, and has seen one at {best:.3g}",
                )
            state: State = "over_budget" if violation else "complete"
            seen.append(Observation(arch, state, losses_of(arch), violation, number))


def _excess(arch: Architecture) -> float:
    return max(figures(arch)[1] - 5.0, 0.0)  # a limit of 5 ms that about a third of the space keeps


_FRESH = "nas.samplers.fresh.Fresh draws what is new"

SAMPLER_CONTRACT: tuple[Callable[[str], None], ...] = (
    every_proposal_is_in_the_space,
    the_same_seed_gives_the_same_run,
    every_end_of_a_trial_is_survived,
    a_run_without_any_complete_trial_goes_on,
    ties_are_survived,
    one_and_three_objectives_are_served,
    maximising_f_is_minimising_minus_f,
    a_small_space_is_exhausted_without_repetition,
    evidence_is_no_trial,
    pending_trials_are_not_proposed_again,
    what_it_did_not_propose_is_respected,
    no_state_is_kept,
    prices_are_asked_for_sparingly,
)
