"""Rungs are read as they are written, and a plan of stretches adds up to the training it cuts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.training import FULL, Rung, Stretch, plan, rungs
from nas.training.fidelity import batches_of_pass, check_rungs

shares = st.floats(1e-3, 1) | st.builds(lambda a, b: min(a, b) / max(a, b), st.integers(1, 99), st.integers(1, 99))


@st.composite
def ladders(draw):
    """Some rungs, of which the last is the full training."""
    ends = sorted(draw(st.lists(shares.filter(lambda s: s < 1), max_size=4, unique=True)))
    subsets = [draw(st.sampled_from([1.0, 0.5, 0.1]) | shares) for _ in ends]
    return (*map(Rung, ends, subsets), *FULL)


@given(shares, shares, shares)
def test_a_rung_is_read_as_it_is_written(share, subset, resolution):
    rung = Rung(share, subset, resolution)
    assert Rung.parse(str(rung)) == rung


@pytest.mark.parametrize(
    ("text", "rung"),
    [
        ("1/27", Rung(1 / 27)),
        ("1", Rung(1.0)),
        (" 0.1 , resolution = 1/2 ", Rung(0.1, 1.0, 0.5)),
        ("1e-1,subset=0.3,resolution=0.5", Rung(0.1, 0.3, 0.5)),
    ],
)
def test_texts_of_rungs(text, rung):
    assert Rung.parse(text) == rung


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1/0", r"^rung '1/0': '1/0' is no number; write e\.g\. 0\.1, 1/9"),
        ("ten", r"'ten' is no number"),
        ("0.1,subset=x", r"^rung '0\.1,subset=x': 'x' is no number"),
        ("0.1,subset", r"'' is no number"),
        ("0.1,epochs=3", r"'epochs=3' is not understood; write e\.g\."),
        ("0.1,subset=0.2,subset=0.3", r"'subset=0\.3' is not understood"),
        ("3", r"^rung '3': share must be in \(0, 1\], got 3\.0; write e\.g\."),
        ("0.1,resolution=0", r"resolution must be in \(0, 1\], got 0\.0"),
        ("nan", r"'nan' is no number"),
        ("1e400", r"^rung '1e400': share must be in \(0, 1\], got inf; write e\.g\."),
        ("1e999999999999", r"^rung '1e999999999999': share must be in"),
        ("-1e400", r"share must be in \(0, 1\], got -inf"),
        ("1e-400", r"share must be in \(0, 1\], got 0\.0"),
        ("0.1,subset=1e400", r"^rung '0\.1,subset=1e400': subset must be in \(0, 1\], got inf"),
        pytest.param(f"1{'0' * 400}/3", r"00/3' is no number; write e\.g\.", id="400 digits"),
    ],
)
def test_what_is_no_rung(text, words):
    with pytest.raises(SpaceError, match=words):
        Rung.parse(text)


def test_named_rungs():
    assert rungs("none", 8) == FULL == (Rung(1.0),)
    assert rungs("auto", 8) == rungs("auto") == (Rung(1 / 27), Rung(1 / 9), Rung(1 / 3), Rung(1.0))
    assert rungs("auto", 1) == (Rung(1 / 9), Rung(1 / 3), Rung(1.0))
    assert rungs(["0.1", "0.4"]) == rungs(("0.1", "0.4", "1")) == (Rung(0.1), Rung(0.4), Rung(1.0))
    assert rungs([]) == FULL


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("some", r"^rungs 'some': write auto, none, or a list"),
        (["0.3", "0.3"], r"shares that increase, got 0\.3 after 0\.3"),
        (["0.3", "1,subset=0.5"], r"the last of the rungs is the full training, '1', got '1,subset=0\.5'; add '1'"),
    ],
)
def test_what_are_no_rungs(spec, words):
    with pytest.raises(SpaceError, match=words):
        rungs(spec)


@pytest.mark.parametrize("found", [(), [Rung(1.0)], (Rung(0.5),), ("1",), None])
def test_rungs_of_a_config_are_checked(found):
    with pytest.raises(SpaceError, match="rungs"):
        check_rungs(found)


def test_without_rungs_there_is_a_stretch_for_each_epoch():
    assert plan(100, 32, 3, FULL) == tuple(
        Stretch(
            rung=0,
            epochs=float(epoch + 1),
            subset=1.0,
            resolution=1.0,
            lap=epoch,
            passes=1,
            first_batch=0,
            lap_batches=4,
            first_step=4 * epoch,
            n_steps=4,
            last_of_rung=epoch == 2,
        )
        for epoch in range(3)
    )


def test_rungs_of_eight_epochs_by_hand():
    """375 batches an epoch, 3,000 in all: rungs end after 111, 333 and 1,000 of them."""
    found = plan(48_000, 128, 8, rungs("auto"))
    ends = [s.first_step + s.n_steps for s in found]
    assert ends == [111, 333, 375, 750, 1000, 1125, 1500, 1875, 2250, 2625, 3000]
    assert [s.rung for s in found] == [0, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3]
    assert [s.epochs for s in found] == [end / 375 for end in ends]
    assert [e for e, s in zip(ends, found, strict=True) if s.last_of_rung] == [111, 333, 1000, 3000]
    assert [(s.lap, s.first_batch) for s in found[:5]] == [(0, 0), (0, 111), (0, 333), (1, 0), (2, 0)]


def test_a_rung_on_a_subset_by_hand():
    """A tenth of 1,000 samples in batches of 30: four batches a pass and ten passes a lap, so a lap is an epoch."""
    found = plan(1000, 30, 4, (Rung(0.4, subset=0.1), Rung(0.5), Rung(1.0)))
    assert [(s.rung, s.lap, s.passes, s.first_batch, s.n_steps, s.lap_batches) for s in found] == [
        (0, 0, 10, 0, 40, 40),
        (0, 1, 10, 0, 24, 40),
        (1, 2, 1, 0, 14, 34),  # the lap of the subset ends with its rung
        (2, 2, 1, 14, 20, 34),
        (2, 3, 1, 0, 34, 34),
        (2, 4, 1, 0, 14, 34),
    ]
    assert [round(s.epochs, 3) for s in found] == [1.0, 1.6, 2.012, 2.6, 3.6, 4.0]


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 6), ladders())
def test_a_plan_adds_up(n, batch_size, epochs, ladder):
    found = plan(n, batch_size, epochs, ladder)
    assert all(s.n_steps >= 1 for s in found)
    assert found[0].first_step == 0
    assert found[0].rung == 0
    for a, b in itertools.pairwise(found):
        assert b.first_step == a.first_step + a.n_steps
        assert b.rung >= a.rung
        assert b.epochs >= a.epochs
        assert a.last_of_rung == (a.rung != b.rung)
        goes_on = b.lap == a.lap
        assert b.lap - a.lap in (0, 1)
        assert b.first_batch == (a.first_batch + a.n_steps if goes_on else 0)
        assert goes_on or a.first_batch + a.n_steps == a.lap_batches or a.subset != b.subset
        assert not goes_on or a.subset == b.subset
    assert found[-1].last_of_rung
    assert found[-1].epochs == epochs or len(found) == 1
    for s in found:
        pool = max(1, round(s.subset * n))
        assert s.lap_batches == s.passes * batches_of_pass(pool, batch_size)
        assert s.passes * pool <= n < (s.passes + 1) * pool
        assert s.first_batch + s.n_steps <= s.lap_batches
        rung = ladder[s.rung]
        assert (s.subset, s.resolution) == (rung.subset, rung.resolution)
    if n >= 100 and batch_size == 1:  # rungs end where they should, to half a batch
        ends = {s.rung: s.epochs for s in found if s.last_of_rung}
        assert all(abs(ends[r] - ladder[r].share * epochs) <= 1 / n for r in ends)


@given(st.integers(2, 500), st.integers(1, 64), st.integers(1, 6), ladders())
def test_rungs_alone_change_neither_the_batches_nor_their_number(n, batch_size, epochs, ladder):
    ladder = tuple(Rung(rung.share) for rung in ladder)

    def batches(stretches):
        return [(s.lap, s.first_batch + k) for s in stretches for k in range(s.n_steps)]

    found = plan(n, batch_size, epochs, ladder)
    assert batches(found) == batches(plan(n, batch_size, epochs, FULL))
    assert found[-1].rung == len(ladder) - 1 or len(found) == 1


def test_rungs_that_coincide_have_no_stretch_and_the_last_has_one():
    found = plan(10, 10, 3, tuple(map(Rung, (0.01, 0.02, 0.3, 0.98, 1.0))))  # three batches in all
    assert [(s.rung, s.epochs, s.last_of_rung) for s in found] == [(0, 1.0, True), (3, 2.0, True), (4, 3.0, True)]
    assert [s.rung for s in plan(10, 10, 1, tuple(map(Rung, (0.5, 1.0))))] == [0]  # a single batch


def test_pools_say_how_many_samples_there_are():
    """Ten classes of which each gives one sample at least."""
    assert [s.lap_batches for s in plan(1000, 5, 1, (Rung(0.5, subset=0.001), Rung(1.0)), [10, 1000])] == [200, 200]
