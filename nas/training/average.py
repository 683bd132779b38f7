"""Averages over the weights that a training passes through, which say more than the last ones while it is under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """Polynomial-decay average of all floating-point parameters and buffers, a batch norm's statistics among them.

    After t steps all weights up to step s together count (s / t) ** power, so the average looks back on the same share
    of the training however long that was: the mean age of what it holds is t / (power + 1).

    At a high learning rate the weights jump about a valley whose bottom is near their mean; so a rung in the middle of
    a training is judged nearly as if the learning rate had come down for it.

    The running statistics of a batch norm, with their usual memory of ten batches or so, hold their initial values for
    long after the first dozen steps, where a cheap rung may end. Until they would forget by themselves, they are made
    to look back on the same share of the steps; a training learns from its batches' own statistics, and is none the
    different.

    Shamir & Zhang, Stochastic gradient descent for non-smooth optimization, ICML 2013, sec. 4.
    https://arxiv.org/abs/1212.1824. We differ in the first steps, which count for less, and in that later ones stand
    for those around them: neighbours are so alike that the average is as good.

    Cost: 12 bytes of traffic per parameter and update, of which 64 steps need 64, and twice as many always 32 more.
    """

    def __init__(self, module: nn.Module, share: float, *, constant: bool = False) -> None:
        """Watch `module`, whose tensors must stay where they are.

        Args:
            share: mean age, as a share of the steps so far, in (0, 0.5].
            constant: set the momentum of batch norms once, to be told by them of each batch's own statistics, and
                do here what they would do; a step that is recorded keeps the momentum it was recorded with.
        """
        self._power = 1 / share - 1
        watched = {name: t for name, t in module.state_dict().items() if t.is_floating_point()}
        self._names, self._weights = list(watched), list(watched.values())
        self._means = [t.clone() for t in self._weights]
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
        self._norms = [(norm, norm.momentum) for norm in norms if norm.momentum is not None]
        self._running: list[Tensor] = []
        self._usual: list[float] = []
        if constant:
            for norm, usual in self._norms:
                norm.momentum = 1.0
                statistics = [t for t in (norm.running_mean, norm.running_var) if t is not None]
                self._running += statistics
                self._usual += [usual] * len(statistics)
        self._before = [t.clone() for t in self._running]

    def before(self, step: int) -> None:
        """Have the batch norms forget what they should in this step, counted from 1, that comes."""
        if self._running:
            torch._foreach_copy_(self._before, self._running)
            return
        for norm, usual in self._norms:
            norm.momentum = max(usual, self._new(step, step - 1))

    def after(self, step: int) -> None:
        """Take in the weights as this step, counted from 1, has left them; not every step has its turn."""
        if self._running:
            new = self._new(step, step - 1)
            torch._foreach_lerp_(self._before, self._running, [max(usual, new) for usual in self._usual])
            torch._foreach_copy_(self._running, self._before)
        if step % _interval(step) == 0:
            torch._foreach_lerp_(self._means, self._weights, self._new(step, step - _interval(step - 1)))

    def _new(self, step: int, last: int) -> float:
        """Return which share of the average is of steps after `last`."""
        return 1 - (last / step) ** self._power

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the averages in the module for the length of a block."""
        weights = [t.clone() for t in self._weights]
        self.apply()
        try:
            yield
        finally:
            torch._foreach_copy_(self._weights, weights)

    def apply(self) -> None:
        """Leave the averages in the module, and its batch norms as they were found."""
        torch._foreach_copy_(self._weights, self._means)
        for norm, usual in self._norms:
            norm.momentum = usual

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the averages by their names in the module."""
        return {name: t.clone() for name, t in zip(self._names, self._means, strict=True)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, mean in zip(self._names, self._means, strict=True):
            mean.copy_(state[name])


def _interval(step: int) -> int:
    """Return how many steps lie between two updates: the power of two that is 1/64 to 1/32 of the steps so far."""
    return 1 << max(0, step.bit_length() - 6)
