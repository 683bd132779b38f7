"""How much of a full training a network is given before it is judged: rungs, and the stretches they are made of.

A full training sees `epochs` times the training set. A rung ends at a share of that; whoever is set aside there goes on
later as if nothing had been. What happens when is planned before the first batch, from numbers alone: no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

from nas.errors import SpaceError
from nas.training.checks import check

_ETA = 3
"""From rung to rung the share grows by this factor: Li et al., MLSys 2020, sec. 3. https://arxiv.org/abs/1810.05934"""

_LEAST_EPOCHS = 0.1
"""A network that has seen less than a tenth of the data says too little to end a rung by itself."""

_EXAMPLES = "write e.g. 0.1, 1/9 or 0.1,subset=0.3,resolution=0.5"


@dataclass(frozen=True, slots=True)
class Rung:
    """A point at which a training can be judged, set aside and taken up again.

    >>> str(Rung(1 / 9, subset=0.3)), Rung.parse("1/9,subset=0.3") == Rung(1 / 9, subset=0.3)
    ('1/9,subset=0.3', True)
    """

    share: float
    """Of the samples that a full training sees, in (0, 1]; the rung ends there."""

    subset: float = 1.0
    """Share of the training set that the samples up to there are drawn from, in (0, 1], the same of every class."""

    resolution: float = 1.0
    """Of the sides of an image, in (0, 1]; of no effect on other data, and on networks that do not take it."""

    def __post_init__(self) -> None:
        check(self, share="(0, 1]", subset="(0, 1]", resolution="(0, 1]")

    @classmethod
    def parse(cls, text: str) -> Rung:
        """Read what `str` writes; numbers may be fractions.

        Raises:
            SpaceError: it is none; names what to write.
        """
        share, *named = str(text).split(",")
        values = {"share": _number(share, text)}
        for pair in named:
            name, _, value = (part.strip() for part in pair.partition("="))
            if name not in ("subset", "resolution") or name in values:
                raise SpaceError(f"rung {text!r}: {pair.strip()!r} is not understood; {_EXAMPLES}")
            values[name] = _number(value, text)
        try:
            return cls(**values)
        except SpaceError as e:
            raise SpaceError(f"rung {text!r}: {e}; {_EXAMPLES}") from None

    def __str__(self) -> str:
        rest = [f"{f.name}={_written(getattr(self, f.name))}" for f in fields(self)[1:] if getattr(self, f.name) != 1]
        return ",".join([_written(self.share), *rest])


FULL: tuple[Rung, ...] = (Rung(1.0),)
"""One rung, the full training: nobody is set aside."""


def rungs(spec: str | Sequence[str], epochs: int | None = None) -> tuple[Rung, ...]:
    """Return the rungs that `spec` names; the last one is always the full training.

    Args:
        spec: "none" for the full training alone; "auto" for shares 1/27, 1/9, 1/3 and 1; or one text for each rung (see
            `Rung.parse`), where the full training may be left out.
        epochs: of the full training. "auto" leaves out what would end before a tenth of an epoch; None: nothing.
    Raises:
        SpaceError: names the rung and what to write.

    >>> [str(rung) for rung in rungs("auto", 8)], [str(rung) for rung in rungs(["0.2,subset=0.5"])]
    (['1/27', '1/9', '1/3', '1'], ['0.2,subset=0.5', '1'])
    """
    if spec == "none":
        return FULL
    if spec == "auto":
        shares = [1 / _ETA**k for k in (3, 2, 1)]
        return (*(Rung(s) for s in shares if epochs is None or s * epochs >= _LEAST_EPOCHS), *FULL)
    if isinstance(spec, str):
        raise SpaceError(f"rungs {spec!r}: write auto, none, or a list with a share for each rung; {_EXAMPLES}")
    if "none" in spec:
        raise SpaceError("rungs: none stands alone: nowhere; leave the others out, or leave none out")
    found = tuple(map(Rung.parse, spec))
    if not found or found[-1].share < 1:
        found = (*found, *FULL)
    check_rungs(found)
    return found


def check_rungs(found: object) -> None:
    """Check that rungs are some, that shares increase, and that the last one is the full training.

    Raises:
        SpaceError: names the rung and what to write.
    """
    if not isinstance(found, tuple) or not found or not all(isinstance(rung, Rung) for rung in found):
        raise SpaceError(f"rungs must be a tuple of Rung, got {found!r}; nas.training.rungs makes them from texts")
    for before, after in itertools.pairwise(found):
        if after.share <= before.share:
            raise SpaceError(f"rungs must have shares that increase, got {after.share:g} after {before.share:g}")
    if found[-1] != Rung(1.0):
        raise SpaceError(f"the last of the rungs is the full training, '1', got '{found[-1]}'; add '1' behind it")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Batches in a row, at whose end the network is judged and can be set aside. It owns its random streams."""

    rung: int

    epochs: float
    """Samples seen at its end since the beginning, in passes over the whole training set."""

    subset: float
    resolution: float

    lap: int
    """Which lap its batches belong to, from 0 over the whole training; a lap owns the order of its samples."""

    passes: int
    """Passes over the subset in a lap: so many as come nearest to the whole training set from below."""

    first_batch: int
    """Of the lap."""

    lap_batches: int
    """In the whole lap."""

    first_step: int
    """Batches before it, since the beginning of the training."""

    n_steps: int
    """Batches in it."""

    last_of_rung: bool


def plan(
    n: int, batch_size: int, epochs: int, rungs: Sequence[Rung], pools: Sequence[int] | None = None
) -> tuple[Stretch, ...]:
    """Return the stretches of a full training.

    Samples are drawn in laps: one pass over the training set, or as many passes over a subset as fit into one. A
    stretch ends where its lap or its rung does; so without rungs there is one for each epoch. The next rung goes on
    with the lap where the subset is the same: rungs alone change neither the batches nor their number.

    A batch counts as an equal part of its pass, and a rung ends at the batch nearest to its share; the first rung has a
    batch, and leaves one to the last where there are two. Rungs that would end where the one before does have no
    stretch.

    Args:
        n: training samples.
        batch_size: samples per step; all of them where there are fewer.
        epochs: passes over the n samples in the full training.
        rungs: as `check_rungs` wants them.
        pools: how many samples each rung draws from; None: the subset's share of n, rounded.

    >>> [(s.rung, s.epochs, s.n_steps) for s in plan(100, 10, 2, (Rung(0.25), Rung(1.0)))]
    [(0, 0.5, 5), (1, 1.0, 5), (1, 2.0, 10)]
    """
    if pools is None:
        pools = [max(1, round(rung.subset * n)) for rung in rungs]
    found: list[Stretch] = []
    lap, at, step, seen = -1, 0, 0, Fraction(0)  # `seen` is in epochs
    last, whole = len(rungs) - 1, Fraction(1, batches_of_pass(n, batch_size))
    for r, (rung, pool) in enumerate(zip(rungs, pools, strict=True)):
        passes, per_pass = max(1, n // pool), batches_of_pass(pool, batch_size)
        each = Fraction(pool, n * per_pass)
        wanted = round((Fraction(rung.share) * epochs - seen) / each)
        if r < last:
            wanted = min(wanted, (epochs - whole - seen) // each)
        left = max(wanted, 1 if r == 0 else 0)
        while left:
            if not found or at == found[-1].lap_batches or rung.subset != found[-1].subset:
                lap, at = lap + 1, 0
            taken = min(left, passes * per_pass - at)
            left -= taken
            seen += taken * each
            done = float(epochs) if r == last and not left else min(float(seen), float(epochs))
            found.append(
                Stretch(
                    rung=r,
                    epochs=done,
                    subset=rung.subset,
                    resolution=rung.resolution,
                    lap=lap,
                    passes=passes,
                    first_batch=at,
                    lap_batches=passes * per_pass,
                    first_step=step,
                    n_steps=taken,
                    last_of_rung=not left,
                )
            )
            at, step = at + taken, step + taken
    return tuple(found)


def batches_of_pass(n: int, batch_size: int) -> int:
    """Return into how many batches n samples are cut.

    A single left-over sample is left out, another one in every pass: a batch norm would have no variance to divide by.
    """
    return -(-samples_of_pass(n, batch_size) // batch_size)


def samples_of_pass(n: int, batch_size: int) -> int:
    """Return how many of n samples a pass takes; see `batches_of_pass`."""
    return n - 1 if n > 1 and batch_size > 1 and n % batch_size == 1 else n


def _number(text: str, whole: str) -> float:
    try:
        # Not all by Fraction: it writes 1e999999999 out in full.
        found = float(Fraction(text.strip())) if "/" in text else float(text)
    except (ValueError, ArithmeticError):
        found = math.nan
    if math.isnan(found):
        raise SpaceError(f"rung {whole!r}: {text.strip()!r} is no number; {_EXAMPLES}")
    return found


def _written(number: float) -> str:
    """Return a short text that `_number` reads as exactly this number."""
    short, fraction = f"{number:g}", Fraction(number).limit_denominator(1000)
    exact = [text for text in (short, str(fraction)) if float(Fraction(text)) == number]
    return exact[0] if exact else repr(float(number))
