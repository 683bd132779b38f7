"""The page in a real browser: it draws what was found, loads nothing, and runs nothing that a run says."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from nas.api import Front
from nas.records import read_csv, read_json, write_csv, write_json, write_rows

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from bench_report import DRAWN, chromium, make_run

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    if (path := chromium()) is None:
        pytest.skip("no Chromium on this machine (Debian's package is called chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def show(browser):
    """Open a page in a tab of its own; in the end nothing was complained of and nothing was asked for but the file."""
    contexts, noticed = [], []

    def opened(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(10_000)
        tab = context.new_page()
        tab.on("console", lambda message: noticed.append(message.text))
        tab.on("pageerror", lambda error: noticed.append(str(error)))
        tab.on("dialog", lambda dialog: (noticed.append(f"dialog {dialog.message}"), dialog.dismiss()))
        tab.on("request", lambda request: request.url != path.as_uri() and noticed.append(request.url))
        tab.goto(path.as_uri())
        tab.evaluate(DRAWN)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert noticed == []


@pytest.fixture(scope="module")
def real(finished, tmp_path_factory):
    """The page of a real run, one with budgets, networks that overlap and trials of every state."""
    return Front.load(finished).report(tmp_path_factory.mktemp("page") / "real.html")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a run of 300 trials that was made up. Do not change it."""
    return make_run(tmp_path_factory.mktemp("made") / "run", 300, objectives=["accuracy", "latency_ms", "n_params"])


@pytest.fixture(scope="module")
def large(made):
    return Front.load(made).report(made.parent / "made.html")


def rows_of(run):
    with (run / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(tab, selector):
    return [int(node.get_attribute("data-trial")) for node in tab.query_selector_all(selector)]


def table(tab):
    """The trials in the table of the front, from top to bottom."""
    return [
        int(row.get_attribute("id").split("-")[1]) for row in tab.query_selector_all("#members-table tr[id^=member-]")
    ]


def marks_of(tab, kind):
    return (tab.get_attribute(f"#front-chart path.{kind}", "d") or "").count("M")


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_a_real_run(show, real, finished):
    front = Front.load(finished)
    members = {m.record.number for m in front}
    tab = show(real)
    assert set(numbers(tab, "#front-chart .point")) == members
    assert set(table(tab)) == members
    assert tab.query_selector("#front-chart path.stairs")
    assert tab.query_selector("#front-chart .ring"), "the knee"
    assert f"the knee, trial {front.pick('knee').record.number}" in tab.inner_text("#front-legend")
    tab.select_option("#front-x", "n_params")
    assert "n_params<=2000" in tab.text_content("#front-chart svg"), "the budget is drawn where its axis is"
    tab.check("#front-whole")
    assert marks_of(tab, "over") == sum(r.state == "over_budget" for r in front.records)
    headline = tab.inner_text("header")
    assert "1,150 samples of shape 1 × 8 × 8 to train on, 288 to choose by; 10 classes" in headline
    assert f"of {len(front.records)} trials" in headline
    assert "over n_params" not in tab.inner_text("#front-note")


def test_the_trace_ends_at_the_hypervolume_of_the_front(show, real, finished):
    from nas.study.front import relative_hypervolume

    front = Front.load(finished)
    complete = sorted((r for r in front.records if r.state == "complete"), key=lambda r: r.ended_s)
    expected = relative_hypervolume(complete, front.config.parsed_objectives())
    tab = show(real)
    assert float(tab.text_content("#trace-chart .number")) == pytest.approx(expected, rel=1e-3)
    tab.check("#trace-seconds")
    assert "seconds of searching" in tab.text_content("#trace-chart svg")


def test_every_figure_can_be_an_axis(show, large):
    tab = show(large)
    names = [option.get_attribute("value") for option in tab.query_selector_all("#front-x option")]
    assert set(names) == {"accuracy", "loss", "latency_ms", "macs", "n_params", "size_bytes", "peak_bytes"}
    for i, x in enumerate(names):
        for y in (x, names[i - 1], names[i - 3]):
            tab.select_option("#front-x", x)
            tab.select_option("#front-y", y)
            box = tab.query_selector("#front-chart svg").bounding_box()
            at = tab.query_selector("#front-chart .member").bounding_box()
            assert box["x"] <= at["x"] <= box["x"] + box["width"]
            assert box["y"] <= at["y"] <= box["y"] + box["height"]
    tab.uncheck("#front-log-x")
    tab.uncheck("#front-log-y")
    tab.check("#front-whole")
    assert "NaN" not in tab.inner_html("#front-chart")


@pytest.mark.parametrize(
    ("objectives", "axes", "curve"),
    [
        (["accuracy"], ("accuracy", "latency_ms"), "validation accuracy"),
        (["macs", "latency_ms"], ("latency_ms", "macs"), "validation accuracy"),
        (["loss", "size_bytes"], ("loss", "size_bytes"), "validation loss"),
    ],
    ids=str,
)
def test_other_objectives(show, tmp_path, objectives, axes, curve):
    run = make_run(tmp_path / "run", 40, objectives=objectives)
    front = Front.load(run)
    tab = show(front.report())
    assert (tab.input_value("#front-y"), tab.input_value("#front-x")) == axes
    assert set(numbers(tab, "#front-chart .point")) == {m.record.number for m in front}
    tab.click("#members-table button.open >> nth=0")
    assert curve in tab.text_content("#members-table .curve svg")
    assert "latencies of one sample with" in tab.text_content("#members-table caption")


def test_a_network_is_shown_block_by_block(show, real, finished):
    tab, front = show(real), Front.load(finished)
    member = front.pick("best:accuracy").record
    built = read_json(finished / "networks.json")["networks"][str(member.number)]
    tab.click(f"#member-{member.number} button.open")
    drawn = tab.inner_text(f"#blocks-{member.number}")
    assert drawn.count("MACs ·") == len(built)
    for block in built:
        assert block["name"] in drawn
        assert " × ".join(map(str, block["out"])) in drawn
    assert "optimizer.sgd.lr" in drawn
    tab.click(f"#member-{member.number} button.open")
    assert not tab.is_visible(f"#blocks-{member.number}")


def test_a_run_without_blocks_shows_what_was_chosen(show, made, large):
    number = Front.load(made).members[0].record.number
    tab = show(large)
    tab.click(f"#member-{number} button.open")
    said = tab.inner_text(f"#blocks-{number}")
    assert "were not kept by the version that made this run" in said
    assert "MACs ·" not in said


# --- pointing, filtering, sorting -------------------------------------------------------------------------------------


def test_pointing_at_a_network_tells_what_it_is(show, real, finished):
    tab, member = show(real), Front.load(finished).pick("knee")
    tab.hover(f'[data-trial="{member.record.number}"] .member')
    at = tab.query_selector(f'[data-trial="{member.record.number}"] .member').bounding_box()
    tab.mouse.move(at["x"] + 3, at["y"] + 3)  # what scrolls on the way takes the tooltip away
    said = tab.inner_text("#tooltip")
    assert f"Trial {member.record.number} · on the front, the knee" in said
    assert member.summary in said
    low = member.record.prices["latency_ms"].low
    assert re.search(rf"latency\s+[\d.]+ ms \[{float(f'{low:.3g}'):g}", said)
    tab.mouse.move(2, 2)
    assert not tab.is_visible("#tooltip")


def test_what_was_stopped_or_dominated_is_pointed_at_too(show, made, large):
    tab = show(large)
    path = tab.get_attribute("#front-chart path.stopped", "d")
    x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", path).groups())
    box = tab.query_selector("#front-chart svg").bounding_box()
    tab.mouse.move(box["x"] + x + 4, box["y"] + y + 3)
    said = tab.inner_text("#tooltip")
    assert "stopped early" in said
    assert "set aside after" in said
    assert tab.query_selector("#tooltip .curve path.line"), "its curve"


def test_the_front_can_be_walked_with_the_keyboard(show, real):
    tab = show(real)
    points = numbers(tab, "#front-chart .point")
    tab.focus("#front-chart .point[tabindex='0']")
    assert f"Trial {points[0]} " in tab.inner_text("#tooltip")
    tab.keyboard.press("ArrowRight")
    assert f"Trial {points[1]} " in tab.inner_text("#tooltip")
    assert len(tab.query_selector_all("#front-chart .point[tabindex='0']")) == 1, "one stop for all of them"
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#tooltip")
    tab.keyboard.press("Enter")
    assert tab.is_visible(f"#blocks-{points[1]}")
    assert tab.evaluate("document.activeElement.className") == "open"


def test_a_tap_shows_the_same_on_a_phone(show, real):
    tab = show(real, viewport=PHONE, has_touch=True, is_mobile=True)
    tab.tap("#front-chart .member >> nth=0")
    box = tab.query_selector("#tooltip").bounding_box()
    assert box["width"] > 300, "a sheet at the lower end"


def test_kinds_of_trials_are_switched_off_and_on(show, large):
    tab = show(large)
    for kind in ("dominated", "stopped", "over"):
        before = marks_of(tab, kind)
        assert before > 0
        tab.uncheck(f"#show-{kind}")
        assert marks_of(tab, kind) == 0
        tab.check(f"#show-{kind}")
        assert marks_of(tab, kind) == before


def test_a_filter_holds_everywhere(show, made, large):
    tab, front = show(large), Front.load(made)
    values = sorted(m.metrics["latency_ms"] for m in front)
    limit = values[len(values) // 2]
    expected = {m.record.number for m in front if m.metrics["latency_ms"] <= limit * 1.0001}
    tab.click("#filter-numbers summary")
    tab.fill('[aria-label="latency (ms), at most"]', f"{limit * 1.0001:.6g}")
    tab.keyboard.press("Tab")
    assert set(table(tab)) == expected
    assert set(numbers(tab, ".point:not(.faded)")) == expected
    assert tab.inner_text("#status").startswith(f"{len(expected)} of {len(front)} networks")
    tab.click(".chip")
    assert len(table(tab)) == len(front)


def test_drawing_along_an_axis_filters(show, large):
    tab = show(large)
    everything = len(table(tab))
    axis = tab.query_selector('[data-axis="accuracy"]')
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    middle = box["x"] + box["width"] / 2
    tab.mouse.move(middle, box["y"] + 4)
    tab.mouse.down()
    tab.mouse.move(middle, box["y"] + 40)
    tab.mouse.move(middle, box["y"] + 60)
    tab.mouse.up()
    assert 0 < len(table(tab)) < everything
    assert "accuracy" in tab.inner_text(".chip")
    assert tab.query_selector("#parallel-chart rect.band")
    box = tab.query_selector('[data-axis="accuracy"]').bounding_box()  # notes above it came and went
    tab.mouse.click(middle, box["y"] + box["height"] - 10)
    assert len(table(tab)) == everything, "a click takes it away"


@pytest.mark.parametrize("name", ["trial", "accuracy", "latency", "parameters"])
def test_the_table_is_sorted(show, made, large, name):
    tab, front = show(large), Front.load(made)
    key = {"trial": "trial", "accuracy": "accuracy", "latency": "latency_ms", "parameters": "n_params"}[name]
    value = {m.record.number: m.record.number if key == "trial" else m.metrics[key] for m in front}
    for _ in range(2):
        tab.click(f"#members-table thead button:text-is('{name}'), #members-table thead button:has-text('{name} ')")
        head = tab.query_selector("#members-table th[aria-sort]:not([aria-sort=none])")
        assert head.inner_text().startswith(name)
        down = head.get_attribute("aria-sort") == "descending"
        found = [value[number] for number in table(tab)]
        assert found == sorted(found, reverse=down)


# --- where it is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_the_screen(show, real, large, width):
    for path in (real, large):
        tab = show(path, viewport={"width": width, "height": 740}, is_mobile=width == 360, has_touch=width == 360)
        for row in table(tab)[:2]:
            tab.click(f"#member-{row} button.open")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def luminance(colour):
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out(show, real, scheme):
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for marks."""
    tab = show(real, color_scheme=scheme)
    names = ("paper", "raised", "tint", "ink", "quiet", "limit", "knee", "mark", "ground", "stopped")
    code = "names => names.map(n => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())"
    colour = dict(zip(names, tab.evaluate(code, list(names)), strict=True))
    for ground in ("paper", "raised", "tint"):
        for text in ("ink", "quiet", "limit", "knee"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (scheme, text, ground)
    for mark in ("mark", "ground", "stopped"):
        assert contrast(colour[mark], colour["paper"]) >= 3, (scheme, mark)
    dark = luminance(colour["paper"]) < 0.1
    assert dark == (scheme == "dark")
    body = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert body == f"rgb({', '.join(str(int(colour['paper'][i : i + 2], 16)) for i in (1, 3, 5))})"


def test_on_paper(show, real):
    tab = show(real, color_scheme="dark", viewport={"width": 700, "height": 1000})
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in ("#front-controls", "#filters", "button.open", "#show-dominated"):
        assert not any(node.is_visible() for node in tab.query_selector_all(hidden)), hidden
    details = tab.query_selector_all("tr.detail")
    assert details
    assert all(node.is_visible() for node in details), "what a network is made of is on paper without a click"
    wide = (
        "() => [...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > innerWidth).length"
    )
    assert tab.evaluate(wide) == 0, "no table is cut"


def test_every_control_has_a_name(show, large):
    tab = show(large)
    unnamed = """() => [...document.querySelectorAll('button, input, select, summary')].filter(node =>
        !(node.innerText || node.getAttribute('aria-label') || node.closest('label')?.innerText || '').trim()).length"""
    assert tab.evaluate(unnamed) == 0


# --- what a run says is text ------------------------------------------------------------------------------------------


@pytest.fixture
def evil(finished, tmp_path):
    """A run of somebody who would like to run something in our browser."""
    run = Path(shutil.copytree(finished, tmp_path / "evil"))
    rows = rows_of(run)
    for row in rows:
        row["reason"] = EVIL
    write_rows(run / "trials.csv", rows, list(rows[0]))
    networks = read_json(run / "networks.json")
    networks["data"] = {"name": EVIL, "in_shape": [EVIL], "classes": [EVIL, "b"], "n_train": 1, "n_val": 1}
    for blocks in networks["networks"].values():
        blocks[0] |= {"name": EVIL, "path": EVIL, "fields": {EVIL: EVIL}}
    write_json(run / "networks.json", networks)
    machine = read_json(run / "machine.json")
    write_json(run / "machine.json", {**machine, "cpu": EVIL, "calibrations": {EVIL: {"reference": EVIL}}})
    (run / "exports").mkdir()
    (run / "exports/exports.csv").write_text(f'trial,verdict,file\n1,"{EVIL}","{EVIL}"\n')
    return run


def test_what_a_run_says_is_shown_and_never_run(show, evil):
    page = Front.load(evil).report()
    text = page.read_text()
    assert "<script>alert" not in text
    assert "<img" not in text
    tab = show(page)
    assert len(tab.query_selector_all("script")) == 2
    assert not tab.query_selector_all("img")
    assert tab.inner_text("header").count(EVIL) >= 2, "the classes, the processor"
    assert EVIL in tab.inner_text("#shipped")
    point = tab.query_selector("#front-chart .point")
    point.focus()
    assert EVIL in tab.inner_text("#tooltip"), "why the trial ended"
    number = point.get_attribute("data-trial")
    tab.keyboard.press("Enter")
    assert EVIL in tab.inner_text(f"#blocks-{number}")


def test_the_page_may_load_and_run_nothing_else(show, browser, real):
    """What its policy forbids would be refused even if a text of the run came through as HTML."""
    context = browser.new_context()
    try:
        tab = context.new_page()
        asked, refused = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("requestfailed", lambda request: refused.append((request.url, request.failure)))
        tab.goto(real.as_uri())
        tab.evaluate(
            """() => {
                const script = document.createElement('script');
                script.textContent = 'window.ran = true';
                document.body.append(script);
                const image = document.createElement('img');
                image.src = 'http://127.0.0.1:9/x.png';
                document.body.append(image);
                const button = document.createElement('div');
                button.innerHTML = '<button id="bait" onclick="window.ran = true">x</button>';
                document.body.append(button);
                document.getElementById('bait').click();
            }"""
        )
        assert tab.evaluate("window.ran === undefined")
        assert tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'came', error => error.name)") == "TypeError"
        for url in set(asked) - {real.as_uri()}:
            assert (url, "csp") in refused, "it never left the browser"
    finally:
        context.close()


# --- many trials ------------------------------------------------------------------------------------------------------


def test_a_page_of_two_thousand_trials(show, tmp_path):
    """How soon it opens is measured by scripts/bench_report.py."""
    run = make_run(tmp_path / "run", 2000)
    page = Front.load(run).report()
    assert page.stat().st_size < 6e6
    tab = show(page)
    records = read_csv(run / "trials.csv")
    assert len(table(tab)) == sum(r.on_front for r in records)
    tab.check("#front-whole")
    trained = sum(r.state == "complete" and not r.on_front for r in records)
    assert marks_of(tab, "dominated") == trained
    assert tab.evaluate("document.querySelectorAll('*').length") < 20_000, "many trials are one path"


def test_a_page_says_so_where_there_is_no_front(show, tmp_path):
    run = make_run(tmp_path / "run", 6, seed=3)
    rows = rows_of(run)
    write_rows(run / "trials.csv", [row for row in rows if row["state"] != "complete"], list(rows[0]))
    tab = show(Front.load(run).report())
    assert "there is no front" in tab.inner_text("#members")
    assert json.loads(tab.text_content("#data"))["knee"] is None


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "No trial was trained to the end"), (1, "One trial was trained to the end"), (2, "first 2 full trainings")],
)
def test_the_trace_of_a_short_search_says_what_there_is(show, run, n, said):
    """Of two that are each the best in something it rises twice, from 0, and no axis goes below 0 or halves a trial."""
    records = read_csv(run / "trials.csv")
    records = [r for r in records if r.state != "complete"] + [r for r in records if r.on_front][:n]
    write_csv(run / "trials.csv", records, Front.load(run).config.columns())
    tab = show(Front.load(run).report())
    assert said in tab.inner_text("#trace")
    drawn = tab.query_selector("#trace-chart svg")
    assert (drawn is not None) == (n > 1)
    assert (tab.query_selector("#trace-controls input") is not None) == (n > 1)
    if drawn is None:
        return
    ticks = [float(node.text_content()) for node in tab.query_selector_all("#trace-chart .tick")]
    assert min(ticks) == 0
    assert [tick for tick in ticks if tick >= 1] == [1, 2], "trials, and no hypervolume of a whole box"
    volume = [point[3] for point in json.loads(tab.text_content("#data"))["trace"]["points"]]
    assert 0 < volume[0] < volume[1] < 1
    assert "the reference point, is accuracy 0." in tab.inner_text("#trace-note")
