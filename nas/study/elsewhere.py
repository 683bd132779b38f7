"""Other machines that a run was measured on: none is connected to because a run's file names it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from nas.errors import NasError, RunError
from nas.measure.target import Target
from nas.objectives import Budget, is_latency
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder

NAMED_AGAIN = "and no other machine is connected to because a run's file names it"


def read_executor(executor: str) -> tuple[str, str]:
    """Return the place, local or ray, and the address of the cluster, which may be empty.

    Raises:
        NasError: it is neither.
    """
    place, _, address = executor.partition(":")
    if place not in ("local", "ray") or (address and place == "local"):
        raise NasError(f"executor must be local, ray or ray:ADDRESS, got {executor!r}")
    return place, address


def targets_in(runtime: str | None = None, objectives: Iterable[str] = (), budgets: Iterable[str] = ()) -> list[str]:
    """Return the targets that a user's words name: as the target itself, behind an objective, behind that of a budget.

    Raises:
        NasError: one of them cannot be read.
    """
    names = [*objectives, *(Budget.parse(text).objective for text in budgets)]
    found = [name.partition("@")[2] for name in names if is_latency(name) and "@" in name]
    return [str(Target.parse(text)) for text in ([] if runtime is None else [runtime]) + found]


def options_again(config: StudyConfig) -> list[str]:
    """Return the words of `nas search --resume` that name a run's targets on other machines again; mostly none."""
    further = {target for name, target in config.latencies().items() if "@" in name and _away(target)}
    words = ["--target", config.runtime] if _away(config.runtime) else []
    left = further - set(targets_in(objectives=config.objectives))
    if further != left:
        words += [word for name in config.objectives for word in ("-o", name)]
    if left:
        words += [word for text in config.budgets for word in ("-b", text)]
    return words


def targets_again(config: StudyConfig) -> list[str]:
    """Return the words of `nas export` and `nas measure` that name all targets of a run; none where all are here."""
    own = list(config.latencies().values())
    return [word for target in own for word in ("--target", target)] if any(map(_away, own)) else []


def check_to_resume(config: StudyConfig, folder: RunFolder, named: Iterable[str]) -> None:
    """Check that the user has named each target of a run on another machine in this process.

    Raises:
        RunError: one is not; says what to add.
    """
    away = [target for target in config.latencies().values() if _away(target)]
    if missing := [target for target in away if target not in set(named)]:
        raise RunError(
            f"{folder.path}: this run measures on {' and '.join(missing)}, {NAMED_AGAIN}\n"
            f"  to go on there give again {shlex.join(options_again(config))}\n"
            f"  in Python: targets={away!r}"
        )


def check_to_measure(config: StudyConfig, folder: RunFolder) -> None:
    """Check that a run has no target on another machine, where the user names none.

    Raises:
        RunError: it has; says what to add.
    """
    own = list(config.latencies().values())
    if away := [target for target in own if _away(target)]:
        options = shlex.join(targets_again(config))
        here = next((target for target in own if target not in away), "onnxruntime")
        raise RunError(
            f"{folder.path}: this run measured on {' and '.join(away)}, {NAMED_AGAIN}\n"
            f"  to measure there give {options}\n"
            f"  to measure here --target {here}; in Python: targets={own!r}"
        )


def _away(target: str) -> bool:
    return bool(Target.parse(target).host)
