"""torchvision's data sets by name, on a few files written in the layout that it reads."""

import bz2
import csv
import hashlib
import inspect
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from pictures import picture
from scipy.io import savemat

from nas.data import DATASETS, load_task
from nas.data.datasets import known_name
from nas.data.published import PUBLISHED
from nas.data.reading import Reading
from nas.errors import DataError

rng = np.random.default_rng(0)


def idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"uint8": 8, "int32": 12}[array.dtype.name]
    head = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(array.dtype.newbyteorder(">")).tobytes())


def mnist(class_name, names=("train-{}", "t10k-{}"), labels=10):
    def make(root, monkeypatch):
        for name, n in zip(names, (40, 20), strict=True):
            y = np.arange(n, dtype=np.uint8) % 10 + (labels == 26)
            idx(root / class_name / "raw" / f"{name.format('images-idx3-ubyte')}", images(n))
            idx(root / class_name / "raw" / f"{name.format('labels-idx1-ubyte')}", y)

    return make


def images(n, *shape):
    """Return images that tell their number in the first value."""
    x = rng.integers(0, 256, (n, *(shape or (28, 28))), np.uint8)
    x.reshape(n, -1)[:, 0] = np.arange(n)
    return x


def qmnist(root, monkeypatch):
    raw = root / "QMNIST" / "raw"
    for name, n in (("train", 40), ("test", 20)):
        labels = np.zeros((n, 8), np.int32)
        labels[:, 0], labels[:, 1] = np.arange(n) % 10, 77
        idx(raw / f"qmnist-{name}-images-idx3-ubyte", images(n))
        idx(raw / f"qmnist-{name}-labels-idx2-int", labels)


def usps(root, monkeypatch):
    for name, n in (("usps", 40), ("usps.t", 20)):
        x = (images(n, 16, 16).reshape(n, 256) / 127.5 - 1).tolist()
        rows = [f"{i % 10 + 1} " + " ".join(f"{j}:{v}" for j, v in enumerate(row, 1)) for i, row in enumerate(x)]
        (root / f"{name}.bz2").write_bytes(bz2.compress("\n".join(rows).encode()))


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def semeion(root, monkeypatch):
    x, y = images(50, 16, 16).reshape(50, 256) > 127, np.eye(10)[np.arange(50) % 10]
    np.savetxt(root / "semeion.data", np.hstack([x, y]), fmt="%d")
    monkeypatch.setattr(torchvision.datasets.SEMEION, "md5_checksum", md5(root / "semeion.data"))


def cifar(class_name, folder, key, meta, batches):
    def make(root, monkeypatch):
        here, of = root / folder, getattr(torchvision.datasets, class_name)
        here.mkdir()

        def put(name, content):
            (here / name).write_bytes(pickle.dumps(content))
            return name, md5(here / name)

        for split, names in batches.items():
            n = 40 if split == "train_list" else 20
            contents = ({"data": images(n, 3, 32, 32).reshape(n, -1), key: [i % 10 for i in range(n)]} for _ in names)
            monkeypatch.setattr(of, split, [put(name, content) for name, content in zip(names, contents, strict=True)])
        name, sum_ = put(meta[0], {meta[1]: [f"class {i}" for i in range(10)]})
        monkeypatch.setattr(of, "meta", {"filename": name, "key": meta[1], "md5": sum_})

    return make


def svhn(root, monkeypatch):
    table = dict(torchvision.datasets.SVHN.split_list)
    for split, n in (("train", 40), ("test", 20)):
        path = root / f"{split}_32x32.mat"
        savemat(path, {"X": images(n, 32, 32, 3).transpose(1, 2, 3, 0), "y": np.arange(n)[:, None] % 10 + 1})
        table[split] = [table[split][0], path.name, md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", table)


def stl10(root, monkeypatch):
    here, of = root / "stl10_binary", torchvision.datasets.STL10
    here.mkdir()
    for split, n in (("train", 40), ("test", 20), ("unlabeled", 1)):
        (here / f"{split}_X.bin").write_bytes(images(n, 3, 96, 96).tobytes())
        (here / f"{split}_y.bin").write_bytes((np.arange(n) % 10 + 1).astype(np.uint8).tobytes())
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(of, part, [[name, md5(here / name)] for name, _ in getattr(of, part)])


def files(root, names, size=(20, 30)):
    """Write images; the size of each is another."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture((size[0] + i % 3, size[1]), i).save(path)


def gtsrb(root, monkeypatch):
    files(root / "gtsrb/GTSRB/Training", [f"{c:05d}/{i}.ppm" for c in range(2) for i in range(20)])
    names = [f"{i:05d}.ppm" for i in range(20)]
    files(root / "gtsrb/GTSRB/Final_Test/Images", names)
    with (root / "gtsrb/GT-final_test.csv").open("w") as file:
        table = csv.writer(file, delimiter=";")
        table.writerows([["Filename", "ClassId"], *([name, i % 2] for i, name in enumerate(names))])


def flowers102(root, monkeypatch):
    here, of = root / "flowers-102", torchvision.datasets.Flowers102
    files(here / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 81)])
    savemat(here / "imagelabels.mat", {"labels": np.arange(80) % 2 + 1})
    savemat(here / "setid.mat", {"trnid": np.arange(1, 41), "valid": np.arange(41, 61), "tstid": np.arange(61, 81)})
    sums = {
        "label": ("imagelabels.mat", md5(here / "imagelabels.mat")),
        "setid": ("setid.mat", md5(here / "setid.mat")),
    }
    monkeypatch.setattr(of, "_file_dict", {**of._file_dict, **sums})


def oxford_iiit_pet(root, monkeypatch):
    here = root / "oxford-iiit-pet"
    (here / "annotations").mkdir(parents=True)
    for split, n in (("trainval", 40), ("test", 20)):
        names = [f"{('big_cat', 'dog')[i % 2]}_{split}{i}" for i in range(n)]
        files(here / "images", [f"{name}.jpg" for name in names])
        rows = [f"{name} {i % 2 + 1} {i % 2 + 1} 1" for i, name in enumerate(names)]
        (here / "annotations" / f"{split}.txt").write_text("\n".join(rows))


def food101(root, monkeypatch):
    here = root / "food-101"
    (here / "meta").mkdir(parents=True)
    for split, n in (("train", 20), ("test", 10)):
        table = {c: [f"{c}/{split}{i}" for i in range(n)] for c in ("apple_pie", "waffles")}
        files(here / "images", [f"{name}.jpg" for names in table.values() for name in names])
        (here / "meta" / f"{split}.json").write_text(json.dumps(table))


def dtd(root, monkeypatch):
    here = root / "dtd" / "dtd"
    (here / "labels").mkdir(parents=True)
    for split, n in (("train", 40), ("val", 20), ("test", 20)):
        names = [f"{('banded', 'woven')[i % 2]}/{split}{i}.jpg" for i in range(n)]
        files(here / "images", names)
        (here / "labels" / f"{split}1.txt").write_text("\n".join(names))


def fgvc_aircraft(root, monkeypatch):
    here = root / "fgvc-aircraft-2013b" / "data"
    here.mkdir(parents=True)
    (here / "variants.txt").write_text("A 300\nBoeing 707\n")
    for split, n in (("train", 40), ("val", 20), ("test", 20)):
        names = [f"{split}{i}" for i in range(n)]
        files(here / "images", [f"{name}.jpg" for name in names])
        rows = [f"{name} {('A 300', 'Boeing 707')[i % 2]}" for i, name in enumerate(names)]
        (here / f"images_variant_{split}.txt").write_text("\n".join(rows))


def tree(folder, splits, classes=("a", "b"), suffix="jpg", n=20):
    def make(root, monkeypatch):
        for split in splits:
            files(root / folder / split, [f"{c}/{i}.{suffix}" for c in classes for i in range(n)])

    return make


def eurosat(root, monkeypatch):
    for c in ("Forest", "River"):
        for i in range(25):
            path = root / "eurosat" / "2750" / c / f"{c}_{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture((16, 16), i).save(path)


def fer2013(root, monkeypatch):
    (root / "fer2013").mkdir()
    path = root / "fer2013" / "fer2013.csv"
    pixels = [" ".join(map(str, row)) for row in images(60, 48, 48).reshape(60, -1)]
    usage = ["Training"] * 40 + ["PublicTest"] * 10 + ["PrivateTest"] * 10
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([("emotion", "pixels", "Usage"), *((i % 2, p, usage[i]) for i, p in enumerate(pixels))])
    of = torchvision.datasets.FER2013
    monkeypatch.setattr(of, "_RESOURCES", {**of._RESOURCES, "fer": (path.name, md5(path))})


def caltech101(root, monkeypatch):
    here = root / "caltech101" / "101_ObjectCategories"
    files(here, [f"{c}/image_{i:04d}.jpg" for c in ("ant", "bass", "BACKGROUND_Google") for i in range(1, 26)])
    picture((20, 30), mode="L").save(here / "ant" / "image_0003.jpg")  # some of them are grey


EMNIST = {
    f"emnist_{name}": mnist("EMNIST", (f"emnist-{name}-train-{{}}", f"emnist-{name}-test-{{}}"), labels)
    for name, labels in (("balanced", 10), ("letters", 26))
}
ARRAYS = {
    "mnist": (mnist("MNIST"), (1, 28, 28)),
    "kmnist": (mnist("KMNIST"), (1, 28, 28)),
    "fashion_mnist": (mnist("FashionMNIST"), (1, 28, 28)),
    "qmnist": (qmnist, (1, 28, 28)),
    **{name: (make, (1, 28, 28)) for name, make in EMNIST.items()},
    "usps": (usps, (1, 16, 16)),
    "semeion": (semeion, (1, 16, 16)),
    "cifar10": (
        cifar(
            "CIFAR10",
            "cifar-10-batches-py",
            "labels",
            ("batches.meta", "label_names"),
            {"train_list": ["data_batch_1"], "test_list": ["test_batch"]},
        ),
        (3, 32, 32),
    ),
    "cifar100": (
        cifar(
            "CIFAR100",
            "cifar-100-python",
            "fine_labels",
            ("meta", "fine_label_names"),
            {"train_list": ["train"], "test_list": ["test"]},
        ),
        (3, 32, 32),
    ),
    "svhn": (svhn, (3, 32, 32)),
    "stl10": (stl10, (3, 96, 96)),
    "eurosat": (eurosat, (3, 16, 16)),
    "fer2013": (fer2013, (1, 48, 48)),
}
FILES = {
    "gtsrb": gtsrb,
    "flowers102": flowers102,
    "oxford_iiit_pet": oxford_iiit_pet,
    "food101": food101,
    "dtd": dtd,
    "fgvc_aircraft": fgvc_aircraft,
    "country211": tree("country211", ("train", "valid", "test")),
    "rendered_sst2": tree("rendered-sst2", ("train", "valid", "test"), ("negative", "positive"), "png"),
    "imagenette": tree("imagenette2", ("train", "val"), ("n01440764", "n02102040"), "jpeg"),
    "caltech101": caltech101,
}
UNWRITTEN = {"stanford_cars", "clevr", "caltech256"} | {
    f"emnist_{s}" for s in ("byclass", "bymerge", "digits", "mnist")
}
"""Read as others here are; what torchvision wants for them is checked by their arguments alone."""


def test_every_name_is_here_and_nothing_else():
    assert {*ARRAYS, *FILES} | UNWRITTEN == set(PUBLISHED)
    assert {*PUBLISHED, "digits"} == set(DATASETS)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_set_that_holds_arrays(tmp_path, monkeypatch, name):
    make, in_shape = ARRAYS[name]
    make(tmp_path, monkeypatch)
    task = load_task(name, data_root=tmp_path)
    assert (task.name, task.in_shape) == (name, in_shape)
    assert (len(task.full()[1]), len(task.test()[1])) == ((40, 10) if name in ("semeion", "eurosat") else (40, 20))
    assert task.n_outputs == (2 if name in ("eurosat", "fer2013") else 10)
    assert task.channels == ("grey" if in_shape[0] == 1 else "RGB")
    assert task.scale == 1 / 255
    small = load_task(PUBLISHED[name].class_name if "emnist" not in name else name, data_root=tmp_path, resolution=8)
    assert small.in_shape == (in_shape[0], 8, 8)


def test_pixels_and_labels_keep_together(tmp_path, monkeypatch):
    for name in ("mnist", "emnist_letters", "cifar10", "svhn", "stl10"):
        ARRAYS[name][0](tmp_path, monkeypatch)
        arrays = DATASETS[name](Reading(data_root=tmp_path))
        number = arrays.x_train.reshape(40, -1)[:, 0] if name != "svhn" else arrays.x_train[:, 0, 0, 0]
        first = {"svhn": 1, "stl10": 0}.get(name, 0)
        assert ((number + first) % 10 == arrays.y_train).all(), name


def test_letters_have_no_class_without_samples(tmp_path, monkeypatch):
    EMNIST["emnist_letters"](tmp_path, monkeypatch)
    assert load_task("emnist_letters", data_root=tmp_path).classes == tuple("abcdefghij")


@pytest.mark.parametrize("name", FILES)
def test_a_set_that_holds_files(tmp_path, monkeypatch, name):
    FILES[name](tmp_path, monkeypatch)
    with pytest.raises(DataError, match=f"{name}: its images are of several sizes; --resolution 64 resizes"):
        load_task(name, data_root=tmp_path)
    task = load_task(name, data_root=tmp_path, resolution=12)
    assert (task.in_shape, task.n_outputs, task.resolution) == ((3, 12, 12), 2, 12)
    assert (len(task.full()[1]), len(task.test()[1])) == {
        "caltech101": (40, 10),
        "imagenette": (40, 40),
        "country211": (80, 40),
        "rendered_sst2": (80, 40),
    }.get(name, (60 if PUBLISHED[name].val else 40, 20))
    if PUBLISHED[name].val:
        with pytest.raises(DataError, match="a validation split of its own"):
            load_task(name, data_root=tmp_path, resolution=12, val_share=0.3)
    grey = load_task(name, data_root=tmp_path, resolution=12, channels=1)
    assert (grey.in_shape, grey.channels) == ((1, 12, 12), "grey")


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvision_knows_the_class_and_its_arguments(name):
    published = PUBLISHED[name]
    made = inspect.signature(getattr(torchvision.datasets, published.class_name))
    for arguments in (published.train, published.val, published.test):
        if arguments is not None:
            made.bind("data", **arguments, **published.more, **({"download": False} if published.fetched else {}))


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_not_there_says_where_and_how(tmp_path, name):
    with pytest.raises(DataError) as caught:
        load_task(name, data_root=tmp_path, resolution=32)
    for word in (name, str(tmp_path / PUBLISHED[name].at), "--data-root DIR", "--download"):
        assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("spec", "name"), [("CIFAR10", "cifar10"), ("OxfordIIITPet", "oxford_iiit_pet"), ("x", None)])
def test_torchvisions_own_spelling(spec, name):
    assert known_name(spec) == name


def test_one_word_for_several_sets():
    with pytest.raises(DataError, match="EMNIST: there are several; write one of emnist_balanced, "):
        load_task("EMNIST")


def test_a_changed_pickle_is_not_opened(tmp_path, monkeypatch):
    ARRAYS["cifar10"][0](tmp_path, monkeypatch)

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "gone off",)

    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"cifar10: cannot be read from .*--download"):
        load_task("cifar10", data_root=tmp_path)
    assert not (tmp_path / "gone off").exists()


def test_a_broken_file_of_a_set_is_named(tmp_path, monkeypatch):
    gtsrb(tmp_path, monkeypatch)
    (tmp_path / "gtsrb/GTSRB/Training/00000/3.ppm").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"gtsrb: .*00000/3\.ppm: the image cannot be decoded"):
        load_task("gtsrb", data_root=tmp_path, resolution=12)
