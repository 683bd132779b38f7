"""What a search says while it runs, on a terminal and elsewhere; and the figures it says it with."""

import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import nas
from nas.objectives import OBJECTIVES, Measurement, parse_objective
from nas.progress import LineProgress, LiveProgress, figure, trial_line
from nas.records import TrialRecord
from nas.space import Architecture
from nas.study.front import relative_hypervolume


def record(number, accuracy=None, latency=None, state="complete", **more) -> TrialRecord:
    prices = {} if latency is None else {"latency_ms": Measurement(latency, latency * 0.9, latency * 1.1)}
    scores = {} if accuracy is None else {"accuracy": accuracy, "loss": 1.0}
    return TrialRecord(number, Architecture.of({"a": number}), state, prices, scores, **more)


def study(tiny, digits, folder):
    return nas.Study(tiny, digits, ["accuracy", "n_params"], ["n_params<=2k"], out=folder, sampler="random", seed=1)


def test_lines_where_output_is_piped(tmp_path, tiny, digits):
    out = io.StringIO()
    study(tiny, digits, tmp_path / "run").search(trials=3, watcher=LineProgress(out))
    line, *_ = out.getvalue().splitlines()  # one in five seconds
    for part in ("trained 1 of 3", "over budget", "front 1 network ", "best accuracy 0.", "time "):
        assert part in line
    assert "hypervolume" not in line, "of one network there is none"
    assert "\x1b" not in line


def test_a_line_for_every_trial(tmp_path, tiny, digits):
    out = io.StringIO()
    front = study(tiny, digits, tmp_path / "run").search(trials=3, watcher=LineProgress(out, verbose=True))
    lines = out.getvalue().splitlines()
    assert lines == [trial_line(r) for r in front.records]


def test_a_table_on_a_terminal_that_is_gone_afterwards(tmp_path, tiny, digits):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, _environ={})
    with LiveProgress(console, verbose=True) as live:
        front = study(tiny, digits, tmp_path / "run").search(trials=3, watcher=live)
        table = Console(file=io.StringIO(), width=100)
        table.print(live._render())
        shown = table.file.getvalue()
    for row in ("trained      3 of 3", "rejected", "front", "best         accuracy 0.", "hypervolume", "time", "now"):
        assert row in shown, shown
    printed = out.getvalue()
    assert "\x1b[?25l" in printed, "the cursor is hidden"
    assert printed.rstrip().rfind("\x1b[?25h") > printed.rfind("\x1b[?25l"), "and comes back"
    for r in front.records:
        assert trial_line(r)[:60] in printed


def test_trial_lines():
    assert trial_line(record(3, 0.98765, 0.2145, train_seconds=1.26)) == (
        "trial 3: complete | accuracy 0.9877 | latency_ms 0.214 | 1.3 s"
    )
    assert trial_line(record(4, latency=7.0, state="over_budget", reason="latency_ms 7 breaks latency_ms<=2")) == (
        "trial 4: over_budget | latency_ms 7 | latency_ms 7 breaks latency_ms<=2"
    )
    assert trial_line(record(5, state="failed", reason="cannot be built")) == "trial 5: failed | cannot be built"


def test_what_an_error_says_is_no_markup():
    """Nor is the path of a Python on another machine, in the name of an objective."""
    out = io.StringIO()
    there = parse_objective("latency_ms@ssh:pi/onnxruntime:python=[/red]/python")
    failed = record(1, state="failed", reason="no [/red] [bold]shape[/bold] :cat:")
    done = TrialRecord(2, Architecture.of({}), "complete", {there.name: Measurement.exact(1.0)})
    search = SimpleNamespace(objectives=[there], records=[failed, done], front=lambda: [done], trained=1)
    search.ledger, search.limits = SimpleNamespace(completed=[done]), SimpleNamespace(trials=3)
    search.started, search.deadline, search.trained_here = time.monotonic(), None, 0
    live = LiveProgress(Console(file=out, width=200), verbose=True)
    live.recorded(failed, search)
    assert failed.reason in out.getvalue()
    live.console.print(live._render())
    assert "python=[/red]/python 1" in out.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("latency_ms", 123.4, "123"),
        ("n_params", 1e9, "1G"),
        ("n_params", 0, "0"),
        ("size_bytes", 999_999, "1M"),
        ("size_bytes", 999_400, "999k"),
        ("size_bytes", 999.6, "1k"),
        ("loss", 12.34567, "12.3457"),
    ],
)
def test_figures(name, value, words):
    assert figure(name, value) == words


def test_the_hypervolume_by_hand():
    """Two corners and the middle between them, on a log scale of latency, seen from a tenth beyond the worst."""
    objectives = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
    corners = [record(0, 0.5, 0.1), record(1, 0.9, 10.0)]
    assert relative_hypervolume(corners, objectives) == pytest.approx(0.21 / 1.21)
    middle = record(2, 0.7, 1.0)
    assert relative_hypervolume([*corners, middle], objectives) == pytest.approx((0.21 + 0.25) / 1.21)
    best = record(3, 0.9, 0.1)
    assert relative_hypervolume([*corners, middle, best], objectives) == pytest.approx(1.0)


def test_the_hypervolume_of_little():
    objectives = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
    assert relative_hypervolume([], objectives) is None
    assert relative_hypervolume([record(0, 0.5, 0.1)], objectives) is None
    assert np.isfinite(relative_hypervolume([record(i, 0.5, 0.1) for i in range(3)], objectives))
