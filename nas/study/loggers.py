"""Other libraries' log lines, kept off the user's terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quieted(library: str, level: int) -> Iterator[None]:
    """Let a library log nothing below `level` meanwhile, and leave its setting as it was."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
