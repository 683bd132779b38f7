"""The one door to the test set: a network goes in, figures come out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from nas.build import Network
from nas.training import evaluate
from nas.training.judge import memory_format

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data import Task

_BATCH = 512


class HeldOut:
    """The test samples of a task, on a device.

    Attributes:
        n: how many.
        fingerprint: 16 hex digits that name samples, labels and their order.
    Raises:
        DataError: the data have none.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        x, y = task.test()
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (x, y):
            digest.update(tensor.numpy().data)  # contiguous
        self.fingerprint, self.n = digest.hexdigest(), len(y)
        self._x, self._y, self._n_classes = x.to(device), y.to(device), len(task.classes)

    def judge(
        self, network: Network, between_batches: Callable[[], None] | None = None
    ) -> tuple[dict[str, float], tuple[tuple[int, ...], ...]]:
        """Return how good a network is, by name of the figure, and how often each class was taken for which.

        Returns:
            The figures of `nas.training.evaluate`; and the test samples by class (rows) and predicted class (columns),
            empty where there are no classes.
        Raises:
            TrialFailed: as `evaluate`.
        """
        network.to(self._x.device)
        scores = evaluate(network, self._x, self._y, between_batches=between_batches)
        return dataclasses.asdict(scores), self._confusion(network) if self._n_classes else ()

    @torch.no_grad()
    def _confusion(self, network: Network) -> tuple[tuple[int, ...], ...]:
        network.eval()
        layout = memory_format(network, self._x)
        parts = (part.contiguous(memory_format=layout) for part in self._x.split(_BATCH))
        predicted: Tensor = torch.cat([network(part).argmax(1) for part in parts])
        n = self._n_classes
        counts = torch.bincount(self._y * n + predicted, minlength=n * n).reshape(n, n)
        return tuple(tuple(row) for row in counts.tolist())
