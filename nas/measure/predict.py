"""Latencies of networks that were not measured, nor even built, learned from those that were."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np

from nas.blocks.operations import Operation
from nas.build import walk_tree
from nas.errors import NasError
from nas.measure.additive import NOISE, Additive, Work
from nas.measure.terms import Term, terms
from nas.objectives import Measurement
from nas.shapes import Shape
from nas.space import Architecture, Space
from nas.space.tree import Tree

LEAST = 8
"""With fewer measurements than this nothing is said."""

MOST = 400
"""How many measurements are looked at, the latest: what a fit costs grows with them."""

_MOST_KNOWN = 10_000
"""Of how many parts the works are remembered."""

_NS_PER_MS = 1e6


class LatencyPredictor:
    """A latency is a sum over primitive operations, and what each kind of work takes is learned from whole networks.

    A network is described by its operations without building it (`Block.plan`), an operation by its amounts of work
    (`terms`): that it is started, multiply-adds with channels rounded up to the vector unit, elements moved, steps one
    after the other. How long a unit of each takes is estimated from about how long it usually does, times a speed that
    all share: a few measurements tell the speed, more of them the rest (`Additive`).

    A block of one's own without a plan is built, once for each shape it meets, and described by its layers,
    multiply-adds, sizes and weights: that takes a millisecond or two.

    Made for one target; another one has its own times. No module is kept, and nothing is random.

    Args:
        in_shape: of one sample, without the batch axis.

    Cost: `predict` 0.2 ms for each architecture; the first one after a measurement also the fit, see `Additive.fit`.
    """

    def __init__(self, space: Space, in_shape: Shape, n_outputs: int) -> None:
        self.space = space
        self._unbuilt = Unbuilt(in_shape, n_outputs, lambda operations, _: map(terms, operations))
        self._works: list[Work] = []
        self._log_ns: list[float] = []
        self._noise: list[float] = []
        self._model: Additive | None = None

    def __len__(self) -> int:
        """Return how many measurements were learned."""
        return len(self._works)

    def learn(self, arch: Architecture, latency: Measurement) -> None:
        """Take over a measurement in ms; one that is not above 0 teaches nothing.

        Raises:
            BuildError: the architecture cannot be built.
            SpaceError: it is of another space.
        """
        if not (math.isfinite(latency.value) and latency.value > 0):
            return
        self._works.append(self.describe(arch))
        self._log_ns.append(math.log(latency.value * _NS_PER_MS))
        half = (min(latency.high, 2 * latency.value) - max(latency.low, 0.0)) / 2 / latency.value
        self._noise.append(math.hypot(NOISE, half / 1.96))
        self._model = None

    def predict(self, archs: Sequence[Architecture]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the logarithm of what would be measured, in ms; (n,) each.

        Both are NaN where an architecture cannot be built, and everywhere before `LEAST` measurements. 1.96 deviations
        cover 95 %. The errors have heavier tails than a normal distribution: more than half lie within 0.67 of them.
        """
        mean, deviation = np.full(len(archs), math.nan), np.full(len(archs), math.nan)
        if len(self) < LEAST:
            return mean, deviation
        works = {i: work for i, arch in enumerate(archs) if (work := self._described(arch)) is not None}
        if works:
            if self._model is None:
                self._model = Additive.fit(self._works[-MOST:], self._log_ns[-MOST:], self._noise[-MOST:])
            log_ns, deviation[list(works)] = self._model.predict(list(works.values()))
            mean[list(works)] = log_ns - math.log(_NS_PER_MS)
        return mean, deviation

    def describe(self, arch: Architecture) -> dict[Term, float]:
        """Return the amounts of work in the network of an architecture.

        Raises:
            BuildError: it cannot be built.
            SpaceError: it is of another space.
        """
        tree = self.space.resolve(arch)
        total = self._unbuilt.total(tree)
        total["network", "node"] = 1.0
        deploy = tree.get("deploy")
        precision = deploy.get("precision", "fp32") if isinstance(deploy, dict) else "fp32"
        suffix = "" if precision == "fp32" else f"/{precision}"  # other code runs it, in other times
        return {(f"{family}{suffix}", work): amount for (family, work), amount in total.items() if amount}

    def _described(self, arch: Architecture) -> dict[Term, float] | None:
        try:
            return self.describe(arch)
        except NasError:
            return None


class Unbuilt:
    """Amounts of work in networks that are not built.

    A part of one's own without a plan is built; no module is kept. Of each part and shape the works are remembered:
    hundreds of candidates are made of a few dozen of them.

    Args:
        in_shape: of one sample, without the batch axis.
        of: the works of a part's operations, from them and its config; a change of layout has none.
        of_built: the same of what was built, from its "node" (layers), "macs", "moved" and "weights".
    """

    def __init__(
        self,
        in_shape: Shape,
        n_outputs: int,
        of: Callable[[Sequence[Operation], Any], Iterable[Work]],
        of_built: Callable[[Work], Work] = lambda work: work,
    ) -> None:
        self.in_shape, self.n_outputs = in_shape, n_outputs
        self._of, self._of_built = of, of_built
        self._known: dict[Any, tuple[Shape, Work]] = {}

    def total(self, tree: dict[str, Tree]) -> dict[Term, float]:
        """Return the sum over the parts of a resolved tree.

        Raises:
            BuildError: it cannot be built.
        """
        total: dict[Term, float] = defaultdict(float)

        def make(part: Any, *arguments: Any) -> Shape:
            if (part, arguments) not in self._known:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[part, arguments] = self._described(part, arguments)
            out_shape, work = self._known[part, arguments]
            for term, amount in work.items():
                total[term] += amount
            return out_shape

        walk_tree(tree, self.in_shape, self.n_outputs, make)
        return total

    def _described(self, part: Any, arguments: tuple[Any, ...]) -> tuple[Shape, Work]:
        """Return the shape that goes out of a part, and its amounts of work."""
        if "plan" not in vars(part):  # an inherited one tells of the parent
            out_shape, work = _built(part, *arguments)
            return out_shape, self._of_built(work)
        out_shape, operations = part.plan(*arguments)
        total: dict[Term, float] = defaultdict(float)
        for work in self._of(operations, arguments[-1] if hasattr(part, "Config") else None):
            for term, amount in work.items():
                total[term] += amount
        return cast(Shape, out_shape), total


def _built(part: Any, in_shape: Shape, *arguments: Any) -> tuple[Shape, Work]:
    """Return the shape that goes out of a part, and its amounts of work, by building it.

    Raises:
        ValueError: the part does not fit the shape that comes in.
    """
    import torch

    from nas.measure.fast_macs import count_macs_fast

    with torch.random.fork_rng(devices=()):
        module = part(in_shape, *arguments)
    out_shape: Shape = getattr(module, "out_shape", arguments[:1])  # of a head: how many outputs
    n_params = sum(parameter.numel() for parameter in module.parameters())
    try:
        macs = count_macs_fast(module, in_shape)
    except NasError:
        macs = n_params
    amounts = {
        "node": sum(not list(inner.children()) for inner in module.modules()),
        "macs": macs,
        "moved": math.prod(in_shape) + math.prod(out_shape),
        "weights": n_params,
    }
    family = f"{part.__module__}.{part.__qualname__}"
    return out_shape, {(family, work): float(amount) for work, amount in amounts.items()}
