"""Image files and PIL images to uint8 arrays: turned upright, in one size, in one kind of colour."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

CHANNELS = {1: "grey", 3: "RGB"}
"""Number of channels to their order."""

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_EXIF_ORIENTATION = 0x0112


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) as the picture is meant to be seen, without decoding it."""
    width, height = image.size
    return (width, height) if image.getexif().get(_EXIF_ORIENTATION) in _TURNED else (height, width)


def n_channels(image: Image.Image) -> int:
    """Return 1 for grey and 3 for colour, by the mode of the file; what transparency there is does not count.

    Raises:
        DataError: values that are neither, such as floats.
    """
    if image.mode in _GREY:
        return 1
    if image.mode in _COLOUR:
        return 3
    raise DataError(f"holds '{image.mode}' pixels; store it as 8 bit grey or RGB")


def prepare(image: Image.Image, resolution: int | None, channels: int) -> np.ndarray:
    """Return an image as uint8 (H, W), or (H, W, 3) with 3 `channels`.

    In this order: turned as its EXIF orientation says; 16 bit to 8; transparency dropped, as torchvision's loader does;
    to grey by ITU-R 601, or to RGB; the shorter side to `resolution` pixels (bilinear, smoothed where it shrinks); the
    centre cut out. The last two are what torchvision's `Resize` and `CenterCrop` do to a PIL image, to the bit.

    Raises:
        OSError, SyntaxError, ValueError: PIL cannot decode it.
        DataError: as `n_channels`.
    """
    from PIL import Image, ImageOps

    n_channels(image)
    if resolution is not None:
        # A JPEG is decoded at an eighth, a quarter or half of its size where that leaves twice of what is needed.
        image.draft(None, (2 * resolution, 2 * resolution))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode != (mode := "L" if channels == 1 else "RGB"):
        image = image.convert(mode)
    if resolution is not None and image.size != (resolution, resolution):
        image = _squared(image, resolution)
    return np.asarray(image)


def _squared(image: Image.Image, side: int) -> Image.Image:
    from PIL import Image

    width, height = image.size
    shorter = min(width, height)
    width, height = int(side * width / shorter), int(side * height / shorter)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def in_threads(work: Callable[[int], None], n: int) -> None:
    """Do `work(0)` to `work(n - 1)`, several at a time: PIL decodes without Python's lock.

    Raises:
        Whatever a piece of work raises, that of the lowest number.
    """
    threads = min(os.cpu_count() or 1, 16)
    each = max(1, min(256, -(-n // (4 * threads))))

    def some(start: int) -> None:
        for i in range(start, min(start + each, n)):
            work(i)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(some, start) for start in range(0, n, each)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def decode_files(paths: Sequence[Path], size: tuple[int, int], resolution: int | None, channels: int) -> np.ndarray:
    """Return the images of files as uint8 (n, H, W), or (n, H, W, 3) with 3 `channels`; `size` is (H, W).

    Raises:
        DataError: naming a file that cannot be decoded.
    """
    from PIL import Image

    out = np.empty((len(paths), *size, *([3] if channels == 3 else [])), np.uint8)

    def decode(i: int) -> None:
        try:
            with Image.open(paths[i]) as image:
                out[i] = prepare(image, resolution, channels)
        except Exception as error:  # PIL's decoders raise what they like, SyntaxError and struct.error among it
            raise DataError(f"{paths[i]}: {unreadable(error)}") from error

    in_threads(decode, len(paths))
    return out


def unreadable(error: Exception) -> str:
    """Say that an image cannot be decoded, why, and what to do."""
    from PIL import UnidentifiedImageError

    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "a link that leads nowhere; mend or remove it"
    why = "no image that is known" if isinstance(error, UnidentifiedImageError) else f"{error or type(error).__name__}"
    return f"the image cannot be decoded ({why}); mend or remove it"


def prepare_array(x: np.ndarray, resolution: int | None, channels: int | None, where: str) -> np.ndarray:
    """Return images (n, C, H, W) with `prepare` done to each; as they are where nothing is asked of them.

    Raises:
        DataError: images that are not uint8, or have neither 1 nor 3 channels.
    """
    n, c, h, w = x.shape
    side = (h, w) if resolution is None else (resolution, resolution)
    if (h, w) == side and channels in (None, c):
        return x
    asked = " and ".join(
        f"--{name} {value}" for name, value in (("resolution", resolution), ("channels", channels)) if value
    )
    if x.dtype != np.uint8 or c not in CHANNELS:
        raise DataError(
            f"{where}: {asked}: this is for images of type uint8 with 1 or 3 channels, and x_train is {x.dtype} with "
            f"{c} of {h} x {w}; prepare them yourself, or store them as uint8"
        )
    from PIL import Image

    after = channels or c
    out = np.empty((n, after, *side), np.uint8)

    def one(i: int) -> None:
        image = Image.fromarray(np.ascontiguousarray(x[i, 0] if c == 1 else x[i].transpose(1, 2, 0)))
        made = prepare(image, resolution, after)
        out[i] = made if after == 1 else made.transpose(2, 0, 1)

    in_threads(one, n)
    return out
