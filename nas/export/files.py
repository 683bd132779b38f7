"""Several files that belong together, under their names whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.errors import NasError


@contextmanager
def written_together(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a new folder beside `path`.

    Whatever lies in that folder when the block ends well moves to where `path` is, replacing what is there; `path`
    itself comes last, and an old one goes first, so that it never stands beside parts of another. If the block raises,
    everything is as it was.

    Raises:
        NasError: something cannot be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.mkdir(parents=True)
        yield aside / path.name
        parts = sorted(part for part in aside.iterdir() if part.name != path.name)
        if parts and path.is_file():
            path.unlink()
        for part in (*parts, aside / path.name):
            os.replace(part, path.with_name(part.name))
    except NasError as error:  # of a file that is called otherwise while it is written
        raise type(error)(str(error).replace(str(aside), str(path.parent))) from error
    except OSError as error:
        raise NasError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
