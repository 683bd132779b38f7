"""The study in Optuna's storage: each trial is written when it starts and when it ends, by the driver alone."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.errors import RunError
from nas.objectives import Objective
from nas.records import TrialRecord
from nas.samplers.optuna import to_distribution
from nas.space import Architecture, Space
from nas.study.loggers import quieted
from nas.study.storages import close_storage, hide_password, open_storage, storage_errors

_STATES = {
    "complete": TrialState.COMPLETE,
    "duplicate": TrialState.PRUNED,
    "over_budget": TrialState.PRUNED,
    "stopped_early": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_ARCHITECTURE, _RECORD = "architecture", "record"


class Storage:
    """One study in an Optuna storage.

    Optuna's dashboard, plots and importances work on it. A trial that trains is written twice, in one transaction of
    all its parameters when it starts (about 7 ms in SQLite for 40 of them) and when it ends; one that is
    rejected is written once.

    Args:
        url: see `nas.study.storages`.
        name: of the study within the storage.
        resume: whether the study has to exist, or must not.
    Raises:
        RunError: it does not exist, exists already, or cannot be opened; and from every method: it failed.
    """

    def __init__(self, url: str, name: str, space: Space, objectives: Sequence[Objective], *, resume: bool) -> None:
        self._url, self._space, self._objectives = url, space, objectives
        shown = hide_password(url)
        self._distributions = {path: to_distribution(slot.parameter) for path, slot in space.slots.items()}
        with quieted("optuna", logging.ERROR):
            try:
                self._storage = open_storage(url)
                if resume:
                    self.study = optuna.load_study(study_name=name, storage=self._storage)
                else:
                    directions = [objective.direction for objective in objectives]
                    self.study = optuna.create_study(study_name=name, storage=self._storage, directions=directions)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                        self.study.set_metric_names([objective.name for objective in objectives])
                self._study_id = self._storage.get_study_id_from_name(name)
            except KeyError:
                raise RunError(f"{shown}: no study called '{name}' to resume") from None
            except optuna.exceptions.DuplicatedStudyError:
                raise RunError(
                    f"{shown}: a study called '{name}' exists already, of another run; choose another name of the run "
                    "folder with --out, or go on with that run: --resume --out and its folder"
                ) from None
            except RunError:
                raise
            except Exception as error:  # SQLAlchemy's and the drivers' own, which are not ours to import
                raise RunError(f"storage {shown}: cannot be opened: {str(error).splitlines()[0]}") from None

    @property
    def backend(self) -> BaseStorage:
        """Optuna's own storage, for its tools."""
        return self._storage

    @property
    def study_id(self) -> int:
        """The study's number there."""
        return self._study_id

    def close(self) -> None:
        """Let go of the file or the server; what is done afterwards opens it again."""
        close_storage(self._storage)

    def discard(self) -> bool:
        """Delete the study, and return whether it is gone; one with a trial that ended, or was queued, stays.

        What storages say of it is not raised: the caller has an error to tell already.
        """
        try:
            with storage_errors(self._url), quieted("optuna", logging.ERROR):
                if any(map(_worth, self.study.get_trials(deepcopy=False))):
                    return False
                optuna.delete_study(study_name=self.study.study_name, storage=self._storage)
        except RunError:
            return False
        return True

    @property
    def attributes(self) -> dict[str, Any]:
        """What is kept with the study as a whole."""
        return self.study.user_attrs

    def keep(self, name: str, value: Any) -> None:
        """Keep a JSON-able value with the study."""
        with storage_errors(self._url):
            self.study.set_user_attr(name, value)

    def load(self) -> tuple[list[TrialRecord], list[tuple[int, Architecture]]]:
        """Return the finished trials and those set aside, in order; and what was interrupted (to be run again)."""
        finished, interrupted = [], []
        for trial in self.study.get_trials(deepcopy=False):
            if _ARCHITECTURE not in trial.user_attrs:
                continue  # somebody else's, for instance queued from a dashboard
            arch = Architecture.from_json(trial.user_attrs[_ARCHITECTURE])
            if trial.state.is_finished() and _RECORD in trial.user_attrs:
                finished.append(TrialRecord.from_dict(trial.number, arch, json.loads(trial.user_attrs[_RECORD])))
            elif _RECORD in trial.user_attrs:
                record = TrialRecord.from_dict(trial.number, arch, json.loads(trial.user_attrs[_RECORD]))
                if not record.paused:  # killed between the two writes of `finish`
                    self.finish(record)
                finished.append(record)
            elif not trial.state.is_finished():
                interrupted.append((trial.number, arch))
        return finished, interrupted

    def start(self, arch: Architecture) -> int:
        """Write that a trial has started, and return its number."""
        return self._add(arch, TrialState.RUNNING, None, {})

    def pause(self, record: TrialRecord) -> None:
        """Write how far a trial came that may go on. For Optuna, whose trials end once, it is still running."""
        with storage_errors(self._url):
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, record.number)
            self._storage.set_trial_user_attr(trial_id, _RECORD, json.dumps(record.to_dict()))

    def finish(self, record: TrialRecord) -> None:
        """Write what became of a trial that was started."""
        with storage_errors(self._url):
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, record.number)
            self._storage.set_trial_user_attr(trial_id, _RECORD, json.dumps(record.to_dict()))
            self._storage.set_trial_state_values(trial_id, _STATES[record.state], self._values(record))

    def reject(self, record: TrialRecord) -> int:
        """Write a trial that never started, and return its number."""
        attributes = {_RECORD: json.dumps(record.to_dict())}
        return self._add(record.arch, _STATES[record.state], self._values(record), attributes)

    def _values(self, record: TrialRecord) -> list[float] | None:
        if record.state != "complete":
            return None
        return [record.metrics[objective.name] for objective in self._objectives]

    def _add(
        self, arch: Architecture, state: TrialState, values: list[float] | None, attributes: dict[str, Any]
    ) -> int:
        trial = create_trial(
            state=state,
            params=dict(arch.values),
            distributions={path: self._distributions[path] for path in arch.values},
            values=values,
            user_attrs={_ARCHITECTURE: arch.to_json(), **attributes},
        )
        with storage_errors(self._url):
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=trial)
            return self._storage.get_trial_number_from_id(trial_id)


def _worth(trial: FrozenTrial) -> bool:
    """Whether a trial is more than one of ours that was begun."""
    return _RECORD in trial.user_attrs or _ARCHITECTURE not in trial.user_attrs
