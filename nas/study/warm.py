"""A warm start: what trials of earlier runs tell a study, read once and kept with it. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import RunError, SpaceError
from nas.objectives import Objective
from nas.records import TrialRecord, read_csv, read_json, write_json
from nas.samplers import Observation
from nas.space import Architecture, Space
from nas.study.folder import RunFolder


@dataclass(frozen=True)
class EarlierTrial:
    """What is taken from one trial: its choices, and what training told. Prices are another device's: left behind."""

    number: int
    arch: Architecture

    scores: Mapping[str, float]
    """Of the objectives of this study, by name; finite."""

    train_seconds: float


@dataclass(frozen=True)
class EarlierRun:
    """What a study can use of an earlier run."""

    name: str
    """Tells it from the other earlier runs: its folder's name, or its path where two are called the same."""

    trials: tuple[EarlierTrial, ...]

    n_complete: int
    """How many of its trials were complete."""

    n_outside: int
    """How many of these are not in the space of this study."""

    def observations(self, objectives: Sequence[Objective]) -> list[Observation]:
        """Return the trials as samplers see them: evidence, without prices."""
        return [
            Observation(
                trial.arch,
                "complete",
                tuple(o.told_loss(trial.scores[o.name]) if o.name in trial.scores else None for o in objectives),
                number=trial.number,
                cost=trial.train_seconds or None,
                source=f"run {self.name}",
            )
            for trial in self.trials
        ]

    def __str__(self) -> str:
        """Say how much of it can be used, and why not the rest."""
        unscored = self.n_complete - self.n_outside - len(self.trials)
        why_not = [f"{self.n_outside} not in this space"] if self.n_outside else []
        why_not += [f"{unscored} without a finite score of this study's objectives"] if unscored else []
        rest = f": {', '.join(why_not)}" if why_not else ""
        return f"{len(self.trials)} of {self.n_complete} complete trials of {self.name} can be used{rest}"


def read_earlier(
    runs: Sequence[str], space: Space, objectives: Sequence[Objective], folder: RunFolder
) -> tuple[EarlierRun, ...]:
    """Read what a study can use of the runs in these folders; nothing is written there.

    Args:
        folder: the study's own, which is none of them.
    Raises:
        RunError: there is no run, or nothing in it that tells this study anything.
    """
    trained = [o.name for o in objectives if not o.cheap]
    if runs and not trained:
        raise RunError(
            f"warm start: {', '.join(o.name for o in objectives)} are known before any training, and are measured here "
            "anew: an earlier run can add nothing; leave --warm-start out"
        )
    places = [Path(run).resolve() for run in runs]
    names = Counter(place.name for place in places)
    found = []
    for run, place in zip(runs, places, strict=True):
        if place == folder.path.resolve():
            raise RunError(
                f"warm start: {run} is the folder of this run itself; to go on with it: --resume --out {run}"
            )
        if places.count(place) > 1:
            raise RunError(f"warm start: {run} is named twice; name each run once")
        name = place.name if names[place.name] == 1 else Path(run).as_posix()
        found.append(_usable(name, run, _records(run), space, trained))
    return tuple(found)


def write_kept(path: Path, runs: Sequence[EarlierRun]) -> None:
    """Keep what was read with the study: a resume does not depend on the earlier folders."""
    kept = [
        {
            "name": run.name,
            "n_complete": run.n_complete,
            "n_outside": run.n_outside,
            "trials": [
                {
                    "trial": trial.number,
                    "scores": dict(trial.scores),
                    "train_seconds": trial.train_seconds,
                    "architecture": trial.arch.values,
                }
                for trial in run.trials
            ],
        }
        for run in runs
    ]
    write_json(path, {"runs": kept})


def read_kept(path: Path, space: Space) -> tuple[EarlierRun, ...]:
    """Undo `write_kept`.

    Raises:
        RunError: there is no such file, or it is none of ours.
    """
    kept = read_json(path)
    try:
        return tuple(_run(run, space) for run in kept["runs"])
    except (KeyError, TypeError, ValueError, AttributeError, SpaceError) as error:
        raise RunError(f"{path}: not the warm start of a run: {type(error).__name__} {error}") from None


def _run(kept: Mapping[str, Any], space: Space) -> EarlierRun:
    trials = tuple(
        EarlierTrial(t["trial"], space.architecture(t["architecture"]), dict(t["scores"]), t["train_seconds"])
        for t in kept["trials"]
    )
    return EarlierRun(kept["name"], trials, kept["n_complete"], kept["n_outside"])


def _records(run: str) -> list[TrialRecord]:
    """Return the complete trials of a run folder."""
    folder = RunFolder(run)
    if not folder.path.is_dir():
        raise RunError(f"warm start: {run}: no such folder; name the folder of an earlier run, such as results/NAME")
    if not folder.config.is_file():
        raise RunError(f"warm start: {run}: no run of ours, there is no {folder.config.name}; name the folder of one")
    found = read_csv(folder.trials) if folder.trials.exists() else []  # killed before the first training ended
    return [r for r in found if r.state == "complete"]


def _usable(name: str, run: str, complete: Sequence[TrialRecord], space: Space, trained: Sequence[str]) -> EarlierRun:
    trials, n_outside = [], 0
    for record in complete:
        try:
            arch = space.architecture(record.arch.values)  # in the order of this space
        except SpaceError:
            n_outside += 1
            continue
        scores = {n: record.scores[n] for n in trained if math.isfinite(record.scores.get(n, math.nan))}
        if scores:
            trials.append(EarlierTrial(record.number, arch, scores, record.train_seconds))
    found = EarlierRun(name, tuple(trials), len(complete), n_outside)
    if not complete:
        raise RunError(f"warm start: {run}: none of its trials is complete; leave it out, or go on with it first")
    if not trials:
        raise RunError(f"warm start: {found}; leave it out, or search a space that holds its networks")
    return found
