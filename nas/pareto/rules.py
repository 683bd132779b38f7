"""The words of a rule by which one network of a run is chosen, and what is wrong with words that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from nas.errors import BudgetError, NasError, did_you_mean
from nas.objectives import OBJECTIVES, Budget, is_latency, parse_number, parse_objective

Kind = Literal["knee", "best", "closest", "trial"]

_BETWEEN = re.compile(r"\s+and\s+|,(?!\s*\w+\s*=)")
"""Between two budgets. The comma of a target (latency_ms@openvino:threads=2,batch=8<=1) is none of these."""

RULES = (
    "knee, best:OBJECTIVE, closest or closest:OBJECTIVE=VALUE,..., each with 'where LIMIT and LIMIT' behind it, or "
    "trial:NUMBER"
)
"""All there are, in words."""

_EXAMPLES = "e.g. knee, 'best:accuracy where latency_ms<=1', closest:accuracy=0.95,latency_ms=0.5, trial:17"


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to choose; see `parse_rule`."""

    kind: Kind
    objective: str = ""
    """Of best."""

    number: int = -1
    """Of trial."""

    budgets: tuple[Budget, ...] = ()
    ideal: tuple[tuple[str, float], ...] = ()
    """Of closest: figures and the values wished for; none: the best of each objective."""

    def __str__(self) -> str:
        wished = ",".join(f"{name}={value:.12g}" for name, value in self.ideal)
        behind = {"knee": "", "best": self.objective, "trial": str(self.number), "closest": wished}[self.kind]
        head = f"{self.kind}:{behind}" if behind else self.kind
        return head + (" where " + " and ".join(map(str, self.budgets)) if self.budgets else "")

    def renamed(self, name: Callable[[str], str]) -> Rule:
        """Return the rule with `name` of each figure that it names, such as `StudyConfig.plain_name`."""
        return replace(
            self,
            objective=self.objective and name(self.objective),
            budgets=tuple(replace(b, objective=name(b.objective)) for b in self.budgets),
            ideal=tuple((name(known), value) for known, value in self.ideal),
        )


def parse_rule(text: str) -> Rule:
    """Read a rule: what is to be chosen, and limits that it has to keep.

    | | |
    |---|---|
    | `knee` | where a little less of one objective begins to cost much of another, see `knee` |
    | `best:OBJECTIVE` | the best in one figure |
    | `closest` | nearest to having the best of every objective, see `choose` |
    | `closest:NAME=VALUE,NAME=VALUE` | nearest to these values |
    | `trial:NUMBER` | that trial, on the front or not |

    Behind all but the last may stand `where BUDGET and BUDGET, BUDGET`. Numbers may end in k, M or G.

    Raises:
        NasError: the text is no rule, or names no objective; says what is possible.
        BudgetError: what stands after `where` is no budget.

    >>> str(parse_rule("best:accuracy where latency_ms <= 1, n_params<=100k"))
    'best:accuracy where latency_ms<=1 and n_params<=100000'
    >>> parse_rule("closest: accuracy=0.95, latency_ms=0.5").ideal
    (('accuracy', 0.95), ('latency_ms', 0.5))
    """
    head, where, tail = re.fullmatch(r"\s*(.*?)\s*(?:\b(where)\b\s*(.*?)\s*)?", str(text), re.DOTALL).groups()  # type: ignore[union-attr]
    kind, colon, behind = (part.strip() for part in head.partition(":"))
    rule = _head(text, kind, bool(colon), behind)
    if not where:
        return rule
    if rule.kind == "trial":
        raise NasError(f"rule {text!r}: a trial is one trial, 'where' chooses nothing; write {rule}")
    try:
        return replace(rule, budgets=tuple(Budget.parse(part) for part in _BETWEEN.split(tail)))
    except BudgetError as error:
        raise BudgetError(f"rule {text!r}: after 'where': {error}") from None


def _head(text: str, kind: str, colon: bool, behind: str) -> Rule:
    if kind == "knee":
        if colon:
            raise NasError(f"rule {text!r} cannot be read: knee takes nothing behind it; write knee, or best:accuracy")
        return Rule("knee")
    if kind == "best":
        if not behind:
            known = ", ".join(OBJECTIVES)
            raise NasError(f"rule {text!r} cannot be read: best of what? Write best:accuracy, or another of {known}")
        try:
            return Rule("best", objective=parse_objective(behind).name)
        except NasError as error:
            raise NasError(f"rule {text!r}: {error}") from None
    if kind == "closest":
        if colon and not behind:
            raise NasError(f"rule {text!r} cannot be read: closest to what? Write closest:accuracy=0.95, or closest")
        return Rule("closest", ideal=_ideal(text, behind) if behind else ())
    if kind == "trial":
        if not re.fullmatch(r"[0-9]+", behind):
            raise NasError(f"rule {text!r} cannot be read: trial takes the number of a trial; write e.g. trial:17")
        return Rule("trial", number=int(behind))
    raise NasError(f"rule {text!r} cannot be read: {_unknown(kind)}")


def _unknown(kind: str) -> str:
    """Say that there is no such rule, and what there is."""
    if re.fullmatch(r"[0-9]+", kind):
        return f"for trial {kind} write trial:{kind}"
    if kind in OBJECTIVES:
        return f"{kind} is an objective; write best:{kind}"
    hint = did_you_mean("rule", kind, ("knee", "best", "closest", "trial")).partition(" Known:")[0] if kind else ""
    return f"{hint}\n  write {RULES}\n  {_EXAMPLES}".strip()


def _ideal(text: str, behind: str) -> tuple[tuple[str, float], ...]:
    """Read what stands behind `closest:`."""
    found: dict[str, float] = {}
    for part in _parts(behind):
        name, equals, value = (piece.strip() for piece in part.rpartition("="))
        if not equals:
            raise NasError(
                f"rule {text!r} cannot be read: which {value}? Write e.g. closest:{value or 'accuracy'}=0.95"
            )
        try:
            objective = parse_objective(name)
        except NasError as error:
            raise NasError(f"rule {text!r}: {error}") from None
        try:
            wished = parse_number(value)
        except ValueError:
            why = f"write a number, e.g. {name}={'0.5' if is_latency(name) else '10k' if objective.cheap else '0.95'}"
        else:
            why = objective.impossible(wished)
            if not why and wished <= 0 and objective.cheap and objective.direction == "minimize":
                why = "prices count by their logarithm, write one above 0"
        if why:
            raise NasError(f"rule {text!r}: {name}={value} is no value to be close to; {why}")
        if objective.name in found:
            raise NasError(f"rule {text!r}: {objective.name} is named twice")
        found[objective.name] = wished
    return tuple(found.items())


def _parts(behind: str) -> list[str]:
    """Cut at commas; those within a target (latency_ms@openvino:threads=2,batch=8=0.5) are none of ours."""
    found: list[str] = []
    for part in behind.split(","):
        if found and "@" in found[-1] and re.split("[=@]", part)[0].strip() not in OBJECTIVES:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found
