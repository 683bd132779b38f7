"""How good a network is on some samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from nas.data import strata, stratified
from nas.metrics import Judge
from nas.rng import generator
from nas.training.failures import as_trial_failed, check_loss
from nas.training.log import Scores

MOST_JUDGED = 4096
"""Samples that are judged on before the end of a training: they leave an accuracy of 0.9 within 0.9 points (95 %)."""


@torch.no_grad()
def evaluate(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    batch: int = 512,
    *,
    judge: Judge = Judge(),  # noqa: B008  # a frozen value
    between_batches: Callable[[], None] | None = None,
) -> Scores:
    """Judge `module`, in evaluation mode and float32, on (x, y); its mode is as before afterwards.

    Args:
        x: (n, *in_shape), at least one sample.
        y: (n,) indices into the logits, or (n, n_outputs) standardised targets.
        batch: samples at a time.
        judge: by which figures.
        between_batches: called before every batch; may take its time, and raise nothing.
    Raises:
        TrialFailed: as for `fit`; a loss that is not finite counts as diverged.
    """
    if len(x) == 0:
        raise ValueError("there are no samples to evaluate on")
    was_training, layout = module.training, memory_format(module, x)
    outputs: list[Tensor] = []
    module.eval()
    try:
        with as_trial_failed():
            for inputs in x.split(batch):
                if between_batches is not None:
                    between_batches()
                outputs.append(module(inputs.contiguous(memory_format=layout)).float())
            return score(torch.cat(outputs).cpu().numpy(), y.cpu().numpy(), judge)
    finally:
        module.train(was_training)


def score(outputs: np.ndarray, y: np.ndarray, judge: Judge) -> Scores:
    """Return how good outputs are.

    Args:
        outputs: (n, n_outputs), n > 0.
        y: as a task has it.
    Raises:
        TrialFailed: a loss that is not finite, or a user's metric that cannot be told.
    """
    found = judge.scores(outputs, y)
    check_loss(found["loss"], "in evaluation")
    return found


def few(x: Tensor, y: Tensor, most: int = MOST_JUDGED) -> tuple[Tensor, Tensor]:
    """Return about `most` of the samples (all where there are no more), every class with its share, always the same."""
    if len(y) <= most:
        return x, y
    chosen = stratified(strata(y.cpu().numpy()), most / len(y), generator(0, "judged"), leave=0)
    return x[torch.from_numpy(chosen).to(y.device)], y[torch.from_numpy(chosen).to(y.device)]


def memory_format(module: nn.Module, x: Tensor) -> torch.memory_format:
    """Return channels_last where there are 2-D convolutions: up to 1.7 times as fast on some CPUs, alike on others."""
    convolves = x.ndim == 4 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    return torch.channels_last if convolves else torch.contiguous_format
