"""The picture of a front: it is drawn, of the right size, without a warning, and shows what it should."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from nas.errors import RunError
from nas.objectives import OBJECTIVES, PRICES, Budget, Measurement
from nas.records import TrialRecord, mark_front
from nas.report import plot as drawing
from nas.report import plot_front
from nas.space import Architecture
from nas.study.front import front_numbers

BUDGETS = (Budget.parse("latency_ms<=1"),)


def made(n: int, objectives, seed: int = 0) -> list[TrialRecord]:
    """Records of every state, with figures as a search finds them."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(n):
        latency = float(np.exp(rng.normal(-1.5, 1.2)))
        prices = {name: Measurement.exact(float(round(latency * 1e4))) for name in PRICES}
        prices["latency_ms"] = Measurement(latency, latency * 0.98, latency * 1.03)
        arch = Architecture.of({"i": i})
        if i % 7 == 3:
            records.append(TrialRecord(i, arch, "failed", reason="diverged"))
        elif latency > 1:
            records.append(TrialRecord(i, arch, "over_budget", prices, reason="too slow"))
        else:
            accuracy = float(np.clip(0.95 - 0.1 / (1 + 9 * latency) - abs(rng.normal(0, 0.1)), 0.1, 1))
            scores = {"accuracy": accuracy, "loss": 2 - accuracy}
            records.append(TrialRecord(i, arch, "complete", prices, scores, epochs=1, train_seconds=1.0))
    return mark_front(records, front_numbers(records, objectives))


def draw(path, records, names, budgets=BUDGETS, **options):
    objectives = [OBJECTIVES[name] for name in names]
    plot_front(path, records, objectives, budgets, title="digits on digits", **options)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1860 if options.get("labels") and len(names) > 1 else 1290, 810), (
        "wider where the front is listed beside it"
    )
    assert not list(path.parent.glob("*.part"))
    pixels = imread(path)[..., :3]
    assert 0.5 < pixels.mean() < 1, "mostly white, and not nothing"
    return pixels


def colour(name: str) -> np.ndarray:
    return np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def has(pixels: np.ndarray, name: str) -> bool:
    """Whether some pixels are of this very colour."""
    return bool((np.abs(pixels - colour(name)).max(axis=-1) < 1 / 255).sum() > 10)


@pytest.mark.parametrize(
    "names",
    [
        ("accuracy",),
        ("accuracy", "latency_ms"),
        ("latency_ms", "macs"),
        ("accuracy", "loss"),
        ("accuracy", "latency_ms", "n_params"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("n", [0, 1, 60])
def test_any_number_of_objectives_and_trials(tmp_path, names, n):
    objectives = [OBJECTIVES[name] for name in names]
    records = made(n, objectives)
    labels = {r.number: f"conv {r.number} > lstm 64 > pool" for r in records}
    knee = next((r.number for r in records if r.on_front), None)
    pixels = draw(tmp_path / "front.png", records, names, labels=labels, knee=knee)
    if n == 60 and len(names) == 2:
        assert has(pixels, drawing.FRONT)
        assert has(pixels, drawing.KNEE)
    if n == 60 and "latency_ms" in names and len(names) > 1:
        assert has(pixels, drawing.LIMIT), "what was rejected, and the limit"


def test_the_ring_is_where_the_knee_is_said_to_be(tmp_path):
    """In the corner of the member that is named, wherever the front bends; nowhere where nobody says."""
    names = ("accuracy", "latency_ms")
    records = made(60, [OBJECTIVES[name] for name in names])
    front = sorted((r for r in records if r.on_front), key=lambda r: r.metrics["latency_ms"])
    drawn = [draw(tmp_path / "front.png", records, names, knee=one.number) for one in (front[0], front[-1])]
    cheap, good = (np.abs(pixels - colour(drawing.KNEE)).max(axis=-1) < 1 / 255 for pixels in drawn)
    (low, left), (high, right) = (np.median(np.argwhere(here), axis=0) for here in (cheap & ~good, good & ~cheap))
    assert right > left + 100, "more latency"
    assert high < low - 100, "more accuracy"
    dominated = next(r.number for r in records if r.state == "complete" and not r.on_front)
    for nobody in (None, dominated):
        assert not has(draw(tmp_path / "front.png", records, names, knee=nobody), drawing.KNEE)


def test_a_price_of_ones_own_that_is_below_0_has_no_logarithm(tmp_path, own_parts):
    OBJECTIVES.add("gain_db", unit="dB")(lambda module, in_shape: 0.0)
    objectives = [OBJECTIVES["accuracy"], OBJECTIVES["gain_db"]]
    gains = (-9.0, -3.0, 0.0, 2.0)
    records = [
        TrialRecord(i, Architecture.of({}), "complete", {"gain_db": Measurement.exact(gain)}, {"accuracy": 0.1 * i})
        for i, gain in enumerate(gains)
    ]
    records = mark_front(records, front_numbers(records, objectives))
    budgets = (Budget.parse("gain_db<=0"),)
    pixels = draw(tmp_path / "front.png", records, ("accuracy", "gain_db"), budgets)
    assert has(pixels, drawing.LIMIT)
    above = [replace(r, prices={"gain_db": Measurement.exact(1.0 + r.number)}) for r in records]
    assert not has(draw(tmp_path / "front.png", above, ("accuracy", "gain_db"), budgets), drawing.LIMIT)


def test_no_front(tmp_path):
    records = [r for r in made(40, [OBJECTIVES["accuracy"]]) if r.state != "complete"]
    pixels = draw(tmp_path / "front.png", records, ("accuracy", "latency_ms"))
    assert has(pixels, drawing.LIMIT)
    assert not has(pixels, drawing.KNEE)


def test_without_a_budget_there_is_no_limit(tmp_path):
    records = [r for r in made(40, [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]) if r.state == "complete"]
    assert not has(draw(tmp_path / "a.png", records, ("accuracy", "latency_ms"), ()), drawing.LIMIT)
    assert has(draw(tmp_path / "b.png", records, ("accuracy", "latency_ms"), BUDGETS), drawing.LIMIT)


def test_networks_that_are_all_alike(tmp_path):
    """One place for all of them: an axis without any extent."""
    base = next(r for r in made(20, [OBJECTIVES["accuracy"]]) if r.state == "complete")
    records = [TrialRecord(i, base.arch, "complete", base.prices, base.scores, on_front=True) for i in range(5)]
    draw(tmp_path / "front.png", records, ("accuracy", "latency_ms"))
    draw(tmp_path / "front.png", records, ("accuracy", "latency_ms", "macs"))


def test_a_front_of_many(tmp_path):
    rows = [(0.5 + i / 100, 0.01 * 1.2**i) for i in range(30)]
    records = []
    for i, (accuracy, latency) in enumerate(rows):
        prices = {"latency_ms": Measurement(latency, latency, latency)}
        records.append(
            TrialRecord(i, Architecture.of({"i": i}), "complete", prices, {"accuracy": accuracy}, on_front=True)
        )
    draw(tmp_path / "front.png", records, ("accuracy", "latency_ms"), labels={r.number: "conv 8" for r in records})


def test_strange_names_are_text_and_not_mathematics(tmp_path):
    records = made(20, [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]])
    objectives = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
    labels = {r.number: "co$t_{x > 5$ $" for r in records}
    plot_front(tmp_path / "a.png", records, objectives, BUDGETS, title=r"my$space^_{ $\x on data", labels=labels)


def test_a_picture_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError, match=r"nowhere/front\.png: cannot be written"):
        plot_front(tmp_path / "nowhere" / "front.png", [], [OBJECTIVES["accuracy"]], (), title="x")


def test_a_real_run(front, tmp_path):
    assert front.plot() == front.folder.picture
    front.plot(tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes() == front.folder.picture.read_bytes()
