"""Ask for the price before choosing: the first of a few candidates that keeps every budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice

from nas.samplers.proposer import MOST_PRICED, Price
from nas.space import Architecture


def within_budget(
    candidates: Iterable[Architecture], price: Callable[[Architecture], Price], most: int = MOST_PRICED
) -> Architecture:
    """Return the first candidate that keeps every budget, or the one that exceeds them least.

    Args:
        candidates: best first; at least one.
        price: called for at most `most` of them, and for none after the first that keeps the budgets.
    """
    best, least = None, math.inf
    for arch in islice(candidates, most):
        violation = price(arch).violation
        if violation <= 0:
            return arch
        if best is None or violation < least:
            best, least = arch, violation
    if best is None:
        raise ValueError("no candidates to choose from")
    return best
