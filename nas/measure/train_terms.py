"""What the time of a training step is made of: amounts of work, and about how long a unit of each takes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from math import prod
from typing import Any

from nas.blocks.operations import GATES, Operation
from nas.measure.additive import Prior, Work
from nas.measure.terms import Term, up

_ONCE = ("node", "steps", "weights", "tensors")
"""Works that are done once a step, however many samples are in it."""

_FAMILY = {
    **dict.fromkeys(("silu", "gelu", "elu", "tanh", "sigmoid", "softmax"), "smooth"),
    **dict.fromkeys(("layer_norm", "group_norm"), "norm"),
}
"""Of operations that only go over their elements; "plain" are all others."""


def part_terms(operations: Sequence[Operation], config: Any) -> Iterator[Work]:
    """Return the works of a part's operations, `train_terms` of each; of dropout too where its config has some."""
    drops = repeat(getattr(config, "dropout", 0) > 0)
    return map(train_terms, operations, drops)


@functools.lru_cache(maxsize=2**14)
def train_terms(operation: Operation, drops: bool = False) -> Mapping[Term, float]:
    """Return the amounts of work of an operation in a training step, by term; a network's are their sums.

    Once a step: "node", starting it forward and backward; "steps" of a recurrent one, one after the other; "tensors"
    and "weights" that the optimizer and the averaging go over, in the family "update". For each sample: "macs",
    multiply-adds forward with channels rounded up to `LANES` (backward goes with them); "moved", elements in and out,
    those of the norm behind a convolution among them; "reads", elements that a pooling takes in; "input" and "state"
    of a recurrent step.

    Args:
        drops: whether it is of a part with dropout, which goes over what comes into linear layers and over the weights
            of attention.
    """
    kind, c, d, at_in, at_out, _, groups = operation
    n_in, n = prod(at_in), prod(at_out)
    moved = n_in * c + n * d
    dropped, nodes, family = 0, 1, _FAMILY.get(kind, "plain")
    work: Mapping[str, float] = {"moved": moved}
    total: dict[Term, float] = {}
    if kind == "conv":
        family, work = _conv(operation)
        nodes = 2
    elif kind == "embedding":
        work = {"moved": n * d}
    elif kind == "linear":
        family, work = kind if at_in else "vector", {"macs": n * c * up(d), "moved": moved}
        dropped = n * c
    elif kind in GATES:
        family, gated = kind.partition("_")[0], groups * n * GATES[kind] * up(d)
        work = {"steps": groups * n, "input": gated * c, "state": gated * d, "moved": gated}
    elif kind == "attention":
        family, scores, width = kind, groups * n * up(n), up(c // groups)
        nodes, work = 4, {"macs": 2 * scores * width, "moved": scores}
        dropped = scores
    elif kind in ("maxpool", "avgpool"):
        family, work = kind, {"reads": n_in * c, "moved": n * d}
    total |= {(family, name): amount for name, amount in work.items()}
    total["run", "node"] = nodes
    if drops and dropped:
        total["dropout", "moved"] = dropped
    tensors, weights = _parameters(operation)
    if tensors:
        total |= {("update", "weights"): weights, ("update", "tensors"): tensors}
    return total


def _conv(operation: Operation) -> tuple[str, dict[str, float]]:
    _, c, d, at_in, at_out, kernel, groups = operation
    n_in, n, window = prod(at_in), prod(at_out), kernel ** len(at_out)
    moved = n_in * c + n * d
    if len(at_out) == 1:
        return "conv1d", {"macs": n * up(c) * window * up(d), "moved": moved}
    if groups == c == d > 1:
        return "depthwise", {"macs": n * up(c) * window, "moved": n_in * up(c) + n * up(d)}
    if groups > 1:
        return "grouped", {"macs": n * c * window * up(d // groups), "moved": moved}
    if c < 8:  # the image itself, for which there is no gradient
        return "few", {"macs": n * c * window * up(d), "moved": moved}
    return "conv", {"macs": n * up(c) * window * up(d), "moved": moved}


def _parameters(operation: Operation) -> tuple[int, int]:
    """Return how many tensors of parameters an operation has, and how many weights; a convolution with its norm's."""
    kind, c, d, _, at_out, kernel, groups = operation
    if kind == "conv":
        return 3, c // groups * kernel ** len(at_out) * d + 2 * d
    if kind == "linear":
        return 2, (c + 1) * d
    if kind in GATES:
        return 4 * groups, groups * GATES[kind] * d * (c + d + 2)
    if kind == "embedding":
        return 1, c * d
    if kind == "layer_norm":
        return 2, 2 * c
    return 0, 0


def built_terms(work: Work) -> dict[Term, float]:
    """Return the same of a part that had to be built, from its layers, multiply-adds, elements moved and weights."""
    update = {"node": "tensors", "weights": "weights"}
    return dict(work) | {("update", update[name]): amount for (_, name), amount in work.items() if name in update}


def step_terms(size: int, augment: str) -> dict[Term, float]:
    """Return what every step does on samples of `size` numbers: they are gathered and augmented, and a loss is made."""
    gathered = {("step", "node"): 1.0, ("step", "moved"): float(size)}
    return gathered if augment == "none" else gathered | {(f"augment/{augment}", "moved"): float(size)}


def per_sample(step: Work, batch_size: int, optimizer: str) -> dict[Term, float]:
    """Return the amounts of work for one sample, from those of a step."""
    total = {term: amount / batch_size if term[1] in _ONCE else amount for term, amount in step.items()}
    for name in ("weights", "tensors"):
        total[f"update/{optimizer}", name] = total.pop(("update", name), 0.0)
    return {term: amount for term, amount in total.items() if amount}


_USUAL_NS = {
    "node": 160_000.0,
    "macs": 0.045,
    "reads": 0.15,
    "moved": 1.0,
    "weights": 13.0,
    "tensors": 28_000.0,
    "steps": 70_000.0,
    "input": 0.08,
    "state": 0.13,
}

_USUAL_NS_OF: dict[str, dict[str, float]] = {
    "step": {"node": 180_000.0, "moved": 2.0},
    "few": {"macs": 0.1, "moved": 3.0},
    "depthwise": {"macs": 0.6},
    "grouped": {"macs": 0.035, "moved": 4.2},
    "conv1d": {"macs": 0.035, "moved": 7.2},
    "linear": {"macs": 0.038, "moved": 1.8},
    "vector": {"macs": 0.07, "moved": 1.4},
    "attention": {"macs": 0.11, "moved": 3.3},
    "maxpool": {"moved": 10.0},
    "norm": {"moved": 1.3},
    "smooth": {"moved": 1.8},
    "dropout": {"moved": 8.0},
    "lstm": {"steps": 20_000.0, "input": 0.045, "state": 0.09, "moved": 1.5},
    "gru": {"steps": 160_000.0, "state": 0.2, "moved": 1.9},
    "rnn": {"input": 0.13, "moved": 3.2},
    "update/sgd": {"weights": 5.0},
    "update/rmsprop": {"weights": 7.0, "tensors": 44_000.0},
    "augment": {"moved": 1.5},
    "augment/crop": {"moved": 7.0},
    "augment/jitter": {"moved": 6.5},
    "augment/standard": {"moved": 8.5},
}
"""Where a family differs."""


def usual_ns(term: Term) -> float:
    """Return about how long a unit of a term takes, in ns, on one core of an x86 server of 2023 in eager torch."""
    family, work = term
    for known in (family, family.partition("/")[0]):
        if work in (of := _USUAL_NS_OF.get(known, {})):
            return of[work]
    return _USUAL_NS[work]


TRAINING = Prior(usual_ns=usual_ns, speed=0.7, apart=0.4, error=0.2, noise=0.1)
"""Another machine is thought to be slower or faster by a factor of two."""
