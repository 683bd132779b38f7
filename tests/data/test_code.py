"""Data that a function makes: named by module or by file, with arguments, and what it may return."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import Task, load_task
from nas.errors import DataError

SOURCE = """
import numpy as np
from helper_of_mine import N

X = np.arange(N * 6.0).reshape(N, 2, 3)
Y = np.arange(N) % 2

def pair(): return X, Y
def four(): return X, Y, X[:4], Y[:4]
def named(scale=1.0, classes=("no", "yes")):
    return {"x_train": X * scale, "y_train": Y, "classes": list(classes), "layout": "NTC"}
def lists(): return X.tolist(), Y.tolist()
def tensors():
    import torch
    return torch.tensor(X), torch.tensor(Y)
def arrays():
    from nas.data import Arrays
    return Arrays(name="own", where="own", x_train=X, y_train=Y)
def task():
    from nas.data import make_task
    return make_task(arrays())
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with a module, which is the current one; what is imported from it is forgotten afterwards."""
    (tmp_path / "mine_for_tests.py").write_text(SOURCE)
    (tmp_path / "helper_of_mine.py").write_text("N = 20\n")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("mine_for_tests", "helper_of_mine", "nas_data_")):
            del sys.modules[name]


@pytest.mark.parametrize("function", ["pair", "four", "named", "lists", "tensors", "arrays", "task"])
@pytest.mark.parametrize("where", ["mine_for_tests", "mine_for_tests.py", "{}/mine_for_tests.py"])
def test_a_function_by_module_and_by_file(here, where, function):
    path = list(sys.path)
    task = load_task(f"{where.format(here)}:{function}")
    assert isinstance(task, Task)
    assert len(task.y_train) == 16
    assert task.in_shape == ((2, 3) if function == "named" else (3, 2))
    assert task.name == {"arrays": "own", "task": "own"}.get(function, f"mine_for_tests:{function}")
    assert sys.path == path


def test_arguments_are_literals_by_name(here):
    task = load_task("mine_for_tests:named(scale=2.0, classes=['a:b', 'c'])")
    plain = load_task("mine_for_tests:named")
    assert task.classes == ("a:b", "c")
    assert task.std[0] == pytest.approx(2 * plain.std[0])


def test_a_file_named_like_a_module_replaces_nothing(here):
    (here / "random.py").write_text(SOURCE)
    import random

    assert load_task("random.py:pair").in_shape == (3, 2)
    assert sys.modules["random"] is random


def test_a_path_that_exists_is_no_code(here):
    (here / "a:b").mkdir()
    with pytest.raises(DataError, match="holds no folders"):
        load_task("a:b")


BAD = {
    "mine_for_tests:pairs": ["no function called 'pairs'. Did you mean 'pair'?"],
    "mine_for_tests:N": ["N is a int, not a function"],
    "not_there_at_all:f": ["there is no module not_there_at_all", "file.py:function"],
    "not_there.py:f": ["there is no file not_there.py"],
    "broken.py:f": ["cannot be imported: SyntaxError"],
    "lacking.py:f": ["No module named 'not_there_at_all'", "install not_there_at_all"],
    "raising.py:f": ["the function failed: ZeroDivisionError", "raising.py, line 3"],
    "raising.py:f(x=1)": ["the function failed: TypeError", "unexpected keyword argument 'x'"],
    "mine_for_tests:named(2)": ["the arguments (2) cannot be read", "size=32"],
    "mine_for_tests:named(scale=open('x'))": ["cannot be read"],
    "mine_for_tests:named(**{})": ["cannot be read"],
    "odd.py:number": ["returned a int", "a dict of arrays", "Task"],
    "odd.py:misspelt": ["returned a dict with 'x_trian': no array called 'x_trian'. Did you mean 'x_train'?"],
    "odd.py:half": ["returned a dict without y_train"],
    "odd.py:ragged": ["x_train is no array"],
    "odd.py:objects": ["x_train is an array of Python objects"],
    "odd.py:short": ["x_train has 4 samples, y_train has 3 labels"],
    "odd.py:said": ["not today"],
}


@pytest.mark.parametrize("spec", BAD)
def test_what_is_wrong_is_said(here, spec):
    (here / "broken.py").write_text("def f(:\n")
    (here / "lacking.py").write_text("import not_there_at_all\n")
    (here / "raising.py").write_text("\ndef f():\n    return 1 / 0\n")
    (here / "odd.py").write_text(
        "import numpy as np\n"
        "from nas.errors import DataError\n"
        "N = 3\n"
        "def number(): return N\n"
        "def misspelt(): return {'x_trian': [[1]], 'y_train': [0]}\n"
        "def half(): return {'x_train': [[1]]}\n"
        "def ragged(): return [[1, 2], [3]], [0, 1]\n"
        "def objects(): return np.array([None, 1]), [0, 1]\n"
        "def short(): return np.eye(4), [0, 1, 0]\n"
        "def said(): raise DataError('not today')\n"
    )
    with pytest.raises(DataError) as caught:
        load_task(spec)
    for word in [spec, *BAD[spec]]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"resolution": 8}, {"channels": 3}, {"length": 9}, {"val_share": 0.3}], ids=lambda o: next(iter(o))
)
def test_a_task_is_ready_and_heeds_no_option(here, options):
    with pytest.raises(DataError, match=r"returned a Task, .*leave"):
        load_task("mine_for_tests:task", **options)
    assert torch.equal(load_task("mine_for_tests:pair").x_train, load_task("mine_for_tests:task").x_train)


def test_a_validation_split_of_its_own(here):
    (here / "split.py").write_text(
        "import numpy as np\n"
        "def f(): return {'x_train': np.eye(6), 'y_train': [0, 1] * 3, 'x_val': np.eye(6)[:3], 'y_val': [0, 1, 0]}\n"
    )
    task = load_task("split.py:f")
    assert (len(task.y_train), task.y_val.tolist()) == (6, [0, 1, 0])
    assert np.allclose(task.mean, 1 / 6)
