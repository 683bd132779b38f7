"""Large numbers as one reads them."""

from __future__ import annotations

import math


def large(n: int) -> str:
    """Return a number one can read, however large.

    >>> large(5184), large(1048847626871561568)
    ('5,184', '1.0 x 10^18')
    """
    if n < 10**7:
        return f"{n:,}"
    exponent = power_of_ten(n)
    return f"{10 ** (math.log10(n) - exponent):.1f} x 10^{exponent}"


def power_of_ten(n: int) -> int:
    """Return the largest power of ten in a number above 0; Python writes no more than some 4,300 digits.

    >>> power_of_ten(999), power_of_ten(1000), power_of_ten(7 * 10**5000)
    (2, 3, 5000)
    """
    return len(str(n)) - 1 if n < 10**4000 else int(math.log10(n))
