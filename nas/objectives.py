"""What is optimised and what is limited: objectives, budgets, and measured values."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nas.errors import BudgetError, NasError, did_you_mean
from nas.registry import A_RUN, Table, caller


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure of a network that a search can improve."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]
    cheap: bool
    """Known before any training (a price), as against known after it."""

    price: Callable[..., float] | None = field(default=None, compare=False, repr=False)
    """Of one of a user's own: `price(module, in_shape)`, see `Objectives.add`; all others are counted in one go."""

    enough: float | None = None
    """A value that is good enough: what is better counts as this. None: better is always better."""

    best: float | None = None
    """The value that none can beat, from which errors are counted; None: there is none, or nobody says."""

    kind: str = ""
    """Of the tasks that have it: classification, regression; "" for all."""

    scale: float = 1.0
    """What an error of 1 is counted as; see `scaled`."""

    def described(self) -> dict[str, Any]:
        """Return what a file has to say of one of a user's own."""
        return {name: getattr(self, name) for name in ("unit", "direction", "cheap", "best", "kind")}

    @classmethod
    def from_description(cls, name: str, said: Mapping[str, Any]) -> Objective:
        """Undo `described`.

        Raises:
            KeyError, TypeError: it is none.
        """
        direction, best = said["direction"], said.get("best")
        if direction not in ("minimize", "maximize"):
            raise KeyError(f"direction of {name}")
        cheap, kind = bool(said.get("cheap", True)), str(said.get("kind", ""))
        return cls(name, str(said["unit"]), direction, cheap, best=None if best is None else float(best), kind=kind)

    def loss(self, value: float) -> float:
        """Return `value` turned so that less is better.

        >>> OBJECTIVES["accuracy"].loss(0.9), OBJECTIVES["macs"].loss(10.0)
        (-0.9, 10.0)
        >>> replace(OBJECTIVES["macs"], enough=50.0).loss(10.0)
        50.0
        """
        loss = self.plain_loss(value)
        return loss if self.enough is None else max(loss, self.plain_loss(self.enough))

    def plain_loss(self, value: float) -> float:
        """Return the same where what is better than enough is better still, as one sorts and names figures."""
        return value if self.direction == "minimize" else -value

    def unloss(self, loss: float) -> float:
        """Undo `loss`, but for what is better than enough."""
        return self.plain_loss(loss)

    @property
    def has_error(self) -> bool:
        """Whether it has an error: it is known after training alone, and it is known how good it can get."""
        return not self.cheap and self.best is not None

    @property
    def is_share(self) -> bool:
        """Whether it is a share of samples, so that it is no better known than their number allows."""
        return self.unit == "share"

    def impossible(self, value: float) -> str:
        """Say why no network can have this value; "" where one can.

        >>> [OBJECTIVES[name].impossible(95) for name in ("accuracy", "loss")]
        ['accuracy is a share from 0 to 1; for 95 % write 0.95', '']
        >>> OBJECTIVES["loss"].impossible(-1)
        'loss is at least 0'
        """
        if self.is_share and not 0 <= value <= 1:
            percent = f"; for {value:g} % write {value / 100:g}" if 1 < value <= 100 else ""
            return f"{self.name} is a share from 0 to 1{percent}"
        if self.best is not None and self.plain_loss(value) < self.plain_loss(self.best):
            return f"{self.name} is {'at least' if self.direction == 'minimize' else 'at most'} {self.best:g}"
        return f"{self.name} is never below 0" if _is_ours(self.name) and value < 0 else ""

    def error(self, value: float) -> float:
        """Return how far `value` is from the best there can be, over `scale`; less is better, 0 is perfect.

        >>> OBJECTIVES["accuracy"].error(0.75), OBJECTIVES["loss"].error(0.5)
        (0.25, 0.5)

        Raises:
            ValueError: it has no error, see `has_error`.
        """
        if self.best is None:
            raise ValueError(f"{self.name} has no best value, so no error")
        return (self.plain_loss(value) - self.plain_loss(self.best)) / self.scale

    def unerror(self, error: float) -> float:
        """Undo `error`."""
        if self.best is None:
            raise ValueError(f"{self.name} has no best value, so no error")
        return self.unloss(error * self.scale + self.plain_loss(self.best))

    def told_loss(self, value: float) -> float:
        """Return what a sampler is told of `value`, less is better: of what only training tells, the log of the error.

        Random networks may be so bad that, on a linear scale up to them, a good one's tenth of wrong answers and a
        better one's twelfth would look alike. Prices stay as they are: samplers see by themselves which of them are
        positive. So does what has no error.

        >>> OBJECTIVES["accuracy"].told_loss(0.9) == math.log(1 - 0.9), OBJECTIVES["macs"].told_loss(10.0)
        (True, 10.0)
        """
        loss = self.loss(value)
        return math.log(max(self.error(self.unloss(loss)), _LEAST_ERROR)) if self.has_error else loss


def scaled(objectives: Sequence[Objective], target: float) -> tuple[Objective, ...]:
    """Return objectives so that an error in units of the target is counted in deviations of the target.

    What learns from errors knows then which are ordinary, whether the target is in kilometres or millimetres.

    Args:
        target: standard deviation of the target; 1 where there is none.
    """
    return tuple(replace(o, scale=target) if o.unit == TARGET else o for o in objectives)


TARGET = "target"
"""Unit of what is in units of a regression's target."""

_LEAST_ERROR = 1e-3
"""What is still better looks as good: of the few hundred samples of a small data set it is less than one."""


def _share(name: str) -> Objective:
    return Objective(name, "share", "maximize", cheap=False, best=1.0, kind="classification")


_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)

_TAKEN = frozenset(
    (
        *("trial", "state", "on_front", "epochs", "train_seconds", "fingerprint", "architecture", "duplicate_of"),
        *("reason", "rung", "share", "epoch_seconds", "epoch_seconds_predicted", "ended_s", "curve"),
        *("knee", "exported", "alike", "blocks"),
        *("stem", "body", "head", "training", "deploy"),
    )
)
"""Other columns of `trials.csv` and of `nas front --csv`, and where paths of parameters begin."""


class Objectives(Table[Objective]):
    """Every objective by name, in the order in which they came."""

    def add(
        self, name: str, *, unit: str, direction: Literal["minimize", "maximize"] = "minimize"
    ) -> Callable[[Callable[..., float]], Callable[..., float]]:
        """Return a decorator that files a function as a price: what a network costs, known before any training.

        The function is called as `price(module, in_shape)`, with the built network on the CPU in eval mode and the
        shape of one sample without its batch axis, and returns a finite number. It depends on the architecture alone,
        not on weights or chance: a network is priced once. A study calls it where the name is an objective or in a
        budget.

        Args:
            name: of the objective, its column and in budgets: letters, digits and underscores.
            unit: in words, such as "uJ" or "activations".
        Raises:
            NasError: the name or the direction is none, or the name is taken.

        >>> @OBJECTIVES.add("n_layers", unit="layers")
        ... def n_layers(module, in_shape):
        ...     return len(list(module.modules()))
        >>> Budget.parse("n_layers<=12").kept(10), parse_objective("n_layers").unit
        (True, 'layers')
        >>> OBJECTIVES.drop("n_layers")
        """
        if direction not in ("minimize", "maximize"):
            raise NasError(f"objective '{name}': direction must be minimize or maximize, got {direction!r}")
        by = caller()

        def file(price: Callable[..., float]) -> Callable[..., float]:
            self.describe(Objective(name, str(unit), direction, cheap=True, price=price), by)
            return price

        return file

    def remember(self, objective: Objective) -> None:
        """Take over how an objective was described when a run was made: its figures can be read without its code.

        Raises:
            NasError: it is described otherwise here.
        """
        known = self._parts.get(objective.name)
        if known is None:
            self.describe(replace(objective, price=None), A_RUN)
        elif known != objective:
            raise NasError(
                f"objective '{objective.name}' is to {known.direction} in {known.unit} here, and was to "
                f"{objective.direction} in {objective.unit} when the run was made; give one of them another name"
            )

    def items(self) -> ItemsView[str, Objective]:
        """Return names and objectives."""
        return self._parts.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def describe(self, objective: Objective, by: str) -> None:
        """File an objective of the module `by`.

        Raises:
            NasError: its name cannot be one, or is taken.
        """
        name = objective.name
        if not (isinstance(name, str) and _NAME.fullmatch(name)) or name in _TAKEN or name.endswith(("_low", "_high")):
            raise NasError(
                f"objective {name!r}: a name has letters, digits and underscores, is no other column of trials.csv, "
                "and does not end in _low or _high; write e.g. energy_uj"
            )
        self._file(name, objective, by)


OBJECTIVES = Objectives("objective")
"""`nas.metrics.METRICS.add` files further ones. `balanced_accuracy` is the mean over the classes of the share of their
samples that are right, `macro_f1` the mean of their F1 scores, `loss` the validation cross-entropy without label
smoothing and class weights. In regression `rmse` and `mae` are the root of the mean squared and the mean absolute error
in units of the target, `r2` the share of its variance that is explained (each the mean over several targets), `loss`
the mean squared error of standardised targets. `peak_bytes` is the memory of the activations at inference."""

for _objective in (
    _share("accuracy"),
    _share("balanced_accuracy"),
    _share("macro_f1"),
    Objective("loss", "nats", "minimize", cheap=False, best=0.0),
    Objective("rmse", TARGET, "minimize", cheap=False, best=0.0, kind="regression"),
    Objective("mae", TARGET, "minimize", cheap=False, best=0.0, kind="regression"),
    Objective("r2", "", "maximize", cheap=False, best=1.0, kind="regression"),
    Objective("latency_ms", "ms", "minimize", cheap=True),
    Objective("macs", "multiply-adds", "minimize", cheap=True),
    Objective("n_params", "parameters", "minimize", cheap=True),
    Objective("size_bytes", "bytes", "minimize", cheap=True),
    Objective("peak_bytes", "bytes", "minimize", cheap=True),
):
    OBJECTIVES._file(_objective.name, _objective, __name__)

PRICES: tuple[str, ...] = tuple(name for name, o in OBJECTIVES.items() if o.cheap)
"""Known before training of every network. `latency_ms@TARGET` comes on top for every further target of a study, and
what a user has filed, where it is asked for."""

LATENCY = "latency_ms"


def parse_objective(name: str) -> Objective:
    """Return the objective `name`; an unknown name gets the nearest one suggested.

    What stands behind an @ says on which target a latency is measured; this file does not look at it.

    >>> parse_objective("latency_ms@openvino:threads=2").unit
    'ms'

    Raises:
        NasError: there is no such objective.
    """
    base, at, target = str(name).partition("@")
    if base not in OBJECTIVES:
        own = "a metric of your own has to be registered first, with nas.METRICS.add"
        raise NasError(f"{did_you_mean('objective', base, OBJECTIVES)}\n  {own}")
    if not at:
        return OBJECTIVES[base]
    if base != LATENCY or not target:
        raise NasError(f"objective {name!r}: only a latency has a target; write e.g. {LATENCY}@openvino")
    return replace(OBJECTIVES[base], name=name)


def own_prices(names: Sequence[str]) -> list[str]:
    """Return those of `names` that are prices of a user's own, each once.

    >>> own_prices(["accuracy", "macs", "latency_ms@eager"])
    []
    """
    return [name for name in dict.fromkeys(names) if not _is_ours(name) and parse_objective(name).cheap]


def _is_ours(name: str) -> bool:
    """Whether it is a price that every network has, above 0; one of a user's own may be anything."""
    return name in PRICES or is_latency(name)


def is_latency(name: str) -> bool:
    """Whether a price is a latency, on whichever target.

    >>> is_latency("latency_ms"), is_latency("latency_ms@eager"), is_latency("macs")
    (True, True, False)
    """
    return name.partition("@")[0] == LATENCY


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured or counted figure with its 95 % interval; a count has no width."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Measurement:
        """Return a figure known without error."""
        return cls(value, value, value)

    def overlaps(self, other: Measurement) -> bool:
        """Whether the intervals have a figure in common: neither is known to be the larger one."""
        return self.low <= other.high and other.low <= self.high


Prices = Mapping[str, Measurement]
"""Price name to measurement: `PRICES`, and `latency_ms@TARGET` for each further target. One that nobody can tell of a
network, and nobody asked for, is not there; nor is one that was added after the study was made."""

DRIFT = 0.03
"""Share by which a latency may read differently another day."""

_LEAST = sys.float_info.epsilon
"""How far a value is beyond a limit at least, where it does not keep it."""

_BUDGET = re.compile(r"^\s*([A-Za-z_]\w*(?:@[^\s<>]+)?)\s*(<=|>=|<|>)\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*([kMG]?)\s*$")
_SCALE = {"k": 1e3, "M": 1e6, "G": 1e9}


def parse_number(text: str) -> float:
    """Read a number, which may end in k, M or G.

    >>> parse_number("100k"), parse_number("0.5"), parse_number("1e3")
    (100000.0, 0.5, 1000.0)

    Raises:
        ValueError: it is none, or not finite.
    """
    number = text.strip()
    scale = _SCALE.get(number[-1:], 1.0)
    value = float(number[:-1] if scale > 1 else number) * scale
    if not math.isfinite(value):
        raise ValueError(f"not finite: {text}")
    return value


@dataclass(frozen=True, slots=True)
class Budget:
    """A hard limit on one objective.

    >>> Budget.parse("latency_ms<=2").kept(1.9), Budget.parse("n_params<=100k").limit
    (True, 100000.0)
    >>> str(Budget.parse(" latency_ms@openvino:threads=2 <= 2.0 "))
    'latency_ms@openvino:threads=2<=2'
    """

    objective: str
    sense: Literal["<=", ">=", "<", ">"]
    limit: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `NAME<=NUMBER` (or >=, <, >); the number may end in k, M or G.

        Raises:
            BudgetError: the text is no such thing, or names no objective.
        """
        match = _BUDGET.match(text)
        if match is None:
            raise BudgetError(f"budget {text!r} cannot be read; write e.g. 'latency_ms<=2' or 'n_params<=100k'")
        name, sense, number, scale = match.groups()
        try:
            objective = parse_objective(name)
        except NasError as error:
            raise BudgetError(f"budget {text!r}: {error}") from None
        try:
            limit = parse_number(number + scale)
        except ValueError:
            raise BudgetError(f"budget {text!r}: {number!r} is not a number") from None
        if _is_ours(name) and sense.startswith("<") and limit <= 0:
            raise BudgetError(f"budget {text!r}: no network keeps it; write a limit above 0")
        if not objective.cheap and (why := objective.impossible(limit)):
            raise BudgetError(f"budget {text!r}: {why}")
        return cls(name, sense, limit)  # type: ignore[arg-type]  # the pattern admits these four alone

    def kept(self, value: float) -> bool:
        """Whether `value` keeps the limit; NaN does not."""
        if self.sense == "<=":
            return value <= self.limit
        if self.sense == ">=":
            return value >= self.limit
        if self.sense == "<":
            return value < self.limit
        return value > self.limit

    def violation(self, value: float) -> float:
        """Return how far `value` is beyond the limit, as a share of it; 0.0 where the limit is kept."""
        if self.kept(value):
            return 0.0
        share = abs(value - self.limit) / (abs(self.limit) or 1.0)
        return math.inf if math.isnan(share) else max(share, _LEAST)  # a limit that is to be beaten, and was met

    def excess(self, value: float) -> float:
        """Return the logarithm of `value` over the limit, of the limit over `value` where more is asked for.

        At most 0.0 exactly where the limit is kept; finite, or +inf. Twice the limit is as far from it as half of it,
        whatever the unit. Where one of the two is not above 0 there is no ratio: then it is their difference, as a
        share of the limit.

        >>> [round(Budget.parse("latency_ms<=2").excess(value), 3) for value in (1.0, 2.0, 4.0)]
        [-0.693, 0.0, 0.693]
        >>> Budget.parse("macs>=100").excess(200.0) < 0 < Budget.parse("macs<100").excess(100.0)
        True
        """
        if math.isnan(value):
            return math.inf
        if value > 0 and self.limit > 0:
            beyond = math.log(value) - math.log(self.limit)
        else:
            beyond = (value - self.limit) / (abs(self.limit) or 1.0)
        beyond = beyond if self.sense.startswith("<") else -beyond
        # Rounding must not tell otherwise than `kept` does.
        return min(max(beyond, -sys.float_info.max), 0.0) if self.kept(value) else max(beyond, _LEAST)

    def worst(self, measurement: Measurement) -> float:
        """Return the figure that has to keep the limit: the far end of a measured interval, and 3 % more.

        A limit is to be kept by whoever measures the network next week: the speed of a machine drifts, and ratios to a
        reference net, measured hours apart, moved by up to 2.6 %. A count has no interval and stands as it is.

        >>> Budget.parse("latency_ms<=1").worst(Measurement(0.9, 0.88, 0.93))
        0.9579...
        >>> Budget.parse("macs<=1k").worst(Measurement.exact(1000))
        1000
        """
        if measurement.low == measurement.high:
            return measurement.value
        if self.sense.startswith("<"):
            return measurement.high * (1 + DRIFT)
        return measurement.low * (1 - DRIFT)

    def threshold(self) -> float:
        """Return the end of a measured interval from which on the limit is broken, see `worst`."""
        return self.limit / (1 + DRIFT if self.sense.startswith("<") else 1 - DRIFT)

    def __str__(self) -> str:
        return f"{self.objective}{self.sense}{self.limit:.12g}"


def thresholds(budgets: Sequence[Budget]) -> dict[str, list[float]]:
    """Return `Budget.threshold` of budgets, by the price that each of them limits."""
    found: dict[str, list[float]] = {}
    for budget in budgets:
        found.setdefault(budget.objective, []).append(budget.threshold())
    return found
