"""What every task keeps, whatever it was made from. A new named data set gets its line in `NEEDS`."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import DATASETS, Arrays, Task, load_task, make_task

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
