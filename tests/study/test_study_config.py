"""What decides a study, as one value and one file; and the folder that holds it."""

import dataclasses
import math
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import TINY

from nas.catalog import find_space, shipped
from nas.errors import BudgetError, NasError, RunError
from nas.objectives import OBJECTIVES, PRICES
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder, next_folder

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20)
configs = st.builds(
    StudyConfig,
    space=st.builds(lambda name: parse(TINY, name=name), words),
    data=words,
    data_root=words,
    val_share=st.none() | st.floats(0.01, 0.99),
    resolution=st.none() | st.integers(1, 500),
    channels=st.sampled_from([None, 1, 3]),
    length=st.none() | st.integers(1, 500),
    objectives=st.lists(st.sampled_from(list(OBJECTIVES)), min_size=1, unique=True),
    budgets=st.lists(st.builds("{}<={}".format, st.sampled_from(PRICES), st.integers(1, 10**9)), max_size=3),
    warm_start=st.lists(words, max_size=3),
    sampler=words,
    runtime=st.sampled_from(["onnxruntime", "onnxruntime:threads=2,batch=8", "eager"]),
    seed=st.integers(0, 2**31),
    epochs=st.none() | st.integers(1, 1000),
    subset=st.floats(0.01, 1),
    trial_time_limit_s=st.none() | st.floats(0.01, 1e6),
)


@settings(deadline=None)
@given(configs)
def test_a_file_says_it_all(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    config.write(path, "0.1.0")
    back = StudyConfig.read(path)
    assert back == config
    assert back.space.name == config.space.name
    assert config.differences(back) == []


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_space_goes_into_a_file_whole(tmp_path, name):
    config = StudyConfig(space=find_space(name))
    config.write(tmp_path / "config.yaml", "0.1.0")
    assert StudyConfig.read(tmp_path / "config.yaml") == config


def test_differences_are_said_in_words():
    config = StudyConfig(space=parse(TINY, name="tiny"))
    other = dataclasses.replace(config, seed=3, objectives=("accuracy", "macs"), epochs=4)
    assert config.differences(other) == [
        "objectives: accuracy, macs instead of accuracy, latency_ms",
        "seed: 3 instead of 0",
        "epochs: 4 instead of None",
    ]
    renamed = dataclasses.replace(config, space=parse(TINY, name="other"), trial_time_limit_s=3.0, data_root="/there")
    assert config.differences(renamed) == [], "a name, a place and a patience change no result"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"objectives": ()}, NasError, "a study needs an objective"),
        ({"objectives": ("acc",)}, NasError, "Did you mean 'macs'?"),
        ({"objectives": ("macs", "macs")}, NasError, "macs is named twice"),
        ({"budgets": ("loss<=1",)}, BudgetError, "loss is known only after training"),
        ({"budgets": ("macs=1",)}, BudgetError, "cannot be read"),
        ({"subset": 0.0}, NasError, "subset must be in (0, 1], got 0"),
        ({"subset": 30.0}, NasError, "for 30 % write 0.3"),
        ({"val_share": 1.0}, NasError, "val_share must be in (0, 1), got 1"),
        ({"epochs": 0}, NasError, "epochs must be at least 1, got 0"),
        ({"trial_time_limit_s": 0.0}, NasError, "above 0 s, got 0"),
        ({"seed": -1}, NasError, "seed must be at least 0, got -1"),
        ({"warm_start": 3}, NasError, "warm_start must be the folders of earlier runs"),
        ({"warm_start": [None]}, NasError, "warm_start must be the folders of earlier runs"),
        ({"enough": ["macs<=3"]}, BudgetError, "macs is no objective of this search"),
        ({"enough": "latency_ms>=3"}, BudgetError, "write latency_ms<=3"),
        ({"enough": 3}, NasError, "enough must be texts"),
    ],
)
def test_what_is_refused(options, error, said):
    with pytest.raises(error) as caught:
        StudyConfig(space=parse(TINY), **options)
    assert said in str(caught.value)


def test_budgets_are_kept_in_one_spelling():
    config = StudyConfig(space=parse(TINY), budgets=[" n_params <= 100k", "latency_ms<2.50"])
    assert config.budgets == ("n_params<=100000", "latency_ms<2.5")


def test_what_is_good_enough_is_part_of_the_objective(tmp_path):
    config = StudyConfig(space=parse(TINY, name="tiny"), enough=["latency_ms <= 0.5", "accuracy>=0.9"])
    accuracy, latency = config.parsed_objectives()
    assert [latency.loss(ms) for ms in (0.1, 0.5, 0.7)] == [0.5, 0.5, 0.7]
    assert [accuracy.loss(share) for share in (0.95, 0.9, 0.8)] == [-0.9, -0.9, -0.8]
    assert accuracy.told_loss(0.99) == pytest.approx(math.log(0.1))
    config.write(tmp_path / "config.yaml", "0")
    assert StudyConfig.read(tmp_path / "config.yaml") == config
    assert StudyConfig(space=config.space).differences(config) == [
        "enough: latency_ms<=0.5, accuracy>=0.9 instead of none"
    ]


def test_one_earlier_run_or_several_as_text_or_path():
    for folders in ("results/a", Path("results/a"), ["results/a/"], (Path("results") / "." / "a",)):
        assert StudyConfig(space=parse(TINY), warm_start=folders).warm_start == ("results/a",)
    assert StudyConfig(space=parse(TINY)).warm_start == ()


def test_the_file_of_a_version_without_warm_starts_is_read(tmp_path):
    config = StudyConfig(space=parse(TINY))
    config.write(tmp_path / "config.yaml", "0")
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("warm_start: []\n", ""))
    assert "warm_start" not in (tmp_path / "config.yaml").read_text()
    assert StudyConfig.read(tmp_path / "config.yaml") == config


# --- the folder -----------------------------------------------------------------------------------------------------


def test_the_first_free_number(tmp_path):
    assert next_folder(tmp_path / "results", "image") == tmp_path / "results" / "image-001"
    for name in ("image-001", "image-003", "image_conv-002", "image-old"):
        (tmp_path / name).mkdir()
    assert next_folder(tmp_path, "image") == tmp_path / "image-002"


@pytest.mark.parametrize("name", ["a/b", "../../etc", "/abs", "..", "a b\n*", "*", "", "x" * 300, "größe"])
def test_a_run_stays_in_its_folder_whatever_the_space_is_called(tmp_path, name):
    path = next_folder(tmp_path, name)
    assert path.parent == tmp_path
    path.mkdir()
    assert next_folder(tmp_path, name) != path


def test_a_folder_is_made_once(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    folder.create()
    with pytest.raises(RunError, match="not empty, and it is no run of ours"):
        folder.create()
    StudyConfig(space=parse(TINY)).write(folder.config, "0")
    with pytest.raises(RunError, match="--resume goes on with it"):
        folder.create()


def test_one_search_at_a_time(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(RunError, match="another search is at work"), folder.locked():
        pass
    with folder.locked():
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_of_a_killed_search_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text("")
    with RunFolder(tmp_path).locked(), pytest.raises(Exception, match="could not be acquired"):
        FileLock(tmp_path / ".lock").acquire(timeout=0)


def test_targets_are_spelled_one_way_and_the_own_one_is_plain():
    config = StudyConfig(
        space=parse(TINY, name="tiny"),
        runtime="onnxruntime:batch=8,threads=2",
        objectives=("accuracy", "latency_ms@onnxruntime:threads=2,batch=8", "latency_ms@eager:threads=1"),
        budgets=("latency_ms@openvino:batch=2,threads=4<=3",),
    )
    assert config.objectives == ("accuracy", "latency_ms", "latency_ms@eager")
    assert config.budgets == ("latency_ms@openvino:threads=4,batch=2<=3",)
    assert config.latencies() == {
        "latency_ms": "onnxruntime:threads=2,batch=8",
        "latency_ms@eager": "eager",
        "latency_ms@openvino:threads=4,batch=2": "openvino:threads=4,batch=2",
    }
    eager = ["latency_ms@eager", "latency_ms@eager_low", "latency_ms@eager_high"]
    assert config.columns()[:3] == eager
    assert config.columns()[6:] == list(config.space.slots)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objectives": ("latency_ms@opnvino",)}, "Did you mean 'openvino'"),
        ({"objectives": ("macs@eager",)}, "only a latency has a target"),
        ({"objectives": ("latency_ms", "latency_ms@onnxruntime")}, "named twice"),
        ({"budgets": ("latency_ms@eager:threads=0<=1",)}, "threads must be at least 1"),
    ],
)
def test_a_target_that_is_none_is_told(options, words):
    with pytest.raises(NasError, match=words):
        StudyConfig(space=parse(TINY, name="tiny"), **options)
