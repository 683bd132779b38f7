"""The face in Python: what the commands can do, as three small classes."""

import csv
import dataclasses
import subprocess
import sys
from fractions import Fraction

import pytest
from tiny_run import BUDGET, TINY, snapshot

import nas
from nas.errors import BudgetError, NasError, RunError, SpaceError
from nas.objectives import Measurement
from nas.pareto import choose, parse_rule
from nas.records import latency_columns, write_csv
from nas.space.yaml import parse
from nas.training.fidelity import Rung


def test_a_study_from_space_to_file(tmp_path, monkeypatch, tiny):
    """The sketch of the README, small; nothing is written outside of the run folder and what was asked for."""
    monkeypatch.chdir(tmp_path)
    study = nas.Study(tiny, data="digits", objectives=["accuracy", "n_params"], budgets=[BUDGET], subset=0.3)
    assert not list(tmp_path.iterdir()), "a study writes nothing before it searches"
    front = study.search(trials=3)
    assert study.folder.path.as_posix() == "results/tiny-001"
    front.to_csv("front.csv")
    model = front.pick("knee").retrain(seeds=2, epochs=1)
    assert model.interval[0] <= model.mean <= model.interval[1]
    assert model.export("model.onnx").kept
    files = {"front.csv", "model.onnx", "model.onnx.example.py"}
    assert {name.split("/")[0] for name in snapshot(tmp_path)} == {"results", *files}
    assert (tmp_path / "results/tiny-001/front.png").stat().st_size > 10_000


def test_the_knee_is_not_where_networks_of_no_use_end(front, monkeypatch):
    """From 10 to 55 % the front bends most; of those that anybody wants it bends at 95.5 %."""
    latency = "latency_ms"
    config = dataclasses.replace(front.config, objectives=("accuracy", latency))
    told = {0: (0.10, 10), 1: (0.55, 10.5), 2: (0.90, 60), 3: (0.955, 70), 4: (0.96, 100)}

    def made(numbers):
        price = {n: {latency: Measurement(told[n][1], told[n][1], told[n][1])} for n in numbers}
        scores = {n: {"accuracy": told[n][0]} for n in numbers}
        some = front.members[0].record
        rows = [dataclasses.replace(some, number=n, prices=price[n], scores=scores[n], on_front=True) for n in numbers]
        return nas.Front(front.folder, config, rows)

    whole = made(told)
    assert whole.pick("knee").record.number == made([2, 3, 4]).pick("knee").record.number == 3
    assert choose(parse_rule("knee"), whole.records, config.parsed_objectives()).number == 1, "the front as it is"
    assert [m.record.number for m in whole.spread(9)] == [2, 3, 4]
    assert whole.pick(f"knee where {latency}<=10").record.number == 0, "where there is nothing else"
    assert whole.pick(f"best:{latency}").record.number == 0
    drawn = {}
    monkeypatch.setattr("nas.report.plot_front", lambda *args, **options: drawn.update(options))
    whole.plot()
    assert drawn["knee"] == 3, "the picture rings the same"
    made([]).plot()
    assert drawn["knee"] is None


def test_search_again_goes_on(tmp_path, tiny, digits):
    study = nas.Study(tiny, digits, ["accuracy", "n_params"], out=tmp_path / "run", sampler="random", subset=0.3)
    first = study.search(trials=2)
    second = study.search(trials=4)
    assert [r.arch for r in second.records[: len(first.records)]] == [r.arch for r in first.records]
    assert sum(r.train_seconds > 0 for r in second.records) == 4
    resumed = nas.Study.resume(tmp_path / "run", task=digits)
    found = {"data_fingerprint": digits.fingerprint(), "rungs": ("none",)}
    found |= {name: getattr(resumed.config, name) for name in ("run_id", "study_name")}
    assert all(found.values())
    assert resumed.config == dataclasses.replace(study.config, **found)
    assert sum(r.train_seconds > 0 for r in resumed.search(trials=5, time_limit="1m").records) == 5
    with pytest.raises(RunError, match="no such run folder"):
        nas.Study.resume(tmp_path / "elsewhere")


def test_a_warm_start(tmp_path, tiny, digits, finished):
    options = {"out": tmp_path / "run", "sampler": "random", "subset": 0.3, "warm_start": finished}
    study = nas.Study(tiny, digits, ["accuracy", "macs"], **options)
    assert study.config.warm_start == (finished.as_posix(),)
    study.search(trials=2)
    resumed = nas.Study.resume(tmp_path / "run", task=digits)
    assert resumed.config.warm_start == (finished.as_posix(),)
    assert sum(r.train_seconds > 0 for r in resumed.search(trials=3).records) == 3
    assert (tmp_path / "run" / "warm_start.json").exists()


def test_a_watcher_is_told_everything(tmp_path, tiny, digits):
    class Watcher:
        def __init__(self):
            self.recorded_, self.training_, self.epochs = [], [], 0

        def recorded(self, record, search):
            self.recorded_.append(record.number)

        def training(self, number, candidate, search):
            self.training_.append(number)

        def progress(self, number, log):
            self.epochs += 1

    watcher = Watcher()
    front = nas.Study(tiny, digits, ["accuracy"], [BUDGET], out=tmp_path / "run", sampler="random").search(
        trials=4, watcher=watcher
    )
    assert watcher.recorded_ == [r.number for r in front.records]
    assert watcher.training_ == [r.number for r in front.records if r.train_seconds]
    assert watcher.epochs == sum(r.epochs for r in front.records)


def test_a_front_is_read_again(finished, front):
    again = nas.Front.load(finished)
    assert [m.record for m in again] == [m.record for m in front]
    assert len(again) == len(front.members)
    costs = [m.metrics["n_params"] for m in again]
    assert costs == sorted(costs), "cheapest first"
    assert again.pick("best:accuracy").metrics["accuracy"] == max(m.metrics["accuracy"] for m in again)
    table = again.to_dataframe()
    assert list(table["trial"]) == [m.record.number for m in again]
    assert set(table["state"]) == {"complete"}
    assert again.task.name == "digits"


def test_a_front_under_limits_of_any_kind(finished):
    everything = nas.Front.load(finished)
    median = sorted(m.metrics["accuracy"] for m in everything)[len(everything) // 2]
    good = nas.Front.load(finished, budgets=[f"accuracy>={median}"])
    assert {m.record.number for m in good} == {
        m.record.number for m in everything if m.metrics["accuracy"] >= median
    }, "what is dominated by nothing stays so among fewer"
    assert len(nas.Front.load(finished, budgets=["accuracy>1"])) == 0
    with pytest.raises(BudgetError, match="Did you mean 'accuracy'"):
        nas.Front.load(finished, budgets=["acuracy>=2"])
    with pytest.raises(RunError, match="no such run folder"):
        nas.Front.load(finished / "nowhere")


def test_the_csv_of_a_front_has_what_one_chooses_by_first_and_all_of_front_csv(front, tmp_path):
    front.to_csv(tmp_path / "mine.csv")

    def rows(path):
        return {row["trial"]: row for row in csv.DictReader(path.read_text().splitlines())}

    mine, kept = rows(tmp_path / "mine.csv"), rows(front.folder.front)
    names = [o.name for o in front.config.parsed_objectives()]
    first = [column for n in names for column in (latency_columns(n) if n == "latency_ms" else [n])]
    marks = ["knee", "exported", "alike", "blocks"]
    columns = list(next(iter(mine.values())))
    assert columns[: columns.index("blocks") + 1] == ["trial", *first, *marks]
    assert list(mine) == [str(m.record.number) for m in front], "in the order of the table"
    assert {number: {c: row[c] for c in kept[number]} for number, row in mine.items()} == kept, "nothing is left out"
    assert [number for number, row in mine.items() if row["knee"] == "true"] == [str(front.pick("knee").record.number)]
    alike = front.indistinguishable()
    for member in front:
        row = mine[str(member.record.number)]
        assert row["blocks"] == member.summary
        assert row["alike"].split() == [str(n) for n in alike.get(member.record.number, [])]
    assert list(front.to_dataframe().columns) == columns
    front.to_csv(tmp_path / "one.csv", [front.pick("best:accuracy")])
    assert len(rows(tmp_path / "one.csv")) == 1


def test_the_csv_of_a_front_says_true_and_false_as_trials_csv_does(front, tmp_path):
    space = parse("input: image\nbody: {conv: {width: 4, se: [true, false]}}\nhead: {pool: {}}\n", name="own")
    config = dataclasses.replace(front.config, space=space)
    rows = [
        dataclasses.replace(one, arch=space.architecture({"body.conv.se": se}))
        for one, se in zip([m.record for m in front.members[:2]], (True, False), strict=True)
    ]
    own = nas.Front(front.folder, config, rows)
    own.to_csv(tmp_path / "front.csv")
    write_csv(tmp_path / "trials.csv", [m.record for m in own], config.columns())
    told = {}
    for name in ("front", "trials"):
        lines = (tmp_path / f"{name}.csv").read_text().splitlines()
        told[name] = [row["body.conv.se"] for row in csv.DictReader(lines)]
    assert told["front"] == told["trials"]
    assert set(told["front"]) == {"true", "false"}
    assert own.to_dataframe()["body.conv.se"].dtype == bool


def test_a_member_says_what_it_is(front):
    member = front.pick("knee")
    assert member.summary.split(" > ")[-1] == "pool"
    network = member.network()
    assert not network.training
    assert sum(p.numel() for p in network.parameters()) == member.metrics["n_params"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"space": "digts"}, SpaceError, "Did you mean 'digits'?"),
        ({"objectives": ["accurcy"]}, NasError, "Did you mean 'accuracy'?"),
        ({"objectives": []}, NasError, "a study needs an objective"),
        ({"budgets": ["accuracy>=0.9"]}, BudgetError, "known only after training"),
        ({"colour": "red"}, NasError, "colour"),
        ({"trial_time_limit": "soon"}, NasError, "time 'soon' cannot be read"),
        ({"seed": -1}, NasError, "seed must be at least 0"),
        ({"warm_start": None}, NasError, "warm_start must be the folders of earlier runs"),
        ({"rungs": None}, NasError, "rungs must be a list of shares such as ['1/9', '0.3'], got None"),
        ({"rungs": True}, NasError, "rungs must be a list of shares such as ['1/9', '0.3'], got True"),
        ({"rungs": [None]}, NasError, "rungs must be a list of shares such as ['1/9', '0.3'], got [None]"),
        ({"budgets": None}, NasError, "budgets must be a list of texts such as ['latency_ms<=2'], got None"),
        ({"budgets": [3]}, NasError, "budgets must be a list of texts such as ['latency_ms<=2'], got [3]"),
        (
            {"objectives": None},
            NasError,
            "objectives must be a list of texts such as ['accuracy', 'latency_ms'], got N",
        ),
        ({"trial_time_limit_s": 3.0}, NasError, "Did you mean 'trial_time_limit'?"),
    ],
)
def test_a_mistake_is_told_at_once(tmp_path, monkeypatch, options, error, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        nas.Study(**options)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0.3, ("0.3",)),
        (Fraction(1, 9), ("1/9",)),
        ("none", ("none",)),
        ([0.1, "0.3,resolution=0.5"], ("0.1", "0.3,resolution=0.5")),
        ((Rung(1 / 9),), ("1/9",)),
        ([], ("none",)),
    ],
)
def test_rungs_are_numbers_or_texts(given, kept):
    assert nas.Study("digits", rungs=given).config.rungs == kept


@pytest.mark.parametrize("workers", [0, True, 2.0, 1001])
def test_workers_that_cannot_be(tmp_path, workers):
    with pytest.raises(NasError, match=rf"^workers must be an integer from 1 to 1,000, got {workers}"):
        nas.Study("digits", out=tmp_path / "run").search(trials=1, workers=workers)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "tpee"}, "'tpe'"),
        ({"runtime": "onnx"}, "'onnxruntime'"),
        ({"data": "nothing.npz"}, "nothing.npz"),
        ({"warm_start": "gone"}, "gone: no such folder"),
    ],
)
def test_what_is_found_wrong_at_the_start_of_a_search_leaves_nothing(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NasError) as caught:
        nas.Study(**options).search(trials=1)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_data_that_are_a_function_are_told_how_to_be_named(tmp_path, finished):
    def load():
        return None

    for given in (load, 7, {"x_train": []}):
        with pytest.raises(NasError, match=r"a function as text such as 'mine\.py:load', or a Task .* got "):
            nas.Study("digits", data=given, out=tmp_path / "run")
        with pytest.raises(NasError, match=r"a function as text such as 'mine\.py:load', or a Task .* got "):
            nas.Front.load(finished, data=given)


def test_load_space_checks_every_part(tmp_path):
    assert nas.load_space("image").name == "image"
    (tmp_path / "bad.yaml").write_text(TINY.replace("conv:", "cnov:"))
    with pytest.raises(SpaceError, match=r"bad\.yaml:4.*Did you mean 'conv'"):
        nas.load_space(tmp_path / "bad.yaml")


def test_every_name_of_the_package_is_there_and_importing_it_sets_nothing():
    assert all(getattr(nas, name) is not None for name in nas.__all__)
    assert set(nas.__all__) <= set(dir(nas))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = nas.Nothing
    code = "import os, sys; e = dict(os.environ); import nas; print('torch' in sys.modules, e == dict(os.environ))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
