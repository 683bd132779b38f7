"""What goes wrong inside a network, as the reason of a failed trial."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from nas.errors import NasError, TrialFailed

_DIVERGED = 1e6
"""Nats per sample, where guessing costs log(n_classes), or variances of the target, where it costs 1: clipping and
norms can keep a burst network finite for ever."""

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "bad allocation")


def check_loss(loss: float, place: str) -> None:
    """Check that a mean loss per sample is one of a network that can still learn.

    Raises:
        TrialFailed: it is not finite, or beyond reason; `place` says where, such as "at epoch 3".
    """
    if not math.isfinite(loss) or loss > _DIVERGED:
        raise TrialFailed(f"diverged: loss is {loss:.3g} {place}")


@contextmanager
def as_trial_failed() -> Iterator[None]:
    """Turn whatever goes wrong inside a network into the reason of a failed trial; Ctrl-C is no such thing."""
    try:
        yield
    except NasError:
        raise
    except Exception as e:
        first = (str(e).splitlines() or [""])[0]
        if isinstance(e, MemoryError) or any(words in str(e).lower() for words in _OUT_OF_MEMORY):
            raise TrialFailed(f"out of memory: {first or type(e).__name__}") from e
        raise TrialFailed(f"{type(e).__name__}: {first}") from e
