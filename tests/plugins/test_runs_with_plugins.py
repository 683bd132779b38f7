"""Runs with parts of a user's own: in workers and in the process that measures, and what a run's folder asks for."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import nas
from nas import plugins
from nas.api import Front, Study
from nas.blocks import BLOCKS
from nas.build import build_tree
from nas.cli import main
from nas.errors import BuildError, NasError, RunError, SpaceError
from nas.measure.apart import MeterApart
from nas.measure.runtimes import write_network
from nas.measure.runtimes.network import read_network
from nas.measure.target import Target
from nas.registry import Table
from nas.study.config import StudyConfig

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_blocks.py"
SPACE = """\
input: image
body:
  repeat: {int: [1, 2]}
  block: {choice: {glu_conv: {width: [4, 8], stride: 2, gate: [sigmoid, silu]}, conv: {width: [4, 8], stride: 2}}}
head: {pool: {}}
training: {epochs: 1, batch_size: 64, optimizer: {sgd: {lr: [0.1, 0.3]}}}
"""
SEARCH = ("--data", "rings", "-o", "accuracy", "-o", "n_activations", "-b", "n_activations<=500", "--sampler", "random")


def command(*args, folder, code=0):
    """Run a command in this process and return its output."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(main, [str(a) for a in args])
    finally:
        os.chdir(before)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def rows_of(folder):
    return list(csv.DictReader((folder / "run/trials.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a plugin, a space, and a run that two workers have made of them; nothing is loaded afterwards."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(EXAMPLE, folder / "my_blocks.py")
    (folder / "own.yaml").write_text(SPACE)
    kept = [(table, dict(table._parts), dict(table._by)) for table in Table.tables]
    out = ("search", "own.yaml", "--plugin", "my_blocks.py", *SEARCH, "--workers", 2, "-n", 4, "--out", "run")
    text = command(*out, folder=folder)
    assert "nas retrain run --pick knee --plugin my_blocks.py" in text
    forget(kept)
    return folder


def forget(kept):
    for table, parts, by in kept:
        table._parts, table._by = parts, by
    plugins._loaded.clear()
    for name in [name for name in sys.modules if name.startswith("nas_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def folder(place, tmp_path, own_parts):
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(place, tmp_path / "copy"))


def test_workers_train_it_and_its_objective_is_a_price_like_any_other(place):
    rows = rows_of(place)
    used = [row for row in rows if "glu_conv" in row["architecture"]]
    assert [row for row in used if row["state"] == "complete"]
    assert all(float(row["n_activations"]) > 0 for row in rows if row["state"] != "failed")
    over = [row for row in rows if row["state"] == "over_budget"]
    assert all(float(row["n_activations"]) > 500 for row in over)
    assert all(float(row["n_activations"]) <= 500 for row in rows if row["state"] == "complete")


def test_the_run_says_what_it_was_made_with(place):
    kept = yaml.safe_load((place / "run/config.yaml").read_text())
    digest = plugins._digest([EXAMPLE.read_bytes()])
    (plugin,) = kept["plugins"]
    assert (plugin["name"], plugin["digest"], plugin["distribution"]) == ("my_blocks.py", digest, "")
    assert set(plugin["parts"]) == {"block glu_conv", "data set rings", "objective n_activations"}
    said = {"unit": "activations", "direction": "minimize", "cheap": True, "best": None, "kind": ""}
    assert kept["own"]["objectives"] == {"n_activations": said}


LOOK = """
import sys
from nas.cli import main
try:
    main(["front", "run", "--budget", "n_activations<=400", "--plot", "seen.png", "--csv", "seen.csv"])
except SystemExit as error:
    assert not error.code, error.code
assert "torch" not in sys.modules
from nas import plugins
assert not plugins.loaded() and not [name for name in sys.modules if "plugin_" in name], "a run's file had it loaded"
"""


def test_a_front_needs_no_plugin(folder):
    (folder / "my_blocks.py").write_text("raise SystemExit('this was executed')")
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "n_activations" in done.stdout
    assert (folder / "seen.png").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("search", "--resume", "--out", "run", "-n", 5),
        ("retrain", "run", "--seeds", 1, "--epochs", 1),
        ("export", "run"),
        ("measure", "run"),
    ],
    ids=lambda args: args[0],
)
def test_what_builds_networks_says_which_plugin_it_needs(folder, args):
    text = command(*args, folder=folder, code=2)
    assert "run: this run was made with my_blocks.py (digest " in text
    assert "give --plugin my_blocks.py" in text
    assert not plugins.loaded()


def test_with_it_the_run_goes_on_and_its_networks_ship(folder):
    given = ("--plugin", "my_blocks.py")
    command("search", "--resume", "--out", "run", "-n", 5, "--quiet", *given, folder=folder)
    rows = rows_of(folder)
    assert sum(row["state"] in ("complete", "stopped_early") for row in rows) >= 5
    command("export", "run", *given, folder=folder)
    assert list((folder / "run/exports").glob("*.onnx"))
    assert "test accuracy" in command("retrain", "run", "--seeds", 1, "--epochs", 1, *given, folder=folder)


def test_one_that_was_changed_is_refused_by_resume_and_told_by_others(folder):
    with (folder / "my_blocks.py").open("a") as file:
        file.write("\n# changed\n")
    given = ("--plugin", "my_blocks.py")
    text = command("search", "--resume", "--out", "run", "-n", 5, *given, folder=folder, code=2)
    assert "my_blocks.py has changed since this run was made (digest " in text
    assert "the same choices may make other networks" in text
    assert "what it builds may be another network" in command("export", "run", *given, folder=folder)
    plugin = plugins.load(folder / "my_blocks.py")
    front = Front.load(folder / "run")
    with pytest.warns(UserWarning, match=f"now {plugin.id.digest}"):
        front.pick("knee").network()
    front.pick("knee").network()  # said once
    with pytest.raises(RunError, match="has changed since"):
        Study.resume(folder / "run")


def test_in_python(folder, own_parts):
    with pytest.raises(RunError, match="was made with my_blocks"):
        Study.resume(folder / "run")
    study = Study.resume(folder / "run", plugins=[folder / "my_blocks.py"])
    assert [p.name for p in study.config.plugins] == ["my_blocks.py"]
    assert len(study.search(trials=5)) >= 1
    assert nas.BLOCKS is BLOCKS
    assert StudyConfig.read(folder / "run/config.yaml").plugins == study.config.plugins


def test_the_process_that_measures_builds_it(own_parts, tmp_path):
    nas.load_plugin(own_parts)
    network = build_tree({"body": [{"glu_conv": {"width": 4}}], "head": "pool"}, (1, 8, 8), 3)
    write_network(network, tmp_path / "network.json")
    with MeterApart("eager") as meter:
        assert meter.measure(tmp_path / "network.json", (1, 8, 8)).value > 0
    BLOCKS.drop("glu_conv")
    with pytest.raises(NasError, match="a block of your own is known there where its file is named with --plugin"):
        read_network(tmp_path / "network.json")


RUNTIME = """
import nas
from nas.measure.runtimes import OnnxRuntime

@nas.RUNTIMES.add("ort_again")
class Again(OnnxRuntime):
    called = "ort_again"
"""


def test_a_runtime_of_ones_own_measures_in_its_process(own_parts, tmp_path):
    (tmp_path / "my_runtime.py").write_text(RUNTIME)
    nas.load_plugin(tmp_path / "my_runtime.py")
    nas.load_plugin(own_parts)
    with MeterApart("ort_again") as meter:
        assert [plugin.id.name for plugin in meter._plugins] == ["my_runtime.py"], "torch has no place there"
        assert meter.calibration.runtime == "ort_again"
    with pytest.raises(NasError, match="ort_again is a runtime of your own, and on another machine nothing runs but"):
        Target.parse("ssh:me@there/ort_again")


def test_figures_of_a_runtime_are_read_without_it(own_parts, tmp_path, tiny):
    (tmp_path / "my_runtime.py").write_text(RUNTIME)
    plugin = nas.load_plugin(tmp_path / "my_runtime.py")
    objectives = ("accuracy", "latency_ms@ort_again")
    config = StudyConfig(space=tiny, objectives=objectives, plugins=(plugin.id,))
    config.write(tmp_path / "config.yaml", "0")
    for table in Table.tables:
        if "ort_again" in table:
            table.drop("ort_again")
    plugins._loaded.clear()
    del sys.modules[plugin.module]
    read = StudyConfig.read(tmp_path / "config.yaml")
    assert read == config
    assert "latency_ms@ort_again" in read.columns()
    with pytest.raises(NasError, match="ort_again: the runtime is one of a user's own, and its code is not loaded"):
        MeterApart("ort_again")
    nas.load_plugin(tmp_path / "my_runtime.py")
    assert nas.RUNTIMES["ort_again"].unavailable() == ""


BROKEN = """
import nas
from torch import nn
from dataclasses import dataclass

@nas.BLOCKS.add("lying")
class Lying(nn.Module):
    takes = "map"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int = 8

    def __init__(self, in_shape, config):
        super().__init__()
        {init}
        self.conv = nn.Conv2d(in_shape[0], config.width, 3, padding=1)

    def forward(self, x):
        {forward}
"""
LYING = "input: image\nbody: {lying: {width: [8, 16]}}\nhead: {pool: {}}\n"
RIGHT = "self.out_shape = (config.width, *in_shape[1:])"


@pytest.mark.parametrize(
    ("init", "forward", "words"),
    [
        ("pass", "return self.conv(x)", r"body: lying on \(1, 8, 8\): out_shape must be \(C, H, W\)"),
        ("self.out_shape = (8, 4, 4)", "return self.conv(x)", r"forward gives \(2, \d+, 8, 8\), and \(2, 8, 4, 4\) is"),
        (RIGHT, "return self.cnov(x)", r"lying\(width=\d+\).*its forward fails: AttributeError: .*'cnov'"),
        (
            "self.x = in_shape.size",
            "return self.conv(x)",
            r"lying\(width=\d+\) on \(1, 8, 8\): Attr.*line 16",
        ),
    ],
)
def test_a_block_that_breaks_its_contract_is_named_before_the_search(own_parts, tmp_path, digits, init, forward, words):
    path = tmp_path / "lying.py"
    path.write_text(BROKEN.format(init=init, forward=forward))
    (tmp_path / "lying.yaml").write_text(LYING)
    with pytest.raises((SpaceError, BuildError), match=words):
        Study(tmp_path / "lying.yaml", digits, plugins=[path], out=tmp_path / "run").search(trials=1)
    assert not (tmp_path / "run").exists()


def test_an_objective_that_fails_is_the_reason(own_parts, tmp_path, tiny, digits):
    path = tmp_path / "failing.py"
    path.write_text('import nas\n\n@nas.OBJECTIVES.add("uj", unit="uJ")\ndef uj(module, in_shape):\n    return 1 / 0\n')
    study = Study(tiny, digits, ["accuracy", "uj"], plugins=[path], out=tmp_path / "run", sampler="random")
    with pytest.raises(NasError, match=r"uj: ZeroDivisionError: division by zero \(.*failing\.py, line 5\)"):
        study.search(trials=1)
    assert not (tmp_path / "run").exists()
