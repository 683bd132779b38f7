"""Which parameters made the difference, by Optuna's own evaluator."""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nas.objectives import Objective
from nas.records import TrialRecord
from nas.space import Space

FEWEST = 30
"""Trials below which nothing is said: the best ten of them would be hardly better than the rest."""

_BEST = 0.1
_LEAST_BEST = 10
_MOST_SHOWN = 12
_MOST = 600
"""Trials that are compared, chosen evenly; more cost seconds and change little."""


def importances(space: Space, records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """Return, for each objective, how much each parameter told the best trials from all others.

    That is conditional PED-ANOVA in Optuna: how far the distribution of a parameter among the best tenth of the trials
    (or the best ten, where that is more) is from that among all of them, where the parameter exists at all. It tells
    of the trials that this search made, which went where it was promising, not of the space as a whole.

    Returns:
        For each objective its `name`, `of` how many trials it is known, how many `n` of these were compared, how many
        of those are the `best`, `why` nothing is said ("" where something is), and `shares`: [path, share, trials that
        have the parameter], largest first, summing to at most 1.

    Cost: about 1 s for each objective at most, and the loading of Optuna's evaluators.

    Reference: Watanabe et al., PED-ANOVA, IJCAI 2023, https://arxiv.org/abs/2304.10255; with conditions: Optuna 5.
    """
    return [_importances(space, records, objective) for objective in objectives]


def _importances(space: Space, records: Sequence[TrialRecord], objective: Objective) -> dict[str, Any]:
    # A price is known of whatever was priced, and of twins it is one figure.
    states = ("complete", "stopped_early", "over_budget") if objective.cheap else ("complete",)
    known = [
        r
        for r in records
        if r.state in states
        and math.isfinite(r.metrics.get(objective.name, math.nan))
        and all(path in space.slots for path in r.arch.values)
    ]
    found: dict[str, Any] = {"name": objective.name, "of": len(known), "best": 0, "why": "", "shares": []}
    known = [known[i * len(known) // _MOST] for i in range(_MOST)] if len(known) > _MOST else known
    found["n"] = len(known)
    if len(known) < FEWEST:
        return {**found, "why": f"that takes at least {FEWEST} trials; usable here: {len(known)}"}
    if len({r.metrics[objective.name] for r in known}) == 1:
        return {**found, "why": f"all {len(known)} trials have the same figure"}
    best = max(_BEST, _LEAST_BEST / len(known))
    shares = {path: share for path, share in _evaluated(space, known, objective, best).items() if share > 0}
    total = sum(shares.values())
    if not total:
        return {**found, "why": "no parameter is distributed otherwise among the best trials than among all"}
    largest = sorted(shares, key=lambda path: -shares[path])[:_MOST_SHOWN]
    counted = {path: sum(path in r.arch.values for r in known) for path in largest}
    found["shares"] = [[path, round(shares[path] / total, 4), counted[path]] for path in largest]
    return {**found, "best": math.ceil(best * len(known))}


def _evaluated(space: Space, known: Sequence[TrialRecord], objective: Objective, best: float) -> dict[str, float]:
    """Return the importances by path, in a study of one objective that is in memory alone."""
    import optuna

    from nas.samplers.optuna import to_distribution

    ranges = {path: to_distribution(slot.parameter) for path, slot in space.slots.items()}
    level = logging.getLogger("optuna").level
    logging.getLogger("optuna").setLevel(logging.ERROR)
    try:
        study = optuna.create_study(direction=objective.direction)
        study.add_trials(
            optuna.trial.create_trial(
                value=r.metrics[objective.name],
                params=dict(r.arch.values),
                distributions={path: ranges[path] for path in r.arch.values},
            )
            for r in known
        )
        had = Counter(path for r in known for path in r.arch.values)
        paths = [path for path, n in had.items() if n >= _LEAST_BEST and not _idle(path, objective)]
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a method is experimental; that trials are few is told by `n`
            return evaluator.evaluate(study, paths)
    finally:
        logging.getLogger("optuna").setLevel(level)


def _idle(path: str, objective: Objective) -> bool:
    """Whether a parameter cannot have made a difference: a price knows nothing of training, nor of what is for it."""
    return objective.cheap and (path.startswith("training.") or path.endswith(".dropout"))
