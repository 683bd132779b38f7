"""Every task keeps the contract (`nas.testing.data`). A new kind of data gets a line in `OWN`."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data import DATASETS, Arrays, Task, load_task, make_task
from nas.testing import TASK_CONTRACT, check_dataset

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


@pytest.mark.parametrize("test", TASK_CONTRACT, ids=lambda test: test.__name__)
def test_a_task_keeps_the_contract(test, task):
    test(task)


def test_a_named_data_set_is_the_same_each_time():
    check_dataset("digits")
