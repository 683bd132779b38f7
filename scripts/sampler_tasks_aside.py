"""Tasks kept aside: no setting of the sampler was chosen by them; docs/sampler.md says which were looked at for what.

The other pairs of NAS-Bench-201; a surface of stages that is drawn at random from a seed (where the one of mixed
blocks is a formula); and flat spaces without a repeat. Reading the surfaces before the end spoils them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from sampler_tasks import DATA, Task, nasbench201

from nas.rng import generator
from nas.space import Architecture, Categorical, Choice, Float, Group, Integer, Repeat, Scalar, Slot, Space, When
from nas.space.conditions import parse_conditions, parse_forbidden
from nas.space.tree import node

GROUP = "aside"
SEED = 7041
"""What the surfaces are drawn from."""

_USED = {("cifar100", "samsung_s7"), ("cifar10", "raspi4")}
_N_STAGES, _N_BLOCKS = 3, 2
_DIM = 4
"""Length of the vector that describes a block."""
_N_WAVES = 24
"""Random features of the smooth part."""


def aside() -> dict[str, Task]:
    """The tasks that settings are not chosen by."""
    tasks = [
        stages("stages, latency", prices=("latency_ms",)),
        stages("stages, parameters under a latency budget", prices=("params",), budget=True),
        stages("stages, no price", prices=("latency_ms",), told_before=False),
        stages("stages, one objective", prices=()),
        stages("stages, three objectives", prices=("latency_ms", "params")),
        flat("flat, one objective", n_losses=1),
        flat("flat, two objectives, no price", n_losses=2),
    ]
    if (DATA / "nasbench201").exists():
        tasks += [
            nasbench201(data, device, group=GROUP)
            for data in ("cifar10", "cifar100", "ImageNet16-120")
            for device in ("raspi4", "gold_6240", "samsung_s7", "titan_rtx_1")
            if (data, device) not in _USED
        ]
    return {task.name: task for task in tasks}


def _group(**fields: object) -> Group:
    """Return a group of plain Python."""
    return Group({name: node(child) for name, child in fields.items()})


def _when(conditions: dict[str, object], child: object) -> When:
    """Return a node that exists only where the conditions hold."""
    return When(parse_conditions(conditions), node(child))


def _draw(*name: str | int) -> np.random.Generator:
    """Return the stream of one constant: the same name, the same numbers, whatever else is drawn."""
    return generator(SEED, *name)


# ---------------------------------------------------------------- stages


@cache
def stages_space() -> Space:
    """One to three stages of one or two blocks of four kinds, and the training: some 110 parameters, 30 active."""
    blocks = Choice(
        {
            "conv": _group(kernel=[1, 3, 5, 7], norm=["none", "batch", "group"], act=["relu", "silu", "gelu"]),
            "inverted": _group(
                kernel=[3, 5, 7], expand=[1, 2, 4, 6], gate=[False, True], squeeze=_when({".gate": True}, [4, 8, 16])
            ),
            "attention": _group(heads=[1, 2, 4, 8], mlp=[1, 2, 4], window=[4, 8, 16], drop=Float(0.0, 0.4)),
            "mixer": _group(hidden=[0.5, 1.0, 2.0], shift=[False, True]),
        }
    )
    stage = _group(
        width=Integer(16, 160, step=16),
        down=["none", "stride", "pool"],
        blocks=Repeat(Integer(1, _N_BLOCKS), blocks),
    )
    training = _group(
        optimizer=Choice(
            {
                "sgd": _group(momentum=Float(0.5, 0.99), nesterov=[False, True]),
                "adamw": _group(beta2=[0.9, 0.95, 0.99, 0.999]),
                "lion": _group(beta1=Float(0.8, 0.99)),
            }
        ),
        lr=Float(1e-5, 1.0, log=True),
        weight_decay=Float(1e-6, 0.3, log=True),
        batch_size=[32, 64, 128, 256, 512],
        epochs=Integer(2, 60, log=True),
        schedule=["constant", "cosine", "linear", "step"],
        warmup=Float(0.0, 0.3),
        augment=Choice({"none": _group(), "crop": _group(pad=[1, 2, 4]), "mix": _group(alpha=Float(0.05, 2.0))}),
        ema=[False, True],
        ema_decay=_when({".ema": True}, [0.9, 0.99, 0.999]),
    )
    stem = _group(width=Integer(8, 64, step=8), patch=[1, 2, 4])
    return Space(
        input="image",
        name="stages",
        root=_group(stem=stem, body=Repeat(Integer(1, _N_STAGES), stage), training=training),
        forbid=(parse_forbidden({"body.width": "<=32", "body.blocks.attention.heads": 8}),),
    )


@dataclass(frozen=True, slots=True)
class _Net:
    """What the surface computes of one architecture."""

    error: float
    latency_ms: float
    params: float
    macs: float
    seconds: float


_Known = tuple[float, float]
"""The code of a value, in about [-1, 1], and what the value alone adds to quality."""

_UNORDERED_SCALE, _CURVE_SCALE = 0.16, 0.14
_GROWING = {"body.blocks.inverted.expand", "body.blocks.attention.mlp", "body.blocks.mixer.hidden"}
_OWN_RULE = {"training.lr", "training.weight_decay", "training.epochs", "training.batch_size"}


def _effect(slot: Slot) -> Callable[[Scalar], _Known]:
    """Draw what the values of one parameter mean at its place; a role's effects drift from place to place."""
    parameter, role = slot.parameter, slot.role
    at = sum(i * (1 / _N_STAGES, 1 / (_N_STAGES * _N_BLOCKS))[level] for level, (_, i) in enumerate(slot.at)) - 0.4
    size = 0.0 if role in _OWN_RULE else math.exp(0.6 * _draw("size", role).normal())
    if isinstance(parameter, Categorical) and not parameter.ordered:
        n = len(parameter.options)
        main, drift, code = _draw("unordered", role).normal(size=(3, n))
        adds = _UNORDERED_SCALE * size * (main - main.mean() + 1.2 * at * (drift - drift.mean()))
        table = {v: (float(c), float(a)) for v, c, a in zip(parameter.options, np.tanh(code), adds, strict=True)}
        return table.__getitem__
    centre, drift, bend, slope = _draw("curve", role).normal(size=4)
    centre = 0.35 * centre + 0.7 * at * drift
    bend = _CURVE_SCALE * size * (0.6 + abs(bend))
    growth = 0.25 if role in _GROWING else 0.0

    def known(u: float) -> _Known:
        rise = growth * (1 - math.exp(-1.2 * (u + 1)))
        return u, float(rise - bend * (u - centre) ** 2 + 0.08 * size * slope * at * u)

    if isinstance(parameter, Float):
        return lambda value: known(2 * parameter.to_unit(float(value)) - 1)
    if isinstance(parameter, Integer):
        return lambda value: known(2 * parameter.to_unit(int(value)) - 1)
    n = len(parameter.options)
    return {v: known(2 * (i + 0.5) / n - 1) for i, v in enumerate(parameter.options)}.__getitem__


class _Stages:
    """The surface of stages: constants drawn once, then a function of an architecture.

    Quality is a sum of what values add by themselves, what parents and neighbours make of them, a part smooth in
    everything, a capacity with diminishing returns and what the training takes away; error is its logistic. Costs are
    products over a layer's numbers, summed over the layers.
    """

    def __init__(self) -> None:
        space = stages_space()
        self.effects = {path: _effect(slot) for path, slot in space.slots.items()}
        self.kinds = ("conv", "inverted", "attention", "mixer")
        self.fields: dict[str, list[tuple[str, str]]] = {}  # by block: full path and role of what it may have
        for path, slot in space.slots.items():
            parts = path.split(".")
            if parts[0] == "body" and len(parts) == 6:
                self.fields.setdefault(".".join(parts[:5]), []).append((path, slot.role))
        roles = {slot.role for slot in space.slots.values()}
        self.vector = {role: 0.5 * _draw("vector", role).normal(size=_DIM) for role in roles}
        self.with_width = {role: 0.10 * float(_draw("with width", role).normal()) for role in roles}
        self.with_kind_before = {
            (kind, role): 0.07 * float(_draw("with kind", kind, role).normal()) for kind in self.kinds for role in roles
        }
        self.kind = {kind: _draw("kind", kind).normal(size=_DIM) for kind in self.kinds}
        self.pairs = 0.16 * _draw("pairs").normal(size=(_DIM, _DIM))
        self.training = [path for path in space.slots if path.startswith(("training", "stem"))]
        n_features = 3 * _DIM + 2 + len(self.training)
        self.waves = 0.55 / math.sqrt(3) * _draw("waves").normal(size=(_N_WAVES, n_features))
        self.phases = _draw("phases").uniform(0, 2 * math.pi, size=_N_WAVES)
        self.heights = 0.75 / math.sqrt(_N_WAVES) * _draw("heights").normal(size=_N_WAVES)
        self.lr = {
            name: centre + 0.3 * float(_draw("lr", name).normal())
            for name, centre in (("sgd", -1.0), ("adamw", -2.7), ("lion", -3.4))
        }
        self.lr_by_kind = {kind: 0.5 * float(_draw("lr", kind).normal()) for kind in self.kinds}
        self.power = {
            kind: tuple(np.array([1.0, 0.95]) + 0.1 * _draw("power", kind).normal(size=2)) for kind in self.kinds
        }
        base = {"conv": 1.0, "inverted": 1.7, "attention": 1.5, "mixer": 0.7}
        self.speed = {kind: x * math.exp(0.25 * _draw("speed", kind).normal()) for kind, x in base.items()}
        self.fused = {
            (a, b): math.exp(0.12 * _draw("fused", a, b).normal()) for a in ("stem", *self.kinds) for b in self.kinds
        }

    @lru_cache(maxsize=2048)  # noqa: B019  # one surface, for good
    def __call__(self, arch: Architecture) -> _Net:
        """Return error, latency, parameters and training time, without noise."""
        v = arch.values
        quality = 0.0
        blocks: list[np.ndarray] = []
        n_by_kind = dict.fromkeys(self.kinds, 0)
        channels, kind_before = float(v["stem.width"]), "stem"
        resolution = 32.0 / float(v["stem.patch"])
        latency, params, capacity = 0.05 + 0.4e-3 * channels * (resolution / 16) ** 2, 48.0 * channels, 0.0
        macs = params * resolution**2
        for s in range(int(v["body.repeat"])):
            stage = f"body.{s}."
            width = float(v[stage + "width"])
            width_code, gain = self.effects[stage + "width"](v[stage + "width"])
            down = self.effects[stage + "down"](v[stage + "down"])
            quality += gain + down[1] + 0.12 * down[0] * (1 if kind_before == "conv" else -0.5)
            if v[stage + "down"] != "none":
                resolution = max(resolution / 2, 2.0)
            count = f"{stage}blocks.repeat"
            quality += self.effects[count](v[count])[1]
            for b in range(int(v[count])):
                at = f"{stage}blocks.{b}"
                kind = str(v[at])
                share = 1 / (1 + 0.2 * len(blocks))
                adds = self.effects[at](kind)[1] * 1.5
                vector = self.kind[kind]
                for path, role in self.fields[f"{at}.{kind}"]:
                    if path in v:
                        code, add = self.effects[path](v[path])
                        adds += add + self.with_width[role] * code * width_code
                        if blocks:
                            adds += self.with_kind_before[kind_before, role] * code
                        vector = vector + code * self.vector[role]
                if blocks:
                    adds += float(blocks[-1] @ self.pairs @ vector)
                quality += share * adds
                blocks.append(vector)
                n_by_kind[kind] += 1
                inner, spread = _inner(v, f"{at}.{kind}.", kind, resolution)
                into, out = self.power[kind]
                weights = channels**into * width**out * inner
                layer = weights * resolution**2 * spread * self.speed[kind] * self.fused[kind_before, kind]
                latency += 0.03 + layer * 1e-7 * (1.0 if width % 32 == 0 else 1.2)
                params += weights + 4 * width
                macs += weights * resolution**2 * spread
                capacity += share * math.log2(1 + width / 16) * (1 + 0.15 * math.log(inner))
                channels, kind_before = width, kind
            capacity += 0.25 * math.log2(max(resolution, 2.0)) / (s + 1)
        params += 100 * channels
        n = len(blocks)
        quality += self.effects["body.repeat"](v["body.repeat"])[1]
        quality += 2.6 * (1 - math.exp(-capacity / 4.0))
        quality -= self._lost(v, n, params, n_by_kind)
        features = [*(np.add.reduce(blocks) / n), *blocks[0], *blocks[-1], n - 3.5, math.log10(params) - 4.5]
        for path in self.training:
            code, add = self.effects[path](v[path]) if path in v else (0.0, 0.0)
            features.append(code)
            quality += add
        quality += float(self.heights @ np.cos(self.waves @ np.array(features) + self.phases))
        error = 0.05 + 0.85 / (1 + math.exp(0.5 * (quality - 1.8)))
        epochs = int(v["training.epochs"])
        seconds = 1.0 + 0.8 * epochs * latency**0.7 * (256 / float(v["training.batch_size"])) ** 0.35
        return _Net(error, latency, params, macs, seconds)

    def _lost(self, v: dict[str, Scalar], n: int, params: float, n_by_kind: dict[str, int]) -> float:
        """Return what learning rate, length and regularisation of the training take from quality."""
        batch = math.log2(float(v["training.batch_size"]) / 128)
        best_lr = self.lr[str(v["training.optimizer"])] + 0.16 * batch - 0.09 * n
        best_lr += sum(self.lr_by_kind[kind] * k for kind, k in n_by_kind.items()) / n
        best_lr += 0.15 if v["training.schedule"] == "constant" else 0.0
        off = math.log10(float(v["training.lr"])) - best_lr
        off *= 1.0 if off < 0 else 1.5 - float(v["training.warmup"])
        lost = 0.45 * off**2 / (1 + 0.12 * off**2)
        strength = {"none": 0.0, "crop": 0.6, "mix": 1.0}[str(v["training.augment"])]
        patience = 5 + 5 * strength + 1.5 * n_by_kind["attention"] - 2.0 * batch / (1 + abs(batch))
        lost += 1.3 * math.exp(-float(v["training.epochs"]) / patience)
        size = math.log10(params) - 4.5
        lost += 0.25 * max(size, 0.0) * (1 - 0.7 * strength) * math.log10(float(v["training.epochs"]))
        decay = math.log10(float(v["training.weight_decay"])) + 3.2 - 0.6 * size + 0.5 * strength
        decay -= 0.8 if v["training.optimizer"] == "adamw" else 0.0
        return lost + 0.06 * decay**2 + 0.03 * batch**2


def _inner(v: dict[str, Scalar], path: str, kind: str, resolution: float) -> tuple[float, float]:
    """Return how many times its channels squared a block has weights, and how often it uses one more than once."""
    if kind == "conv":
        return float(v[path + "kernel"]) ** 1.7, 1.0
    if kind == "inverted":
        gate = 1 + 1.5 / float(v[path + "squeeze"]) if v[path + "gate"] else 1.0
        return float(v[path + "expand"]) ** 0.9 * gate * 1.5, 1 + 0.12 * float(v[path + "kernel"])
    if kind == "attention":
        seen = min(float(v[path + "window"]), resolution) ** 2
        return 3.0 + 2.0 * float(v[path + "mlp"]), 1 + (seen / 64) ** 0.6 * float(v[path + "heads"]) ** 0.15
    return 1.0 + 2.0 * float(v[path + "hidden"]), 1.1 if v[path + "shift"] else 1.0


@cache
def stages_surface() -> _Stages:
    """The surface that all tasks of stages share."""
    return _Stages()


def stages(name: str, *, prices: tuple[str, ...], told_before: bool = True, budget: bool = False) -> Task:
    """Error of stages and some of its prices; `budget`: where latency is limited.

    Args:
        prices: `latency_ms` and `params`, those that are objectives beside the error.
        told_before: whether the prices are known before training, and with them the size of the network.
    """
    net = stages_surface()

    def losses(arch: Architecture) -> tuple[float, ...]:
        found = net(arch)
        return (found.error, *(math.log10(getattr(found, price)) for price in prices))

    def proxies(arch: Architecture) -> tuple[float, ...]:
        found = net(arch)
        return math.log(found.macs), math.log(found.params)

    return Task(
        name=name,
        space=stages_space(),
        losses=losses,
        cheap=(False, *(told_before for _ in prices)),
        noise=(0.01, *(0.005 if price == "latency_ms" else 0.0 for price in prices)),
        limited=(lambda arch: math.log10(net(arch).latency_ms)) if budget else None,
        seconds=lambda arch: net(arch).seconds,
        proxies=proxies if told_before else None,
        group=GROUP,
    )


# ---------------------------------------------------------------- flat


@cache
def flat_space() -> Space:
    """Nine parameters of a training, none of which depends on another."""
    return Space(
        input="vector",
        name="flat",
        root=_group(
            training=_group(
                lr=Float(1e-5, 1e-1, log=True),
                decay=Float(1e-6, 1.0, log=True),
                dropout=Float(0.0, 0.8),
                noise=Float(0.0, 2.0),
                width=Integer(8, 1024, log=True),
                depth=Integer(1, 12),
                act=["relu", "tanh", "sine", "gelu", "elu"],
                init=["normal", "uniform", "orthogonal"],
                norm=["none", "batch", "layer", "weight"],
            )
        ),
    )


class _Flat:
    """Hills of random place and shape over the numbers, whose places and heights the categories move."""

    def __init__(self, purpose: str) -> None:
        self.slots = list(flat_space().slots.values())
        self.numbers = [s for s in self.slots if not isinstance(s.parameter, Categorical)]
        self.words = [s for s in self.slots if isinstance(s.parameter, Categorical)]
        rng, n = _draw("flat", purpose), len(self.numbers)
        self.places = rng.uniform(0.1, 0.9, size=(6, n))
        self.steepness = np.exp(rng.uniform(math.log(3.0), math.log(60.0), size=(6, n)))
        self.heights = np.sort(rng.uniform(0.3, 1.6, size=6))
        self.moves: dict[tuple[str, Scalar], tuple[np.ndarray, np.ndarray]] = {}
        for slot in self.words:
            for option in slot.parameter.options:  # type: ignore[union-attr]  # words are categories
                self.moves[slot.path, option] = 0.12 * rng.normal(size=n), 0.3 * rng.normal(size=6)

    @lru_cache(maxsize=2048)  # noqa: B019  # two surfaces, for good
    def __call__(self, arch: Architecture) -> float:
        """Return the loss, in about [0.05, 0.9]."""
        v = arch.values
        u = np.array([s.parameter.to_unit(float(v[s.path])) for s in self.numbers])  # type: ignore[union-attr]
        heights = np.zeros(6)
        for slot in self.words:
            place, height = self.moves[slot.path, v[slot.path]]
            u, heights = u - place, heights + height
        away = (self.steepness * (u - self.places) ** 2).sum(axis=1)
        hills = self.heights * np.exp(heights) * (1 + away) ** -1.5
        return 0.05 + 0.85 * math.exp(-float(hills.sum()))


@cache
def flat_surface(purpose: str) -> _Flat:
    """One of the surfaces of the flat space."""
    return _Flat(purpose)


def flat(name: str, *, n_losses: int) -> Task:
    """One or two losses over a flat space; nothing is known before training."""
    surfaces = [flat_surface(purpose) for purpose in ("first", "second")[:n_losses]]
    return Task(
        name=name,
        space=flat_space(),
        losses=lambda arch: tuple(surface(arch) for surface in surfaces),
        cheap=(False,) * n_losses,
        noise=(0.01,) * n_losses,
        group=GROUP,
    )
