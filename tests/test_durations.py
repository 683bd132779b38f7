"""Spans of time, read and said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.durations import readable, seconds
from nas.errors import NasError


@pytest.mark.parametrize(
    ("text", "span"),
    [("90", 90), ("90s", 90), (" 1.5 h ", 5400), ("15m", 900), ("15min", 900), (".5s", 0.5), ("2.m", 120), (3, 3)],
)
def test_what_is_read(text, span):
    assert seconds(text) == span


@pytest.mark.parametrize(
    "text", ["", "soon", "0", "0.0h", "-5", "5 m 3 s", "1e3", "nan", "inf", "9" * 400, "5d", "5M", "s", "."]
)
def test_what_is_refused(text):
    with pytest.raises(NasError, match=r"cannot be read; write e\.g\. 90s, 15m or 1\.5h"):
        seconds(text)


@given(st.floats(0, 1e6))
def test_what_is_said_is_near_the_truth(span):
    words = readable(span).split()
    scale = {"s": 1, "min": 60, "h": 3600}
    said = sum(float(n) * scale[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(said - span) <= (0.1 * span if span < 10 else 1 if span < 3600 else 60)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        *[(0, "0 s"), (0.01, "0.01 s"), (1.5, "1.5 s"), (9.96, "10 s"), (42, "42 s"), (59.4, "59 s")],
        *[(59.6, "1 min 00 s"), (60, "1 min 00 s"), (3600, "1 h 00 min")],
    ],
)
def test_neither_nothing_nor_sixty_seconds(span, words):
    assert readable(span) == words
