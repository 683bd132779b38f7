"""Every task keeps the contract (`nas.testing.data`). A new named data set gets its line in `NEEDS`."""

import os
from pathlib import Path

import numpy as np
import pytest

from nas.data import DATASETS, Arrays, Task, load_task, make_task
from nas.testing import TASK_CONTRACT, check_dataset

REAL = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
NEEDS = {"digits": None, "fashion_mnist": "FashionMNIST/raw"}
"""Named data set to the files it reads, if any."""

rng = np.random.default_rng(0)
OWN = {
    "uint8 images": rng.integers(0, 255, (60, 9, 7, 3), np.uint8),
    "float16 series": rng.normal(size=(60, 4, 9)).astype(np.float16),
    "table": rng.normal(3, 5, size=(60, 5)),
}


def test_every_named_data_set_is_under_contract():
    assert set(NEEDS) == set(DATASETS)


@pytest.fixture(params=[*NEEDS, *OWN], scope="module")
def task(request) -> Task:
    if request.param in OWN:
        x, y = OWN[request.param], np.arange(60) % 3
        return make_task(Arrays(name="own", where="own", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9]))
    needs = NEEDS[request.param]
    if needs and not (REAL / needs).exists():
        pytest.skip(f"no {needs} in {REAL.resolve()}; NAS_TEST_DATA names the folder of real data")
    return load_task(request.param, data_root=REAL)


@pytest.mark.parametrize("test", TASK_CONTRACT, ids=lambda test: test.__name__)
def test_a_task_keeps_the_contract(test, task):
    test(task)


def test_a_named_data_set_is_the_same_each_time():
    check_dataset("digits")
