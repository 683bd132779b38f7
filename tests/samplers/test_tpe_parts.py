"""The parts of TPE: cells, columns, densities, split, acquisition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, truncnorm

from nas.samplers import TPE, Observation
from nas.samplers.tpe.acquisition import Acquisition
from nas.samplers.tpe.cells import MOST_CELLS, Cells
from nas.samplers.tpe.columns import Columns
from nas.samplers.tpe.density import bandwidth, density, kernel
from nas.samplers.tpe.split import best, gamma, split
from nas.space import Architecture, Categorical, Centre, Choice, Float, Integer, Repeat, Space
from nas.space.parameters import prior_mass

PARAMETERS = {
    "words": Categorical(("conv", "lstm", "pool")),
    "switch": Categorical((False, True)),
    "kernels": Categorical((3, 5, 7)),
    "mixed": Categorical((1, "auto", 2.5)),
    "steps": Integer(8, 32, step=8),
    "log integer": Integer(1, 40, log=True),
    "many": Integer(0, 1000),
    "many, log": Integer(1, 5000, log=True),
    "rate": Float(1e-4, 1.0, log=True),
    "share": Float(0.0, 0.5),
    "grid": Float(0.0, 1.0, step=0.1),
    "constant": Integer(4, 4),
    "point": Float(2.0, 2.0),
    "believed words": Categorical(("conv", "lstm", "pool"), prior=(3, 1, 0)),
    "believed kernels": Categorical((3, 5, 7), prior={5: 2}),
    "believed log integer": Integer(1, 40, log=True, prior=Centre(12)),
    "believed rate": Float(1e-4, 1.0, log=True, prior=Centre(0.01, 0.99)),
}


@pytest.fixture(params=PARAMETERS)
def parameter(request):
    return PARAMETERS[request.param]


# --- cells


def test_a_cell_gives_its_value_back(parameter):
    cells = Cells(parameter)
    for i in range(len(cells)):
        for unit in (0.001, 0.5, 0.999):
            value = cells.value(i, unit)
            assert parameter.contains(value)
            if cells.listed is not None or isinstance(parameter, Float):  # integers share cells where there are many
                assert cells.cell(value) == i
    assert len(cells) <= MOST_CELLS


def test_the_prior_is_what_the_parameter_draws_or_an_expert_believes(parameter):
    cells, rng = Cells(parameter), np.random.default_rng(0)
    drawn = np.bincount([cells.cell(parameter.sample(rng)) for _ in range(4000)], minlength=len(cells))
    assert cells.prior.sum() == pytest.approx(1.0)
    assert drawn.sum() == 4000
    coarse = cells.listed is None and isinstance(parameter, Integer)  # 1,001 values in 128 cells: 7 or 8 in each
    if parameter.prior is not None:
        np.testing.assert_array_equal(cells.prior, prior_mass(parameter, cells.edges))
        assert chisquare(drawn, 4000 * cells.prior).pvalue < 1e-9
    elif len(cells) > 1 and not coarse:
        assert chisquare(drawn, 4000 * cells.prior).pvalue > 1e-4  # 1 fair seed in 10,000 fails, for each parameter


def test_what_a_parameter_cannot_be_has_no_cell():
    assert Cells(Categorical((1, 2))).cell(True) == -1
    assert Cells(Integer(0, 1000)).cell(1001) == -1
    assert Cells(Float(0.0, 1.0)).cell("conv") == -1
    assert Cells(Float(0.0, 1.0, step=0.1)).cell(0.1 * 3) == 3  # 0.30000000000000004


# --- densities


@st.composite
def seen_cells(draw):
    cells = Cells(PARAMETERS[draw(st.sampled_from(sorted(PARAMETERS)))])
    weights = draw(st.lists(st.floats(0, 1e4), min_size=len(cells), max_size=len(cells)))
    return cells, np.array(weights)


@given(seen_cells())
def test_a_density_sums_to_one_and_leaves_nothing_out(drawn):
    cells, weights = drawn
    p = density(cells, weights)
    assert p.sum() == pytest.approx(1.0)
    assert (p > 0).all()


def test_nothing_seen_is_the_prior(parameter):
    cells = Cells(parameter)
    np.testing.assert_allclose(density(cells, np.zeros(len(cells))), cells.prior)


def test_unordered_categories_are_smoothed_counts():
    cells = Cells(Categorical(("conv", "lstm", "pool")))
    np.testing.assert_allclose(density(cells, np.array([2.0, 0.0, 1.0])), (np.array([2.0, 0.0, 1.0]) + 1 / 3) / 4)


@pytest.mark.parametrize("name", ["steps", "log integer", "many", "rate", "grid", "kernels"])
def test_a_kernel_is_the_integrated_truncated_gaussian(name):
    cells, sigma = Cells(PARAMETERS[name]), 0.13
    for c in (0, len(cells) // 2, len(cells) - 1):
        mean = cells.centres[c]
        gaussian = truncnorm((0 - mean) / sigma, (1 - mean) / sigma, loc=mean, scale=sigma)
        np.testing.assert_allclose(kernel(cells, sigma)[c], np.diff(gaussian.cdf(cells.edges)), atol=1e-12)


def test_neighbours_of_a_number_gain_and_of_a_word_do_not():
    number = density(Cells(Categorical((3, 5, 7, 9))), np.array([10.0, 0.0, 0.0, 0.0]))
    word = density(Cells(Categorical(("a", "b", "c", "d"))), np.array([10.0, 0.0, 0.0, 0.0]))
    assert number[0] > number[1] > number[2] > number[3] * 0.999
    assert word[1] == word[2] == word[3]


def test_more_trials_make_kernels_narrower():
    assert bandwidth(1) > bandwidth(30) > bandwidth(1000)


def test_positions_are_estimated_independently():
    cells = Cells(Integer(0, 9))
    weights = np.random.default_rng(0).integers(0, 3, size=(4, 10)).astype(float)
    np.testing.assert_allclose(density(cells, weights), np.stack([density(cells, row) for row in weights]))


def test_trials_overrule_an_expert():
    cells = Cells(Categorical(("conv", "lstm", "pool"), prior=(1, 0, 0)))
    assert density(cells, np.zeros(3)).argmax() == 0
    assert density(cells, np.array([0.0, 3.0, 0.0])).argmax() == 1


# --- columns and acquisition

BLOCKS = Space(
    input="vector",
    root={
        "body": Repeat(Integer(1, 3), Choice({"conv": {"kernel": [3, 5, 7]}, "pool": {}})),
        "lr": Float(1e-4, 1.0, log=True),
        "n": Integer(0, 1000),
    },
)


def test_columns_remember_and_grow():
    columns, rng = Columns(BLOCKS), np.random.default_rng(0)
    archs = [BLOCKS.sample(rng) for _ in range(150)]
    once = columns.of(archs)
    np.testing.assert_array_equal(once, Columns(BLOCKS).of(archs))
    np.testing.assert_array_equal(columns.of(archs[::-1]), once[::-1])
    for arch, row in zip(archs, once, strict=True):
        assert [name for name, cell in zip(columns.names, row, strict=True) if cell >= 0] == list(arch.values)
    assert columns.of([]).shape == (0, len(BLOCKS.slots))


def test_columns_pass_over_what_the_space_does_not_know():
    row = Columns(BLOCKS).of([Architecture.of({"body.repeat": 1, "body.0": "attention", "old": 3})])[0]
    assert (row >= 0).sum() == 1


def made(good, bad, space=BLOCKS, other=0.25):
    columns = Columns(space)
    return Acquisition(columns, columns.of(good), columns.of(bad), other)


def test_draws_follow_the_density():
    rng = np.random.default_rng(0)
    archs = [BLOCKS.sample(rng) for _ in range(30)]
    acquisition = made(archs[:8], archs[8:])
    drawn = [acquisition.draw(rng) for _ in range(3000)]
    for path in ("body.repeat", "body.0", "lr", "n"):  # always active
        good, _ = acquisition.densities(path)
        cells = acquisition.columns.cells[acquisition.columns.paths[path]]
        own = list(acquisition.columns.alike[acquisition.columns.paths[path]]).index(acquisition.columns.paths[path])
        seen = np.bincount([cells.cell(arch.values[path]) for arch in drawn], minlength=len(cells))
        groups = np.arange(len(cells)) * min(len(cells), 12) // len(cells)  # some hundreds of draws each
        observed, expected = (np.bincount(groups, weights=w) for w in (seen, 3000 * good[own]))
        assert chisquare(observed, expected).pvalue > 1e-4  # 1 fair seed in 2,500 fails one of the four


def test_where_nothing_was_seen_draws_follow_the_priors():
    here = {"kind": Choice(["conv", "pool"], prior={"pool": 4}), "lr": Float(1e-4, 1.0, log=True, prior=Centre(0.01))}
    space = Space(input="vector", root={"body": Repeat(Integer(1, 4, prior=Centre(3)), here)})
    acquisition, rng = made([], [], space), np.random.default_rng(0)
    drawn = [acquisition.draw(rng) for _ in range(2000)]
    for path, slot in space.slots.items():
        cells = Cells(slot.parameter)
        values = [arch.values[path] for arch in drawn if path in arch.values]
        seen = np.bincount([cells.cell(value) for value in values], minlength=len(cells))
        groups = np.arange(len(cells)) * min(len(cells), 12) // len(cells)
        observed, expected = (np.bincount(groups, weights=w) for w in (seen, len(values) * cells.prior))
        assert chisquare(observed, expected).pvalue > 1e-5  # 1 fair seed in 10,000 fails one of the nine


def test_the_score_is_the_sum_over_active_parameters():
    rng = np.random.default_rng(1)
    archs = [BLOCKS.sample(rng) for _ in range(30)]
    acquisition = made(archs[:8], archs[8:])
    for arch in archs:
        expected = 0.0
        for path, value in arch.values.items():
            column = acquisition.columns.paths[path]
            position = list(acquisition.columns.alike[column]).index(column)
            cell = acquisition.columns.cells[column].cell(value)
            good, bad = acquisition.densities(path)
            expected += math.log(good[position, cell]) - math.log(bad[position, cell])
        assert acquisition.score(arch) == pytest.approx(expected)


def test_a_position_learns_from_the_others():
    def blocks(*kernels):
        values = {"body.repeat": len(kernels)}
        for i, k in enumerate(kernels):
            values |= {f"body.{i}": "conv", f"body.{i}.conv.kernel": k}
        return BLOCKS.architecture({**values, "lr": 0.01, "n": 500})

    good, bad = [blocks(7), blocks(7)] * 3, [blocks(3), blocks(5)] * 10
    alone, shared = made(good, bad, other=0.0), made(good, bad, other=0.25)
    at = "body.2.conv.kernel"  # never seen there
    np.testing.assert_allclose(alone.densities(at)[0][2], 1 / 3)
    assert shared.densities(at)[0][2].argmax() == 2
    assert shared.score(blocks(7, 7, 7)) > alone.score(blocks(7, 7, 7))


# --- split


def seen(*states):
    rng = np.random.default_rng(0)
    arch = Architecture.of({"a": 1})
    for state in states:
        losses = (float(rng.integers(4)), float(rng.integers(4))) if state == "complete" else (None, None)
        yield Observation(arch, state, losses, float(rng.integers(1, 5)) if state == "over_budget" else 0.0)


@given(st.lists(st.sampled_from(["complete", "over_budget", "failed"]), max_size=30), st.integers(0, 8))
def test_a_split_is_a_partition_and_only_complete_trials_are_good(states, n_good):
    observations = list(seen(*states))
    parts = split(observations, n_good)
    assert sorted([*parts.good, *parts.bad]) == list(range(len(states)))
    assert len(parts.good) == min(n_good, states.count("complete"))
    assert all(states[i] == "complete" for i in parts.good)
    order = [("complete", "over_budget", "failed").index(states[i]) for i in parts.bad]
    assert order == sorted(order)
    over = [observations[i].violation for i in parts.bad if states[i] == "over_budget"]
    assert over == sorted(over)


@given(st.lists(st.floats(), min_size=1, max_size=30), st.integers(1, 10))
def test_one_objective_is_sorting(values, k):
    chosen = np.array(values)[best(np.array(values)[:, None], k)]
    np.testing.assert_array_equal(chosen, np.sort(values)[:k])  # NaN comes last in either


def test_the_split_does_not_depend_on_the_scale():
    rng = np.random.default_rng(0)
    losses = rng.random((60, 2))
    stretched = np.column_stack([losses[:, 0], np.exp(20 * losses[:, 1])])  # seconds over many decades
    np.testing.assert_array_equal(best(losses, 6), best(stretched, 6))


def test_strange_losses_come_last():
    losses = np.array([[math.nan, 0.0], [1.0, 1.0], [math.inf, math.inf], [0.0, 2.0], [2.0, -math.inf]])
    assert set(best(losses, 3)) == {1, 3, 4}


def test_ties_alone_are_split_by_age():
    assert best(np.ones((5, 2)), 2).tolist() == [0, 1]


def test_pending_trials_count_as_bad():
    rng = np.random.default_rng(0)
    archs = [BLOCKS.sample(rng) for _ in range(20)]
    sampler = TPE(BLOCKS, [])
    history = [Observation(arch, "complete", (float(i), -float(i)), 0.0, i) for i, arch in enumerate(archs)]
    without, with_pending = sampler.acquisition(history), sampler.acquisition(history, archs[:1])
    assert len(with_pending.bad) == len(without.bad) + 1
    assert with_pending.score(archs[0]) < without.score(archs[0])


def test_gamma_grows_to_a_limit():
    values = [gamma(n) for n in range(500)]
    assert values == sorted(values)
    assert values[-1] == 25
