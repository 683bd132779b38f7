"""The image classification sets of torchvision, in its folder layout: one line each.

Left out are those that are no classification of images by one label, those without a complete order of their files
(SUN397), those that need further packages (PCAM), and those that no memory holds (ImageNet, Places365, INaturalist; a
part of them is read as a folder of images).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nas.data.arrays import Arrays
from nas.data.images import CHANNELS, in_threads, prepare, unreadable
from nas.data.memory import check_fits, peak_bytes, resolution_that_fits
from nas.data.reading import Reading
from nas.data.split import hold_out
from nas.errors import DataError

_Arguments: TypeAlias = dict[str, Any]


def _split(name: str) -> _Arguments:
    return {"split": name}


@dataclass(frozen=True, kw_only=True)
class Published:
    """One of torchvision's data sets: what its class is called, and with what arguments it gives which split."""

    class_name: str
    at: str
    """A file or folder in the data root that is there if the data are."""

    train: _Arguments = field(default_factory=lambda: {"train": True})
    test: _Arguments | None = field(default_factory=lambda: {"train": False})
    """None: published without a test set; a fifth is set aside, as for digits."""

    val: _Arguments | None = None
    """A validation split that was published with the data is used as one."""

    layout: str | None = None
    """Of the array that the class holds; None: it decodes files."""

    channels: int = 3
    """Of files: what they are read as."""

    even: bool = False
    """Whether the files have one size."""

    fetched: bool = True
    """Whether the class can download."""

    more: _Arguments = field(default_factory=dict)
    """Arguments of every split."""


def _mnist(class_name: str, at: str | None = None, **more: Any) -> Published:
    return Published(class_name=class_name, at=at or f"{class_name}/raw", layout="NHW", more=more)


PUBLISHED: dict[str, Published] = {
    "mnist": _mnist("MNIST"),
    "fashion_mnist": _mnist("FashionMNIST"),
    "kmnist": _mnist("KMNIST"),
    "qmnist": _mnist("QMNIST"),
    **{
        f"emnist_{name}": _mnist("EMNIST", split=name)
        for name in ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
    },
    "usps": Published(class_name="USPS", at="usps.bz2", layout="NHW"),
    "semeion": Published(class_name="SEMEION", at="semeion.data", train={}, test=None, layout="NHW"),
    "cifar10": Published(class_name="CIFAR10", at="cifar-10-batches-py", layout="NHWC"),
    "cifar100": Published(class_name="CIFAR100", at="cifar-100-python", layout="NHWC"),
    "svhn": Published(
        class_name="SVHN", at="train_32x32.mat", train=_split("train"), test=_split("test"), layout="NCHW"
    ),
    "stl10": Published(
        class_name="STL10", at="stl10_binary", train=_split("train"), test=_split("test"), layout="NCHW"
    ),
    "eurosat": Published(class_name="EuroSAT", at="eurosat", train={}, test=None, even=True),
    "fer2013": Published(
        class_name="FER2013",
        at="fer2013",
        train=_split("train"),
        test=_split("test"),
        channels=1,
        even=True,
        fetched=False,
    ),
    "gtsrb": Published(class_name="GTSRB", at="gtsrb", train=_split("train"), test=_split("test")),
    "flowers102": Published(
        class_name="Flowers102", at="flowers-102", train=_split("train"), val=_split("val"), test=_split("test")
    ),
    "oxford_iiit_pet": Published(
        class_name="OxfordIIITPet", at="oxford-iiit-pet", train=_split("trainval"), test=_split("test")
    ),
    "food101": Published(class_name="Food101", at="food-101", train=_split("train"), test=_split("test")),
    "dtd": Published(class_name="DTD", at="dtd", train=_split("train"), val=_split("val"), test=_split("test")),
    "fgvc_aircraft": Published(
        class_name="FGVCAircraft",
        at="fgvc-aircraft-2013b",
        train=_split("train"),
        val=_split("val"),
        test=_split("test"),
    ),
    "stanford_cars": Published(
        class_name="StanfordCars", at="stanford_cars", train=_split("train"), test=_split("test")
    ),
    "country211": Published(
        class_name="Country211", at="country211", train=_split("train"), val=_split("valid"), test=_split("test")
    ),
    "rendered_sst2": Published(
        class_name="RenderedSST2", at="rendered-sst2", train=_split("train"), val=_split("val"), test=_split("test")
    ),
    "imagenette": Published(class_name="Imagenette", at="imagenette2", train=_split("train"), test=_split("val")),
    "clevr": Published(
        class_name="CLEVRClassification", at="clevr", train=_split("train"), test=_split("val"), even=True
    ),
    "caltech101": Published(class_name="Caltech101", at="caltech101", train={}, test=None),
    "caltech256": Published(class_name="Caltech256", at="caltech256", train={}, test=None),
}
"""Our name to the data set."""


def read_published(name: str, how: Reading) -> Arrays:
    """Read a data set of torchvision's from `how.data_root`, fetched first if `how.download` says so.

    Files are decoded in parallel, resized as `nas.data.images.prepare` says. torchvision unpickles CIFAR's files, and
    only if their MD5 sums are those that were published.

    Raises:
        DataError: it is not there, is broken, cannot be fetched, has several sizes, or does not fit the memory.
    """
    published, root = PUBLISHED[name], how.data_root
    if how.length is not None:
        raise DataError(f"{name}: --length is for sequences, and these are images; leave it out")
    place = root / published.at
    fetch = "or fetch it with --download" if published.fetched else "it cannot be fetched by --download"
    if not how.download and not place.exists():
        # Looked up before torchvision is, whose import takes seconds.
        raise DataError(
            f"{name}: not found in {place.absolute()}; say where it is with --data-root DIR (the folder that holds "
            f"{published.at.split('/')[0]}), {fetch}"
        )
    if published.layout is None and not published.even and how.resolution is None:
        raise DataError(f"{name}: its images are of several sizes; --resolution 64 resizes all of them to a square")
    parts = {"train": published.train, "val": published.val, "test": published.test}
    asked = {part: arguments for part, arguments in parts.items() if arguments is not None}
    try:
        opened = {part: _open(published, how, arguments) for part, arguments in asked.items()}
    except Exception as error:  # torchvision, urllib and the file system each have their own
        remedy = "check the connection" if how.download else "delete it and fetch it again with --download"
        remedy = remedy if published.fetched else "get it again"
        failed = "fetched to, or read from," if how.download else "read from"
        raise DataError(f"{name}: cannot be {failed} {place.absolute()} ({error}); {remedy}") from error
    if published.layout is not None:
        read = {part: _held(found) for part, found in opened.items()}
    else:
        read = _decoded(name, published, opened, how)
    x, y = ({part: pair[i] for part, pair in read.items()} for i in (0, 1))
    if published.test is None:
        kept, held = hold_out(y["train"], name)
        x, y = ({"train": v["train"][kept], "test": v["train"][held]} for v in (x, y))
    classes = _class_names(opened["train"])
    if classes is not None:
        y, classes = _without_unused(y, classes)
    grey = published.layout == "NHW" if published.layout else (how.channels or published.channels) == 1
    return Arrays(
        name=name,
        where=name,
        layout=published.layout or ("NHW" if grey else "NHWC"),
        x_train=x["train"],
        y_train=y["train"],
        x_val=x.get("val"),
        y_val=y.get("val"),
        x_test=x["test"],
        y_test=y["test"],
        classes=classes,
        channels=CHANNELS[1 if grey else 3],
    )


def _open(published: Published, how: Reading, arguments: _Arguments) -> Any:
    import torchvision.datasets

    fetching = {"download": how.download} if published.fetched else {}
    return getattr(torchvision.datasets, published.class_name)(
        str(how.data_root), **arguments, **published.more, **fetching
    )


def _held(found: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels that a data set of torchvision's holds."""
    y = np.asarray(found.targets if hasattr(found, "targets") else found.labels).astype(np.int64)
    return np.asarray(found.data), y[:, 0] if y.ndim == 2 else y  # QMNIST: the class, then who wrote it and where


def _decoded(
    name: str, published: Published, opened: Mapping[str, Any], how: Reading
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images and labels of each split, decoded by torchvision, then prepared."""
    channels = how.channels or published.channels
    first = prepare(opened["train"][0][0], how.resolution, channels)
    shapes = {part: (len(found), *first.shape) for part, found in opened.items()}
    kept = (len(opened["train"]) + len(opened.get("val", ())), *first.shape)
    needed = peak_bytes(((shape, first.dtype) for shape in shapes.values()), kept, first.dtype)
    total = sum(map(len, opened.values()))
    size = f"{first.shape[0]} x {first.shape[1]}"
    side = resolution_that_fits(needed, (first.shape[0], first.shape[1]))
    check_fits(name, needed, f"{total} images of {size}", f"--resolution {side} would fit")

    def decode(found: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.empty((len(found), *first.shape), np.uint8), np.empty(len(found), np.int64)

        def one(i: int) -> None:
            try:
                image, label = found[i]
                made = prepare(image, how.resolution, channels)
            except Exception as error:  # PIL's decoders raise what they like
                raise DataError(f"{name}: {_file_of(found, i)}: {unreadable(error)}") from error
            if made.shape != first.shape:
                raise DataError(
                    f"{name}: images of several sizes: the first is {first.shape[0]} x {first.shape[1]}, "
                    f"{_file_of(found, i)} is {made.shape[0]} x {made.shape[1]}; --resolution 64 resizes all of them "
                    "to a square"
                )
            x[i], y[i] = made, label

        in_threads(one, len(found))
        return x, y

    return {part: decode(found) for part, found in opened.items()}


def _file_of(found: Any, i: int) -> str:
    """Return where image `i` of a data set of torchvision's came from."""
    listed = (getattr(found, name, None) for name in ("_image_files", "_images", "_samples", "samples"))
    one = next((files[i] for files in listed if files is not None), None)
    path = one[0] if isinstance(one, tuple) else one
    return str(path) if isinstance(path, str | Path) else f"image {i}"


def _class_names(found: Any) -> np.ndarray | None:
    names = getattr(found, "classes", None) or getattr(found, "categories", None)
    return None if names is None else np.array([name if isinstance(name, str) else name[0] for name in names])


def _without_unused(y: Mapping[str, np.ndarray], classes: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Leave out classes that no sample has, such as the first of EMNIST's letters."""
    used = np.unique(np.concatenate(list(y.values())))
    if len(used) == 0 or used[0] < 0 or used[-1] >= len(classes):
        return dict(y), classes  # for `encode_labels` to refuse
    return {part: np.searchsorted(used, labels) for part, labels in y.items()}, classes[used]
