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
    kept in `unfinished/` is found again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / "unfinished"
        self._plan = self.unfinished / "plan.json"

    def recover(self) -> None:
        """End what was under way when finished files were moved into place, if something was.

        Raises:
            RunError: it cannot be written.
        """
        if (self.unfinished / RESULT).exists():
            self._move()

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
        return plan_from(read_json(self._plan), self._plan)

    def begin(self, plan: Plan, *, anew: bool) -> None:
        """Keep what is begun or gone on with.

        Args:
            anew: whatever else was under way is gone.
        Raises:
            RunError: it cannot be written.
        """
        try:
            if anew:
                shutil.rmtree(self.unfinished, ignore_errors=True)
            self.unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.unfinished}: cannot be written: {error.strerror}") from None
        write_json(self._plan, dataclasses.asdict(plan))

    def trained(self, plan: Plan) -> dict[int, SeedResult]:
        """Return the seeds of a plan that are trained and judged, those of a finished retraining that it adds to too.

        Raises:
            RunError: a file cannot be read.
        """
        found: dict[int, SeedResult] = {}
        finished = self.finished()
        if finished is not None and finished.plan.get("id") == plan.id:
            found = {one.seed: one for one in finished.seeds}
        for path in self.unfinished.glob("seed-*.json"):
            try:
                one = SeedResult.from_dict(read_json(path))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RunError(f"{path}: not a seed of ours: {type(error).__name__} {error}; remove it") from None
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

    def keep(self, result: SeedResult, weights: bytes) -> None:
        """Keep a seed that is trained and judged; its figures come last, and say that it is.

        Raises:
            RunError: it cannot be written.
        """
        write_bytes(self.unfinished / result.weights, weights)
        write_json(self.unfinished / f"seed-{result.seed}.json", result.to_dict())
        self._state(result.seed).unlink(missing_ok=True)

    def finish(self, found: Retrained) -> None:
        """Put a retraining whose seeds are all kept in the place of an earlier one.

        Raises:
            RunError: it cannot be written.
        """
        write_json(self.unfinished / RESULT, found.to_dict())
        self._move()

    def discard_if_empty(self) -> None:
        """Forget a plan of which nothing was done, and the folder if there is nothing else in it."""
        if self.unfinished.is_dir() and not any(p != self._plan for p in self.unfinished.iterdir()):
            shutil.rmtree(self.unfinished, ignore_errors=True)
        with suppress(OSError):
            self.path.rmdir()

    def _move(self) -> None:
        """Move finished files into place, figures last; done again from wherever it was interrupted."""
        kept = {seed["weights"] for seed in read_json(self.unfinished / RESULT)["seeds"]}
        try:
            for path in sorted(self.unfinished.glob("seed-*.pt")):
                path.replace(self.path / path.name)
            for path in self.path.glob("seed-*.pt"):
                if path.name not in kept:
                    path.unlink()
            for name in CARDS:
                if (self.unfinished / name).exists():
                    (self.unfinished / name).replace(self.path / name)
            (self.unfinished / RESULT).replace(self.path / RESULT)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from None
        shutil.rmtree(self.unfinished, ignore_errors=True)

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
