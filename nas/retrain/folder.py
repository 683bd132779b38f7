"""The folder of a network's retraining: what is finished stays whole, what is under way lies in `unfinished/`."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas.errors import RunError
from nas.records import read_json, write_json
from nas.retrain.card import CARDS
from nas.retrain.plan import Plan
from nas.retrain.result import RESULT, Retrained, SeedResult, read_retrained
from nas.study.folder import write_bytes


class RetrainFolder:
    """`seed-0.pt`, ..., `retrained.json`, `model_card.md`, `model_card.json`; and `unfinished/`.

    Whatever is killed, and when: the finished files are those of one retraining, or `recover` makes them so; what was
    kept in `unfinished/` is found again. What ends there, or is dropped, gets another name first, at one stroke: files
    that are left of it are never taken for those of the next plan.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / "unfinished"
        self._plan = self.unfinished / "plan.json"
        self._ending = path / "unfinished.ending"
        self._dropped = path / "unfinished.dropped"

    def recover(self) -> None:
        """End what was under way when finished files were moved into place, or others removed, if something was.

        Raises:
            RunError: it cannot be written.
        """
        if _weights_told(self._ending) is not None:
            self._move()
        _remove(self._ending)
        _remove(self._dropped)
        if _weights_told(self.unfinished) is not None:
            self._end()

    def finished(self) -> Retrained | None:
        """Return what is finished; None: nothing is.

        Raises:
            RunError: what is there cannot be read.
        """
        return read_retrained(self.path)

    def plan(self) -> Plan | None:
        """Return what is under way; None: nothing is.

        Raises:
            RunError: what is there cannot be read.
        """
        if not self._plan.exists():
            return None
        try:
            kept = read_json(self._plan)
        except RunError as error:
            raise RunError(f"{error}; --overwrite begins anew") from None
        return plan_from(kept, self._plan)

    def begin(self, plan: Plan, *, anew: bool) -> None:
        """Keep what is begun or gone on with; whatever is there of another plan is gone.

        Args:
            anew: what was under way of this one is gone, too.
        Raises:
            RunError: it cannot be written.
        """
        try:
            if anew or not self._is_of(plan):
                self._drop()
            self.unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.unfinished}: cannot be written: {error.strerror}") from None
        write_json(self._plan, dataclasses.asdict(plan), durable=True)

    def trained(self, plan: Plan) -> dict[int, SeedResult]:
        """Return the seeds of a plan that are trained and judged, those of a finished retraining that it adds to too.

        One whose file is damaged counts as not trained: it is trained again, to the same end.

        Raises:
            RunError: what is finished, or the plan that is under way, cannot be read.
        """
        found: dict[int, SeedResult] = {}
        finished = self.finished()
        if finished is not None and finished.plan.get("id") == plan.id:
            found = {one.seed: one for one in finished.seeds}
        for path in sorted(self.unfinished.glob("seed-*.json")) if self._is_of(plan) else []:
            with suppress(RunError, KeyError, TypeError, ValueError, AttributeError):
                kept = read_json(path)
                if kept.get("plan", plan.id) == plan.id:  # files of earlier versions do not say whose they are
                    one = SeedResult.from_dict(kept)
                    found[one.seed] = one
        return found

    def state(self, seed: int) -> bytes | None:
        """Return where the training of a seed left off; None where it has not begun."""
        try:
            return self._state(seed).read_bytes()
        except FileNotFoundError:
            return None

    def save_state(self, seed: int, state: bytes) -> None:
        """Keep where the training of a seed left off, atomically.

        Raises:
            RunError: it cannot be written.
        """
        write_bytes(self._state(seed), state)

    def keep(self, plan: Plan, result: SeedResult, weights: bytes) -> None:
        """Keep a seed of a plan that is trained and judged; its figures come last, and say that it is.

        Raises:
            RunError: it cannot be written.
        """
        write_bytes(self.unfinished / result.weights, weights)
        figures = {**result.to_dict(), "plan": plan.id}
        write_json(self.unfinished / f"seed-{result.seed}.json", figures, durable=True)  # then its state may go
        self._state(result.seed).unlink(missing_ok=True)

    def finish(self, found: Retrained) -> None:
        """Put a retraining whose seeds are all kept in the place of an earlier one.

        Raises:
            RunError: it cannot be written.
        """
        write_json(self.unfinished / RESULT, found.to_dict(), durable=True)
        self._end()

    def discard_if_empty(self) -> None:
        """Forget a plan of which nothing was done, and the folder if there is nothing else in it."""
        with suppress(OSError):
            if self.unfinished.is_dir() and not any(p != self._plan for p in self.unfinished.iterdir()):
                self._drop()
            self.path.rmdir()

    def _is_of(self, plan: Plan) -> bool:
        """Whether what is under way is of this plan."""
        kept = self.plan()
        return kept is not None and kept.id == plan.id

    def _end(self) -> None:
        """Put what is under way, and complete, into place."""
        try:
            _remove(self._ending)
            self.unfinished.replace(self._ending)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from None
        self._move()

    def _move(self) -> None:
        """Move finished files into place, figures last; done again from wherever it was interrupted."""
        kept = {seed["weights"] for seed in read_json(self._ending / RESULT)["seeds"]}
        try:
            for path in sorted(self._ending.glob("seed-*.pt")):
                path.replace(self.path / path.name)
            for path in self.path.glob("seed-*.pt"):
                if path.name not in kept:
                    path.unlink()
            for name in CARDS:
                if (self._ending / name).exists():
                    (self._ending / name).replace(self.path / name)
            (self._ending / RESULT).replace(self.path / RESULT)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from None
        _remove(self._ending)

    def _drop(self) -> None:
        """Remove what is under way."""
        if self.unfinished.exists():
            _remove(self._dropped)
            self.unfinished.replace(self._dropped)
            _remove(self._dropped)

    def _state(self, seed: int) -> Path:
        return self.unfinished / f"paused-{seed}.pt"


def plan_from(kept: Mapping[str, Any], where: Path) -> Plan:
    """Read a plan.

    Raises:
        RunError: it is none of ours.
    """
    try:
        return Plan(**kept)
    except TypeError as error:
        raise RunError(f"{where}: not a plan of ours: {error}; --overwrite begins anew") from None


def _weights_told(folder: Path) -> set[str] | None:
    """Return the files of weights that the result in a folder tells of; None where there is none that can be read."""
    try:
        return {str(seed["weights"]) for seed in read_json(folder / RESULT)["seeds"]}
    except (RunError, KeyError, TypeError):
        return None


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
