"""Small trees of images for the tests."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(size: tuple[int, int], seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Return an image of noise, (height, width)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def plant(root: Path, **images: Any) -> Path:
    """Write a tree of images below `root`; `cat__0=(8, 9)` is cat/0.png of that (height, width), or a PIL image."""
    for i, (name, what) in enumerate(images.items()):
        path = root.joinpath(*name.split("__")).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        (what if isinstance(what, Image.Image) else picture(what, i)).save(path)
    return root


def pets(root: Path, size: tuple[int, int] = (8, 8), n: int = 4, split: str = "") -> Path:
    """Write `n` images of each of two classes."""
    prefix = f"{split}__" if split else ""
    return plant(root, **{f"{prefix}{c}__{i}": size for c in ("cat", "dog") for i in range(n)})
