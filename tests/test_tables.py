"""What is printed of a front fits its terminal: figures whole, however narrow it is."""

import io

from rich.console import Console

from nas import tables


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
