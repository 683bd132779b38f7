"""The networks and the data of `bench_training.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.shapes import Shape

if TYPE_CHECKING:
    from nas.build import Network
    from nas.data import Task

SPOKEN = "sequences/SpokenDigits.npz"
Part = dict[str, dict[str, Any]]


def data_root() -> Path:
    """Return the folder of the data sets that come as files; NAS_TEST_DATA names another than `data`."""
    return Path(os.environ.get("NAS_TEST_DATA", "data"))


@lru_cache
def load(kind: str) -> Task:
    """Return Fashion-MNIST for "image" and "vector", SpokenDigits for "sequence"."""
    from nas.data import load_task

    spec = str(data_root() / SPOKEN) if kind == "sequence" else "fashion_mnist"
    return load_task(spec, input=kind, data_root=data_root())


@dataclass(frozen=True)
class Net:
    """A fixed network of a shipped space.

    Attributes:
        space: where it could have been found.
        group: networks of one group share a goal.
        kind: of its input: image, sequence or vector.
        augment: how it is trained, as in a space.
    """

    space: str
    group: str
    kind: str
    stem: Part | None
    body: tuple[Part, ...]
    head: Part
    augment: Part | str = "none"
    batch_size: int = 128

    @property
    def in_shape(self) -> Shape:
        return {"image": (1, 28, 28), "vector": (784,), "sequence": (64, 40)}[self.kind]

    def build(self, seed: int = 0) -> Network:
        """Return it with the random weights of a seed."""
        from nas.build import build_tree
        from nas.training import torch_seeded

        tree: dict[str, Any] = {"body": list(self.body), "head": self.head}
        if self.stem is not None:
            tree["stem"] = self.stem
        with torch_seeded(seed):
            return build_tree(tree, self.in_shape, 10)


def _conv(width: int, stride: int = 1) -> Part:
    return {"conv": {"width": width, "stride": stride}}


def _mbconv(width: int, stride: int = 1, expand: int = 4) -> Part:
    return {"mbconv": {"width": width, "stride": stride, "expand": expand}}


def _image(group: str, stem: Part, *body: Part) -> Net:
    return Net("image_conv", group, "image", stem, body, {"pool": {}}, {"crop": {"pad": 2, "flip": True}})


def _vector(*widths: int) -> Net:
    return Net("mlp", "mlp", "vector", None, tuple({"dense": {"width": width}} for width in widths), {"pool": {}})


def _sequence(group: str, block: Part, head: str) -> Net:
    stem, shift = {"project": {"width": 32}}, {"timeshift": {"max": 4}}
    return Net("sequence", group, "sequence", stem, (block,), {head: {}}, shift, 32)


NETS: dict[str, Net] = {
    "conv 24k": _image("conv", _conv(16), _conv(32, 2), _conv(32), _conv(32, 2)),
    "conv 195k": _image("conv", _conv(32), _conv(64, 2), _conv(64), _conv(96, 2), _conv(96)),
    "mbconv 125k": _image(
        *("mbconv", _conv(16), _mbconv(24, 2), _mbconv(24), _mbconv(40, 2), _mbconv(40)),
        *(_mbconv(64), _mbconv(64), _mbconv(64)),
    ),
    "mlp 64-64": _vector(64, 64),
    "mlp 256-128": _vector(256, 128),
    "lstm 64": _sequence("recurrent", {"lstm": {"hidden": 64}}, "last"),
    "gru 64": _sequence("recurrent", {"gru": {"hidden": 64}}, "last"),
    "transformer 64": _sequence("transformer", {"transformer": {"dim": 64, "heads": 4, "mlp_ratio": 2}}, "pool"),
}
"""Those whose training is timed; each says how many parameters it has, or its widths."""

CNNS: dict[str, Net] = {
    "conv": _image("cnn", _conv(16), _conv(32, 2), _conv(32), _conv(64, 2), _conv(64)),
    "resblock": _image(
        "cnn", _conv(16), {"resblock": {"width": 32, "stride": 2}}, {"resblock": {"width": 64, "stride": 2}}
    ),
    "mbconv": _image(
        *("cnn", _conv(16), _mbconv(24, 2), _mbconv(24), _mbconv(40, 2), _mbconv(40), _mbconv(64)),
    ),
}
"""Those that are trained in full, against hand-tuned scripts."""
