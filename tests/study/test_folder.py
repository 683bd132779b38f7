"""The run folder where it cannot be written to: one error that names the file, and nothing half written."""

import errno

import pytest

from nas.errors import RunError
from nas.objectives import Measurement
from nas.records import write_text
from nas.study.folder import RunFolder, write_bytes


@pytest.fixture
def folder(tmp_path):
    found = RunFolder(tmp_path / "run")
    found.create()
    return found


def test_a_price_that_cannot_be_kept_is_told(folder):
    folder.prices.mkdir()
    with pytest.raises(RunError, match=r"prices\.jsonl: cannot be written: Is a directory"):
        folder.keep_price("key", {"macs": Measurement.exact(1.0)})


def test_a_price_behind_a_line_that_was_cut_is_a_line_of_its_own(folder):
    """A kill in the middle of a line costs what that line said, and no other."""
    prices = {"macs": Measurement.exact(1.0)}
    folder.keep_price("one", prices)
    folder.keep_price("two", prices)
    whole = folder.prices.read_bytes()
    folder.prices.write_bytes(whole[:-20])
    folder.keep_price("three", prices)
    folder.keep_price("four", prices)
    assert list(folder.kept_prices()) == [(key, prices) for key in ("one", "three", "four")]
    assert b"\n\n" not in folder.prices.read_bytes()


def test_searches_that_begin_together_get_a_number_each(tmp_path):
    runs = [RunFolder.numbered(tmp_path / "results", "image") for _ in range(3)]
    assert {run.path.name for run in runs} == {"image-001"}, "nothing is made yet"
    assert not list(tmp_path.iterdir())
    for run in runs:
        run.create()
    assert [run.path.name for run in runs] == ["image-001", "image-002", "image-003"]
    for run in runs:
        assert run.checkpoints.is_dir()
        assert run.config.parent == run.checkpoints.parent == run.path
    runs[0].config.touch()
    with pytest.raises(RunError, match="image-001: the folder is not empty, and --resume goes on with it"):
        runs[0].create()  # once more is no other run


def test_of_two_in_one_folder_the_second_is_told(tmp_path, monkeypatch):
    """Both have seen it empty."""
    RunFolder(tmp_path / "run").create()
    monkeypatch.setattr("pathlib.Path.iterdir", lambda self: iter(()))
    with pytest.raises(RunError, match="run: another search has just begun in this folder; choose another with --out"):
        RunFolder(tmp_path / "run").create()


def test_a_state_that_cannot_be_kept_is_told(folder):
    folder.paused.write_text("in the way")
    with pytest.raises(RunError, match="paused: cannot be made: File exists"):
        folder.save_state(0, b"state")


@pytest.mark.parametrize("write", [lambda path: write_text(path, "text"), lambda path: write_bytes(path, b"bytes")])
def test_a_full_disk_leaves_what_was_there_and_nothing_beside_it(tmp_path, monkeypatch, write):
    path = tmp_path / "file.csv"
    path.write_text("before")

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(RunError, match=r"file\.csv: cannot be written: No space left on device"):
        write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.csv"]
    assert path.read_text() == "before"
