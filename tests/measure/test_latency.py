"""The latency protocol on a clock that the test turns: exact ratios, counts and order; no real time is asserted."""

import gc
import json
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import RunError
from nas.measure.latency import Calibration, bootstrap_interval, calm_reference_ms, measure_ratio, reference_time_ms

MS = 1_000_000


class Lab:
    """A clock, and runs that take what they say on it; notes who ran when."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[tuple[str, int]] = []

    def clock(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)

    def run(self, name: str, duration):
        """Return a run that takes `duration(i)` ns the i-th time, or always `duration`."""
        count = iter(range(10**9))

        def run() -> None:
            self.calls.append((name, self.now))
            i = next(count)
            self.now += duration(i) if callable(duration) else duration

        return run

    def names(self) -> str:
        return "".join(name for name, _ in self.calls)


def test_the_ratio_of_constant_runs_is_exact():
    lab = Lab()
    ratio = measure_ratio(lab.run("c", 3000), lab.run("r", 2000), clock=lab.clock)
    assert (ratio.value, ratio.low, ratio.high, ratio.pairs) == (1.5, 1.5, 1.5, 25)


def test_order_warm_up_then_untimed_runs_directly_before_each_timed_one():
    lab = Lab()
    measure_ratio(
        lab.run("c", 1000), lab.run("r", 1000), warmups=4, untimed=2, max_pairs=3, min_pairs=1, clock=lab.clock
    )
    assert lab.names() == "cccc" + "rrrr" + 3 * ("ccc" + "rrr")


def test_warm_up_and_untimed_runs_are_not_in_the_result():
    """The first ten runs and the first five of every six are slow; the timed ones are not."""
    lab = Lab()

    def duration(fast: int):
        return lambda i: fast if i >= 10 and (i - 10) % 6 == 5 else 50 * fast

    ratio = measure_ratio(lab.run("c", duration(4000)), lab.run("r", duration(1000)), clock=lab.clock)
    assert (ratio.value, ratio.low, ratio.high) == (4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("ms", "untimed"), [(0.01, 5), (0.5, 5), (0.6, 5), (1.0, 3), (2.0, 2), (2.5, 1), (10.0, 1), (100.0, 1)]
)
def test_slow_candidates_get_fewer_untimed_runs_the_reference_never(ms: float, untimed: int):
    lab = Lab()
    measure_ratio(lab.run("c", int(ms * MS)), lab.run("r", MS // 20), warmups=2, clock=lab.clock)
    assert lab.names().startswith("ccrr" + 2 * ("c" * (untimed + 1) + "r" * 6))


@pytest.mark.parametrize(("ms", "pairs"), [(0.1, 25), (1.0, 25), (10.0, 25), (25.0, 10), (100.0, 9), (1000.0, 9)])
def test_time_bounds_the_pairs_from_above_and_nine_from_below(ms: float, pairs: int):
    lab = Lab()
    ratio = measure_ratio(lab.run("c", int(ms * MS)), lab.run("r", MS // 20), clock=lab.clock)
    assert ratio.pairs == pairs
    assert lab.now <= max(0.75e9, 9 * 2.1 * ms * MS + 3 * ms * MS)


def test_warm_up_ends_early_for_slow_nets_but_not_before_two_runs():
    lab = Lab()
    measure_ratio(lab.run("c", 400 * MS), lab.run("r", 1000), clock=lab.clock)
    assert lab.names().startswith("cc" + "r" * 10 + "c")


def test_a_drift_of_the_machine_cancels():
    """Everything takes twice as long from one moment on: the ratio does not move, the times do."""
    lab = Lab()

    def drifting(ns: int):
        return lambda i: ns * (1 if lab.now < 8 * MS else 2)

    ratio = measure_ratio(lab.run("c", drifting(60_000)), lab.run("r", drifting(40_000)), clock=lab.clock)
    assert lab.now > 12 * MS
    assert ratio.value == ratio.low == ratio.high == 1.5


def test_bursts_in_most_of_the_runs_do_not_move_the_ratio():
    """A neighbour slows the candidate by 60 % and the reference by 20 %, in three quarters of the time."""
    lab = Lab()

    def slowed(ns: int, factor: float):
        return lambda i: int(ns * factor) if lab.now % (8 * MS) < 6 * MS else ns

    ratio = measure_ratio(lab.run("c", slowed(60_000, 1.6)), lab.run("r", slowed(40_000, 1.2)), clock=lab.clock)
    assert (ratio.value, ratio.low) == (1.5, 1.5)


def test_noise_widens_the_interval_which_holds_the_value():
    lab, rng = Lab(), np.random.default_rng(0)
    noise = rng.exponential(0.02, 10_000) + np.where(rng.random(10_000) < 0.05, 5.0, 0.0)
    candidate = lab.run("c", lambda i: int(30_000 * (1 + noise[i])))
    ratio = measure_ratio(candidate, lab.run("r", 10_000), clock=lab.clock)
    assert 3.0 < ratio.low < ratio.value < ratio.high < 3.2


def test_the_same_seed_gives_the_same_interval():
    def measure(seed: int):
        lab, noise = Lab(), np.random.default_rng(1).exponential(1.0, 10_000)
        return measure_ratio(
            lab.run("c", lambda i: int(1e5 * (1 + noise[i]))), lab.run("r", 10_000), seed=seed, clock=lab.clock
        )

    assert measure(0) == measure(0)
    assert measure(0).value == measure(1).value
    assert (measure(0).low, measure(0).high) != (measure(1).low, measure(1).high)


def test_a_clock_that_stands_still_is_survived():
    ratio = measure_ratio(lambda: None, lambda: None, clock=lambda: 0, max_pairs=9)
    assert (ratio.value, ratio.pairs) == (1.0, 9)


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_collection_while_timing_and_its_state_is_restored(enabled: bool):
    seen = []
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        measure_ratio(lambda: seen.append(gc.isenabled()), lambda: None)
        assert not any(seen)
        assert gc.isenabled() is enabled
        with pytest.raises(ZeroDivisionError):
            measure_ratio(lambda: 1 // 0, lambda: None)  # type: ignore[arg-type, return-value]
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_real_runs_on_the_real_clock():
    """Busy loops of 0.2 and 0.1 ms on whatever machine this is: only what must hold on any."""

    def spin(ns: int):
        def run() -> None:
            end = time.perf_counter_ns() + ns
            while time.perf_counter_ns() < end:
                pass

        return run

    ratio = measure_ratio(spin(200_000), spin(100_000))
    assert 9 <= ratio.pairs <= 50
    assert 0 < ratio.low <= ratio.value <= ratio.high
    assert 1.0 < ratio.value < 4.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1.0, 10.0), st.floats(1.0, 10.0)), min_size=1, max_size=60))
def test_bootstrap_interval_lies_within_what_the_times_allow(times: list[tuple[float, float]]):
    pairs = np.array(times)
    low, high = bootstrap_interval(pairs, resamples=200)
    (above_min, below_min), (above_max, below_max) = pairs.min(0), pairs.max(0)
    assert above_min / below_max * (1 - 1e-12) <= low <= high <= above_max / below_min * (1 + 1e-12)
    assert bootstrap_interval(pairs, resamples=200) == (low, high)


@pytest.mark.parametrize(("n", "coverage"), [(50, (0.92, 1.0)), (9, (0.85, 0.97))])
def test_bootstrap_interval_holds_the_true_ratio_about_as_often_as_it_says(n: int, coverage: tuple[float, float]):
    """The bounds are 5 standard errors off the .97 and .91 that a long simulation gave."""
    rng = np.random.default_rng(5)
    draws = [bootstrap_interval(1 + 0.05 * rng.exponential(size=(n, 2)), seed=i, resamples=300) for i in range(600)]
    assert coverage[0] <= sum(low <= 1.0 <= high for low, high in draws) / 600 <= coverage[1]


def test_the_calibration_is_the_calm_time_though_most_blocks_are_disturbed():
    """Bursts take three quarters of the time and make runs 30 % slower."""
    lab = Lab()
    run = lab.run("r", lambda i: 40_000 if lab.now % (80 * MS) < 20 * MS else 52_000)
    assert reference_time_ms(run, clock=lab.clock, sleep=lab.sleep) == 0.04


def test_one_lucky_block_does_not_make_the_calibration():
    lab = Lab()
    run = lab.run("r", lambda i: 30_000 if 500 <= i < 550 else 40_000)
    assert reference_time_ms(run, clock=lab.clock, sleep=lab.sleep) == 0.04


def test_calibration_survives_json_and_pickle():
    calibration = Calibration(0.0391, "onnxruntime", "net/1")
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert pickle.loads(pickle.dumps(calibration)) == calibration


@pytest.mark.parametrize(
    "values",
    [{}, {"reference_ms": 0.1, "runtime": "x"}, {"reference_ms": "fast", "runtime": "x", "reference": "y"}]
    + [{"reference_ms": ms, "runtime": "x", "reference": "y"} for ms in (0.0, -1.0, float("nan"), float("inf"), None)],
)
def test_a_calibration_that_cannot_be_is_refused(values):
    with pytest.raises(RunError, match="calibration"):
        Calibration.from_dict(values)


def noisy(seed: int):
    """Return a lab in which the candidate takes 2.0 times what the reference does, and up to a fifth more."""
    lab, noise = Lab(), np.random.default_rng(seed).exponential(0.05, 100_000)
    return lab, lab.run("c", lambda i: int(20_000 * (1 + noise[i]))), lab.run("r", 10_000)


def test_more_pairs_only_where_somebody_decides_within_the_interval():
    lab, candidate, reference = noisy(0)
    plain = measure_ratio(candidate, reference, clock=lab.clock)
    for limits in ([], [plain.low * 0.9, plain.high * 1.1]):
        lab, candidate, reference = noisy(0)
        assert measure_ratio(candidate, reference, limits=limits, clock=lab.clock) == plain
    lab, candidate, reference = noisy(0)
    longer = measure_ratio(candidate, reference, limits=[plain.value], clock=lab.clock)
    assert longer.pairs in (50, 100, 200, 400)
    assert longer.pairs > plain.pairs
    assert longer.high - longer.low < plain.high - plain.low


def test_the_longer_measurement_ends_where_the_question_cannot_be_settled():
    lab, candidate, reference = noisy(1)
    found = measure_ratio(candidate, reference, limits=list(np.linspace(2.0, 2.5, 1000)), most=4, clock=lab.clock)
    assert found.pairs == 100


def test_what_the_reference_took_is_told():
    lab = Lab()
    assert measure_ratio(lab.run("c", 3000), lab.run("r", 2000), clock=lab.clock).reference_ns == 2000


def test_a_burst_that_widens_the_interval_gets_more_pairs_until_the_time_is_over():
    def stirred(until_ms: float):
        """Return what is read where every run takes up to 50 % longer at first, by chance."""
        lab, rng = Lab(), np.random.default_rng(0)

        def slowed(ns: int):
            noise = rng.uniform(1.0, 1.5, 100_000)
            return lambda i: int(ns * (noise[i] if lab.now < until_ms * MS else 1.0))

        return measure_ratio(lab.run("c", slowed(60_000)), lab.run("r", slowed(40_000)), clock=lab.clock)

    calm, burst, storm = stirred(0), stirred(40), stirred(1e9)
    assert calm.pairs == 25
    assert burst.pairs > 25
    assert burst.value == pytest.approx(1.5, rel=0.01)
    assert 25 < storm.pairs <= 400
    assert storm.high - storm.low > burst.high - burst.low


@pytest.mark.parametrize(
    ("fits", "found", "used"),
    [
        ([0.0388, 0.0390], 0.0388, 2),
        ([0.0466, 0.0388, 0.0389, 9.0], 0.0388, 3),  # the first one was disturbed
        ([0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12, 0.01], 0.05, 8),  # no two agree: the least of eight
    ],
)
def test_a_calibration_is_what_two_fits_agree_on(fits, found, used):
    left = list(fits)
    assert calm_reference_ms(lambda: left.pop(0)) == found
    assert len(fits) - len(left) == used


def test_a_question_does_not_keep_others_waiting():
    """A net of 0.3 s whose ratio is in question: nine pairs have taken longer than anybody should wait."""
    lab, noise = Lab(), np.random.default_rng(0).uniform(1.0, 1.1, 10_000)
    slow = lab.run("c", lambda i: int(300 * MS * noise[i]))
    found = measure_ratio(slow, lab.run("r", MS), limits=list(np.linspace(250, 350, 500)), clock=lab.clock)
    assert found.pairs == 9
