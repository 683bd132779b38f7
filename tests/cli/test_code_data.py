"""Runs on data of one's own: what a later command finds again, and what it does not run by itself."""

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_run import TINY

import nas as package
from nas.api import Front, Study
from nas.data import load_task
from nas.errors import DataError, RunError
from nas.space.yaml import parse

SEARCH = ["tiny.yaml", "-o", "accuracy", "-o", "n_params", "-n", "2", "--subset", "0.5", "--rung", "none", "-q"]
SOURCE = """
from pathlib import Path
import numpy as np

def load(seed=0):
    with Path(__file__).with_name("called").open("a") as file:
        file.write("x")
    y = np.arange(60) % 2
    return np.random.default_rng(seed).normal(y[:, None, None, None], 1, (60, 1, 8, 8)), y
"""


def ok(result):
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a function, and a run on what it returns; `called` counts its calls."""
    at = tmp_path_factory.mktemp("code")
    (at / "mine.py").write_text(SOURCE)
    study = Study(
        parse(TINY, name="tiny"),
        f"{at / 'mine.py'}:load",
        ["accuracy", "n_params"],
        sampler="random",
        rungs="none",
        out=at / "run",
    )
    study.search(trials=2)
    assert (at / "called").read_text() == "x", "once, and never by the way"
    return at


@pytest.fixture
def at(made, tmp_path, nas):
    """A copy of both, as the current folder; the run still names the function of the original."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (made / "called").write_text("x")
    return tmp_path


COMMANDS = [
    ["retrain", "run", "--seeds", "1", "--epochs", "1"],
    ["export", "run"],
    ["measure", "run"],
    ["search", "--resume", "--out", "run", "-n", "3"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_code_that_a_run_names_is_not_run(nas, at, made, command):
    result = nas(*command)
    assert result.exit_code == 2
    for word in ("the data of this run come from code", "mine.py:load", "--data", "again to run it"):
        assert word in result.stderr
    assert (made / "called").read_text() == "x"


def test_looking_at_the_front_needs_no_data(nas, at, made):
    assert "accuracy" in ok(nas("front", "run")).output
    assert (made / "called").read_text() == "x"


def test_a_forged_config_runs_nothing(nas, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    (tmp_path / "evil.py").write_text("raise SystemExit('evil was here')\n")
    for spec in ("evil:load", "evil.py:load", "./evil.py:load(x=1)"):
        (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({**config, "data": spec}))
        result = nas("export", "run")
        assert (result.exit_code, "come from code" in result.stderr) == (2, True), result.output
        with pytest.raises(DataError, match="come from code"):
            Study.resume(tmp_path / "run").search(trials=20)
        with pytest.raises(DataError, match="come from code"):
            _ = Front.load(tmp_path / "run").task


def test_named_again_it_is_run_and_the_data_are_compared(nas, at):
    ok(nas("search", "--resume", "--out", "run", "-n", "3", "-q", "--data", "mine.py:load"))
    assert (at / "called").read_text() == "xx"
    result = nas("search", "--resume", "--out", "run", "-n", "4", "--data", "mine.py:load(seed=1)")
    assert result.exit_code == 2
    assert "the run was made on other data: 'mine.py:load(seed=1)'" in result.stderr
    ok(nas("export", "run", "--data", "mine.py:load"))


def test_the_same_in_python(at):
    spec = f"{at / 'mine.py'}:load"
    assert Front.load(at / "run", data=spec).task.in_shape == (1, 8, 8)
    with pytest.raises(RunError, match="made on other data"):
        _ = Front.load(at / "run", data=f"{spec}(seed=1)").task
    assert len(Study.resume(at / "run", data=spec).search(trials=3).records) >= 3
    assert package.load_task(spec).in_shape == (1, 8, 8), "who names it in Python has it run"


def test_a_run_finds_its_images_again(nas, tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    rng = np.random.default_rng(0)
    for split, n in (("train", 20), ("val", 6), ("test", 6)):
        for c in range(2):
            folder = tmp_path / "pets" / split / "ab"[c]
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(c * 90, c * 90 + 160, (12, 12 + i % 3, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    ok(nas("search", *SEARCH, "--data", "pets", "--resolution", "8", "--channels", "1", "--out", "run"))
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert [config[name] for name in ("data", "resolution", "channels", "val_share")] == ["pets", 8, 1, None]
    ok(nas("search", "--resume", "--out", "run", "-n", "3", "-q"))
    ok(nas("retrain", "run", "--seeds", "1", "--epochs", "1"))
    (tmp_path / "pets").rename(tmp_path / "moved")
    ok(nas("retrain", "run", "--seeds", "1", "--epochs", "1", "--overwrite", "--data", "moved"))
    result = nas("search", "--resume", "--out", "run", "-n", "4", "--data", "moved", "--resolution", "9")
    assert (result.exit_code, "resolution: 9 instead of 8" in result.stderr) == (2, True), result.output


def test_one_sample_of_the_priced_space_is_as_large_as_is_asked(nas, tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((8, 20, 20, 3), np.uint8), y_train=np.arange(8) % 2)
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = nas("space", "tiny.yaml", "--prices", "--samples", "2", "--data", "x.npz", "--resolution", "9")
    assert "shape (3, 9, 9), 2 outputs" in ok(result).output
    assert load_task(tmp_path / "x.npz").in_shape == (3, 20, 20)


def test_a_search_whose_time_is_over_says_to_name_the_function_again(nas, at):
    result = nas("search", "tiny.yaml", "-o", "n_params", "--data", "mine.py:load", "--out", "short", "-t", "0.001 s")
    (command,) = (line for line in result.stderr.splitlines() if line.startswith("go on with: "))
    assert command.startswith("go on with: nas search --resume --out short --time-limit ")
    assert command.endswith(" --data mine.py:load")
