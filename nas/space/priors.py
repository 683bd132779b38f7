"""What somebody believes of a parameter before anything was seen: weights of options, or a centre in a range.

Wherever a belief comes from (an expert, an earlier study), it is one of these two, and belongs to the parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nas.errors import SpaceError, did_you_mean
from nas.space.scalars import Scalar, same, scalar

FLOOR = 0.05
"""Share of equal probabilities that is mixed into weights: an option of weight 0 stays possible."""

SIGMA = 0.1
"""Standard deviation of the bump around a centre, on the parameter's unit scale: some 70 % lie in a fifth of it."""


@dataclass(frozen=True, slots=True)
class Centre:
    """A range is best near `value`.

    Attributes:
        value: within the range; it need not be on a step.
        confidence: in (0, 1): how much is believed to lie in a bump around the value. The rest is spread evenly.

    >>> Centre(0.01)
    Centre(value=0.01, confidence=0.5)
    """

    value: float
    confidence: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _number(self.value, "the centre of a prior", "a number in the range"))
        object.__setattr__(self, "confidence", _number(self.confidence, "the confidence of a prior", "0.5"))
        if not 0 < self.confidence < 1:
            raise SpaceError(
                f"the confidence of a prior lies between 0 and 1, got {self.confidence:g}; write e.g. 0.5, "
                "or 0.9 where you are nearly sure"
            )


def weights(written: object, options: Sequence[Scalar]) -> tuple[float, ...]:
    """Return one weight per option, in their order.

    Args:
        written: a weight for each option, or a mapping of some options to weights; those left out weigh 1.
    Raises:
        SpaceError: an option that is not there, another number of weights than of options, or weights that are
            negative, not finite or all zero.

    >>> weights([1, 2, 1], (3, 5, 7)), weights({"conv": 3}, ("conv", "lstm"))
    ((1.0, 2.0, 1.0), (3.0, 1.0))
    """
    if isinstance(written, Mapping) and written:
        for option in written:
            if not any(same(option, known) for known in options):
                raise SpaceError(f"prior: {_unknown(option, options)}")
        listed = [next((w for option, w in written.items() if same(option, known)), 1) for known in options]
    elif isinstance(written, list | tuple):
        if len(written) != len(options):
            raise SpaceError(
                f"a prior has a weight for each option, got {len(written)} for {len(options)}; write {len(options)}, "
                f"or a mapping for some of them, e.g. {{{options[0]}: 2}}"
            )
        listed = list(written)
    else:
        raise SpaceError(
            f"a prior of options is their weights, got {written!r}; write e.g. {{{options[0]}: 2}}, "
            "and options left out weigh 1"
        )
    found = tuple(
        _number(weight, f"the weight of {option}", "2") for option, weight in zip(options, listed, strict=True)
    )
    for option, weight in zip(options, found, strict=True):
        if weight < 0:
            raise SpaceError(f"a weight is at least 0, got {weight:g} for {option}; write 0 where you expect nothing")
    if not any(found):
        raise SpaceError("one weight must be above 0, and all are 0; leave out the prior where options are alike")
    return found


def shares(found: Sequence[float]) -> np.ndarray:
    """Return the probability of each option.

        p(option) = (1 - FLOOR) weight / sum of weights + FLOOR / n

    Returns:
        (n_options,) above 0, summing to 1.

    >>> shares((1.0, 1.0, 0.0)).round(3)
    array([0.492, 0.492, 0.017])
    """
    scaled = np.array(found) / max(found)  # huge weights have no finite sum
    return (1 - FLOOR) * scaled / scaled.sum() + FLOOR / len(found)


def bump(centre: float, confidence: float, edges: np.ndarray) -> np.ndarray:
    """Return the probability of each cell of the unit interval.

        p(cell) = confidence * (mass of N(centre, SIGMA^2), truncated to [0, 1], in the cell) + (1 - confidence) * width

    Args:
        centre: in [0, 1].
        edges: (n_cells + 1,) rising from 0 to 1.
    Returns:
        (n_cells,) above 0 where a cell has a width, summing to 1.

    >>> bump(0.5, 0.5, np.array([0.0, 0.4, 0.6, 1.0])).round(2)
    array([0.28, 0.44, 0.28])
    """
    below = np.array([math.erf((edge - centre) / (SIGMA * math.sqrt(2))) for edge in edges])
    inside = np.maximum(np.diff(below), 0.0) / (below[-1] - below[0])  # far out, rounding could make it negative
    return confidence * inside + (1 - confidence) * np.diff(edges)


def short_repr(self: Any) -> str:
    """Return a dataclass's usual repr; a prior is in it only where there is one."""
    shown = [f.name for f in fields(self) if f.name != "prior" or self.prior is not None]
    return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _unknown(option: object, options: Sequence[Scalar]) -> str:
    words = [known for known in options if isinstance(known, str)]
    if isinstance(option, str) and len(words) == len(options):
        return did_you_mean("option", option, words)
    return f"{option!r} is not among the options {list(options)}; name one as it is written there"


def _number(value: object, what: str, example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        got = "nothing" if value is None else repr(value)
        raise SpaceError(f"{what} is a number, got {got}; write {example}")
    return float(scalar(value, what))
