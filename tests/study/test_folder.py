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
