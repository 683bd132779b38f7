"""StudyConfig: everything that decides what a study finds, as one frozen value and one file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from nas.data import SUBSETS
from nas.errors import BudgetError, NasError, RunError, did_you_mean
from nas.measure.runtimes import RUNTIMES
from nas.measure.runtimes.base import remember
from nas.measure.target import Target
from nas.objectives import LATENCY, OBJECTIVES, Budget, Objective, is_latency, own_prices, parse_objective
from nas.plugins import PluginId
from nas.records import COLUMNS, latency_columns, write_text
from nas.space import Space
from nas.space.write import Dumper
from nas.space.yaml import Loader, parse
from nas.training.fidelity import FULL, Rung, rungs

_NO_DIFFERENCE = (
    *("space", "data", "data_root", "test_data", "data_fingerprint", "run_id", "study_name"),
    *("trial_time_limit_s", "device", "plugins"),
)
"""Compared otherwise (the space, the data, the run), or free to change."""

_NUMBER, _SHARE, _WHOLE, _MAYBE = (int, float), (int, float, type(None)), (int,), (int, type(None))
_KINDS = {_NUMBER: "number", _SHARE: "number", _WHOLE: "whole number", _MAYBE: "whole number", (str,): "word"}
_WORDS = (
    *("data", "data_root", "task", "test_data", "encoding", "text_column", "sampler", "runtime", "device"),
    *("subset_method", "run_id", "study_name"),
)
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_WORDS, (str,)),
    "subset": _NUMBER,
    "val_share": _SHARE,
    **dict.fromkeys(("seed", "vocabulary"), _WHOLE),
    **dict.fromkeys(("epochs", "resolution", "channels", "length"), _MAYBE),
}


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What a study searches, on what, for what. How long it searches is no part of it."""

    space: Space

    data: str = "digits"
    """Name of a data set; path to a .npz, .csv, .tsv or .ts file or a folder of images; or a function
    (`nas.data.load_task`)."""

    data_fingerprint: str = ""
    """What the data were (`Task.fingerprint`); empty before they are loaded."""

    data_root: str = "data"
    """Folder of the named data sets that come as files."""

    resolution: int | None = None
    """Images are resized and cut to squares of this side; None: as they are."""

    channels: int | None = None
    """Images become grey (1) or RGB (3); None: as they are."""

    length: int | None = None
    """Sequences are cut, or padded with zeros, to so many steps; None: as they are. Texts are cut or filled to so many
    tokens; None: what is enough for 95 % of the training texts."""

    target_column: tuple[str, ...] = ()
    """Of a table, what is to be predicted; several are a regression of several targets."""

    test_data: str = ""
    """A table to test on; empty: what the data have, or a fifth of the rows of a table."""

    encoding: str = "utf-8"
    """Of a table."""

    text_column: str = ""
    """Of a table, the texts to classify; empty: found by itself beside a single column of labels."""

    vocabulary: int = 4096
    """Tokens that the tokenizer of texts may know."""

    val_share: float | None = None
    """Share of the training data that judges the candidates, in (0, 1). None: the validation split that the data have,
    or else a fifth."""

    task: str = "auto"
    """classification, regression, or auto: what the labels in the data are."""

    objectives: tuple[str, ...] = ("auto",)
    """Names of what is optimised. `latency_ms` is measured on `runtime`, `latency_ms@TARGET` on a further target.
    'auto' becomes `accuracy`, or `rmse` in regression, and `latency_ms` when a search starts."""

    budgets: tuple[str, ...] = ()
    """Hard limits, such as 'latency_ms<=2'; a candidate beyond one is never trained."""

    enough: tuple[str, ...] = ()
    """Values of objectives that are good enough, such as 'latency_ms<=0.1': what is better counts as that."""

    warm_start: tuple[str, ...] = ()
    """Folders of earlier runs (another budget, device or data set) whose trials guide the sampler from the start."""

    sampler: str = "tpe"
    """tpe, random, evolution, or optuna:NAME for any sampler of Optuna."""

    runtime: str = "onnxruntime"
    """In what the latency is measured: a target, such as 'openvino:threads=2' (see `nas.measure.target`)."""

    device: str = "auto"
    """Where networks are trained: cpu, cuda, or auto, which is a GPU where there is one."""

    seed: int = 0

    epochs: int | None = None
    """Epochs of every trial; None: what the space says."""

    subset: float = 1.0
    """Share of the training samples that a trial is trained on, in (0, 1]. Validation is never cut."""

    subset_method: str = "stratified"
    """How shares of the training samples are chosen, those of rungs too: stratified, herding, kcentre."""

    rungs: tuple[str, ...] = ("auto",)
    """Where a training may be stopped for others: shares of a full one, such as '0.1', '0.3,resolution=0.5'; 'none':
    nowhere; 'auto' (1/27, 1/9, 1/3, as far as they are worth judging at) becomes such a list when a search starts."""

    trial_time_limit_s: float | None = None
    """A training that takes longer is a failed trial, and one that is sure to is not begun."""

    plugins: tuple[PluginId, ...] = ()
    """Those that were loaded in the process of the search, for the record: nothing is loaded because it stands here."""

    run_id: str = field(default="", compare=False)
    """What tells this run from all others; the storage keeps it too. Empty before a search, and in old runs."""

    study_name: str = field(default="", compare=False)
    """Of the study within its storage, wherever the run folder is by now; empty as `run_id` is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "warm_start", _folders(self.warm_start))
        if isinstance(self.target_column, str):
            object.__setattr__(self, "target_column", (self.target_column,))
        for name in ("objectives", "budgets", "target_column"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, kinds in _TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise NasError(f"{name} must be a {_KINDS[kinds]}, got {value!r}")
        given = (self.rungs,) if isinstance(self.rungs, str) else self.rungs
        object.__setattr__(self, "rungs", tuple(map(str, given)) or ("none",))
        object.__setattr__(self, "runtime", str(Target.parse(self.runtime)))
        if self.task not in ("auto", "classification", "regression"):
            raise NasError(f"task must be classification, regression or auto, got {self.task!r}")
        if self.objectives != ("auto",):
            object.__setattr__(self, "objectives", tuple(self.plain_name(name) for name in self.objectives))
        budgets = tuple(str(self.plain_budget(Budget.parse(text))) for text in self.budgets)
        object.__setattr__(self, "budgets", budgets)
        object.__setattr__(self, "enough", tuple(str(self._enough(text)) for text in _texts(self.enough)))
        limits = [Budget.parse(text).objective for text in self.enough]
        if twice := next((name for name in limits if limits.count(name) > 1), None):
            raise BudgetError(f"enough: {twice} is named twice; leave one of them")
        if not self.objectives:
            raise NasError("a study needs an objective; write e.g. --objective accuracy --objective latency_ms")
        for name in self.objectives:
            if self.objectives.count(name) > 1:
                raise NasError(f"objective {name} is named twice")
        for text in self.budgets:
            name = Budget.parse(text).objective
            if not parse_objective(name).cheap:
                raise BudgetError(
                    f"budget {text!r}: {name} is known only after training, and a budget decides before it; "
                    f"choose from the front instead: nas front RUN --budget '{text}'"
                )
        if not 0 < self.subset <= 1:
            raise NasError(f"subset must be in (0, 1], got {self.subset:g}; for 30 % write 0.3")
        if self.subset_method not in SUBSETS:
            raise NasError(did_you_mean("subset method", self.subset_method, SUBSETS))
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise NasError(f"val_share must be in (0, 1), got {self.val_share:g}; for a fifth write 0.2")
        if self.epochs is not None and self.epochs < 1:
            raise NasError(f"epochs must be at least 1, got {self.epochs}")
        if self.trial_time_limit_s is not None and self.trial_time_limit_s <= 0:
            raise NasError(f"the time limit of a trial must be above 0 s, got {self.trial_time_limit_s:g}")
        if self.seed < 0:
            raise NasError(f"seed must be at least 0, got {self.seed}")

    def plain_name(self, name: str) -> str:
        """Return the name of an objective with its target spelled as usual, and without it where it is `runtime`."""
        base, at, target = parse_objective(name).name.partition("@")
        if not at:
            return base
        spelled = str(Target.parse(target))
        return base if spelled == self.runtime else f"{base}@{spelled}"

    def plain_budget(self, budget: Budget) -> Budget:
        """Return a budget on `plain_name` of its objective."""
        return replace(budget, objective=self.plain_name(budget.objective))

    def _enough(self, text: str) -> Budget:
        """Read what is good enough of an objective.

        Raises:
            BudgetError: it cannot be read, is of something that is no objective, or says how bad is good enough.
        """
        found = self.plain_budget(Budget.parse(text))
        if found.objective not in self._names():
            raise BudgetError(
                f"enough {text!r}: {found.objective} is no objective of this search; add it, or leave this"
            )
        better = "<=" if parse_objective(found.objective).direction == "minimize" else ">="
        if found.sense != better:
            raise BudgetError(f"enough {text!r}: write {found.objective}{better}{found.limit:g}; limits are budgets")
        return found

    def latencies(self) -> dict[str, str]:
        """Return the target of each latency that a study measures, by name of the price; the first is `runtime`'s."""
        named = (*self.objectives, *(budget.objective for budget in self.parsed_budgets()))
        further = {name: name.partition("@")[2] for name in named if is_latency(name) and name != LATENCY}
        return {LATENCY: self.runtime, **further}

    def columns(self) -> list[str]:
        """Return the columns of `trials.csv` that are this study's own, in their order."""
        own = [o.name for o in self.parsed_objectives() if not o.cheap and o.name not in COLUMNS]
        further = [column for name in self.latencies() if name != LATENCY for column in latency_columns(name)]
        return [*own, *further, *self.own_prices(), *self.space.slots]

    def own_prices(self) -> list[str]:
        """Return the objectives of a user's own that are known before training, as `Objectives.add` files them."""
        return own_prices([o.name for o in (*self.parsed_objectives(), *map(parse_objective, self._limited()))])

    def _limited(self) -> list[str]:
        """Return the names of what budgets limit."""
        return [budget.objective for budget in self.parsed_budgets()]

    def _names(self) -> tuple[str, ...]:
        return ("accuracy", LATENCY) if self.objectives == ("auto",) else self.objectives

    def parsed_objectives(self) -> tuple[Objective, ...]:
        """Return the objectives themselves."""
        names = self._names()
        enough = {budget.objective: budget.limit for budget in map(Budget.parse, self.enough)}
        return tuple(replace(parse_objective(name), enough=enough.get(name)) for name in names)

    def parsed_budgets(self) -> tuple[Budget, ...]:
        """Return the budgets themselves."""
        return tuple(Budget.parse(text) for text in self.budgets)

    def parsed_rungs(self) -> tuple[Rung, ...]:
        """Return the rungs of every training; the last of them is the full one.

        'auto' that was not settled (`nas.study.rungs`) is none.

        Raises:
            SpaceError: they cannot be read, or are not in order.
        """
        return FULL if self.rungs in (("none",), ("auto",)) else rungs(self.rungs)

    def write(self, path: Path, version: str) -> None:
        """Write the resolved config; the space goes in whole, so that the file is enough to go on."""
        plain = {
            f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v
            for f in dataclasses.fields(self)
            if f.name not in ("space", "plugins")
        }
        plain |= _described(self)
        head = yaml.dump({"nas": version, "space_name": self.space.name, **plain}, Dumper=Dumper, sort_keys=False)
        body = "".join(f"  {line}\n" for line in self.space.to_yaml().splitlines())
        write_text(path, f"{head}space: |\n{body}")

    @classmethod
    def read(cls, path: Path) -> StudyConfig:
        """Undo `write`.

        Raises:
            RunError: there is no such file, or it is none of ours.
        """
        try:
            plain = yaml.load(path.read_text(encoding="utf-8"), Loader)  # a safe loader
        except OSError:
            raise RunError(f"{path.parent}: no run of ours, there is no {path.name}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: not YAML: {error}") from None
        if not isinstance(plain, dict):
            raise RunError(f"{path}: not the config of a run: it has no fields")
        try:
            fields = {name: value for name, value in plain.items() if name not in ("nas", "space_name", "space", "own")}
            fields["plugins"] = tuple(PluginId.from_dict(kept) for kept in fields.get("plugins", ()))
            _remember(plain.get("own", {}))
            fields.setdefault("rungs", ["none"])  # version 0.1.0 trained all in full
            space = parse(plain["space"], f"{path}:space", str(plain["space_name"]))
            return cls(space=space, **fields)
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(f"{path}: not the config of a run: {type(error).__name__} {error}") from None

    def check_data(self, fingerprint: str, name: str) -> None:
        """Check that the data are those of the run, under whatever name or path they come.

        Raises:
            RunError: they are others, or were changed or split otherwise since.
        """
        if self.data_fingerprint and fingerprint != self.data_fingerprint:
            raise RunError(
                f"the run was made on other data: '{name}' is not what '{self.data}' was then "
                "(other samples, labels, order or split); give the same with --data, or begin a new run"
            )

    def differences(self, other: StudyConfig) -> list[str]:
        """Return in words what differs from `other`, the space first. The data are `check_data`'s matter."""
        found = []
        if self.space.fingerprint() != other.space.fingerprint():
            found.append(f"space: {other.space.name} (another tree) instead of {self.space.name}")
        for f in dataclasses.fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if f.name in ("rungs", "objectives") and theirs == ("auto",):
                continue  # goes on with those of the run
            if f.name not in _NO_DIFFERENCE and mine != theirs:
                found.append(f"{f.name}: {_said(theirs)} instead of {_said(mine)}")
        return found


def _described(config: StudyConfig) -> dict[str, object]:
    """Return what a file has to say of the plugins and of a user's own objectives and runtimes, if there are any.

    With it the figures of a run can be read, picked from and drawn by somebody who does not have the code.
    """
    trained = [o.name for o in config.parsed_objectives() if not o.cheap and OBJECTIVES.own(o.name)]
    objectives = {name: OBJECTIVES[name].described() for name in (*config.own_prices(), *trained)}
    used = {Target.parse(target).runtime for target in config.latencies().values()}
    runtimes = {
        name: {"takes": RUNTIMES[name].takes, "precisions": list(RUNTIMES[name].precisions)}
        for name in sorted(used)
        if RUNTIMES.own(name)
    }
    own = {"objectives": objectives, "runtimes": runtimes} if objectives or runtimes else {}
    plugins = [plugin.to_dict() for plugin in config.plugins]
    return {name: value for name, value in (("plugins", plugins), ("own", own)) if value}


def _remember(own: dict[str, dict[str, dict[str, object]]]) -> None:
    """Undo `_described`: have names for what is a user's own."""
    for name, said in own.get("objectives", {}).items():
        OBJECTIVES.remember(Objective.from_description(name, said))
    for name, said in own.get("runtimes", {}).items():
        takes, precisions = said["takes"], said["precisions"]
        if takes not in ("onnx", "network") or not isinstance(precisions, list):
            raise KeyError(f"runtime {name}")
        remember(name, str(takes), tuple(map(str, precisions)))


def _folders(given: object) -> tuple[str, ...]:
    """Return folders, one or several, as the config keeps them."""
    several = [given] if isinstance(given, str | Path) else given
    if not isinstance(several, list | tuple) or not all(isinstance(one, str | Path) for one in several):
        raise NasError(f"warm_start must be the folders of earlier runs, such as ['results/image-001'], got {given!r}")
    return tuple(Path(one).as_posix() for one in several)


def _texts(given: object) -> tuple[str, ...]:
    """Return texts, one or several."""
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, list | tuple) or not all(isinstance(one, str) for one in several):
        raise NasError(f"enough must be texts such as ['latency_ms<=0.1'], got {given!r}")
    return tuple(several)


def _said(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
