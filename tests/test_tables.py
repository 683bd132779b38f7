"""What is printed of a front fits its terminal: figures whole, however narrow it is."""

import io
import math
from types import SimpleNamespace

import pytest
from rich.console import Console

from nas import tables
from nas.objectives import OBJECTIVES


def test_a_front_fits_its_terminal_and_keeps_every_figure_whole(front, monkeypatch):
    member = front.pick("best:accuracy")
    model = member.retrain(seeds=2, epochs=1)
    searched, tested = f"{member.metrics['accuracy']:.4f}", f"{model.mean:.4f}"
    for width in (80, 100, 120, 160, 200):
        out = io.StringIO()
        monkeypatch.setattr(tables, "_console", lambda wide, out=out, width=width: Console(width=width, file=out))
        tables.print_front(front)
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in out.getvalue(), width
        (row,) = (line for line in lines if line.split()[:1] == [str(member.record.number)])
        assert searched in row
        assert tested in row
        interval = f"{tested} [{model.interval[0]:.4f}, {model.interval[1]:.4f}]"
        if width >= 160:
            assert interval in row
        if width >= 200:
            assert "peak_bytes" in out.getvalue()


THAN = "on the test set than in the search"


@pytest.mark.parametrize(
    ("gap", "error", "epochs", "metric", "said"),
    [
        (-0.2, 0.04, 3, "accuracy", f"-0.2000: better {THAN}, now that it was trained for 3 epochs"),
        (-0.2, 0.04, 1, "accuracy", f"-0.2000: better {THAN}, now that it was trained on all samples"),
        (0.1, 0.04, 3, "accuracy", f"+0.1000: worse {THAN}, which chose by what it judged on"),
        (0.1, 0.04, 0.5, "accuracy", f"+0.1000: worse {THAN}, now that it was trained for 0.5 epochs alone"),
        (-0.03, 0.04, 3, "accuracy", "-0.0300: no more than the chance error of 100 test samples"),
        (-192.098, math.nan, 3, "rmse", f"-192.1: better {THAN}, now that it was trained for 3 epochs"),
        (0.0, math.nan, 3, "rmse", "0: as good on the test set as in the search"),
    ],
)
def test_a_gap_says_what_it_comes_of(gap, error, epochs, metric, said):
    member = SimpleNamespace(record=SimpleNamespace(epochs=1))
    model = SimpleNamespace(
        gap=gap, sampling_error=error, epochs=epochs, metric=OBJECTIVES[metric], member=member, n_test=100
    )
    assert tables._gap(model) == said
