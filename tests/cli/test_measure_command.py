"""`nas measure` and `nas space --budget` as a user meets them."""

from __future__ import annotations

import pytest
from test_commands import ok
from tiny_run import TINY

from nas.export.onnx import export_onnx
from nas.records import read_csv


@pytest.fixture
def file(tmp_path):
    from torch import nn

    export_onnx(nn.Linear(6, 2), (6,), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_a_run(nas, run, tmp_path):
    result = ok(nas("measure", run, "--csv", "again.csv"))
    front = [r for r in read_csv(run / "front.csv") if r.on_front]
    assert "searched ms" in result.stdout
    assert result.stdout.count("latency_ms") == len(front)
    assert f"again.csv: {len(front)} networks" in result.stderr
    assert (tmp_path / "again.machine.json").exists()
    picked = ok(nas("measure", run, "--pick", f"trial:{front[0].number}", "--target", "eager"))
    assert picked.stdout.count("latency_ms@eager") == 1


def test_a_file(nas, file):
    result = ok(nas("measure", file.name, "--target", "onnxruntime", "--target", "onnxruntime:threads=2"))
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        *("latency_ms", "latency_ms@onnxruntime:threads=2", "macs", "n_params", "size_bytes", "peak_bytes")
    ]
    assert "macs " in result.stdout
    assert "12 (12)" in result.stdout
    assert "calibrated now" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "no such run folder"),
        (("nowhere.onnx",), "there is no such file"),
        (("net.onnx", "--target", "eager"), "takes no ONNX files"),
        (("net.onnx", "--target", "nosuch"), "no runtime called 'nosuch'"),
        (("net.onnx", "--shape", "7"), "a sample cannot be (7,)"),
        (("net.onnx", "--shape", "x"), "cannot be read"),
        (("net.onnx", "--csv", "out/again.csv"), "out/again.csv: there is no folder out for the table; make it first"),
        (("net.onnx", "--pick", "knee"), "are for runs"),
        (("net.onnx", "--front"), "are for runs"),
        ((".", "--shape", "7"), "--shape is for ONNX files"),
        ((".", "--front", "--pick", "knee"), "exclude each other"),
        ((".",), "no run of ours"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_measured_is_one_clear_message(nas, file, arguments, said):
    result = nas("measure", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def space(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    return "tiny.yaml"


def test_a_space_with_budgets(nas, space):
    result = ok(nas("space", space, "-b", "n_params<=2k", "-b", "latency_ms<=100", "--samples", "20"))
    assert "20 random samples on digits, shape (1, 8, 8), 10 outputs" in result.stdout
    lines = result.stdout.splitlines()
    (both,) = (line for line in lines if "all of them" in line)
    (fast,) = (line for line in lines if "latency_ms<=100" in line)
    assert fast.split()[1:5] == ["20", "of", "20", "100%"]
    assert " to " in both
    for price in ("latency_ms", "macs", "n_params", "size_bytes", "peak_bytes"):
        assert any(line.split()[:1] == [price] and len(line.split()) == 6 for line in lines), price
    assert "sample 0" not in result.stdout


def test_a_space_on_a_shape_with_prices_alone(nas, space):
    result = ok(nas("space", space, "--prices", "--shape", "3,12,12", "--classes", "4", "--samples", "3"))
    assert "3 random samples on noise, shape (3, 12, 12), 4 outputs" in result.stdout
    assert "keep it" not in result.stdout


def test_a_budget_that_nothing_keeps_says_how_far_off_it_is(nas, space):
    result = nas("space", space, "-b", "n_params<=5", "--samples", "10")
    assert result.exit_code == 1
    assert "none keeps every budget; the nearest is 4 times beyond: n_params 20" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target", "eager"), "--target is for prices"),
        (("--data-root", "d"), "--data-root is for prices"),
        (("--prices", "--yaml"), "go without --yaml"),
        (("--prices", "--shape", "1,8,8", "--data", "digits"), "--shape is there instead of --data"),
        (("--prices", "--classes", "3"), "--classes goes with --shape"),
        (("--prices", "--shape", "8"), "the data have shape (8,)"),
        (("-b", "latency<=2"), "Did you mean 'latency_ms'"),
        (("-b", "latency_ms<=0"), "no network keeps it"),
        (("-b", "accuracy>=0.5"), "known only after training"),
        (("--prices", "--time-limit", "soon"), "cannot be read"),
        (("--prices", "--data", "nosuch"), "no data set called"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_priced_is_one_clear_message(nas, space, arguments, said):
    result = nas("space", space, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    if "-b" in arguments and "accuracy" not in arguments[1]:
        assert not result.stdout, "nothing comes before the message"


def test_without_a_space_there_is_nothing_to_price(nas):
    assert "need a SPACE" in nas("space", "--prices").stderr
