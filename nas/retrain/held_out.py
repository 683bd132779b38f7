"""The one door to the test set: a network goes in, figures come out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from nas.build import Network
from nas.export.quantize import run_file
from nas.training import evaluate
from nas.training.judge import memory_format, score

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data import Task
    from nas.metrics import Judge

_BATCH = 512

Found: TypeAlias = tuple[dict[str, float], tuple[tuple[int, ...], ...]]
"""Figures by name, those of `nas.training.evaluate`; and the test samples by class (rows) and predicted class
(columns), empty where there are no classes."""


class HeldOut:
    """The test samples of a task, on a device.

    Attributes:
        n: how many.
        fingerprint: 16 hex digits that name samples, labels and their order.
    Raises:
        DataError: the data have none.
    """

    def __init__(self, task: Task, device: torch.device, judge: Judge) -> None:
        x, y = task.test()
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (x, y):
            digest.update(tensor.numpy().data)  # contiguous
        self.fingerprint, self.n = digest.hexdigest(), len(y)
        self._x, self._y, self._n_classes, self._judge = x.to(device), y.to(device), len(task.classes), judge

    def judge(self, network: Network, between_batches: Callable[[], None] | None = None) -> Found:
        """Return how good a network is, and how often each class was taken for which.

        Raises:
            TrialFailed: as `evaluate`.
        """
        network.to(self._x.device)
        scores = evaluate(network, self._x, self._y, judge=self._judge, between_batches=between_batches)
        return dict(scores), self._confusion(self._predicted(network)) if self._n_classes else ()

    def judge_file(self, path: Path, between_batches: Callable[[], None] | None = None) -> Found:
        """Return the same of the ONNX file at `path`, as ONNX Runtime runs it.

        Raises:
            NasError: it cannot be run.
            TrialFailed: its loss is not finite, or a user's metric cannot be told.
        """
        outputs = run_file(path, self._x.cpu().numpy(), _BATCH, between_batches=between_batches)
        scores = score(outputs, self._y.cpu().numpy(), self._judge)
        if not self._n_classes:
            return dict(scores), ()
        predicted = torch.from_numpy(outputs.argmax(axis=1))  # of equal outputs, which 8 bits have, the first
        return dict(scores), self._confusion(predicted.to(self._y.device))

    @torch.no_grad()
    def _predicted(self, network: Network) -> Tensor:
        network.eval()
        layout = memory_format(network, self._x)
        parts = (part.contiguous(memory_format=layout) for part in self._x.split(_BATCH))
        return torch.cat([network(part).argmax(1) for part in parts])

    def _confusion(self, predicted: Tensor) -> tuple[tuple[int, ...], ...]:
        n = self._n_classes
        counts = torch.bincount(self._y * n + predicted, minlength=n * n).reshape(n, n)
        return tuple(tuple(row) for row in counts.tolist())
