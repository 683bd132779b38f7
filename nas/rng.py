"""Every random stream has an owner: a generator is named by the run's seed and by what it is for."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator that `purpose` owns within the run `seed`.

    Trial 12 gets the same stream after a resume, and whichever trials ran before it.

    >>> a, b = (generator(0, "sampler", 12).random() for _ in range(2))
    >>> a == b, a == generator(0, "sampler", 13).random()
    (True, False)
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
    return np.random.default_rng([seed, *words])


def torch_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for `torch.Generator.manual_seed` (or `torch.manual_seed`) that `purpose` owns."""
    return int(generator(seed, *purpose).integers(2**31 - 1))
