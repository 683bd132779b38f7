"""Files of every format: equal to torch, used without this package, one failing without the others."""

import csv
import dataclasses
import inspect
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits
from without_nas import classify

import nas
from nas import tables
from nas.api import Front, Member, Model
from nas.cli import main
from nas.data.task import standardise
from nas.errors import NasError
from nas.export import FORMATS, read_metadata
from nas.export.formats.base import Format, example_path
from nas.export.formats.onnx import OnnxFormat
from nas.export.formats.pt2 import Pt2Format
from nas.ship import Again, Shipped, shipping_meters, write_table
from nas.ship.verdict import budgets_kept
from nas.space.yaml import parse

SLOW = ("executorch", "pt2")
"""What loads torch's tracer, and torch in a process more; tests/export and the contracts know them in a quick run."""

every_format = pytest.mark.parametrize(
    "format", [pytest.param(f, marks=pytest.mark.slow) if f in SLOW else f for f in FORMATS]
)


@pytest.fixture(scope="module")
def own(finished, digits, tmp_path_factory):
    """The front of a copy of the finished run, whose table of exports the tests here may add to."""
    return Front.load(shutil.copytree(finished, tmp_path_factory.mktemp("own") / "run"), data=digits)


@pytest.fixture(scope="module")
def member(own):
    return own.pick("best:accuracy")


@pytest.fixture(scope="module")
def exported(member, tmp_path_factory):
    """Written once in each format, when first asked for."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def export(format: str) -> Shipped:
        if reason := FORMATS[format].unavailable():
            pytest.skip(reason)
        if format not in made:
            made[format] = member.export(folder / f"net{FORMATS[format].suffix}", format=format)
        return made[format]

    return export


@every_format
def test_what_is_found_on_a_file(exported, member, format):
    shipped = exported(format)
    assert shipped.format == format
    assert shipped.max_difference < 1e-4
    assert shipped.score_file == shipped.score_torch == pytest.approx(member.metrics["accuracy"], abs=1e-9)
    assert shipped.batch == (None if FORMATS[format].any_batch else 1)
    (again,) = shipped.latencies
    assert again.target == FORMATS[format].runtime
    assert (again.searched is None) == (format != "onnx")
    assert again.file.low <= again.file.value <= again.file.high


@every_format
def test_one_reader_for_what_all_formats_say_of_themselves(exported, member, digits, format):
    found = read_metadata(exported(format).file)
    assert found["format"] == format
    assert found["batch"] == exported(format).batch
    assert (found["data"], found["classes"]) == ("digits", [str(i) for i in range(10)])
    assert (found["in_shape"], found["layout"]) == ([1, 8, 8], "NCHW")
    assert (found["scale"], found["mean"], found["std"]) == (1.0, list(digits.mean), list(digits.std))
    assert (found["trial"], found["weights"], found["precision"]) == (member.record.number, "searched", "fp32")
    assert found["architecture"] == member.record.arch.to_json()


@every_format
def test_the_example_classifies_as_torch_without_this_package(exported, member, digits, tmp_path, format):
    raw = load_digits().images[:100].astype(np.float32)
    np.save(tmp_path / "samples.npy", raw)
    with torch.no_grad():
        expected = member.network()(standardise(raw[:, None], digits.mean, digits.std)).softmax(1)
    found = classify(example_path(tmp_path / exported(format).file), tmp_path / "samples.npy")
    assert [name for name, _ in found] == [digits.classes[i] for i in expected.argmax(1)]
    np.testing.assert_allclose([p for _, p in found], expected.max(1).values, atol=1e-4)


def test_without_this_package_it_is_really_without(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import nas.export")
    with pytest.raises(AssertionError, match="nas"):
        classify(script, "nothing")


def test_images_and_class_names_that_are_no_names(tmp_path):
    """Quotes and line ends in a class name stay data; an image file gives what its pixels give as an array."""
    hostile = 'li"""\nprint(17)\n\'ght'
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    x = rng.integers(0, 120, (300, 6, 6, 3), dtype=np.uint8) + (y * 110).astype(np.uint8)[:, None, None, None]
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, classes=np.array(["dark", hostile]))
    body = "body: {conv: {width: 8}}\nhead: {pool: {dropout: [0.0, 0.1]}}"
    space = parse(f"input: image\n{body}\ntraining: {{epochs: 8, batch_size: 16}}")
    front = nas.Study(space, tmp_path / "data.npz", ["accuracy"], out=tmp_path / "run").search(trials=1)
    example = example_path(tmp_path / front[0].export(tmp_path / "net.onnx").file)
    assert "print(17)" not in example.read_text()
    np.save(tmp_path / "samples.npy", x[:40])
    many = classify(example, tmp_path / "samples.npy")
    with torch.no_grad():
        z = standardise(x[:40].transpose(0, 3, 1, 2), front.task.mean, front.task.std)
        expected = front[0].network()(z).argmax(1)
    assert [name for name, _ in many] == [("dark", ascii(hostile))[i] for i in expected]
    assert {name for name, _ in many} == {"dark", ascii(hostile)}
    Image.fromarray(x[7]).save(tmp_path / "image.png")
    assert classify(example, tmp_path / "image.png") == [many[7]]


def test_a_file_that_differs_is_not_left_and_replaces_nothing(member, tmp_path, monkeypatch):
    load = OnnxFormat.load
    monkeypatch.setattr(OnnxFormat, "load", lambda self, path: lambda x: load(self, path)(x) + 0.1)
    path = tmp_path / "net.onnx"
    with pytest.raises(NasError, match=rf"{path}: at batch size 1 the file's output differs .* by 0\.1"):
        member.export(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    with pytest.raises(NasError, match="differs"):
        member.export(path, overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("net.onnx", "mine")]


def test_nothing_beside_a_file_is_overwritten_either(member, tmp_path):
    (tmp_path / "net.pt2.json").write_text("mine")
    with pytest.raises(NasError, match=r"net\.pt2\.json exists already"):
        member.export(tmp_path / "net.pt2", format="pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt2.json"]


@pytest.mark.parametrize(
    ("format", "name"), [("pt2", "net.onnx"), ("onnx", "net.pt2"), ("onnx", "net.tflite"), ("openvino", "net")]
)
def test_a_name_of_another_format_is_refused(member, tmp_path, format, name):
    if reason := FORMATS[format].unavailable():
        pytest.skip(reason)
    with pytest.raises(NasError, match=rf"{name}: a file of format {format} is called \*\{FORMATS[format].suffix}"):
        member.export(tmp_path / name, format=format)


@pytest.mark.parametrize(
    ("format", "precision"),
    [*((f, p) for f in ("pt2", "executorch") for p in ("int8_static", "int8_dynamic")), ("openvino", "int8_dynamic")],
)
def test_a_precision_that_a_format_has_not_is_refused_with_what_to_do(member, tmp_path, format, precision):
    with pytest.raises(NasError, match=rf"{format}: .* not in {precision}\n.*--format onnx"):
        member.export(tmp_path / f"net{FORMATS[format].suffix}", format=format, precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_openvino_in_8_bits(own, tmp_path):
    if reason := FORMATS["openvino"].unavailable():
        pytest.skip(reason)
    chosen = next(m for m in own if "conv" in m.summary)
    shipped = chosen.export(tmp_path / "net.xml", format="openvino", precision="int8_static")
    assert shipped.score_file == pytest.approx(shipped.score_torch, abs=0.02)
    assert shipped.max_difference > 1e-4, "they are 8 bits"
    assert "u8" in (tmp_path / "net.xml").read_text() or "i8" in (tmp_path / "net.xml").read_text()
    assert read_metadata(tmp_path / "net.xml")["precision"] == "int8_static"


def test_what_is_not_installed_is_named_and_the_others_go_on(run, monkeypatch):
    said = "openvino: openvino is not installed; pip install 'pareto-nas[openvino]'"
    monkeypatch.setattr(type(FORMATS["openvino"]), "unavailable", classmethod(lambda cls: said))
    result = CliRunner().invoke(main, ["export", str(run), "--format", "openvino", "--format", "onnx"])
    assert result.exit_code == 1
    assert said in result.stderr
    assert [p.suffix for p in (run / "exports").glob("trial-*") if p.suffix in (".onnx", ".xml")] == [".onnx"]
    alone = CliRunner().invoke(main, ["export", str(run), "--format", "openvino", "--overwrite"])
    assert (alone.exit_code, alone.stderr) == (2, f"nas: {said}\n")


def test_several_rules_name_a_folder_where_they_choose_one_network_too(run, front):
    """What --out is does not hang on what is chosen."""
    number = front.pick("knee").record.number
    rules = ["--pick", "knee", "--pick", f"trial:{number}"]
    result = CliRunner().invoke(main, ["export", str(run), *rules, "--out", str(run / "files")])
    assert result.exit_code == 0, result.output
    assert (run / "files" / f"trial-{number:05d}.onnx").is_file()


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        *(("trial-{}.onnx", True), ("trial-{}.int8_static.onnx", True), ("trial-{}.pt2", True), ("trial-{}.xml", True)),
        *(("trial-{}.onnx.example.py", False), ("trial-{}.pte.json", False), ("trial-{}7.onnx", False)),
    ],
)
def test_a_file_of_any_format_marks_a_network_as_exported(run, front, name, marked):
    member = front.pick("knee")
    assert not member.exported
    (run / "exports").mkdir()
    (run / "exports" / name.format(f"{member.record.number:05d}")).touch()
    assert member.exported == marked
    shown = CliRunner().invoke(main, ["front", str(run), "--pick", "knee"]).stdout
    assert ("exported)" in shown) == marked


def test_a_retrained_model_is_exported_as_any_member():
    ours, members = (inspect.signature(kind.export).parameters for kind in (Model, Member))
    assert list(ours.values()) == list(members.values())


def exported_with_one_failing(run, front, monkeypatch, kind: type[Format], formats) -> list[dict[str, str]]:
    """Export two networks in `formats`, of which one fails in the first; return the rows of the table."""
    first, last = (front.members[i].record.number for i in (0, -1))
    assert first != last
    write = kind.write

    def sometimes(self, module, in_shape, path, metadata, batch):
        if metadata["trial"] == first:
            raise NasError("no such luck")
        return write(self, module, in_shape, path, metadata, batch)

    monkeypatch.setattr(kind, "write", sometimes)
    options = [*("--pick", f"trial:{first}", "--pick", f"trial:{last}"), *(w for f in formats for w in ("--format", f))]
    result = CliRunner().invoke(main, ["export", str(run), *options])
    assert result.exit_code == 1
    assert f"trial {first}, {formats[0]}: no such luck" in result.stderr
    rows = list(csv.DictReader((run / "exports/exports.csv").read_text().splitlines()))
    expected = {(number, f) for number in (first, last) for f in formats} - {(first, formats[0])}
    assert {(int(row["trial"]), row["format"]) for row in rows} == expected
    return rows


def test_one_that_fails_does_not_stop_the_others(front, run, monkeypatch):
    exported_with_one_failing(run, front, monkeypatch, OnnxFormat, ["onnx"])


@pytest.mark.slow
def test_files_of_several_formats_are_rows_of_one_table(front, run, monkeypatch):
    rows = exported_with_one_failing(run, front, monkeypatch, Pt2Format, ["pt2", "onnx"])
    for row in rows:
        ours, other = ("file_ms", "file_ms@eager") if row["format"] == "onnx" else ("file_ms@eager", "file_ms")
        assert float(row[ours]) > 0
        assert row[other] == ""
    (last,) = (row["trial"] for row in rows if row["format"] == "pt2")
    assert len({float(row["score_torch"]) for row in rows if row["trial"] == last}) == 1


def test_the_table_keeps_rows_of_before_there_were_formats(exported, tmp_path):
    table = tmp_path / "exports.csv"
    table.write_text(f"trial,file,file_ms\n3,old.onnx,0.5\n4,{exported('onnx').file},0.7\n")
    write_table(table, [exported("onnx")])
    old, new = csv.DictReader(table.read_text().splitlines())
    assert (old["file"], old["file_ms"], old["format"]) == ("old.onnx", "0.5", "")
    assert (new["file"], new["format"]) == (exported("onnx").file, "onnx")


def test_the_table_fits_100_columns(exported, monkeypatch, capsys):
    """With all that can be in it: 8 bits, two targets, a budget that is broken."""
    monkeypatch.setattr(tables, "_console", lambda width: Console(width=100))
    (one,) = exported("onnx").latencies
    both = (one, dataclasses.replace(one, target="openvino:threads=2"))
    worst = "breaks latency_ms<=0.5 (0.8123); not worth it: 0.95 times the speed of fp32"
    full = {"trial": 12345, "precision": "int8_dynamic", "score_file": 0.5, "size_bytes": 12345678}
    shipped = [exported("onnx"), dataclasses.replace(exported("onnx"), latencies=both, verdict=worst, **full)]
    tables.print_shipped(shipped)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "…" not in printed
    for word in ("12345", "int8_dynamic", "0.5000", "(openvino:", "12345678", "breaks"):
        assert word in printed


def test_budgets_of_another_runtime_are_not_held_against_a_file(member):
    config = dataclasses.replace(member.front.config, budgets=("latency_ms<=1", "n_params<=10"))
    assert budgets_kept(config, {"n_params": 9.0, "latency_ms": 2.0}) == "breaks latency_ms<=1 (2)"
    said = "keeps every budget that applies; latency_ms<=1 is of another runtime"
    assert budgets_kept(config, {"n_params": 9.0}) == said
    assert budgets_kept(config, {"n_params": 11.0}) == "breaks n_params<=10 (11)"


def test_a_further_runtime_is_measured_like_the_first_target(member):
    config = dataclasses.replace(member.front.config, runtime="onnxruntime:threads=2,batch=8")
    folder = member.front.folder
    machine = json.loads(folder.machine.read_text())
    assert list(machine["calibrations"]) == ["onnxruntime"]
    with pytest.raises(NasError, match="no calibration of onnxruntime:threads=2"):
        shipping_meters(config, folder, ["pt2"])
    found = shipping_meters(member.front.config, folder, ["onnx", "pt2"])
    assert {form: list(meters) for form, meters in found.items()} == {
        "onnx": ["latency_ms"],
        "pt2": ["latency_ms@eager"],
    }


def test_who_names_targets_has_files_measured_on_those(member):
    targets = ["eager", "onnxruntime"]
    found = shipping_meters(member.front.config, member.front.folder, ["onnx", "pt2"], targets)
    assert list(found["onnx"]) == ["latency_ms@eager", "latency_ms"]
    assert list(found["pt2"]) == ["latency_ms@eager"]
    assert found["pt2"]["latency_ms@eager"] is found["onnx"]["latency_ms@eager"]


def test_a_row_says_on_what_each_latency_was_read(exported):
    (again,) = exported("onnx").latencies
    assert isinstance(again, Again)
    row = exported("onnx").to_row()
    assert (row["batch"], row["file_ms"], row["searched_ms"]) == ("any", again.file.value, again.searched.value)
    other = dataclasses.replace(again, target="eager", searched=None)
    row = dataclasses.replace(exported("onnx"), latencies=(other,), batch=1).to_row()
    assert (row["batch"], row["file_ms@eager"], row["searched_ms@eager"]) == (1, again.file.value, "")
    assert "file_ms" not in row
