"""What every task keeps, whatever it was made from. A new kind of data gets a line in `OWN`."""

import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import DATASETS, Arrays, Task, load_task, make_task

REAL = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
NAMED = {"digits": None, "fashion_mnist": "FashionMNIST/raw"}
"""Data sets whose real files are at hand, and where; the others are read in tests/data/test_published.py."""

rng = np.random.default_rng(0)


def arrays(x, folder, **more):
    y = np.arange(60) % 3
    return make_task(Arrays(name="own", where="own", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], **more))


def images(folder):
    """A folder of images of several sizes, with all three splits."""
    for split, n in (("train", 6), ("val", 2), ("test", 2)):
        for c in "abc":
            (folder / split / c).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (9, 9 + i, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / c / f"{i}.png")
    return load_task(folder, resolution=7)


def series(folder):
    """A pair of .ts files of unequal lengths."""
    for part in ("TRAIN", "TEST"):
        cases = (",".join(map(str, rng.normal(3, 2, 5 + i % 2))) + f":{i % 3}" for i in range(30))
        (folder / f"own_{part}.ts").write_text("@problemName own\n@data\n" + "\n".join(cases))
    return load_task(folder, length=5)


def function(folder):
    source = "import numpy as np\nx = np.random.default_rng(0).normal(5, 2, (60, 4))\ny = np.arange(60) % 3\n"
    (folder / "own.py").write_text(source + "def load(): return x, y, x[:9], y[:9]\n")
    return load_task(f"{folder / 'own.py'}:load")


OWN = {
    "uint8 images": partial(arrays, rng.integers(0, 255, (60, 9, 7, 3), np.uint8)),
    "float16 series": partial(arrays, rng.normal(size=(60, 4, 9)).astype(np.float16)),
    "table": partial(arrays, rng.normal(3, 5, size=(60, 5))),
    "a validation split": partial(arrays, rng.normal(size=(60, 5)), x_val=np.eye(6, 5), y_val=np.arange(6) % 3),
    "folder of images": images,
    ".ts files": series,
    "function": function,
}


def test_named_data_sets_are_known():
    assert set(NAMED) <= set(DATASETS)


@pytest.fixture(params=[*NAMED, *OWN], scope="module")
def task(request, tmp_path_factory) -> Task:
    if request.param in OWN:
        return OWN[request.param](tmp_path_factory.mktemp("own"))
    needs = NAMED[request.param]
    if needs and not (REAL / needs).exists():
        pytest.skip(f"no {needs} in {REAL.resolve()}; NAS_TEST_DATA names the folder of real data")
    return load_task(request.param, data_root=REAL)


def test_tensors_are_what_they_are_said_to_be(task):
    for x, y in ((task.x_train, task.y_train), (task.x_val, task.y_val), task.full(), task.test()):
        assert x.dtype == torch.float32
        assert x.is_contiguous()
        assert x.shape == (len(y), *task.in_shape)
        assert x.isfinite().all()
        assert y.dtype == torch.int64
        assert y.min() >= 0
        assert y.max() < task.n_outputs == len(task.classes)


def test_both_splits_hold_every_class(task):
    for y in (task.y_train, task.y_val):
        assert len(y.unique()) == task.n_outputs


def test_the_training_split_is_standard(task):
    x = task.x_train.double()
    over = {4: (0, 2, 3), 3: (0, 1), 2: (0,)}[x.ndim]
    assert x.mean(over).abs().max() < 1e-4
    assert (x.std(over, correction=0) - 1).abs().max() < 1e-3
    assert len(task.mean) == len(task.std) == x.mean(over).numel()


def test_a_task_travels(task):
    if task.x_train.numel() > 1e6:
        pytest.skip("the same code at 40 times the cost")
    there = pickle.loads(pickle.dumps(task))
    assert torch.equal(there.x_train, task.x_train)
    assert torch.equal(there.test()[0], task.test()[0])


def test_nothing_shows_the_test_set_by_the_way(task):
    assert "tensor" not in repr(task)
    assert not [name for name in vars(task) if "test" in name and not name.startswith("_")]
