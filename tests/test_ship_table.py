"""The table of exports: a row for each file wherever it lies, and what is said where none can be written."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from nas.cli import main
from nas.errors import RunError
from nas.ship import Shipped, write_table
from nas.study.folder import RunFolder


def made(file: Path | str, trial: int = 4, **more) -> Shipped:
    """A file as an export tells of it."""
    told = {"format": "onnx", "weights": "searched", "precision": "fp32", "batch": None, "max_difference": 1e-6}
    told |= {"n_samples": 9, "metric": "accuracy", "score_torch": 0.9, "score_file": 0.9, "speedup": 1.0}
    told |= {"latencies": (), "target": "onnxruntime", "size_bytes": 2048, "verdict": "keeps every budget"}
    return Shipped(trial=trial, file=str(file), example=f"{file}.example.py", **{**told, **more})


def rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


@pytest.fixture
def exports(tmp_path, monkeypatch):
    """The folder of exports of a run that lies in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return Path("run/exports")


def test_a_file_elsewhere_is_named_by_its_whole_path(exports, tmp_path):
    write_table(exports / "exports.csv", [made(exports / "a.onnx"), made("b.onnx"), made("mine/c.onnx")])
    named = [(row["file"], row["example"]) for row in rows(exports / "exports.csv")]
    whole = [str(tmp_path / name) for name in ("b.onnx", "mine/c.onnx")]
    assert named == [("a.onnx", "a.onnx.example.py"), *((name, f"{name}.example.py") for name in whole)]


def test_two_files_of_one_name_are_two_rows_and_one_under_two_names_is_one(exports, tmp_path, monkeypatch):
    write_table(exports / "exports.csv", [made(exports / "net.onnx"), made("here/net.onnx"), made("there/net.onnx")])
    write_table(exports / "exports.csv", [made(tmp_path / "here/net.onnx", trial=5)])
    (tmp_path / "there").mkdir()
    monkeypatch.chdir("there")
    write_table(
        Path("../run/exports") / "exports.csv", [made("net.onnx", trial=6), made("../run/exports/net.onnx", trial=7)]
    )
    found = [(Path(row["file"]).parts[-2:], row["trial"]) for row in rows(tmp_path / exports / "exports.csv")]
    assert found == [(("here", "net.onnx"), "5"), (("there", "net.onnx"), "6"), (("net.onnx",), "7")]


def test_weights_are_those_of_files_in_the_folder_alone(exports):
    run = RunFolder("run")
    elsewhere = [made("trial-00004.onnx", weights="retrained"), made("far/away.onnx", weights="other")]
    write_table(
        exports / "exports.csv", [made(exports / "trial-00004.onnx"), made(exports / "gone.pt2", weights="retrained")]
    )
    write_table(exports / "exports.csv", elsewhere)
    for one in ("run/exports/trial-00004.onnx", "trial-00004.onnx"):
        Path(one).touch()
    assert run.exported_weights(4) == {"searched"}
    assert run.exported_weights(5) == set()


def test_a_table_that_cannot_be_written_is_named(exports):
    exports.write_text("in the way")
    with pytest.raises(RunError, match=r"exports/exports\.csv: no row can be added: File exists"):
        write_table(exports / "exports.csv", [made("b.onnx")])
    exports.unlink()
    (exports / "exports.csv").mkdir(parents=True)
    with pytest.raises(RunError, match=r"exports\.csv: no row can be added: Is a directory"):
        write_table(exports / "exports.csv", [made("b.onnx")])


def test_an_export_in_python_is_a_row_too(front, tmp_path):
    member = front.pick("knee")
    inside, outside = member.export(), member.export(tmp_path / "net.onnx")
    named = [(row["file"], int(row["trial"])) for row in rows(front.folder.exports_table)]
    assert named == [(Path(inside.file).name, member.record.number), (outside.file, member.record.number)]


def test_a_file_without_a_row_is_kept_and_both_faces_say_so(front, run, tmp_path):
    (run / "exports").write_text("in the way")
    with pytest.warns(UserWarning, match=r"exports\.csv: no row can be added"):
        front.pick("knee").export(tmp_path / "python.onnx")
    result = CliRunner().invoke(main, ["export", str(run), "--out", str(tmp_path / "command.onnx")])
    assert result.exit_code == 0, result.output
    assert "exports.csv: no row can be added: File exists" in result.stderr
    assert "table: " not in result.stderr
    assert "command.onnx" in result.stdout
    for name in ("python.onnx", "command.onnx"):
        assert (tmp_path / name).stat().st_size > 0
