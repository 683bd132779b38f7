"""What of training can be chosen or searched: plain typed configs, no torch.

Every part is a frozen dataclass whose fields have defaults and check themselves; the tables give each its name in a
space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from nas.data import SUBSETS
from nas.errors import NasError, SpaceError, did_you_mean
from nas.registry import Registry
from nas.training.checks import check
from nas.training.fidelity import FULL, Rung, check_rungs


class Part:
    """A named choice with fields of its own."""

    __slots__ = ()

    layouts: ClassVar[tuple[str, ...]] = ("map", "tokens", "vector")
    """What it can be used on; `nas.shapes.layout` says which one a shape is. "ids" are those of a text's tokens."""


OPTIMIZERS = Registry[type[Part]]("optimizer")
SCHEDULES = Registry[type[Part]]("schedule")
AUGMENTATIONS = Registry[type[Part]]("augmentation")


# --- optimizers -----------------------------------------------------------------------------------------------------


@OPTIMIZERS.add("sgd")
@dataclass(frozen=True, kw_only=True, slots=True)
class Sgd(Part):
    """Stochastic gradient descent with momentum."""

    lr: float = 0.1
    """Learning rate at its highest; the schedule multiplies it."""

    momentum: float = 0.9
    nesterov: bool = True
    """Look ahead along the momentum; without momentum there is nothing to look along, and it has no effect."""

    weight_decay: float = 5e-4
    """L2 penalty on weights of two or more axes; norms and biases are left alone, by every optimizer."""

    def __post_init__(self) -> None:
        check(self, lr="(0, inf)", momentum="[0, 1)", nesterov="bool", weight_decay="[0, inf)")


@OPTIMIZERS.add("adam")
@dataclass(frozen=True, kw_only=True, slots=True)
class Adam(Part):
    """Kingma & Ba, ICLR 2015. https://arxiv.org/abs/1412.6980"""

    lr: float = 1e-3
    beta1: float = 0.9
    """Memory of the mean gradient."""

    beta2: float = 0.999
    """Memory of the mean squared gradient."""

    weight_decay: float = 0.0
    """L2 penalty, added to the gradient (and so scaled by Adam's division)."""

    def __post_init__(self) -> None:
        check(self, lr="(0, inf)", beta1="[0, 1)", beta2="[0, 1)", weight_decay="[0, inf)")


@OPTIMIZERS.add("adamw")
@dataclass(frozen=True, kw_only=True, slots=True)
class AdamW(Part):
    """Adam with decoupled weight decay. Loshchilov & Hutter, ICLR 2019. https://arxiv.org/abs/1711.05101"""

    lr: float = 3e-3
    weight_decay: float = 0.01
    """Share of a weight taken off per step, times the learning rate."""

    beta1: float = 0.9
    """Memory of the mean gradient."""

    beta2: float = 0.999
    """Memory of the mean squared gradient."""

    def __post_init__(self) -> None:
        check(self, lr="(0, inf)", weight_decay="[0, inf)", beta1="[0, 1)", beta2="[0, 1)")


@OPTIMIZERS.add("rmsprop")
@dataclass(frozen=True, kw_only=True, slots=True)
class RmsProp(Part):
    """Gradient over the root of its mean square. Tieleman & Hinton, Coursera lecture 6e, 2012."""

    lr: float = 1e-3
    alpha: float = 0.99
    """Memory of the mean squared gradient."""

    momentum: float = 0.0

    def __post_init__(self) -> None:
        check(self, lr="(0, inf)", alpha="[0, 1)", momentum="[0, 1)")


# --- schedules: a factor on the learning rate, per step -------------------------------------------------------------


@SCHEDULES.add("constant")
@dataclass(frozen=True, kw_only=True, slots=True)
class Constant(Part):
    """The learning rate as it is."""


@SCHEDULES.add("cosine")
@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine(Part):
    """A linear warm-up, then half a cosine to zero. Loshchilov & Hutter, ICLR 2017. https://arxiv.org/abs/1608.03983"""

    warmup: float = 0.05
    """Share of all steps."""

    def __post_init__(self) -> None:
        check(self, warmup="[0, 1)")


@SCHEDULES.add("onecycle")
@dataclass(frozen=True, kw_only=True, slots=True)
class OneCycle(Part):
    """From 1/25 up to the learning rate and down to nearly nothing, each by half a cosine; momentum stays as it is.

    Smith & Topin, Super-convergence, 2018. https://arxiv.org/abs/1708.07120
    """

    warmup: float = 0.3
    """Share of all steps on the way up."""

    def __post_init__(self) -> None:
        check(self, warmup="[0, 1)")


@SCHEDULES.add("step")
@dataclass(frozen=True, kw_only=True, slots=True)
class Step(Part):
    """Drops, spread evenly over the training: two of them cut it into thirds."""

    drops: int = 2
    factor: float = 0.1
    """What one drop leaves of the learning rate."""

    def __post_init__(self) -> None:
        check(self, drops="int [1, inf)", factor="(0, 1)")


# --- augmentations: per sample, on the standardised training batch, where zero is the mean of a channel -------------


@AUGMENTATIONS.add("none")
@dataclass(frozen=True, kw_only=True, slots=True)
class NoAugment(Part):
    """The samples as they are."""

    layouts: ClassVar[tuple[str, ...]] = ("map", "tokens", "vector", "ids")


@AUGMENTATIONS.add("crop")
@dataclass(frozen=True, kw_only=True, slots=True)
class Crop(Part):
    """A random shift with zeros coming in (pad and crop), and perhaps a horizontal flip."""

    pad: int = 2
    """Pixels; a sample moves by up to this many, each way and on each axis."""

    flip: bool = False
    """Mirror half of the samples. Not for digits or letters."""

    layouts: ClassVar[tuple[str, ...]] = ("map",)

    def __post_init__(self) -> None:
        check(self, pad="int [0, inf)", flip="bool")


@AUGMENTATIONS.add("cutout")
@dataclass(frozen=True, kw_only=True, slots=True)
class Cutout(Part):
    """A square of zeros, wholly inside the image (in the paper it may hang over). https://arxiv.org/abs/1708.04552"""

    size: int = 8
    """Side in pixels; where the image is smaller, the image's own."""

    layouts: ClassVar[tuple[str, ...]] = ("map",)

    def __post_init__(self) -> None:
        check(self, size="int [0, inf)")


@AUGMENTATIONS.add("standard")
@dataclass(frozen=True, kw_only=True, slots=True)
class Standard(Part):
    """What small images are usually trained with: `Crop`, then `Cutout`."""

    pad: int = 2
    """Pixels; a sample moves by up to this many, each way and on each axis."""

    flip: bool = False
    """Mirror half of the samples. Not for digits or letters."""

    cutout: int = 8
    """Side of the square of zeros, in pixels."""

    layouts: ClassVar[tuple[str, ...]] = ("map",)

    def __post_init__(self) -> None:
        check(self, pad="int [0, inf)", flip="bool", cutout="int [0, inf)")


@AUGMENTATIONS.add("jitter")
@dataclass(frozen=True, kw_only=True, slots=True)
class Jitter(Part):
    """Gaussian noise on every value."""

    std: float = 0.05
    """In standard deviations of the channel."""

    def __post_init__(self) -> None:
        check(self, std="[0, inf)")


@AUGMENTATIONS.add("timeshift")
@dataclass(frozen=True, kw_only=True, slots=True)
class TimeShift(Part):
    """A random shift along time with zeros coming in."""

    max: int = 4
    """Time steps; a sample moves by up to this many, each way."""

    layouts: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        check(self, max="int [0, inf)")


# --- all together ---------------------------------------------------------------------------------------------------

PARTS: dict[str, Registry[type[Part]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "augment": AUGMENTATIONS}
"""Field of `TrainConfig` to the table that its part comes from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training, in full. Where it can be set aside is `dataclasses.replace(config, rungs=...)`."""

    epochs: int = 10
    """Passes over the training samples; the schedule is stretched to them."""

    batch_size: int = 128
    """Samples per step; all of them where there are fewer."""

    optimizer: Part = field(default_factory=AdamW)
    schedule: Part = field(default_factory=Cosine)
    augment: Part = field(default_factory=NoAugment)

    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes; in the training loss alone, and not in regression."""

    class_weights: bool = False
    """Weigh samples inversely as the frequency of their class, where some are rare; in the training loss alone, and not
    in regression."""

    clip_norm: float = 5.0
    """Gradients together longer than this are shortened to it; 0: never. Keeps recurrent nets from bursting."""

    subset: float = 1.0
    """Share of the training samples, the same of every class. Validation is never cut."""

    subset_method: str = "stratified"
    """How that share is chosen, and the shares of rungs: one of `nas.data.SUBSETS`."""

    mixup: float = 0.0
    """Of the Beta distribution that says in which shares two samples are mixed, both parameters; 0: not at all.
    Zhang et al., ICLR 2018. https://arxiv.org/abs/1710.09412"""

    average: float = 0.05
    """Share of the steps so far that the averaged weights look back on, which are judged and kept; 0: the weights as
    the last step left them, 0.5: the mean over all steps. See `nas.training.average`."""

    mixed_precision: bool = True
    """Compute in bfloat16 where that is quicker: networks with convolutions or an LSTM, on machines made for it. The
    weights, and what judges them, are float32."""

    cuda_graphs: bool = True
    """On a GPU, record a step once and play it back: several times as fast for small networks. Not done for networks
    with modules of your own. See `nas.training.replay`."""

    rungs: tuple[Rung, ...] = FULL
    """Where a training can be judged and set aside. A study's, alike for all its networks: not a choice of a space."""

    def __post_init__(self) -> None:
        check(self, epochs="int [1, inf)", batch_size="int [1, inf)", subset="(0, 1]")
        check(self, label_smoothing="[0, 1)", clip_norm="[0, inf)", mixup="[0, inf)", average="[0, 0.5]")
        check(self, mixed_precision="bool", cuda_graphs="bool", class_weights="bool")
        check_rungs(self.rungs)
        if self.subset_method not in SUBSETS:
            raise SpaceError(f"subset_method: {did_you_mean('subset method', str(self.subset_method), SUBSETS)}")
        for name, table in PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, tuple(table[known] for known in table)):
                raise SpaceError(f"{name} must be one of {', '.join(table)}, as a config; got {part!r}")

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], path: str = "training") -> TrainConfig:
        """Read a tree of plain values; a part is its name, or `{name: {field: value}}`. What is not named is default.

        Raises:
            SpaceError: names the path, such as training.optimizer.sgd.lr.

        >>> TrainConfig.from_tree({"optimizer": {"sgd": {"lr": 0.3}}, "schedule": "constant"}).optimizer
        Sgd(lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.0005)
        >>> TrainConfig.from_tree({"optimizer": {"sgd": {"lr": -1}}})
        Traceback (most recent call last):
        ...
        nas.errors.SpaceError: training.optimizer.sgd.lr must be in (0, inf), got -1
        """
        values = {key: _part(PARTS[key], v, f"{path}.{key}") if key in PARTS else v for key, v in _items(tree, path)}
        if isinstance(texts := values.get("rungs"), list):
            values["rungs"] = tuple(map(Rung.parse, texts))
        return _build(cls, values, path)

    def to_tree(self) -> dict[str, Any]:
        """Return the tree that `from_tree` reads, every field written out."""
        tree = {f.name: getattr(self, f.name) for f in fields(self)}
        tree["rungs"] = [str(rung) for rung in self.rungs]
        for name, table in PARTS.items():
            part = tree[name]
            known = next(known for known in table if table[known] is type(part))
            tree[name] = {known: {f.name: getattr(part, f.name) for f in fields(part)}}
        return tree


def _items(tree: object, path: str) -> list[tuple[str, Any]]:
    if not isinstance(tree, Mapping):
        raise SpaceError(f"{path}: expected 'field: value' pairs, got {tree!r}")
    return list(tree.items())


def _part(table: Registry[type[Part]], node: object, path: str) -> Part:
    if isinstance(node, Part):
        return node
    if isinstance(node, str):
        node = {node: None}
    if not isinstance(node, Mapping) or len(node) != 1:
        raise SpaceError(
            f"{path}: expected one name, or one name with its fields, got {node!r}; known: {', '.join(table)}"
        )
    (name, values), *_ = node.items()
    try:
        part = table[name]
    except NasError as e:
        raise SpaceError(f"{path}: {e}") from None
    return _build(part, dict(_items(values or {}, f"{path}.{name}")), f"{path}.{name}")


def _build(config: Any, values: dict[str, Any], path: str) -> Any:
    known = [f.name for f in fields(config)]
    for name in values:
        if name not in known:
            hint = did_you_mean("field", name, known) if known else f"no field called '{name}': it has none"
            raise SpaceError(f"{path}: {hint}")
    try:
        return config(**values)
    except SpaceError as e:
        raise SpaceError(f"{path}.{e}") from None
