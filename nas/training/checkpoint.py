"""A training that was set aside, and as bytes that any process can go on from."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from nas.errors import RunError
from nas.training.config import TrainConfig
from nas.training.log import EpochLog

_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainState:
    """All of a training at the end of a stretch but the data. No random stream: laps and stretches own them."""

    seed: int
    config: str
    """Of the whole training, as JSON."""

    n: int
    """Training samples."""

    step: int
    stretches: int
    """Done so far."""

    module: dict[str, Tensor] = field(repr=False)
    """As the last step left them."""

    average: dict[str, Tensor] = field(repr=False)
    """Averaged weights and buffers; empty where none are kept."""

    optimizer: dict[str, Any] = field(repr=False)
    scaler: dict[str, Any] = field(repr=False)
    """Of the loss, where the precision needs one; else empty."""

    curve: tuple[EpochLog, ...]
    train_seconds: float

    def check(self, n: int, config: TrainConfig, seed: int) -> None:
        """Check that this is of the training of `n` samples that `config` and `seed` describe.

        Raises:
            RunError: it is of another one; names the difference.
        """
        if self.n != n:
            raise RunError(
                f"a checkpoint is of a training on {self.n} samples, and there are {n}; go on with the data and "
                "the subset that it began with"
            )
        usual, kept = json.loads(written(TrainConfig())), json.loads(self.config)
        before = {**usual, "seed": self.seed, **kept}  # a field that was not there yet had its default
        now = {"seed": seed, **json.loads(written(config))}
        for name, value in now.items():
            if before.get(name) != value:
                raise RunError(
                    f"a checkpoint is of a training with {name} {before.get(name)}, not {value}; go on as it began, or "
                    "train the trial from its start"
                )

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads. Weights and optimizer together are 2 to 4 times the network's size."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["curve"] = [asdict(log) for log in self.curve]
        buffer = io.BytesIO()
        torch.save(values, buffer)
        content = buffer.getvalue()
        return _digest(content) + content

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainState:
        """Read what `to_bytes` wrote, onto the CPU; no code of it is run.

        Raises:
            RunError: it is damaged.
        """
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if digest != _digest(content):
            raise RunError(f"a checkpoint of {len(data)} bytes is damaged; train the trial from its start")
        try:
            values = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
            values["curve"] = tuple(EpochLog(**entry) for entry in values["curve"])
            return cls(**values)
        except Exception as e:  # torch has no exception of its own for what it cannot read
            reason = (str(e).splitlines() or [""])[0]
            raise RunError(f"a checkpoint cannot be read: {reason}; train the trial from its start") from e


def written(config: TrainConfig) -> str:
    """Return a config as a state has it."""
    return json.dumps(config.to_tree(), sort_keys=True)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
