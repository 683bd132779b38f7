"""What another process opens is the task itself, mapped, without its test set; and damage is noticed."""

import errno
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import Arrays, Task, load_task, make_task, open_shared, write_shared
from nas.data.reading import AS_THEY_ARE, Reading
from nas.errors import DataError, RunError

TENSORS = ("x_train", "y_train", "x_val", "y_val")
FILES = {"task.json", *(f"{name}.npy" for name in TENSORS)}


def make(seed: int = 0, **changes) -> Task:
    random = np.random.default_rng(seed)
    x, y = random.normal(3, 5, size=(60, 2, 5, 4)), np.array(["ä", "b", "\ud800"])[np.arange(60) % 3]
    how = changes.pop("how", AS_THEY_ARE)
    return make_task(Arrays(**{"name": "own", "where": "own", "x_train": x, "y_train": y} | changes), how=how)


@pytest.fixture
def folder(tmp_path) -> Path:
    write_shared(make(), tmp_path / "deep" / "shared")
    return tmp_path / "deep" / "shared"


IMAGES = np.random.default_rng(1).integers(0, 255, (60, 3, 6, 6), np.uint8)
TASKS = {
    "float64": make(),
    "uint8, so scaled": make(x_train=IMAGES),
    "resized": make(x_train=IMAGES, channels="RGB", how=Reading(resolution=4)),
    "made grey": make(x_train=IMAGES, how=Reading(channels=1)),
    "cut": make(x_train=IMAGES[:, 0], layout="NTC", how=Reading(length=4)),
    "with a test set": load_task("digits", input="sequence", seed=3),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_it_is_the_same_task_but_for_the_test_set(task, tmp_path):
    write_shared(task, tmp_path)
    found = open_shared(tmp_path)
    for field in fields(Task):
        ours, theirs = getattr(found, field.name), getattr(task, field.name)
        if field.name in TENSORS:
            assert torch.equal(ours, theirs)
            assert ours.dtype == theirs.dtype
            assert ours.is_contiguous()
        elif field.name == "_test":
            assert ours is None
        else:
            assert ours == theirs
            assert type(ours) is type(theirs)
    assert found.fingerprint() == task.fingerprint()
    assert found.n_outputs == task.n_outputs


def test_nothing_of_the_test_set_is_written(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (60, 7), np.uint8)
    x_test, y_test = 255 - x[:20], np.arange(20) % 3
    task = make(x_train=x, y_train=np.arange(60) % 3, x_test=x_test, y_test=y_test)
    write_shared(task, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    written = [path.read_bytes() for path in tmp_path.iterdir()]
    standard, _ = task.test()
    needles = [sample.numpy().tobytes() for sample in standard] + [sample.tobytes() for sample in x_test]
    needles += [y_test.tobytes()]
    assert not any(needle in content for needle in needles for content in written)
    assert any(task.x_val[0].numpy().tobytes() in content for content in written)  # so a sample would be found


def test_it_has_no_test_set_to_open(folder):
    with pytest.raises(DataError, match="own: the data have no test set"):
        open_shared(folder).test()


def test_who_writes_to_it_writes_for_himself(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    one, other = open_shared(folder), open_shared(folder)
    for name in TENSORS:
        getattr(one, name).zero_()
    assert one.x_train.abs().sum() == 0
    assert other.fingerprint() == make().fingerprint() == open_shared(folder).fingerprint()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_its_tensors_are_the_files(folder):
    task = open_shared(folder)
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    for name in TENSORS:
        spans = [
            tuple(int(end, 16) for end in line[0].split("-")) for line in mapped if line[-1].endswith(f"{name}.npy")
        ]
        assert any(low <= getattr(task, name).data_ptr() < high for low, high in spans)
    assert {line[1] for line in mapped} == {"rw-p"}  # private, so copied when written to


def test_another_task_takes_its_place_while_the_old_is_open(folder):
    old, new = open_shared(folder), make(seed=1)
    write_shared(new, folder)
    assert old.fingerprint() == make().fingerprint() != new.fingerprint()
    assert open_shared(folder).fingerprint() == new.fingerprint()
    assert {path.name for path in folder.iterdir()} == FILES


def test_a_write_that_breaks_off_leaves_nothing_to_be_opened(folder, monkeypatch):
    def full(file, array, **_):
        file.write(array.tobytes()[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match="shared: the shared data cannot be written: No space left on device"):
        write_shared(make(seed=1), folder)
    assert {path.name for path in folder.iterdir()} == FILES - {"task.json"}
    with pytest.raises(RunError, match=r"task\.json is missing"):
        open_shared(folder)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file: the shared data cannot be written: File exists"):
        write_shared(make(), tmp_path / "file")
    with pytest.raises(RunError, match=r"file: the shared data cannot be read \(NotADirectoryError"):
        open_shared(tmp_path / "file")


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def without_std(path: Path) -> None:
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "std"}))


DAMAGE = {
    "no folder": ("task.json", lambda p: p.parent.rename(p.parent.with_name("elsewhere")), r"\(no such folder\)"),
    "no description": ("task.json", Path.unlink, r"\(task.json is missing\)"),
    "no array": ("y_val.npy", Path.unlink, r"\(y_val.npy is missing\)"),
    "cut description": ("task.json", lambda p: cut(p, 30), "cannot be read"),
    "another description": ("task.json", lambda p: p.write_text("[]"), "cannot be read"),
    "lacking description": ("task.json", without_std, r"cannot be read \(KeyError: 'std'\)"),
    "cut array": ("x_train.npy", lambda p: cut(p, 500), "cannot be read"),
    "cut header": ("x_train.npy", lambda p: cut(p, 20), "cannot be read"),
    "empty array": ("y_train.npy", lambda p: cut(p, 0), "cannot be read"),
    "objects": ("y_train.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), "cannot be read"),
    "text": ("y_train.npy", lambda p: np.save(p, np.array(["a"])), "cannot be read"),
    "another array": ("y_train.npy", lambda p: np.save(p, np.arange(48)), "not those that were written"),
    "one bit": ("x_val.npy", flip_a_bit, "not those that were written"),
}


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told(folder, name, damage, words):
    damage(folder / name)
    with pytest.raises(RunError, match=f"shared: .*{words}.*write it again with nas.data.write_shared"):
        open_shared(folder)
