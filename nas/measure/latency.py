"""The latency protocol: a candidate's time as a ratio to a reference net that ran in the same moments.

A machine whose clock drifts slows both alike, so their ratio holds where milliseconds move by tens of percent. A busy
neighbour does not: it slows a net that lives in the caches by a sixth and one that reads memory by half or more. But
it comes in bursts, so of each net the lower decile counts, which is its time between them
(results/reference/latency_protocol.json). What runs is a plain callable: this file knows no runtime.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from nas.errors import RunError

Run = Callable[[], None]
"""One inference of one sample."""

Clock = Callable[[], int]
"""Nanoseconds since some moment."""

_LONG_NS = 2_500_000
"""Untimed runs of a candidate end after about this time: one that runs this long has filled the caches by itself."""


_LONGEST_S = 2.0
"""A measurement does not go on for longer than this beyond its seconds: others wait for it."""

CALM = 0.1
"""The quantile of a net's times that is taken for its time in calm."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A candidate's time in calm over the reference's, with its 95 % interval."""

    value: float
    low: float
    high: float
    pairs: int
    reference_ns: float
    """What the reference took in calm beside this candidate."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the reference net takes in calm, in ms: measured once, kept with the study, never measured again.

    The machine's own speed drifts by tens of percent within hours; with one frozen factor all latencies of a study
    stay comparable. Latencies of two studies compare through their ratios alone.
    """

    reference_ms: float
    runtime: str
    """Name of the runtime it was measured in."""

    reference: str
    """Name of the reference net."""

    def __post_init__(self) -> None:
        if not (isfinite(self.reference_ms) and self.reference_ms > 0):
            raise RunError(f"calibration: reference_ms must be above 0 and finite, got {self.reference_ms}")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            RunError: a field is missing, unknown, or not a figure.
        """
        try:
            return cls(float(values["reference_ms"]), str(values["runtime"]), str(values["reference"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"calibration {dict(values)} cannot be read ({error!r}); measure in a new study") from error


def measure_ratio(
    candidate: Run,
    reference: Run,
    *,
    limits: Sequence[float] = (),
    sure: float = 0.015,
    most: int = 16,
    warmups: int = 10,
    untimed: int = 5,
    min_pairs: int = 9,
    max_pairs: int = 25,
    seconds: float = 0.5,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
) -> Ratio:
    """Return the lower decile of the times of `candidate` over that of `reference`, which take turns.

    Args:
        limits: ratios at which somebody decides. While one lies within the interval the pairs are doubled, up to
            `most` times as many, for some seconds at most: effort goes where it matters.
        sure: while the interval is wider than this share of the ratio, as a burst of noise makes it, the pairs are
            doubled too, as long as `seconds` are not over.
        warmups, untimed, min_pairs, max_pairs, seconds, clock: see `time_pairs`.
        seed: of the bootstrap.
    Returns:
        The ratio, its bootstrap interval, the number of pairs. The interval says what repeating the measurement in
        the same process and the same calm would give; it does not know of what differs from process to process.
    """
    end = clock() + int(seconds * 1e9)
    pairs = time_pairs(
        candidate,
        reference,
        warmups=warmups,
        untimed=untimed,
        min_pairs=min_pairs,
        max_pairs=max_pairs,
        seconds=seconds,
        clock=clock,
    )
    enough = most * len(pairs)
    while True:
        value = float(_calm_ratio(pairs))
        low, high = bootstrap_interval(pairs, seed=seed)
        decided, late = not any(low < limit < high for limit in limits), clock() - end
        if (decided and (high - low <= sure * value or late >= 0)) or late >= _LONGEST_S * 1e9 or len(pairs) >= enough:
            break
        n = len(pairs)
        more = time_pairs(candidate, reference, warmups=1, untimed=untimed, min_pairs=n, max_pairs=n, clock=clock)
        pairs = np.concatenate([pairs, more])
    reference_ns = float(np.quantile(pairs[:, 1], CALM))
    return Ratio(value, min(low, value), max(high, value), len(pairs), reference_ns)


def time_pairs(
    candidate: Run,
    reference: Run,
    *,
    warmups: int = 10,
    untimed: int = 5,
    min_pairs: int = 9,
    max_pairs: int = 25,
    seconds: float = 0.5,
    clock: Clock = time.perf_counter_ns,
) -> np.ndarray:
    """Return the ns of `candidate` and of `reference`, run in turns: (n_pairs, 2).

    Directly before each timed run the same net runs untimed: each net pushes the other out of the caches, and
    without this one of 23 MB reads 30-70 % too fast, since it is the reference that pays. For the candidate the
    untimed runs shrink from `untimed` to 1 as it takes longer (see `_LONG_NS`): within 1 % of 10 untimed runs for
    nets of up to 5 MB, within 2 % for larger ones. The garbage collector rests.

    Args:
        warmups: runs of each net before the first pair; fewer where they take more than a fifth of `seconds`.
        untimed: runs before each timed run; two are enough for a net of up to a megabyte.
        min_pairs: done however long they take.
        max_pairs: enough for an interval of 0.7 % in calm.
        seconds: after this time no further pair is begun, once there are `min_pairs`.
        clock: gives the time in ns.
    """
    with _without_gc():
        long_ns = int(seconds * 1e9) // 5
        candidate_ns = _warm_up(candidate, warmups, long_ns, clock)
        _warm_up(reference, warmups, long_ns, clock)
        candidate_untimed = min(untimed, max(1, -(-_LONG_NS // max(1, candidate_ns))))
        pairs: list[tuple[int, int]] = []
        end = clock() + int(seconds * 1e9)
        while len(pairs) < min_pairs or (len(pairs) < max_pairs and clock() < end):
            above = _timed(candidate, candidate_untimed, clock)
            below = _timed(reference, untimed, clock)
            pairs.append((above, below))
    return np.array(pairs, dtype=np.float64)


def reference_time_ms(
    reference: Run,
    *,
    blocks: int = 40,
    runs: int = 20,
    untimed: int = 5,
    pause: float = 0.005,
    clock: Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Return what `reference` takes in calm, in ms: the lower decile of the medians of many short blocks.

    Neighbours only ever add time, and come in bursts: read on a shared machine, blocks took 0.039 ms or, at times most
    of them, 0.044 to 0.050, and hardly anything between. A block is short enough to fall between two bursts, the
    pauses spread the blocks over a quarter of a second, and the decile forgets the disturbed ones, up to nine in ten.
    The minimum would be the one block in which the clock ran fastest.
    """
    medians = []
    with _without_gc():
        _warm_up(reference, 50, 10**9, clock)
        for _ in range(blocks):
            sleep(pause)
            medians.append(np.median([_timed(reference, 0 if i else untimed, clock) for i in range(runs)]))
    return float(np.quantile(medians, CALM)) / 1e6


def calm_reference_ms(fit: Callable[[], float], *, most: int = 8, apart: float = 0.02) -> float:
    """Return what `fit`, a `reference_time_ms`, tells twice within `apart`: the least of what it told.

    A burst can be longer than a fit: of 13 calibrations of one fit two were 14 and 20 % too slow.

    Args:
        most: fits at most, where no two of the fastest agree.
    """
    told = sorted(fit() for _ in range(2))
    while told[1] > told[0] * (1 + apart) and len(told) < most:
        told = sorted([*told, fit()])
    return told[0]


def bootstrap_interval(
    pairs: np.ndarray, *, seed: int = 0, resamples: int = 500, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the calm ratio of `pairs`, (n_pairs, 2); the same for the same seed.

    Its coverage on exponential noise is .97 for 50 pairs and .91 for 9.

    Reference: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.
    """
    drawn = np.random.default_rng(seed).integers(len(pairs), size=(resamples, len(pairs)))
    low, high = np.quantile(_calm_ratio(pairs[drawn]), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _calm_ratio(pairs: np.ndarray) -> np.ndarray:
    """Return (...) ratios for (..., n_pairs, 2) times."""
    calm = np.quantile(pairs, CALM, axis=-2)
    return calm[..., 0] / calm[..., 1]


def _timed(run: Run, untimed: int, clock: Clock) -> int:
    """Return the ns of one run, after `untimed` more; at least 1, since coarse clocks can stand still."""
    for _ in range(untimed):
        run()
    start = clock()
    run()
    return max(1, clock() - start)


def _warm_up(run: Run, runs: int, long_ns: int, clock: Clock) -> int:
    """Run at most `runs` times and, after the second, no longer than `long_ns`; return the ns of the fastest run."""
    end = clock() + long_ns
    times: list[int] = []
    while len(times) < 2 or (len(times) < runs and clock() < end):
        times.append(_timed(run, 0, clock))
    return min(times)


@contextmanager
def _without_gc() -> Iterator[None]:
    """Keep Python's garbage collector from running within a timed run."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
