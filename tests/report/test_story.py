"""What a page says before any browser looks at it: figures, importances, commands, and what older runs lack."""

import dataclasses
import html
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.api import Front
from nas.errors import RunError
from nas.measure.macs import count_macs
from nas.objectives import OBJECTIVES, Measurement, parse_objective
from nas.plugins import PluginId
from nas.records import TrialRecord, read_csv, read_json, write_json
from nas.report import Story
from nas.report.facts import _shell
from nas.report.headline import _data, _searched
from nas.report.html import SCRIPTS, _read
from nas.report.importance import FEWEST, importances
from nas.report.payload import Texts, payload, to_script
from nas.ship import Again, Shipped, write_table
from nas.space import Categorical, Choice, Float, Space
from nas.study import command
from nas.study.command import OWN_SPACE, search_commands
from nas.study.config import StudyConfig
from nas.study.front import FEW, has_grown, hypervolume_box, hypervolume_trace, relative_hypervolume
from nas.study.networks import blocks

ACCURACY, LATENCY = parse_objective("accuracy"), parse_objective("latency_ms")


# --- what a search keeps for the page ---------------------------------------------------------------------------------


def test_the_blocks_of_a_network_add_up_to_it(finished, front):
    kept = read_json(finished / "networks.json")
    assert kept["data"]["in_shape"] == [1, 8, 8]
    assert kept["data"]["classes"] == [str(i) for i in range(10)]
    assert set(kept["networks"]) == {str(m.record.number) for m in front}
    for member in front:
        made = kept["networks"][str(member.record.number)]
        assert made == blocks(member.network())
        assert sum(b["params"] for b in made) == member.metrics["n_params"]
        assert sum(b["macs"] for b in made) == member.metrics["macs"] == count_macs(member.network(), (1, 8, 8))
        assert made[0]["in"] == [1, 8, 8]
        assert made[-1]["out"] == [10]
        assert all(a["out"] == b["in"] for a, b in itertools.pairwise(made))


def test_trials_say_when_they_ended_and_searches_what_the_time_went_into(finished):
    records = read_csv(finished / "trials.csv")
    ended = [r.ended_s for r in records]
    assert min(ended) > 0
    (search,) = read_json(finished / "machine.json")["searches"]
    seconds = search["seconds"]
    assert max(ended) <= seconds["all"]
    assert 0 < seconds["pricing"] + seconds["waiting"] + seconds["proposing"] <= seconds["all"]
    assert seconds["waiting"] == pytest.approx(sum(r.train_seconds for r in records), rel=0.5)
    assert search["limits"] == {"trials": 14}


def test_the_seconds_go_on_after_a_resume(run, digits):
    from nas.api import Study

    known = {r.number: r.ended_s for r in read_csv(run / "trials.csv")}
    front = Study.resume(run, task=digits).search(trials=15)
    new = [r for r in front.records if r.number not in known]
    assert new
    assert all(r.ended_s > max(known.values()) for r in new)
    assert len(read_json(run / "machine.json")["searches"]) == 2


# --- hypervolume ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 10)), max_size=30), st.booleans())
def test_the_trace_is_the_hypervolume_of_each_beginning(points, lost):
    records = [
        TrialRecord(
            i,
            None,
            "complete",
            {"latency_ms": Measurement.exact(latency)},
            {"accuracy": float("nan") if lost and i == 3 else accuracy},
        )
        for i, (accuracy, latency) in enumerate(points)
    ]
    trace = hypervolume_trace(records, [ACCURACY, LATENCY])
    expected = relative_hypervolume(records, [ACCURACY, LATENCY])
    if expected is None:
        assert trace == []
        assert sum(r.scores["accuracy"] == r.scores["accuracy"] for r in records) < 2
        return
    assert [number for number, _ in trace] == [r.number for r in records]
    volumes = [volume for _, volume in trace]
    assert volumes == sorted(volumes)
    assert volumes[0] > 0 or lost, "every one of the first ten dominates a part of the box"
    assert volumes[-1] == pytest.approx(expected)
    for n in range(10, len(records)):  # the box stands still from there on
        if not lost:
            assert volumes[n] == pytest.approx(relative_hypervolume(records[: n + 1], [ACCURACY, LATENCY]))


def test_a_front_that_grows_is_seen_to_while_the_box_still_moves():
    """Each joins the front; but the box of the sixth is wider than that of the fifth, and shares of it are smaller."""
    errors = [0.30, 0.31, 0.50, 0.30, 0.13, 0.12, 0.11, 0.10, 0.09]
    ms = [0.020, 0.031, 0.050, 0.030, 0.90, 0.91, 0.92, 0.93, 0.94]
    records = [
        TrialRecord(i, None, "complete", {"latency_ms": Measurement.exact(t)}, {"accuracy": 1 - e})
        for i, (e, t) in enumerate(zip(errors, ms, strict=True))
    ]
    objectives = [ACCURACY, LATENCY]
    alone = [relative_hypervolume(records[:n], objectives) for n in range(4, 10)]
    assert max(alone[1:]) < alone[0], "else this shows nothing"
    for n in range(FEW, len(records) + 1):
        assert has_grown(records[:n], n - 1, objectives)
    same = [*records, *(dataclasses.replace(records[0], number=number) for number in (9, 10, 11))]
    assert not has_grown(same, len(records), objectives)
    assert has_grown(same[: FEW - 1], FEW - 1, objectives), "with so few nothing has stopped"


def test_the_box_ends_a_tenth_beyond_the_worst():
    """Two corners dominate something, and the reference point is told in the user's units, through the logarithm."""

    def made(number, accuracy, latency):
        return TrialRecord(number, None, "complete", {"latency_ms": Measurement.exact(latency)}, {"accuracy": accuracy})

    records = [made(0, 0.5, 0.1), made(1, 0.9, 10.0)]
    box = hypervolume_box(records, [ACCURACY, LATENCY])
    assert box.n_trials == 2
    assert box.reference([ACCURACY, LATENCY]) == pytest.approx({"accuracy": 0.46, "latency_ms": 10**1.2})
    assert hypervolume_trace(records, [ACCURACY, LATENCY]) == [
        (0, pytest.approx(0.11 / 1.21)),
        (1, pytest.approx(0.21 / 1.21)),
    ]
    assert hypervolume_box(records[:1], [ACCURACY, LATENCY]) is None


def priced(number, accuracy, gain):
    return TrialRecord(number, None, "complete", {"gain_db": Measurement.exact(gain)}, {"accuracy": accuracy})


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_price_that_may_be_below_0_has_one_scale_for_all_trials(own_parts, direction):
    """As they are, where one of them has no logarithm: what is a loss of -1, 1 and 3 lies in even steps in the box."""
    OBJECTIVES.add("gain_db", unit="dB", direction=direction)(lambda module, in_shape: 0.0)
    gain, sign = OBJECTIVES["gain_db"], 1 if direction == "minimize" else -1
    records = [priced(0, 0.5, -1.0 * sign), priced(1, 0.7, 1.0 * sign), priced(2, 0.9, 3.0 * sign)]
    for some in (records, records[::-1]):
        box = hypervolume_box(some, [ACCURACY, gain])
        assert box.logarithmic == (False, False)
        assert box.reference([ACCURACY, gain]) == pytest.approx({"accuracy": 0.46, "gain_db": 3.4 * sign})
        corners = (0.1 * 1.1 + 0.5 * 0.6 + 0.5 * 0.1) / 1.21  # by strips of accuracy, from the worst one on
        assert relative_hypervolume(some, [ACCURACY, gain]) == pytest.approx(corners)
        volumes = [volume for _, volume in hypervolume_trace(some, [ACCURACY, gain])]
        assert volumes == sorted(volumes)
        assert volumes[0] > 0


def test_the_scale_of_a_price_is_that_of_all_trials_not_of_the_box_alone(own_parts):
    """Ten trials above 0 make the box; one at 0 that comes after them is better than the one at 1."""
    OBJECTIVES.add("gain_db", unit="dB")(lambda module, in_shape: 0.0)
    objectives = [ACCURACY, OBJECTIVES["gain_db"]]
    records = [priced(i, 0.5 + 0.01 * i, 1.0 + i) for i in range(10)]
    assert hypervolume_box(records, objectives).logarithmic == (False, True)
    more = [*records, priced(10, 0.5, 20.0), priced(11, 0.5, 0.0)]
    assert hypervolume_box(more, objectives).logarithmic == (False, False)
    assert not has_grown(more[:11], 10, objectives)
    assert has_grown(more, 11, objectives)


# --- importances ------------------------------------------------------------------------------------------------------

SPACE = Space(
    input="vector",
    root={
        "body": Choice({"a": {"width": Float(0.0, 1.0)}, "b": {"depth": Float(0.0, 1.0)}}),
        "head": {"pool": {"idle": Float(0.0, 1.0)}},
        "training": {"lr": Float(0.0, 1.0), "never": Categorical(("x",))},
    },
)


def trials(n, accuracy, seed=0):
    rng = np.random.default_rng(seed)
    archs = [SPACE.sample(rng) for _ in range(n)]
    price = {"latency_ms": Measurement.exact(1.0)}
    found = []
    for i, a in enumerate(archs):
        cost = {"latency_ms": Measurement.exact(1 + a.values.get("body.a.width", 0.5))} if i else price
        found.append(TrialRecord(i, a, "complete", cost, {"accuracy": accuracy(a.values)}))
    return found


def test_what_decides_is_named_first_a_condition_too():
    told = importances(SPACE, trials(200, lambda v: v["training.lr"]), [ACCURACY, LATENCY])
    assert [one["name"] for one in told] == ["accuracy", "latency_ms"]
    assert told[0]["shares"][0][0] == "training.lr"
    assert told[0]["shares"][0][1] > 0.6
    assert told[0]["best"] == 20
    paths = {path: n for path, _, n in told[1]["shares"]}
    assert "training.lr" not in paths, "a price knows nothing of training"
    assert told[1]["shares"][0][0] in ("body", "body.a.width")
    assert paths["body.a.width"] < 200, "it is not always there"


def test_few_or_equal_trials_say_why_there_is_nothing():
    (few,) = importances(SPACE, trials(FEWEST - 1, lambda v: v["training.lr"]), [ACCURACY])
    assert few["why"] == f"that takes at least {FEWEST} trials; usable here: {FEWEST - 1}"
    (equal,) = importances(SPACE, trials(FEWEST, lambda v: 0.5), [ACCURACY])
    assert "the same figure" in equal["why"]
    (none,) = importances(SPACE, [], [ACCURACY])
    assert none["shares"] == []


# --- the commands -----------------------------------------------------------------------------------------------------


def test_the_command_makes_the_same_run_again(tmp_path, finished, monkeypatch):
    """Given to the program, it searches what was searched: the config is equal."""
    from click.testing import CliRunner

    from nas.cli import main
    from nas.study.folder import RunFolder

    config = RunFolder(finished).read_config()
    searches = read_json(finished / "machine.json")["searches"]
    (made,) = search_commands(config, searches, "again")
    assert made.startswith(f"nas search {OWN_SPACE} --data digits --objective accuracy ")
    assert "'n_params<=2000'" in made
    assert made.endswith("--out again --trials 14")
    monkeypatch.chdir(tmp_path)
    Path(OWN_SPACE).write_text(config.space.to_yaml())
    words = [*shlex.split(made)[1:-1], "1", "--quiet"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert RunFolder("again").read_config().differences(config) == []


def test_every_field_of_a_config_has_its_place_in_the_command():
    """A new one is to be added to `nas.study.command`, or to the fields that follow from others."""
    told = {"space", "data", "data_root", "objectives", "budgets", "enough", "rungs", "warm_start"}
    told |= {"plugins", "target_column"}
    follow = {"data_fingerprint", "run_id", "study_name"}
    assert {field.name for field in dataclasses.fields(StudyConfig)} == told | set(command._OPTIONS) | follow


def test_what_a_resume_was_given_is_a_command_of_its_own(finished):
    from nas.study.folder import RunFolder

    config = RunFolder(finished).read_config()
    searches = [{"limits": {"seconds": 90.0}}, {"limits": {"plateau": 5}, "workers": 4, "executor": "ray"}]
    first, second = search_commands(config, searches, "a run")
    assert first.endswith("--out 'a run' --time-limit 90s")
    assert second == "nas search --resume --out 'a run' --plateau 5 --executor ray --workers 4"


def test_the_commands_from_here_name_code_again(front):
    """As every command wants it to be named: a plugin, and data that come of a function."""
    plugin = PluginId("my_blocks.py", "0" * 16)
    front.config = dataclasses.replace(front.config, data="mine.py:load(size=32)", plugins=(plugin,))
    page = html.unescape(re.sub(r"<[^>]*>", "", front.report().read_text()))
    run = front.folder.path
    for command_ in ("retrain", "export"):
        assert f"nas {command_} {run} --pick knee --plugin my_blocks.py --data 'mine.py:load(size=32)'" in page


# --- what is said of figures ------------------------------------------------------------------------------------------


def story(objectives, records=(), **more):
    parsed = [parse_objective(name) for name in objectives]
    return Story(run="run", space=SPACE, data="d", objectives=parsed, budgets=(), records=records, **more)


@pytest.mark.parametrize(
    ("objectives", "scores", "label", "kind"),
    [
        (["latency_ms", "accuracy"], {"accuracy": 0.5}, "validation accuracy", "share"),
        (["loss", "accuracy"], {"accuracy": 0.5}, "validation loss", "loss"),
        (["macro_f1"], {"accuracy": 0.5}, "validation macro F1", "share"),
        (["rmse", "latency_ms"], {"rmse": 0.5}, "validation rmse", "value"),
        (["macs", "latency_ms"], {"accuracy": 0.5}, "validation accuracy", "share"),
        (["macs", "latency_ms"], {"rmse": 0.5, "r2": 0.1}, "validation rmse", "value"),
        (["macs", "latency_ms"], {}, "validation accuracy", "share"),
    ],
    ids=str,
)
def test_curves_are_called_what_they_are_of(objectives, scores, label, kind):
    record = TrialRecord(0, SPACE.sample(np.random.default_rng(0)), "failed", scores=scores)
    assert payload(story(objectives, [record]))["curve"] == {"label": label, "kind": kind}


def test_no_script_says_by_itself_what_a_figure_is():
    scripts = "".join(_read(f"{name}.js") for name in SCRIPTS)
    for name in ("DATA.curve,", "DATA.latencies"):
        assert name in scripts
    for word in ("alidation accuracy", "one sample"):
        assert word not in scripts


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ({}, "latencies of one sample"),
        ({"latency_ms": 1, "latency_ms@eager": 1}, "latencies of one sample"),
        ({"latency_ms": 8}, "latencies of a batch of 8"),
        ({"latency_ms": 8, "latency_ms@eager": 1}, "latency of a batch of 8, latency @eager of one sample"),
    ],
    ids=str,
)
def test_latencies_are_told_with_their_batch(batches, said):
    assert payload(story(["accuracy"], batches=batches))["latencies"] == said


def test_the_batch_is_that_of_the_runs_targets(front):
    front.config = dataclasses.replace(front.config, runtime="onnxruntime:batch=8")
    assert '"latencies":"latencies of a batch of 8"' in front.report().read_text()


def test_a_space_of_any_size_is_told():
    large = types.SimpleNamespace(count=lambda: (7 * 10**5000, 0))
    assert "searched among about 10⁵⁰⁰⁰ combinations." in _searched(dataclasses.replace(story(["macs"]), space=large))


# --- text that is data ------------------------------------------------------------------------------------------------


@given(
    st.recursive(st.text() | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_in_a_page_ends_no_element_and_reads_back(value):
    text = to_script(value)
    assert not set("<>&") & set(text)

    def plain(here):
        if isinstance(here, dict):
            return {key: plain(item) for key, item in here.items()}
        if isinstance(here, list):
            return [plain(item) for item in here]
        return None if isinstance(here, float) and not np.isfinite(here) else here

    assert json.loads(text) == plain(value)


def test_texts_are_kept_once():
    texts = Texts()
    assert [texts.at(t) for t in ("a", "b", "a")] == [0, 1, 0]
    assert texts.list == ["a", "b"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_page_replaces_a_page_and_nothing_else(front, tmp_path):
    path = front.report()
    assert path == front.folder.report
    assert front.report() == path
    other = tmp_path / "thesis.html"
    other.write_text("<!doctype html> four years of work")
    with pytest.raises(RunError, match="is no page of ours"):
        front.report(other)
    assert other.read_text().endswith("work")
    with pytest.raises(RunError, match="cannot be written"):
        front.report(tmp_path / "nowhere" / "page.html")


def test_a_run_of_before_has_a_page_too(front):
    """Without what this version keeps: curves, when trials ended, blocks, searches; and without a machine at all."""
    run = front.folder.path
    rows = [line.split(",") for line in (run / "trials.csv").read_text().splitlines()]
    assert "curve" in rows[0]
    machine = read_json(run / "machine.json")
    write_json(run / "machine.json", {k: v for k, v in machine.items() if k not in ("searches", "measured")})
    (run / "networks.json").unlink()
    assert "did not keep what else the time went into" in Front.load(run).report().read_text()
    (run / "machine.json").unlink()
    assert "How to get it again" in Front.load(run).report().read_text()


def cells_of(page: Path) -> list[list[str]]:
    """Return the rows of the tables of what was shipped, as text."""
    (section,) = re.findall(r'<section id="shipped".*?</section>', page.read_text(), re.DOTALL)
    return [
        [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        for row in re.findall(r"<tr>(?!<th)(.*?)</tr>", section)
    ]


def test_files_of_every_format_are_told_with_the_latencies_of_their_own_runtime(front):
    """The table of exports has the columns of all formats: those of another are empty."""
    searched, file = Measurement(0.5, 0.49, 0.51), Measurement(0.6, 0.59, 0.61)
    told = {"weights": "searched", "precision": "fp32", "max_difference": 1e-6, "n_samples": 9, "speedup": 1.0}
    told |= {
        "metric": "accuracy",
        "score_torch": 0.9,
        "score_file": 0.9,
        "target": "onnxruntime",
        "size_bytes": 2048,
        "example": "",
    }
    made = [
        ("a.onnx", "onnx", None, Again("onnxruntime", searched, file, False, 0.0)),
        ("a.pt2", "pt2", None, Again("eager", None, file, False, 0.0)),
        ("a.pte", "executorch", 1, Again("executorch", None, file, False, 0.0)),
    ]
    folder = front.folder.exports
    folder.mkdir()
    (folder / "exports.csv").write_text("trial,weights,file,searched_ms,file_ms\n3,searched,old.onnx,0.5,0.6\n")
    write_table(
        folder / "exports.csv",
        [
            Shipped(trial=4, file=n, format=f, batch=b, latencies=(a,), verdict="keeps every budget", **told)
            for n, f, b, a in made
        ],
    )
    rows = cells_of(Front.load(front.folder.path).report())
    assert [(row[0], row[1], row[5]) for row in rows] == [
        ("3", "onnx", "0.5 → 0.6"),
        ("4", "onnx", "0.5 → 0.6 [0.59, 0.61]"),
        ("4", "pt2", "0.6 [0.59, 0.61] on eager"),
        ("4", "executorch, batch 1", "0.6 [0.59, 0.61] on executorch"),
    ]


def test_files_are_judged_by_the_figure_of_the_run(front):
    """An error in units of the target may be small, and is no accuracy."""
    folder = front.folder.exports
    folder.mkdir()
    for metric, torch, file, said in (
        ("rmse", 0.0000123, 0.0000124, "1.23e-05 → 1.24e-05"),
        ("macro_f1", 0.9, 0.8125, "0.9000 → 0.8125"),
        ("<b>", 0.9, 0.8125, "0.9000 → 0.8125"),
    ):
        row = f"trial,file,metric,score_torch,score_file\n3,a.onnx,{metric},{torch},{file}\n"
        (folder / "exports.csv").write_text(row)
        page = Front.load(front.folder.path).report()
        assert cells_of(page)[0][4] == said
        assert f">{html.escape(metric)} torch → file</th>" in page.read_text()


def test_a_retraining_is_told_with_its_seeds(front):
    member = front.pick("knee")
    found = member.retrain(seeds=2, epochs=1)
    low, high = found.interval
    (row,) = cells_of(front.report())
    assert row == [
        *(str(member.record.number), f"{found.mean:.4f}", f"{low:.4f} to {high:.4f}", "2", "1"),
        f"{member.metrics['accuracy']:.4f}",
    ]


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("machine.json", {"searches": [7, {"seconds": "x", "workers": "y", "limits": 3}], "measured": [{"a": 1}]}),
        ("machine.json", {"searches": 7, "measured": "x", "calibrations": {"a": 7}, "calibration": 7}),
        ("networks.json", {"data": {"n_train": "many", "classes": 7, "in_shape": None}, "networks": {"0": [7, {}]}}),
        ("networks.json", {"data": 7, "networks": [1]}),
    ],
    ids=str,
)
def test_files_that_hold_something_else(front, file, value):
    write_json(front.folder.path / file, value)
    assert Front.load(front.folder.path).report().exists()


def test_a_file_that_cannot_be_read_is_named(front):
    (front.folder.path / "machine.json").write_text("{")
    with pytest.raises(RunError, match=r"machine\.json: cannot be read"):
        front.report()


def test_neither_torch_nor_the_data_are_needed(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    code = (
        "import sys; from nas.cli import main\n"
        f"try: main(['report', {str(run)!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(*(name for name in ('torch', 'torchvision', 'matplotlib') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(run / "report.html"), ""]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"classes": ["cat", "dog"]}, "; 2 classes: cat, dog."),
        ({"classes": [], "targets": ["rent"]}, "; numbers to predict: rent."),
        ({"classes": []}, "; numbers to predict."),
        ({"classes": [str(i) for i in range(100)]}, "; 100 classes."),
    ],
)
def test_what_is_predicted_is_named(data, said):
    assert _data({"in_shape": [4], "n_train": 8, "n_val": 2, **data}).endswith(said)


def test_a_command_is_broken_between_words_and_copied_whole():
    words = _shell(["nas search --out 'a b'", "nas export x"])
    assert re.sub(r"<[^>]*>", "", html.unescape(words)) == "nas search --out 'a b'\nnas export x"
    assert '<span class="word">--out</span>' in words
    assert "<b>" not in _shell(["<b>"])
