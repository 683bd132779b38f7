"""What a stretch of a training learns from: which samples, in which order, and how they are changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data import select, strata, stratified
from nas.rng import generator, torch_seed
from nas.training.augment import augment
from nas.training.config import TrainConfig
from nas.training.fidelity import Stretch, samples_of_pass
from nas.training.resolution import reduce


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples to learn from, as the network sees them."""

    inputs: Tensor
    """(N, *in_shape); (H, W) may be smaller."""

    labels: Tensor
    """(N,) class indices, or (N, n_targets) standardised targets of a regression."""

    others: Tensor | None = None
    """The same of what was mixed in; None: nothing was."""

    share: float | Tensor = 1.0
    """That `labels` have in the mixture; a scalar."""

    def loss(self, logits: Tensor, smoothing: float, weights: Tensor | None = None) -> Tensor:
        """Mean cross-entropy in nats, in regression the mean squared error; of a mixture, the mixture of both.

        Args:
            logits: outputs, (N, n_outputs).
            smoothing: of the classes; has no effect in regression.
            weights: (n_classes,) of the samples of each class; None: all weigh 1.
        """

        def of(labels: Tensor) -> Tensor:
            if labels.is_floating_point():
                return F.mse_loss(logits, labels)
            if weights is None:
                return F.cross_entropy(logits, labels, label_smoothing=smoothing)
            total = F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing)
            # Not over the weights in this batch: a batch without a rare class would weigh as much as one with it.
            return total / len(labels)

        if self.others is None:
            return of(self.labels)
        return self.share * of(self.labels) + (1 - self.share) * of(self.others)


def class_weights(y: Tensor) -> Tensor:
    """Return (n_classes,) weights, inversely as the frequency of each class in y (n,); of all samples the mean is 1.

    Every class has a sample, as in a task and each share of it.

    King & Zeng, Logistic Regression in Rare Events Data, Political Analysis 2001, sec. 3.2, as scikit-learn's
    "balanced" has it.

    >>> class_weights(torch.tensor([0, 0, 0, 1]))
    tensor([0.6667, 2.0000])
    """
    counts = torch.bincount(y)
    return len(y) / (len(counts) * counts.clamp(min=1)).float()


class Feed:
    """The batches of one stretch.

    The order is the lap's, and everything else random the stretch's: what is drawn for one purpose moves nothing of
    another, and a stretch begins the same whatever process ran the one before.

    Attributes:
        batches: indices into the samples, (N,) each.
        device: of the samples.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        pool: Tensor | None,
        config: TrainConfig,
        stretch: Stretch,
        number: int,
        *,
        seed: int,
        size: tuple[int, int] | None,
        layout: torch.memory_format,
    ) -> None:
        """Prepare a stretch of the training that `seed` owns.

        Args:
            x: (n, *in_shape) and y: (n,), all training samples.
            pool: indices of those to draw from; None: all.
            number: of the stretch, from 0 over the whole training.
            size: sides (H, W) that images are reduced to; None: as they are.
            layout: in memory, of what the network is given.
        """
        self._x, self._y, self._config = x, y, config
        self._size, self._layout, self.device = size, layout, x.device
        self._augmenting = _torch_generator(x, seed, "augment", number)
        if config.mixup:
            self._mixing, self._shares = _torch_generator(x, seed, "mixup", number), generator(seed, "mixup", number)

        shuffling = _torch_generator(x, seed, "shuffle", stretch.lap)
        n = len(x) if pool is None else len(pool)
        lap: list[Tensor] = []
        for _ in range(stretch.passes):
            order = torch.randperm(n, generator=shuffling, device=x.device)[: samples_of_pass(n, config.batch_size)]
            lap += (order if pool is None else pool[order]).split(config.batch_size)
        self.batches = lap[stretch.first_batch : stretch.first_batch + stretch.n_steps]

    def load(self, chosen: Tensor) -> Batch:
        """Return the samples `chosen`, augmented, mixed and reduced."""
        labels = self._y[chosen]
        inputs = augment(self._x[chosen], self._config.augment, self._augmenting)
        others, share = None, 1.0
        if alpha := self._config.mixup:
            share = float(self._shares.beta(alpha, alpha))
            partner = torch.randperm(len(chosen), generator=self._mixing, device=chosen.device)
            inputs, others = torch.lerp(inputs[partner], inputs, share), labels[partner]
        if self._size is not None:
            inputs = reduce(inputs, self._size)
        return Batch(inputs.contiguous(memory_format=self._layout), labels, others, share)


def pool(x: Tensor, y: Tensor, share: float, method: str, seed: int) -> Tensor | None:
    """Return the indices of about a share of the samples, every class with its own; None for all of them.

    A larger share contains a smaller one, but for single samples at the rounding. "stratified" draws for each seed;
    other methods choose once, the same for all seeds.

    Args:
        method: one of `nas.data.SUBSETS`.

    Cost: milliseconds; of a method that looks at the samples up to seconds, the first time in a process.
    """
    if share == 1:
        return None
    if method == "stratified":
        chosen = stratified(strata(y.cpu().numpy()), share, generator(seed, "subset"), leave=0)
    else:
        chosen = _representative(x, y, share, method)
    return torch.from_numpy(chosen).to(y.device)


_CHOSEN: dict[tuple[str, float, str], np.ndarray] = {}
"""What was chosen, by method, share and samples: all trainings of a process choose the same."""


def _representative(x: Tensor, y: Tensor, share: float, method: str) -> np.ndarray:
    digest = hashlib.blake2b(y.cpu().numpy().tobytes(), digest_size=8)
    digest.update(x[:: max(1, len(x) // 64)].cpu().numpy().tobytes())
    key = method, share, digest.hexdigest()
    if key not in _CHOSEN:
        rng = generator(0, "subset", method)
        _CHOSEN[key] = select(method, x.cpu().numpy(), strata(y.cpu().numpy()), share, rng)
    return _CHOSEN[key]


def _torch_generator(x: Tensor, seed: int, purpose: str, number: int) -> torch.Generator:
    return torch.Generator(device=x.device).manual_seed(torch_seed(seed, purpose, number))
