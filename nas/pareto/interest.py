"""Which networks nobody wants, however cheap they are."""

from __future__ import annotations

import math
from collections.abc import Iterable

_TIMES, _POINTS = 3.0, 0.1


def worst_of_interest(errors: Iterable[float]) -> float:
    """Return the error beyond which nobody wants a network: thrice the best, and 10 points more (decision 024).

    >>> round(worst_of_interest([0.1, 0.08]), 3), worst_of_interest([0.0]), worst_of_interest([])
    (0.24, 0.1, inf)
    """
    best = min((error for error in errors if not math.isnan(error)), default=math.inf)
    return max(_TIMES * best, best + _POINTS)
