"""What the time of an operation is made of: amounts of work, and about how long a unit of each takes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from math import prod
from typing import TypeAlias

from nas.blocks.operations import GATES, Operation

Term: TypeAlias = tuple[str, str]
"""A family of operations that a runtime runs by the same code, and a kind of work they do."""

LANES = 16
"""Channels that a vector unit takes at once (AVX-512, and the blocked layout of ONNX Runtime): a width of 12 costs what
16 does, and 20 what 32 does."""

_CACHE = 2**22
"""Weights beyond this many come from memory at each run."""


@functools.lru_cache(maxsize=2**14)
def terms(operation: Operation) -> Mapping[Term, float]:
    """Return the amounts of work of an operation, by term; a network's are their sums.

    The works: "node", starting it; "macs", multiply-adds with channels rounded up to `LANES`; "reads", inputs that are
    laid out for the multiply-adds; "moved", elements in and out; "weights"; "rows", of a map or of attention, begun
    anew; "edge", multiply-adds at the border of a map; "steps", one after the other; "input" and "state" of a
    recurrent step; "far", weights beyond the cache.
    """
    kind, c, d = operation.kind, operation.channels_in, operation.channels_out
    n_in, n = prod(operation.at_in), prod(operation.at_out)
    if kind == "conv":
        return _conv(operation)
    if kind == "linear":
        if n == 1:
            return _named("vector", {"node": 1.0, "weights": c * d, "far": max(0, c * d - _CACHE)})
        return _named("matrix", {"node": 1.0, "macs": n * c * up(d), "moved": n * (c + d), "weights": c * d})
    if kind == "embedding":  # of its weights only the rows that are looked up are read
        return _named(kind, {"node": 1.0, "moved": n * d})
    if kind in GATES:
        steps, gates = operation.groups * n, GATES[kind]
        family = kind.partition("_")[0]
        work = {"node": 1.0, "steps": steps, "input": steps * gates * up(d) * c, "state": steps * gates * up(d) * d}
        return _named(family, work) | {(kind, "moved"): steps * up(d), (family, "weights"): gates * d * (c + d)}
    if kind == "attention":
        heads, width = operation.groups, c // operation.groups
        work = {"node": 1.0, "macs": heads * n * (width * up(n) + n * up(width)), "moved": heads * n * up(n)}
        return _named(kind, work | {"rows": heads * n})
    if kind in ("maxpool", "avgpool"):
        whole = c % LANES == 0  # else the blocked layout is left for it
        work = {"node": 1.0, "reads": n * c * operation.kernel**2, "moved": n * c}
        return _named(kind if whole else f"{kind}_odd", work)
    on_map = len(operation.at_in) == 2
    family = kind if on_map else f"{kind}_{len(operation.at_in)}"
    return _named(family, {"node": 1.0, "moved": n_in * (up(c) if on_map else c)})


def up(channels: int) -> int:
    """Return `channels` rounded up to a multiple of `LANES`."""
    return -(-channels // LANES) * LANES


def _conv(operation: Operation) -> dict[Term, float]:
    _, c, d, at_in, at_out, kernel, groups = operation
    n_in, n, window = prod(at_in), prod(at_out), kernel ** len(at_out)
    moved = {"node": 1.0, "moved": n_in * up(c) + n * up(d)}
    if len(at_out) == 2 and groups == c == d:
        macs = up(c) * n * window
        return _named(
            "depthwise", moved | {"macs": macs, "edge": macs * _edge(at_out, kernel), "rows": up(c) * at_out[0]}
        )
    in_blocks = groups == 1 or (c // groups % LANES == 0 and d // groups % LANES == 0)
    if len(at_out) == 1 or not in_blocks:  # the windows are laid out side by side, then multiplied group by group
        family = "conv1d" if len(at_out) == 1 else "grouped"
        reads = "reads" if at_in == at_out else "strided"
        depth = c // groups * window
        work = {"node": 1.0, "macs": up(n) * depth * d, reads: n * c * window, "weights": depth * d, "groups": groups}
        return _named(family, work | {"moved": n_in * c + n * d})
    few = c < LANES  # the image itself: read as it lies
    depth = (c if few else groups * up(c // groups)) * window
    macs, reads = n * depth * up(d // groups), n * depth * -(-d // groups // (4 * LANES))
    work = {"macs": macs, "reads": reads, "edge": macs * _edge(at_out, kernel), "rows": at_out[0] * -(-c // LANES)}
    family = "few" if few else "conv" if window > 1 else "pointwise"
    return _named(family, moved) | _named("few" if few else "conv", work)


def _edge(at: tuple[int, ...], kernel: int) -> float:
    """Return the share of the positions whose window sticks out at the sides."""
    return min(kernel // 2 * 2, at[1]) / at[1]


def _named(family: str, work: dict[str, float]) -> dict[Term, float]:
    return {(family, name): amount for name, amount in work.items()}


_USUAL_NS = {
    "node": 500.0,
    "macs": 0.02,
    "reads": 0.1,
    "strided": 0.5,
    "moved": 0.2,
    "weights": 0.05,
    "far": 0.1,
    "rows": 10.0,
    "edge": 0.005,
    "steps": 150.0,
    "input": 0.02,
    "state": 0.04,
    "groups": 200.0,
}

_USUAL_NS_OF: dict[str, dict[str, float]] = {
    "network": {"node": 3000.0},
    "conv": {"moved": 0.02, "rows": 2.0, "edge": 0.001},
    "pointwise": {"moved": 0.02},
    "few": {"moved": 0.01, "reads": 0.02, "rows": 3.0, "edge": 0.001},
    "depthwise": {"moved": 0.05, "rows": 3.0},
    "grouped": {"moved": 0.05, "reads": 0.4, "weights": 0.3},
    "conv1d": {"moved": 0.05, "reads": 0.3},
    "relu": {"node": 100.0, "moved": 0.01},  # part of the convolution before it
    "maxpool": {"reads": 0.03},
    "avgpool": {"reads": 0.03},
    "maxpool_odd": {"reads": 0.05, "moved": 2.0},
    "avgpool_odd": {"moved": 2.0},
    "attention": {"node": 20000.0, "rows": 30.0},  # with all that computes its shapes
    "lstm": {"node": 5000.0},
    "gru": {"node": 5000.0, "moved": 3.0},
    "rnn": {"node": 5000.0},
    "rnn_relu": {"moved": 2.0},
    "rnn_tanh": {"moved": 6.0},
    "to_tokens": {"node": 2000.0},
    "to_map_1": {"node": 2000.0},
}
"""Where a family differs from the usual by a factor of three or so."""


def usual_ns(term: Term) -> float:
    """Return about how long a unit of a term takes, in ns, on one core of an x86 server of 2024 in ONNX Runtime."""
    family, work = term[0].partition("/")[0], term[1]  # before the slash: whatever its precision
    return _USUAL_NS_OF.get(family, {}).get(work, _USUAL_NS[work])
