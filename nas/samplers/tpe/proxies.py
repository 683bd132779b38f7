"""What a network tells of itself before it is trained, as further features of its vector."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from nas.samplers.proposer import Describe
from nas.space import Architecture

_WEIGHT = 3.0
"""How much a proxy is thought to matter, against one choice of the tree."""

_NOTHING = 1e-6

_SHARE = 0.05  # of the architectures beyond either end of the scale


class Proxies:
    """Zero-cost proxies of architectures on one scale: mean 0, standard deviation 1, and nothing far out.

    A network that is cut in two has a synaptic flow like no other; how far out it lies says nothing, and would leave
    the rest at one point. So what is beyond the 5 % and 95 % quantiles is drawn in to them.

    Args:
        describe: tells them; it is asked once for each of an architecture.

    Reference: Abdelfattah et al., ICLR 2021, https://arxiv.org/abs/2101.08134 (zero-cost proxies); White et al.,
    NeurIPS 2021, https://arxiv.org/abs/2104.01177 (beside the features of a predictor).
    """

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self._known: dict[Architecture, dict[int, float]] = {}
        self._n = 0
        self._scale: tuple[np.ndarray, ...] | None = None

    def __len__(self) -> int:
        """Return how many there are; 0 before the scale is known."""
        return 0 if self._scale is None else self._n

    @property
    def scaled(self) -> bool:
        """Whether there is a scale."""
        return self._scale is not None

    def scale(self, archs: Sequence[Architecture]) -> None:
        """Take the scale from architectures drawn from the prior: the same ones whenever a study is taken up again."""
        told = self._told(archs)
        low, high, centre, deviation = np.zeros((4, told.shape[1]))
        for k, column in enumerate(told.T):
            known = column[np.isfinite(column)]
            if len(known):
                low[k], high[k] = np.quantile(known, (_SHARE, 1 - _SHARE), method="nearest")
                drawn = known.clip(low[k], high[k])
                centre[k], deviation[k] = drawn.mean(), drawn.std()
        self._scale = low, high, centre, np.where(deviation > 0, deviation, 1.0)

    def of(self, archs: Sequence[Architecture], wanted: Collection[int] | None = None) -> np.ndarray:
        """Return the proxies of architectures on the scale, (n, n_proxies); NaN where not known, or not asked for.

        Args:
            wanted: indices of those that are asked for; None: all.
        """
        assert self._scale is not None
        low, high, centre, deviation = self._scale
        return (self._told(archs, wanted).clip(low, high) - centre) / deviation

    def beliefs(self, start: np.ndarray) -> list[np.ndarray]:
        """Return what may be thought of groups of features before anything was seen, the proxies behind them.

        That no proxy matters, or that one of them does: which one is for the trials to say. All of them together would
        outweigh the tree, since they mostly tell the same: how large a network is.

        Args:
            start: (n_groups,) of the tree, as `Features.start`.
        Returns:
            Arrays of (n_groups + n_proxies,).
        """
        nothing = np.concatenate([start, np.full(len(self), _NOTHING)])
        one = [nothing.copy() for _ in range(len(self))]
        for k, weights in enumerate(one):
            weights[len(start) + k] = _WEIGHT
        return [nothing, *one]

    def _told(self, archs: Sequence[Architecture], wanted: Collection[int] | None = None) -> np.ndarray:
        for arch in archs:
            known = self._known.setdefault(arch, {})
            if wanted is None and (not known or len(known) < self._n):  # how many there are, the first answer says
                told = tuple(self._describe(arch))
                self._n = self._n or len(told)
                if len(told) != self._n:
                    both = sorted({self._n, len(told)})
                    raise ValueError(f"describe: always as many proxies, got {both} of different architectures")
                known.update(enumerate(told))
            elif missing := [k for k in wanted or () if k not in known]:
                told = self._describe(arch, missing)
                known.update((k, told[k]) for k in missing)
        found = np.full((len(archs), self._n), math.nan)
        for k in range(self._n) if wanted is None else wanted:
            found[:, k] = [self._known[arch][k] for arch in archs]
        return found
