"""A task: what a network is trained and judged on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nas.errors import DataError
from nas.shapes import Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """Data in memory, standardised once, ready to be indexed.

    `x_*` are float32 (n, *in_shape); `y_*` int64 (n,), indices into `classes`, or in regression float32 (n, n_targets),
    standardised; all contiguous.
    The test set has one door, `test()`, so that nothing but a final judgement can come across it.
    """

    name: str
    in_shape: Shape
    """(C, H, W), (T, C) or (F,)."""

    classes: tuple[str, ...]
    """Empty in regression."""

    x_train: Tensor = field(repr=False)
    y_train: Tensor = field(repr=False)
    x_val: Tensor = field(repr=False)
    y_val: Tensor = field(repr=False)
    mean: tuple[float, ...] = field(repr=False)
    """Per channel: C of (C, H, W), C of (T, C), each of (F,); of the training split alone. In the units of the data,
    where uint8 counts as value / 255."""

    std: tuple[float, ...] = field(repr=False)
    """As `mean`; 1 where a channel is constant."""

    scale: float = field(default=1.0, repr=False)
    """What the values of the data are multiplied by before mean and std: 1 / 255 for uint8, else 1."""

    resolution: int | None = field(default=None, repr=False)
    """Images were resized until their shorter side was this, and cut to a square around the centre
    (`nas.data.images.prepare`); None: they are as they came."""

    channels: str | None = field(default=None, repr=False)
    """Of images, the order of their channels, where that is known: grey or RGB."""

    length: int | None = field(default=None, repr=False)
    """Sequences were cut at the end, or padded there with zeros, to so many steps; None: they are as they came."""

    targets: tuple[str, ...] = ()
    """What a regression predicts, by name; empty in classification."""

    y_mean: tuple[float, ...] = field(default=(), repr=False)
    """Of each target in the training split, in its own units: what is predicted is (target - y_mean) / y_std."""

    y_std: tuple[float, ...] = field(default=(), repr=False)
    """As `y_mean`."""

    data_shape: Shape | None = field(default=None, repr=False)
    """Of a sample as the data have it, where the space reads it in another: images whose rows are steps, or that are
    flattened; None: as `in_shape`."""

    data_layout: str | None = field(default=None, repr=False)
    """Axes of the arrays that the data came as, such as NHWC or NCT (see `nas.data.layout`); None: nobody says."""

    recipe: Mapping[str, Any] | None = field(default=None, repr=False)
    """How rows of a table, or texts, become what `mean` and `std` are of, as JSON-able values, with the encoding of
    their file; None: they are that already."""

    notes: tuple[str, ...] = field(default=(), repr=False)
    """What was decided about the data that the user should know, a line each."""

    _test: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)
    """Test samples (n, *in_shape) in the type of the file, and their labels as `y_train` has them."""

    @property
    def kind(self) -> Literal["classification", "regression"]:
        """What is learned."""
        return "regression" if self.targets else "classification"

    @property
    def n_outputs(self) -> int:
        """How many numbers a network gives: a logit per class, or one per target."""
        return len(self.targets or self.classes)

    def fingerprint(self) -> str:
        """Return 16 hex digits that name what is trained and judged on: samples, labels, their order and the split.

        Cost: 0.2 s for 60,000 images of 28 x 28.
        """
        said = (self.in_shape, self.classes, *((self.targets,) if self.targets else ()))
        digest = hashlib.blake2b(repr(said).encode(), digest_size=8)
        for tensor in (self.x_train, self.y_train, self.x_val, self.y_val):
            digest.update(tensor.cpu().numpy().data)  # contiguous
        return digest.hexdigest()

    def to(self, device: str | torch.device) -> Task:
        """Return the same task with its training and validation samples on a device."""
        tensors = ("x_train", "y_train", "x_val", "y_val")
        return dataclasses.replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def full(self) -> tuple[Tensor, Tensor]:
        """Return training and validation samples together, for a final training."""
        return torch.cat([self.x_train, self.x_val]), torch.cat([self.y_train, self.y_val])

    @property
    def has_test(self) -> bool:
        """Whether there is a test set."""
        return self._test is not None

    def test(self) -> tuple[Tensor, Tensor]:
        """Return the test set, standardised like the rest.

        Raises:
            DataError: the data have none.
        """
        if self._test is None:
            raise DataError(
                f"{self.name}: the data have no test set, so nothing can be judged on unseen samples in the end; "
                "add x_test and y_test to arrays, a folder test to images, NAME_TEST.ts to sequences\n"
                "  a run takes the same data with a test set by --data (in Python: data=...)"
            )
        x, y = self._test
        return standardise(x, self.mean, self.std), torch.from_numpy(y.copy())


def standardise(x: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return (x - mean) / std as a contiguous float32 tensor; uint8 is divided by 255 first, as by ToTensor.

    Args:
        x: (n, C, H, W), (n, T, C) or (n, F); any type of number. float64 and integers are standardised as float64, so
            that a large offset (a time stamp) does not eat the digits that differ.
    """
    exact = np.dtype("f4" if x.dtype in (np.uint8, np.float16, np.float32, np.bool_) else "f8")
    z: np.ndarray = x.astype(exact, order="C")
    if x.dtype == np.uint8:
        np.divide(z, 255, out=z)
    shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
    np.subtract(z, np.array(mean, exact).reshape(shape), out=z)
    np.divide(z, np.array(std, exact).reshape(shape), out=z)
    return torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32))
