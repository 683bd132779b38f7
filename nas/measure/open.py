"""The meter of a target: on this machine or on another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import numpy as np

from nas.measure.apart import MeterApart
from nas.measure.latency import Calibration
from nas.measure.meter import Measures
from nas.measure.target import Target


class OpenMeter(Measures, AbstractContextManager["OpenMeter"], Protocol):
    """A meter with what a study keeps of it; to be closed, or used in a `with` block."""

    target: Target
    disturbed: int
    drifts: list[float]

    @property
    def calibration(self) -> Calibration:
        """The calibration that all measurements share, made when first asked for."""

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None: ...

    @property
    def device(self) -> dict[str, object]:
        """The machine it measures on, as `describe` tells it."""

    def close(self) -> None:
        """Let go of what it holds; the next measurement takes it up again."""


def open_meter(target: str, calibration: Calibration | None = None) -> OpenMeter:
    """Return the meter of a target; see `MeterApart` for this machine, `MeterElsewhere` for one behind ssh.

    Raises:
        NasError: no such target, or what it needs is not installed.
    """
    parsed = Target.parse(target)
    if parsed.host:
        from nas.measure.elsewhere import MeterElsewhere  # asyncssh, which is an extra

        return MeterElsewhere(parsed, calibration)
    return MeterApart(target, calibration)


@contextmanager
def opened(meters: Mapping[str, OpenMeter]) -> Iterator[Mapping[str, OpenMeter]]:
    """Close meters at the end of the block, whatever ends it."""
    with ExitStack() as stack:
        for meter in meters.values():
            stack.enter_context(meter)
        yield meters


NOTICED = 0.1
"""Share by which the reference net has to run slower or faster than at its calibration to be worth a word."""


def conditions(meter: OpenMeter) -> dict[str, float]:
    """Return under which conditions a meter has measured, as JSON has it.

    `reference_drift` is by which share the reference net ran slower than at its calibration, in the median over the
    measurements; `_low` and `_high` hold nine tenths of them.
    """
    found: dict[str, float] = {"measurements": len(meter.drifts), "disturbed": meter.disturbed}
    if meter.drifts:
        quantiles = np.quantile(meter.drifts, [0.5, 0.05, 0.95])
        names = ("reference_drift", "reference_drift_low", "reference_drift_high")
        found |= {name: round(float(q), 4) for name, q in zip(names, quantiles, strict=True)}
    return found


def noticed(meter: OpenMeter) -> list[str]:
    """Return what somebody who reads its latencies should know, a line each; mostly nothing."""
    found, lines = conditions(meter), []
    if n := meter.disturbed:
        lines.append(f"{n} latencies were measured beside a training that did not pause; they may be high")
    if abs(drift := found.get("reference_drift", 0.0)) > NOTICED:
        lines.append(
            f"the machine ran {abs(drift):.0%} {'slower' if drift > 0 else 'faster'} than at the calibration: "
            "latencies compare with each other, their milliseconds are those of the calibration"
        )
    return [f"{meter.target}: {line}" for line in lines]
