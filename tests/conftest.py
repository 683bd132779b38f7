"""One tiny real search, made once: what comes after a search looks at it, and copies it where it changes it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_run import BUDGET, TINY

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the tests share the cores

from nas import plugins
from nas.api import Front, Study
from nas.data import Task, load_task
from nas.registry import Table
from nas.space import Space
from nas.space.yaml import parse

# The same examples on every run, so that a failure is the change's; NAS_EXPLORE=1 draws new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("NAS_EXPLORE") else "steady")

collect_ignore_glob = ["*conftest.py"]  # they share a name, so doctest cannot import more than one


@pytest.fixture(scope="session")
def tiny() -> Space:
    return parse(TINY, name="tiny")


@pytest.fixture(scope="session")
def digits() -> Task:
    return load_task("digits", input="image", seed=1)  # the split of the run `finished`


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny, digits) -> Path:
    """The folder of a finished run, with trials of every state. Do not change it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    objectives = ["accuracy", "n_params", "latency_ms"]
    study = Study(tiny, digits, objectives, [BUDGET], out=out, sampler="random", seed=1)
    study.search(trials=14)
    return out


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of the finished run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def front(run, digits) -> Front:
    """The front of that copy."""
    return Front.load(run, data=digits)


EXAMPLE = Path(__file__).parent.parent / "examples" / "my_blocks.py"
"""Parts of a user's own: the block glu_conv, the objective n_activations, the data set rings."""


@pytest.fixture
def own_parts(monkeypatch) -> Iterator[Path]:
    """Parts and plugins that a test loads are gone after it."""
    for table in Table.tables:
        monkeypatch.setattr(table, "_parts", dict(table._parts))
        monkeypatch.setattr(table, "_by", dict(table._by))
    monkeypatch.setattr(plugins, "_loaded", {})
    yield EXAMPLE
    for name in [name for name in sys.modules if name.startswith("nas_plugin_")]:
        del sys.modules[name]
