"""A plugin is loaded where it is named, once, as its bytes are; what is wrong with it is said with file and line."""

import pickle
import sys

import pytest

from nas import plugins
from nas.blocks import BLOCKS
from nas.data import DATASETS, load_task
from nas.errors import DataError, NasError, RunError
from nas.objectives import OBJECTIVES, Budget, Objective, parse_objective
from nas.plugins import Plugin, PluginId

pytestmark = pytest.mark.usefixtures("own_parts")

TINY = '''\
import nas

@nas.DATASETS.add("{name}")
def read(how):
    """Nothing."""
'''


def written(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_files_its_parts_and_is_named_by_its_bytes(own_parts, tmp_path):
    before = set(BLOCKS)
    plugin = plugins.load(own_parts)
    assert set(plugin.id.parts) == {"block glu_conv", "data set rings", "objective n_activations"}
    assert set(BLOCKS) - before == {"glu_conv"}
    assert "rings" in DATASETS
    assert parse_objective("n_activations").unit == "activations"
    assert Budget.parse("n_activations<=20k").limit == 20_000
    assert plugins.load(own_parts) is plugin
    copy = written(tmp_path, own_parts.read_text(), "copy.py")
    with pytest.raises(NasError, match=r"block 'glu_conv' exists already"):
        plugins.load(copy)
    assert plugins.loaded() == (plugin,)


def test_the_digest_is_of_the_bytes(tmp_path):
    path = written(tmp_path, TINY.format(name="a"))
    first = plugins.load(path)
    assert len(first.id.digest) == 16
    path.write_text(TINY.format(name="b"))
    second = plugins.load(path)
    assert first.id.digest != second.id.digest
    assert plugins.loaded() == (second,)
    assert "b" in DATASETS
    assert "a" not in DATASETS, "what the file filed before goes"


def test_a_module_is_named_by_its_package(tmp_path, monkeypatch):
    package = tmp_path / "own_parts_package"
    package.mkdir()
    written(package, "", "__init__.py")
    written(package, "from own_parts_package import _more\n", "blocks.py")
    written(package, TINY.format(name="from_module"), "_more.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = plugins.load("own_parts_package.blocks")
    assert plugin.id.name == "own_parts_package.blocks"
    assert plugin.id.parts == ("data set from_module",)
    assert plugin.path == ""
    assert plugins.load("own_parts_package.blocks") is plugin
    plugins.restore([plugin])
    with pytest.raises(RunError, match="is another on this machine"):
        plugins.restore([Plugin(PluginId(plugin.id.name, "0" * 16), plugin.spec)])


def test_what_the_users_script_imported_is_not_run_again(tmp_path, monkeypatch):
    written(tmp_path, TINY.format(name="imported") + "RUNS = []\nRUNS.append(1)\n", "imported_parts.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    import imported_parts

    assert plugins.load(tmp_path / "imported_parts.py").id.parts == ("data set imported",)
    assert plugins.load(tmp_path / "imported_parts.py")
    assert imported_parts.RUNS == [1]
    sys.modules.pop("imported_parts")


def test_another_process_runs_the_bytes_that_this_one_read(tmp_path, monkeypatch):
    path = written(tmp_path, TINY.format(name="travels"))
    plugin = plugins.load(path)
    path.write_text("raise SystemExit('changed since')")
    DATASETS.drop("travels")
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.delitem(sys.modules, plugin.module)
    plugins.restore([Plugin.from_json(pickle.loads(pickle.dumps(plugin)).to_json())])
    assert "travels" in DATASETS
    assert plugins.loaded() == (plugin,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nas\nx = 1 / 0\n", r"mine\.py: line 2: ZeroDivisionError: division by zero\n  x = 1 / 0"),
        ("import nas\n\ndef f(:\n", r"mine\.py: line 3: invalid syntax.*def f\(:"),
        ("import no_such_library\n", r"mine\.py: line 1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("import beside\n", r"without beside\.py beside it: put its folder on PYTHONPATH"),
        ("import sys\nsys.exit('no')\n", r"mine\.py: line 2: SystemExit: no"),
        ("x = 1\n", r'files nothing; put a decorator above each part, such as @nas\.BLOCKS\.add\("my_block"\)'),
        (
            "import nas\n@nas.BLOCKS.add('conv')\nclass Conv:\n    pass\n",
            r"mine\.py: line 2: block 'conv' exists already \(of nas\.blocks\.conv\); choose another name",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path, text, words):
    written(tmp_path, "", "beside.py")
    before = {name: len(table) for name, table in (("blocks", BLOCKS), ("data", DATASETS))}
    with pytest.raises(NasError, match=f"(?s){words}"):
        plugins.load(written(tmp_path, text))
    assert plugins.loaded() == ()
    assert {name: len(table) for name, table in (("blocks", BLOCKS), ("data", DATASETS))} == before


def test_a_file_that_breaks_half_way_files_nothing(tmp_path):
    path = written(tmp_path, TINY.format(name="half") + "raise ValueError('no')\n")
    with pytest.raises(NasError, match="line 6: ValueError: no"):
        plugins.load(path)
    assert "half" not in DATASETS
    path.write_text(TINY.format(name="half"))
    assert plugins.load(path).id.parts == ("data set half",)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NasError, match=r"plugin \./none\.py: cannot be read: No such file"):
        plugins.load("./none.py")
    with pytest.raises(NasError, match=r"plugin 'no_such_module': there is no such module here, nor an installed"):
        plugins.load("no_such_module")
    with pytest.raises(NasError, match="there is no such module here"):
        plugins.load("no.such.module")
    with pytest.raises(NasError, match="plugin 'sys': it is no file of Python"):
        plugins.load("sys")


def test_a_folder_of_modules_is_a_package_without_an_init_file(tmp_path, monkeypatch):
    package = tmp_path / "folder_of_parts"
    package.mkdir()
    written(package, "from folder_of_parts import beside\n" + TINY.format(name="in_folder"), "parts.py")
    written(package, "VALUE = 1\n", "beside.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NasError, match="files nothing"):
        plugins.load("folder_of_parts")
    digest = plugins.load("folder_of_parts.parts").id.digest
    both = [(package / name).read_bytes() for name in ("beside.py", "parts.py")]
    assert digest == plugins._digest(both), "of all its files: a helper that changes is another plugin"


def test_a_metric_that_was_edited_is_loaded_again(tmp_path):
    """A line above it, as in a notebook."""
    text = "import nas\n\n\n@nas.METRICS.add('edited')\ndef edited(logits, y):\n    return 0.5\n"
    first = plugins.load(path := written(tmp_path, text))
    path.write_text(text.replace("\n\n\n", "\n\nVALUE = 1\n\n\n"))
    second = plugins.load(path)
    assert first.id.parts == second.id.parts == ("objective edited",)
    assert first.id.digest != second.id.digest


def test_a_data_set_may_return_what_a_function_may(tmp_path):
    text = (
        "import nas\nimport numpy as np\n\n"
        "@nas.DATASETS.add('as_dict')\ndef as_dict(how):\n"
        "    return {'x_train': np.zeros((40, 4)) + np.arange(40)[:, None], 'y_train': np.arange(40) % 2}\n\n"
        "@nas.DATASETS.add('as_none')\ndef as_none(how):\n    pass\n\n"
        "@nas.DATASETS.add('as_error')\ndef as_error(how):\n    return {}['missing']\n"
    )
    path = written(tmp_path, text)
    plugins.load(path)
    assert load_task("as_dict").in_shape == (4,)
    with pytest.raises(DataError, match=r"as_none: returned a NoneType; it may return a dict of arrays"):
        load_task("as_none")
    with pytest.raises(DataError, match=rf"as_error: the function failed: KeyError: 'missing' \({path}, line 14\)"):
        load_task("as_error")


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    plugins.load(written(tmp_path, TINY.format(name="one")))
    with pytest.raises(NasError, match="another one of that name is loaded"):
        plugins.load(written(tmp_path / "other", TINY.format(name="two")))


def test_installed_plugins_are_listed_and_not_loaded(tmp_path, monkeypatch):
    info = tmp_path / "own_dist-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-dist\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[nas.plugins]\nours = own_dist_module\n")
    (info / "top_level.txt").write_text("own_dist_module\n")
    written(tmp_path, TINY.format(name="installed"), "own_dist_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.installed()["ours"] == "own_dist_module"
    assert "installed" not in DATASETS
    assert "own_dist_module" not in sys.modules
    plugin = plugins.load("ours")
    assert plugin.id.distribution == "own-dist 1.2"
    assert str(plugin.id).startswith("own_dist_module (own-dist 1.2, digest ")
    assert "installed" in DATASETS
    sys.modules.pop("own_dist_module")


def test_a_run_says_what_it_needs(tmp_path):
    path = written(tmp_path, TINY.format(name="needed"))
    id = plugins.load(path).id
    assert plugins.check_same([id], "run", strict=True) == []
    assert plugins.together([id]) == (id,)
    missing = PluginId("gone.py", "0123456789abcdef", "", ("block x",))
    with pytest.raises(RunError, match=r"made with gone\.py \(digest 0123456789abcdef\); give --plugin gone\.py"):
        plugins.check_same([id, missing], "run", strict=False)
    assert plugins.check_same([missing], "run", strict=False, kinds=["data set"]) == []
    changed = PluginId(id.name, "0" * 16, "", id.parts)
    (line,) = plugins.check_same([changed], "run", strict=False)
    assert f"has changed since this run was made (digest {'0' * 16}, now {id.digest})" in line
    with pytest.raises(RunError, match="the same choices may make other networks"):
        plugins.check_same([changed], "run", strict=True)
    assert plugins.together([missing]) == (missing, id)


def test_an_objective_of_a_run_is_known_by_its_description_until_its_code_is_there():
    OBJECTIVES.remember(Objective("n_things", "things", "maximize", cheap=True))
    assert parse_objective("n_things").loss(3.0) == -3.0
    OBJECTIVES.remember(Objective("n_things", "things", "maximize", cheap=True))
    with pytest.raises(NasError, match="to maximize in things here, and was to minimize in things when"):
        OBJECTIVES.remember(Objective("n_things", "things", "minimize", cheap=True))
    with pytest.raises(NasError, match="to maximize in share here"):
        OBJECTIVES.remember(Objective("accuracy", "share", "minimize", cheap=True))
    OBJECTIVES.add("n_things", unit="things", direction="maximize")(lambda module, in_shape: 1.0)
    assert OBJECTIVES["n_things"].price is not None


@pytest.mark.parametrize("name", ["", "2fast", "a-b", "x_low", "trial", "body", "épée", "macs"])
def test_an_objective_has_a_name_of_its_own(name):
    with pytest.raises(NasError, match=r"letters, digits and underscores|exists already"):
        OBJECTIVES.add(name, unit="")(lambda module, in_shape: 1.0)
    with pytest.raises(NasError, match="direction must be minimize or maximize, got 'up'"):
        OBJECTIVES.add("fine", unit="", direction="up")
