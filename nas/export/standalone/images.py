"""Image files, prepared as those of the training were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from nas.export.standalone.arrays import arranged, loaded


def read_images(given: str, metadata: dict[str, Any]) -> np.ndarray:
    """Return an image file as one sample, or the samples of a .npy or .npz file: (n, *in_shape)."""
    from PIL import Image, UnidentifiedImageError

    path = Path(given)
    if path.suffix.lower() in (".npy", ".npz"):
        x = loaded(path)
        return arranged(resized(x, path, metadata) if metadata.get("resolution") else x, path, metadata)
    if not path.is_file():
        sys.exit(f"{path}: {'is a folder; name an image in it' if path.is_dir() else 'there is no such file'}")
    try:
        with Image.open(path) as image:
            return arranged(as_trained(image, path, metadata), path, metadata)
    except UnidentifiedImageError:
        sys.exit(f"{path}: is no image that is known; samples are an image, or arrays in a .npy or .npz file")
    except Exception as error:  # each decoder has its own
        sys.exit(f"{path}: the image cannot be decoded: {error}")


def resized(x: np.ndarray, path: Path, metadata: dict[str, Any]) -> np.ndarray:
    """Return images as they come, of any size, as uint8 (n, C, H, W), prepared as the training images were."""
    from PIL import Image

    if x.ndim == 2 or (x.ndim == 3 and x.shape[-1] in (1, 3)):
        x = x[None]
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] not in (1, 3):
        x = np.moveaxis(x, 1, -1)
    if x.ndim == 4 and x.shape[3] == 1:
        x = x[..., 0]
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        sys.exit(f"{path}: the training images were uint8 and resized; these are {x.dtype} of {x.shape}")
    return np.stack([as_trained(Image.fromarray(np.ascontiguousarray(one)), path, metadata) for one in x])


def as_trained(image: Any, path: Path, metadata: dict[str, Any]) -> np.ndarray:
    """Return an image as uint8 (C, H, W): upright, 8 bits, with the colours and the size of the training images."""
    from PIL import Image, ImageOps

    shape, side = tuple(metadata.get("data_shape") or metadata["in_shape"]), metadata.get("resolution")
    if side:
        image.draft(None, (2 * side, 2 * side))  # a large JPEG is decoded at a part of its size
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[shape[0]])
    if side and image.size != (side, side):  # the shorter side to `side` pixels, then the centre
        width, height = (int(side * size / min(image.size)) for size in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - side) / 2), round((height - side) / 2)
        image = image.crop((left, top, left + side, top + side))
    if image.size != (shape[2], shape[1]):
        print(f"{path}: resized from {image.size} to {(shape[2], shape[1])} pixels", file=sys.stderr)
        image = image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape[1], shape[2], shape[0]).transpose(2, 0, 1)
