"""What a retraining is: all that decides its weights, and so may not change half-way; and for how many epochs."""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.durations import readable
from nas.errors import NasError
from nas.records import TrialRecord
from nas.study.config import StudyConfig
from nas.study.deploy import precision_of
from nas.training import Rung, TrainConfig
from nas.training.config import PARTS

MOST_EPOCHS = 300
"""With a time limit alone: as many as long published schedules for images have. A small network on small data would
otherwise be given tens of thousands."""

_SPARE = 0.9
"""Of a time limit that trainings are planned for: the rest is for judging, checkpoints and a slower moment."""

_START_S = 6.0
"""In which a process that trains gets ready."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the weights and the figures of a retraining, but for which seed it is."""

    id: str
    """Tells this retraining from an earlier one of the same network."""

    trial: int
    fingerprint: str
    """Of the architecture."""

    run_seed: int
    """Of the study, which owns the random streams."""

    training: Mapping[str, Any]
    """`TrainConfig.to_tree` without rungs."""

    data: str
    """Fingerprint of what is trained on, `Task.fingerprint`."""

    test_data: str
    """Fingerprint of what it is judged on."""

    precision: str = "fp32"
    """Of the file that ships, which is what is judged. Earlier versions did not say it, and judged float32."""

    time_limit_s: float | None = None
    """Of the command that chose the epochs, where a time limit did."""

    @classmethod
    def new(cls, config: StudyConfig, record: TrialRecord, train: TrainConfig, **named: Any) -> Plan:
        """Return the plan of a retraining that begins; `named` are the data and the time limit."""
        tree = train.to_tree()
        del tree["rungs"]  # of the checkpoints
        return cls(
            id=uuid.uuid4().hex,
            trial=record.number,
            fingerprint=record.arch.fingerprint(),
            run_seed=config.seed,
            training=tree,
            precision=precision_of(config.space, record.arch),
            **named,
        )

    def of_other_epochs(self, epochs: int) -> Plan:
        """Return the plan of a retraining for fewer epochs, or more, which is another one."""
        return dataclasses.replace(self, id=uuid.uuid4().hex, training={**self.training, "epochs": epochs})

    @property
    def epochs(self) -> int:
        """Of each training."""
        return int(self.training["epochs"])

    def train_config(self) -> TrainConfig:
        """Return how each seed is trained: a rung, at which it can be set aside, ends with every epoch."""
        config = TrainConfig.from_tree(self.training)
        n = config.epochs
        return dataclasses.replace(config, rungs=tuple(Rung(k / n) for k in range(1, n + 1)))

    def differences(self, other: Plan) -> list[str]:
        """Return in words in what `other` would be another retraining than this one."""
        mine, theirs = (dict(_flat(dataclasses.asdict(plan))) for plan in (self, other))
        names = {"data": "training data", "test_data": "test data"}
        found = []
        for part in PARTS:
            kind, other_kind = (next(iter(plan.training[part])) for plan in (self, other))
            if kind != other_kind:  # then none of its fields is the same one
                found.append(f"training.{part}: {other_kind} instead of {kind}")
                for flat in (mine, theirs):
                    for name in [name for name in flat if name.startswith(f"training.{part}.")]:
                        del flat[name]
        for name in {**mine, **theirs}:
            was, now = mine.get(name), theirs.get(name)
            if name in ("id", "time_limit_s") or was == now:
                continue
            found.append(f"other {names[name]}" if name in names else f"{name}: {now} instead of {was}")
        return found


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def epochs_that_fit(
    record: TrialRecord,
    *,
    larger: float,
    trainings: int,
    workers: int,
    limit_s: float,
    spent_s: float = 0.0,
    most: int | None = None,
) -> int:
    """Return for how many epochs a network can be trained so that all trainings of a command end within a time limit.

    Each training gets the same time. An epoch takes as many seconds for a sample as it did in the search.

    Args:
        larger: times as many samples an epoch has as in the search.
        trainings: in all, seeds counted; `workers` of them at a time.
        spent_s: of the limit so far.
        most: epochs; None: `MOST_EPOCHS`.
    Raises:
        NasError: not one epoch fits, or nobody knows how long one takes.
    """
    if record.epoch_seconds <= 0:
        raise NasError(
            f"trial {record.number}: how long an epoch of it takes is not known; say --epochs, without --time-limit"
        )
    epoch_s = record.epoch_seconds * larger
    turns, start_s = max(1, math.ceil(trainings / workers)), spent_s + (_START_S if workers > 1 else 0.0)
    each_s = _SPARE * (limit_s - start_s) / turns
    if epoch_s > each_s:
        how = f"{trainings} trainings, {workers} at a time" if trainings > 1 else "one training"
        least = readable(math.ceil(epoch_s * turns / _SPARE + start_s))
        raise NasError(
            f"trial {record.number}: an epoch takes {readable(epoch_s)}; of {readable(limit_s)} for {how}, each has "
            f"{readable(max(0.0, each_s))}\n  give {least} at least, fewer networks or fewer seeds"
        )
    return min(int(each_s / epoch_s), most or MOST_EPOCHS)


def epochs_within(
    records: Sequence[TrialRecord], trainings: Mapping[int, int], *, workers: int, **limits: Any
) -> tuple[dict[int, int], dict[int, NasError]]:
    """Return for how many epochs each network can be trained within a time limit, and why some cannot be.

    Where not one epoch of a network fits, the others have its time: the slowest is looked at first.

    Args:
        trainings: by number of the trial, also of others that share the limit.
        workers: at most.
        limits: see `epochs_that_fit`.
    """
    left = dict(trainings)

    def epochs(record: TrialRecord) -> int:
        n = sum(left.values())
        return epochs_that_fit(record, trainings=n, workers=min(workers, max(1, n)), **limits)

    refused: dict[int, NasError] = {}
    for record in sorted(records, key=lambda r: r.epoch_seconds if r.epoch_seconds > 0 else math.inf, reverse=True):
        try:
            epochs(record)
        except NasError as error:
            refused[record.number] = error
            del left[record.number]
    return {r.number: epochs(r) for r in records if r.number not in refused}, refused
