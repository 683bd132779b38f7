"""What a user can get wrong, as exceptions whose text is the whole message.

Every one of them ends a command with that text on stderr and exit code 2. Our own mistakes are plain
exceptions and keep their traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasError(Exception):
    """Something the user can mend; the message names the place, the value and the remedy."""


class SpaceError(NasError):
    """A search space, or a choice within one, that cannot be what was meant."""


class DataError(NasError):
    """Data that cannot be learned from as they are."""


class BuildError(NasError):
    """A network that cannot be built; the message names the block and why."""


class BudgetError(NasError):
    """A budget that cannot be read, or that nothing keeps."""


class RunError(NasError):
    """A run folder or study that is not what the command needs."""


class TrialFailed(NasError):  # the name says what happened, as StopIteration does
    """One trial ended without a result; the message is the reason, and the search goes on."""


_MOST_NAMES = 20


def did_you_mean(kind: str, name: object, known: Iterable[str]) -> str:
    """Say that `name` is unknown, which known name is nearest, and what all of them are (the nearest, if many).

    >>> did_you_mean("block", "mbcov", ["mbconv", "maxpool", "skip"])
    "no block called 'mbcov'. Did you mean 'mbconv'? Known: maxpool, mbconv, skip"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    if len(names) > _MOST_NAMES:
        listed = difflib.get_close_matches(str(name), names, n=_MOST_NAMES, cutoff=0.0)
        return f"no {kind} called '{name}'.{hint} Known, of {len(names)}: {', '.join(listed)}, ..."
    return f"no {kind} called '{name}'.{hint} Known: {', '.join(names)}"
