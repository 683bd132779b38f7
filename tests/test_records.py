"""A trial as dictionary, as CSV row, and back; files that are written whole."""

import csv
import dataclasses
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import NasError, RunError
from nas.objectives import OBJECTIVES, PRICES, Measurement, Objective
from nas.records import (
    COLUMNS,
    TrialRecord,
    latency_columns,
    mark_front,
    read_csv,
    read_json,
    summary,
    write_csv,
    write_json,
    write_text,
)
from nas.space import Architecture

finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53)
text = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=30)
scalars = st.one_of(st.booleans(), st.integers(-(10**12), 10**12), finite, text)
paths = st.from_regex(r"[a-z]{1,8}(\.[a-z0-9]{1,8}){1,3}", fullmatch=True)


AT = "latency_ms@openvino:threads=2,batch=8"


@st.composite
def measured(draw):
    low, value, high = sorted(draw(st.tuples(*[st.floats(1e-9, 1e9)] * 3)))
    return Measurement(value, low, high)


@st.composite
def records(draw):
    exact = {name: Measurement.exact(float(draw(counts))) for name in PRICES if name != "latency_ms"}
    return TrialRecord(
        number=draw(st.integers(0, 10**6)),
        arch=Architecture.of(draw(st.dictionaries(paths, scalars, max_size=5))),
        state=draw(st.sampled_from(["complete", "over_budget", "stopped_early", "duplicate", "failed"])),
        prices=draw(st.sampled_from([{}, {"latency_ms": draw(measured()), AT: draw(measured()), **exact}])),
        scores=draw(st.sampled_from([{}, {"accuracy": draw(st.floats(0, 1)), "loss": draw(st.floats(0, 1e6))}])),
        epochs=draw(st.integers(0, 1000) | st.sampled_from([0.25, 2.667])),
        train_seconds=draw(st.integers(0, 10**7)) / 1000,
        key=draw(st.sampled_from(["", "abc-def"])),
        duplicate_of=draw(st.none() | st.integers(0, 100)),
        reason=draw(text),
        curve=tuple(draw(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0, 1)), max_size=3))),
        on_front=draw(st.booleans()),
        rung=draw(st.integers(0, 3)),
        rung_scores=tuple(draw(st.lists(st.fixed_dictionaries({"accuracy": st.floats(0, 1)}), max_size=3))),
        share=draw(st.sampled_from([0.0, 0.1111, 1.0])),
        paused=draw(st.booleans()),
        epoch_seconds=draw(st.sampled_from([0.0, 0.125])),
        epoch_seconds_predicted=draw(st.sampled_from([0.0, 12.5])),
        ended_s=draw(st.sampled_from([0.0, 3.25])),
    )


@given(records())
def test_a_dictionary_holds_all_but_the_front(record):
    kept = json.loads(json.dumps(record.to_dict()))
    back = TrialRecord.from_dict(record.number, record.arch, kept)
    assert mark_front([back], [record.number] if record.on_front else []) == [record]


@given(st.lists(records(), max_size=4))
def test_a_csv_holds_all_but_the_way_there(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("csv") / "trials.csv"
    parameters = list(dict.fromkeys(p for r in some for p in r.arch.values))
    columns = [*latency_columns(AT), *parameters]
    write_csv(path, some, columns)
    back = read_csv(path)
    lost = {"key": "", "rung_scores": (), "paused": False}
    rounded = [[(float(f"{epochs:.4g}"), float(f"{value:.6g}")) for epochs, value in r.curve] for r in some]
    assert [
        {**vars(r), **lost, "curve": tuple(curve), "arch": r.arch.values}
        for r, curve in zip(some, rounded, strict=True)
    ] == [{**vars(r), "arch": r.arch.values} for r in back]
    assert next(csv.reader(path.read_text(encoding="utf-8").splitlines())) == [*COLUMNS, *columns]


@given(st.lists(records(), max_size=4, unique_by=lambda r: (r.number, r.on_front)), st.data())
def test_lines_that_are_remembered_are_those_that_would_be_written(tmp_path_factory, some, data):
    folder = tmp_path_factory.mktemp("csv")
    lines = {}
    for _ in range(2):
        parameters = [*latency_columns(AT), "p"]
        some = [dataclasses.replace(r, arch=Architecture.of({"p": 1})) for r in some]
        write_csv(folder / "with.csv", some, parameters, lines)
        write_csv(folder / "without.csv", some, parameters)
        assert (folder / "with.csv").read_bytes() == (folder / "without.csv").read_bytes()
        some = [dataclasses.replace(r, reason=data.draw(text)) if data.draw(st.booleans()) else r for r in some]


def test_a_row_by_hand(tmp_path):
    record = TrialRecord(
        number=7,
        arch=Architecture.of({"body.0": "conv", "body.0.conv.width": 8, "body.0.conv.se": True}),
        state="complete",
        prices={"latency_ms": Measurement(2.0, 1.5, 2.5), "macs": Measurement.exact(1200.0)},
        scores={"accuracy": 0.5, "loss": 1.25},
        epochs=3,
        train_seconds=1.23456,
        rung=3,
        share=1.0,
        epoch_seconds=0.4,
        epoch_seconds_predicted=0.35,
        ended_s=12.3456,
        curve=((0.333333, 0.25), (3, 0.000012345678)),
    )
    write_csv(tmp_path / "t.csv", mark_front([record], [7]), record.arch.values)
    head, row = (tmp_path / "t.csv").read_text().splitlines()
    assert head.startswith("trial,state,on_front,accuracy,latency_ms,latency_ms_low,latency_ms_high,macs,n_params,")
    print_ = record.arch.fingerprint()
    architecture = '"{""body.0"":""conv"",""body.0.conv.width"":8,""body.0.conv.se"":true}"'
    assert (
        row == f"7,complete,true,0.5,2.0,1.5,2.5,1200,,,3,1.235,{print_},{architecture},1.25,,,,3,1,0.4,0.35,12.35,"
        "0.3333:0.25 3:1.23457e-05,,,,,,conv,8,true"
    )


def test_figures_that_are_not_known_are_empty_cells(tmp_path):
    write_csv(tmp_path / "t.csv", [TrialRecord(0, Architecture.of({}), "failed", reason="diverged")], [])
    (back,) = read_csv(tmp_path / "t.csv")
    assert (back.prices, back.scores, back.metrics, back.duplicate_of, back.train_seconds) == ({}, {}, {}, None, 0.0)
    assert back.reason == "diverged"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("trial,state\n1,complete\n", "row 2 is not a trial of ours"),
        (",".join(COLUMNS) + "\n" + ",".join(["x"] * len(COLUMNS)) + "\n", "row 2"),
        (",".join(COLUMNS) + "\n1,complete\n", "row 2"),
        (b"\xff\xfe\x00\x00", "t.csv"),
    ],
)
def test_a_csv_that_is_none_of_ours(tmp_path, content, said):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError, match=said):
        read_csv(path)
    with pytest.raises(RunError, match="cannot be read"):
        read_csv(tmp_path / "nothing.csv")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "two, with ü")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "two, with ü"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(RunError, match=r"nowhere/a: cannot be written"):
        write_text(tmp_path / "nowhere" / "a", "x")


def test_what_is_to_survive_a_power_cut_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    events, sync, replace = [], os.fsync, Path.replace

    def synced(descriptor):
        events.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    def replaced(self, target):
        events.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_text(tmp_path / "a", "12345", durable=True)
    write_json(tmp_path / "b", {}, durable=True)
    write_text(tmp_path / "c", "12345")
    assert events == [5, "a", 3, "b", "c"]
    assert (tmp_path / "a").read_text() == "12345"


def test_json_has_no_nan(tmp_path):
    value = {"a": math.nan, "b": [math.inf, 1.5, "ü"], "c": {"d": (-math.inf, None, True)}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [None, 1.5, "ü"], "c": {"d": [None, None, True]}}
    for content in ("[1]", "{", ""):
        (tmp_path / "b.json").write_text(content)
        with pytest.raises(RunError, match=r"b\.json"):
            read_json(tmp_path / "b.json")
    with pytest.raises(RunError, match=r"c\.json: cannot be read"):
        read_json(Path(tmp_path / "c.json"))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"body": [], "head": {"pool": {}}}, "pool"),
        ({"body": {"dense": {"width": 4}}, "head": "pool", "training": {"epochs": 3}}, "dense 4 > pool"),
        ({"stem": {"patches": {"width": 8, "patch": 2}}, "body": [["identity", {"transformer": {"dim": 16}}]]},
         "patches 8 > transformer 16"),
    ],
)  # fmt: skip
def test_summary(tree, words):
    assert summary(tree) == words


@pytest.mark.parametrize("column", COLUMNS)
def test_no_objective_takes_the_name_of_a_column(column):
    with pytest.raises(NasError):
        OBJECTIVES.describe(Objective(column, "share", "maximize", cheap=False), "mine")
