"""Learning curves on families whose ends are known: does the interval hold, is the mean right, who is given up?"""

import math
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.rng import generator
from nas.study.curves import MIN_CURVES, Bar, Curves

SHARES = tuple(sorted({1 / 27, *(k / 24 for k in range(1, 25)), 1 / 9, 1 / 3}))
RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
N_JUDGED = 1000


def power(rng, share):
    return np.exp(rng.uniform(-2, -0.2) - rng.uniform(0.1, 0.8) * np.log(share * 27))


def late(rng, share):
    """Nothing at all up to some time, then a power law."""
    since = share / math.exp(rng.uniform(-4, 0))
    return np.where(since < 1, 0.9, power(rng, np.maximum(since, 1) * 8 / 27))


def plateau(rng, share):
    least = rng.uniform(0.05, 0.5)
    return least + (1 - least) * power(rng, share)


def rising(rng, share):
    """Too long: worse again after a third of the training."""
    return power(rng, share) * np.exp(rng.uniform(0, 0.8) * np.maximum(np.log(3 * share), 0))


def mixed(rng, share):
    return FAMILIES[rng.integers(4)](rng, share)


FAMILIES = (power, late, plateau, rising, mixed)


def drawn(family, rng, shares=SHARES, n_judged=N_JUDGED):
    """The curve of a new network: (share, judged error)."""
    errors = np.clip(family(rng, np.array(shares)), 1e-3, 0.9)
    return list(zip(shares, (rng.binomial(n_judged, errors) / n_judged).tolist(), strict=True))


def learned(family, n, seed, n_judged=N_JUDGED):
    rng, curves = generator(seed, "learned"), Curves(n_judged)
    for _ in range(n):
        curves.learn(drawn(family, rng))
    return curves


def log(error):
    return math.log(max(error, 0.5 / N_JUDGED))


# ---------------------------------------------------------------- predictions


def test_before_anything_was_learned_no_change_is_expected_and_much_is_possible():
    for share, error, to in ((1 / 27, 0.3, 1.0), (1 / 3, 0.05, 1.0), (0.02, 0.9, 0.05)):
        mean, deviation = Curves().predict(share, error, to)
        assert mean == pytest.approx(math.log(error))
        assert deviation > 0.4 * math.log(to / share), "the usual power law is within it"
    assert Curves().predict(0.5, 0.2, 0.5) == (math.log(0.2), 0.0)


@pytest.mark.parametrize("n", [40, 150])
@pytest.mark.parametrize("family", FAMILIES)
def test_nine_of_ten_end_within_the_interval(family, n):
    """Over eight sets of curves; 0.87 to 0.98 was seen over many."""
    inside = {pair: [] for pair in ((1 / 27, 1 / 9), (1 / 9, 1.0), (0.2, 1 / 3), (1 / 3, 1.0), (0.05, 0.7))}
    for seed in range(8):
        curves, rng = learned(family, n, seed), generator(seed, "new")
        for _ in range(60):
            truth = dict(drawn(family, rng, sorted({*SHARES, 0.05, 0.2, 0.7})))
            for (share, to), found in inside.items():
                mean, deviation = curves.predict(share, truth[share], to)
                found.append(abs(log(truth[to]) - mean) <= 1.645 * deviation)
    shares = {pair: np.mean(found) for pair, found in inside.items()}
    assert min(shares.values()) >= 0.84, shares
    assert np.mean(list(shares.values())) <= 0.97, shares


def test_a_power_law_is_found_and_more_curves_say_it_with_more_certainty():
    """A slope of 0.6, so that the error falls to 3**-0.6 with each rung, also between shares that were seen."""
    widths = []
    for n in (2, 10, 50):
        curves, rng = Curves(), generator(0, "power", n)
        for _ in range(n):
            level = rng.uniform(-2, -0.5)
            curves.learn([(s, math.exp(level - 0.6 * math.log(s * 27) + rng.normal(0, 0.01))) for s in SHARES])
        mean, deviation = curves.predict(0.1, 0.3, 0.77)
        widths.append(deviation)
    assert mean == pytest.approx(math.log(0.3) - 0.6 * math.log(7.7), abs=0.12)
    assert widths[0] > 1.3 * widths[1] > 1.3**2 * widths[2]


def test_a_few_curves_are_not_believed_at_once():
    """Of three nets whose error did not move one cannot tell that no error ever does."""
    curves = Curves()
    for error in (0.2, 0.3, 0.4):
        curves.learn([(share, error) for share in RUNGS])
    mean, _ = curves.predict(1 / 9, 0.3)
    assert -0.5 * 0.4 * math.log(9) - 0.1 < mean - math.log(0.3) < -0.05


def set_aside(rng, family):
    """Curves as successive halving leaves them: at each rung two of three go no further, for what was seen there."""
    alive = [drawn(family, rng) for _ in range(270)]
    for rung in RUNGS[:-1]:
        alive.sort(key=lambda curve: dict(curve)[rung])
        keep = len(alive) // 3
        yield from ([(s, e) for s, e in curve if s <= rung] for curve in alive[keep:])
        alive = alive[:keep]
    yield from alive


def test_the_lucky_ones_do_not_promise_too_much():
    """Those that were trained to the end are known to have got on well; those set aside tell that not all do."""
    family = FAMILIES[0]
    off = {"all": [], "the finished": []}
    for seed in range(6):
        rng = generator(seed, "aside")
        seen = list(set_aside(rng, family))
        rows = {"all": seen, "the finished": [c for c in seen if c[-1][0] == 1.0]}
        new = [dict(drawn(family, rng)) for _ in range(200)]
        for name, curves in ((name, Curves(N_JUDGED)) for name in rows):
            for curve in rows[name]:
                curves.learn(curve)
            off[name].append(np.mean([curves.predict(1 / 27, c[1 / 27])[0] - log(c[1.0]) for c in new]))
    assert abs(np.mean(off["all"])) < 0.1, off
    assert np.mean(off["the finished"]) < -0.2, off


def test_what_is_good_already_moves_less_where_that_is_so():
    """The deviation of the rest is a third of the error: 0.02 around 0.05, 0.3 around 0.9."""
    curves, rng = Curves(), generator(0, "unequal")
    for _ in range(60):
        error = math.exp(rng.uniform(-3, -0.1))
        curves.learn([(1 / 3, error), (1.0, error * math.exp(rng.normal(-0.3, error / 3)))])
    good, bad = (curves.predict(1 / 3, error)[1] for error in (0.05, 0.9))
    assert good < 0.1 < 0.2 < bad < 0.6


def test_a_larger_error_promises_nothing_better():
    upside_down = Curves()
    for error in np.linspace(0.1, 0.9, 60):
        upside_down.learn([(1 / 9, error), (1 / 3, 1 - error), (1.0, 0.5 * (1 - error))])
    for curves in (upside_down, *(learned(family, 30, 1) for family in FAMILIES)):
        means = [curves.predict(1 / 9, error)[0] for error in (0.01, 0.05, 0.2, 0.5, 0.9)]
        assert means == sorted(means)


# ---------------------------------------------------------------- learning


curve_lists = st.lists(
    st.lists(st.tuples(st.sampled_from(SHARES), st.floats(0.01, 0.9)), min_size=1, max_size=6), max_size=6
)


@settings(max_examples=40)
@given(curve_lists, st.randoms(use_true_random=False))
def test_the_order_of_curves_does_not_count_to_the_last_bit(told, chance):
    shuffled = [chance.sample(curve, len(curve)) for curve in told]
    chance.shuffle(shuffled)
    one, other = Curves(500), Curves(500)
    for curves, given_ in ((one, told), (other, shuffled)):
        for curve in given_:
            curves.learn(curve)
    assert len(one) == len(other)
    for share, to in ((1 / 27, 1.0), (0.2, 0.6)):
        assert one.predict(share, 0.3, to) == other.predict(share, 0.3, to)
    assert one.bar(1 / 3, 0.2) == other.bar(1 / 3, 0.2)


def test_a_trial_that_went_on_counts_once():
    rng = generator(0, "once")
    whole = [drawn(power, rng) for _ in range(12)]
    at_once, by_rung = Curves(), Curves()
    for number, curve in enumerate(whole):
        at_once.learn(curve)
        for rung in RUNGS[1:]:
            by_rung.learn([(s, e) for s, e in curve if s <= rung], number)
            by_rung.predict(1 / 9, 0.3)  # what was asked before is asked again
    assert len(by_rung) == len(at_once) == 12
    assert by_rung.predict(1 / 9, 0.3) == at_once.predict(1 / 9, 0.3)


def test_what_says_nothing_is_not_counted():
    curves = Curves()
    curves.learn([])
    curves.learn([(0.5, 0.3)])
    curves.learn([(0.5, math.nan), (1.0, 0.2)])
    assert len(curves) == 0
    curves.learn([(0.25, 0.4), (0.5, math.inf), (1.0, 0.2)])
    assert len(curves) == 1


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, math.nan])
def test_a_share_is_a_share(share):
    for call in (
        lambda: Curves().learn([(share, 0.3), (0.5, 0.2)]),
        lambda: Curves().predict(share, 0.3),
        lambda: Curves().bar(share, 0.3),
    ):
        with pytest.raises(ValueError, match="share of the full training is in"):
            call()
    with pytest.raises(ValueError, match=r"0.2 comes before 0.5"):
        Curves().predict(0.5, 0.3, to=0.2)
    with pytest.raises(ValueError, match="n_judged must be at least 1, got 0"):
        Curves(0)


def test_judging_on_few_samples_is_a_limit_of_what_can_be_told():
    """2 % of 100 samples are two: the log of that has a deviation of 0.7, however smooth the curves."""
    smooth = [[(share, 0.3 * level * share**-0.3) for share in RUNGS] for level in np.linspace(0.1, 0.5, 40)]
    few, many = Curves(100), Curves(100_000)
    for curve in smooth:
        few.learn(curve)
        many.learn(curve)
    assert few.predict(1 / 3, 0.02, 1.0)[1] > math.sqrt(0.98 / 0.02 / 100)
    assert many.predict(1 / 3, 0.02, 1.0)[1] < 0.25
    assert math.isfinite(few.predict(1 / 3, 0.0, 1.0)[0])
    assert many.bar(1.0, 0.01).reason(0.95, 0.02)
    assert not few.bar(1.0, 0.01).reason(0.95, 0.02), "next time one of the two may be right"


# ---------------------------------------------------------------- giving up


def given_up(bar: Bar, curve, rung_began: float) -> bool:
    return any(bar.reason(s, e) for s, e in curve if rung_began < s < bar.share)


def test_nothing_is_given_up_before_some_curves_say_so():
    curves, rng = Curves(), generator(3, "few")
    for n in range(MIN_CURVES + 1):
        assert bool(curves.bar(1.0, 0.001).reason(0.5, 0.9)) == (n >= MIN_CURVES), n
        curves.learn(drawn(power, rng))


def test_nothing_is_given_up_where_no_curve_has_been():
    """Curves that were set aside at a third say nothing of what comes later."""
    curves, rng = Curves(), generator(4, "short")
    for _ in range(30):
        curves.learn([(s, e) for s, e in drawn(power, rng) if s <= 1 / 3])
    assert curves.bar(1 / 3, 0.001).reason(0.2, 0.9)
    assert not curves.bar(1.0, 0.001).reason(0.2, 0.9)
    assert not curves.bar(1.0, 0.001).reason(0.5, 0.9)


def test_a_hopeless_training_is_given_up_in_words():
    bar = learned(power, 40, 5).bar(1 / 3, 0.18, epochs=8)
    words = bar.reason(0.25, 0.6)
    assert words.startswith("expected error 0.5")
    assert words.endswith("at 2.67 epochs, where 0.18 is needed")
    best = float(words.split("at best ")[1].split(")")[0])
    assert 0.18 < best < 0.5
    assert "at 33% of the training" in learned(power, 40, 5).bar(1 / 3, 0.18).reason(0.25, 0.6)


def test_a_good_one_goes_on_and_an_end_is_an_end():
    bar = learned(power, 40, 5).bar(1 / 3, 0.18)
    assert bar.reason(0.25, 0.19) == ""
    assert bar.reason(0.3, 0.1) == ""
    assert bar.reason(1 / 3, 0.9) == bar.reason(0.5, 0.9) == "", "the rung is over"
    assert bar.reason(0.01, 0.9) == "", "too early to tell"
    assert bar.reason(0.25, math.nan) == ""
    assert bar.reason(0.332, 0.19) == "", "a moment before the end it is still within the noise"
    assert bar.reason(0.332, 0.26)


@pytest.mark.parametrize("family", FAMILIES)
def test_few_of_those_given_up_would_have_got_there(family):
    """One in twenty at each look. Over all looks of a rung 1 to 6 % were seen, with late bloomers 8 %."""
    wrong = right = others = 0
    for seed in range(4):
        curves, rng = learned(family, 60, seed), generator(seed, "judged")
        new = [drawn(family, rng) for _ in range(90)]
        ends = [dict(curve)[1 / 3] for curve in new]
        needed = float(np.quantile(ends, 1 / 3))
        bar = curves.bar(1 / 3, needed)
        for curve, end in zip(new, ends, strict=True):
            gone = given_up(bar, curve, 1 / 9)
            wrong, right, others = (
                wrong + (gone and end <= needed),
                right + (gone and end > needed),
                others + (end > needed),
            )
    assert wrong / (wrong + right) < (0.12 if family is late else 0.09)
    assert right / others > 0.6, "most of what does not get there is given up on the way"


def test_a_bar_says_what_the_curves_say_and_travels_light():
    curves = learned(mixed, 50, 6)
    bar = curves.bar(1.0, 0.1)
    for share, line in zip(bar.starts, bar.lines, strict=True):
        for error in (0.05, 0.3, 0.8):
            mean, variance = line.at(math.log(error))
            assert (mean, math.sqrt(variance)) == pytest.approx(curves.predict(share, error))
    sent = pickle.dumps(bar)
    assert len(sent) < 3000
    assert pickle.loads(sent) == bar


def test_between_its_shares_a_bar_is_near_the_curves():
    curves, chance = learned(power, 80, 7), random.Random(0)
    bar = curves.bar(1.0, 1e-3)
    for _ in range(50):
        share, error = chance.uniform(0.12, 0.8), chance.uniform(0.05, 0.8)
        words = bar.reason(share, error)
        assert float(words.split()[2]) == pytest.approx(math.exp(curves.predict(share, error)[0]), rel=0.05)


def test_a_perfect_rival_cannot_be_told_from_one_with_half_an_error():
    curves = learned(power, 40, 8, n_judged=100)
    assert curves.bar(1.0, 0.0) is not None
    assert curves.bar(1.0, 0.0).reason(0.5, 0.01) == ""
