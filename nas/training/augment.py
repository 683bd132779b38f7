"""Augmentation of a whole batch at once, each sample in its own way.

Tensor indexing over data in memory: some 30 times faster than a transform per sample in a loader.
Zeros stand for the mean of a channel, since the data are standardised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from nas.errors import SpaceError
from nas.training import config as c

_LAYOUT = {4: "map", 3: "tokens", 2: "vector"}


def check_augment(config: c.Part, x: Tensor) -> None:
    """Check that `config` is for data like `x`.

    Raises:
        SpaceError: it is for another kind of data, such as a crop for a series.
    """
    layout = _LAYOUT.get(x.ndim)
    if layout not in config.layouts:
        fitting = [name for name in c.AUGMENTATIONS if layout in c.AUGMENTATIONS[name].layouts]
        raise SpaceError(
            f"training.augment: {config!r} is for {' or '.join(config.layouts)} data, not for samples of shape "
            f"{tuple(x.shape[1:])}, {layout}; choose from {', '.join(fitting)}"
        )


def augment(x: Tensor, config: c.Part, rng: Generator) -> Tensor:
    """Return an augmented batch of the same shape and type; `x` stays as it is.

    Args:
        x: (N, C, H, W), (N, T, C) or (N, F), standardised.
        rng: on the device of `x`; owns all randomness.
    """
    match config:
        case c.NoAugment():
            return x
        case c.Crop(pad=pad, flip=flip):
            return crop(x, pad, flip, rng)
        case c.Cutout(size=size):
            return cutout(x, size, rng)
        case c.Standard(pad=pad, flip=flip, cutout=size):
            return cutout(crop(x, pad, flip, rng), size, rng)
        case c.Jitter(std=std):
            return x + std * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        case c.TimeShift(max=most):
            return time_shift(x, most, rng)
    raise TypeError(f"no builder for the augmentation {config!r}")


def crop(x: Tensor, pad: int, flip: bool, rng: Generator) -> Tensor:
    """Shift each of (N, C, H, W) by up to `pad` pixels on both axes; mirror about half of them if `flip`."""
    n, _, h, w = x.shape
    if pad == 0 and not flip:
        return x
    rows = _integers(n, 2 * pad + 1, rng, x) + torch.arange(h, device=x.device)  # (N, H)
    cols = _integers(n, 2 * pad + 1, rng, x) + torch.arange(w, device=x.device)  # (N, W)
    if flip:
        mirrored = _integers(n, 2, rng, x).bool()
        cols = torch.where(mirrored, cols.flip(1), cols)
    # Indexed with the channels last, whole pixels are copied, and the result is channels_last as convolutions like it.
    pixels = F.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    sample = torch.arange(n, device=x.device)[:, None, None]
    return pixels[sample, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, size: int, rng: Generator) -> Tensor:
    """Set a square of `size` x `size` pixels in each of (N, C, H, W) to zero, in all channels."""
    n, _, h, w = x.shape
    rows = _band(n, h, size, rng, x)
    cols = _band(n, w, size, rng, x)
    return x.masked_fill((rows[:, :, None] & cols[:, None, :])[:, None], 0.0)


def time_shift(x: Tensor, most: int, rng: Generator) -> Tensor:
    """Shift each of (N, T, C) by up to `most` steps along T."""
    n, t, _ = x.shape
    source = torch.arange(t, device=x.device) + _integers(n, 2 * most + 1, rng, x) - most  # (N, T)
    outside = (source < 0) | (source >= t)
    moved = x[torch.arange(n, device=x.device)[:, None], source.clamp(0, t - 1)]
    return moved.masked_fill(outside[:, :, None], 0.0)


def _integers(n: int, below: int, rng: Generator, like: Tensor) -> Tensor:
    """Return (n, 1) integers in [0, below)."""
    return torch.randint(below, (n, 1), generator=rng, device=like.device)


def _band(n: int, length: int, size: int, rng: Generator, like: Tensor) -> Tensor:
    """Return (n, length) masks, each true at `size` neighbouring places."""
    size = min(size, length)
    start = _integers(n, length - size + 1, rng, like)
    place = torch.arange(length, device=like.device)
    return (place >= start) & (place < start + size)
