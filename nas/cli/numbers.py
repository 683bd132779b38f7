"""Numbers as one reads them."""

from __future__ import annotations

import math


def large(n: int) -> str:
    """Return a number one can read, however large.

    >>> large(5184), large(1048847626871561568)
    ('5,184', '1.0 x 10^18')
    """
    if n < 10**7:
        return f"{n:,}"
    exponent = len(str(n)) - 1 if n < 10**4000 else int(math.log10(n))
    return f"{10 ** (math.log10(n) - exponent):.1f} x 10^{exponent}"
