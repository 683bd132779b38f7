"""How values of a column of words are written: dates, numbers with a decimal comma, numbers with a unit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOSTLY = 0.9
"""A column of which so many values are numbers is one of numbers, with slips in it."""

_DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ].*)?\s*\Z")

_DECIMAL_COMMA = r"\s*[+-]?(?:\d+(?:,\d+)?|,\d+)(?:[eE][+-]?\d+)?\s*"
"""123,4; a number without a comma is one too."""

_UNIT = r"[%€$£°µ]?(?:[^\W\d_]{1,4}[²³]?(?:/[^\W\d_]{1,3})?)?"

_MEASURED = rf"\s*[€$£]?\s?[+-]?(?:\d+|\d{{1,3}}(?:[.,' ]\d{{3}})+)(?:[.,]\d+)?\s?(?P<unit>{_UNIT})\s*"
"""1,234.50; 1.234,50 €; 70 %; 12 km."""

_MOST_UNITS = 2
"""12A, 12B, 12C, ... are codes, not numbers with units."""


def have_leading_zeros(words: pd.Series) -> bool:
    """Whether a word is written like 007: digits that a number would lose; missing ones do not count."""
    return bool(words.str.fullmatch(r"\s*0\d+\s*").eq(True).any())


def are_dates(words: pd.Series) -> bool:
    """Whether words (none missing) are dates, by the first 50 of them."""
    return all(_DATE.match(word) for word in words.unique()[:50])


def have_decimal_commas(words: pd.Series) -> bool:
    """Whether all words (none missing) are numbers, some of them with a comma before the fraction."""
    return bool(words.str.fullmatch(_DECIMAL_COMMA).all() and words.str.contains(",", regex=False).any())


def are_numbers_in_disguise(words: pd.Series) -> bool:
    """Whether most words (none missing) are numbers with separators or a unit: none that a program takes for such."""
    if have_leading_zeros(words) or not words.str.contains(r"[^\d.eE+\-\s]").any():
        return False
    units = words.str.extract(f"^{_MEASURED}$")["unit"]
    return bool(units.notna().mean() >= MOSTLY and units[units.fillna("") != ""].nunique() <= _MOST_UNITS)
