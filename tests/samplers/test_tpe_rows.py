"""Architectures as rows: cells, columns, what is active, and the history as arrays."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from tpe_cases import (
    NET,
    PARAMETERS,
    any_spaces,
    drawn,
    exact_spaces,
    prior,
    random_trials,
    seeds,
    spaces,
    told,
)

from nas.samplers import Observation
from nas.samplers.fresh import every
from nas.samplers.tpe.cells import MOST_CELLS, Cells
from nas.samplers.tpe.columns import Columns
from nas.samplers.tpe.features import Features
from nas.samplers.tpe.history import History
from nas.space import Architecture, Categorical, Choice, Float, Integer, Repeat, Space, When
from nas.space.parameters import prior_mass

BLOCKS = Space(
    input="vector",
    root={
        "body": Repeat(Integer(1, 3), Choice({"conv": {"kernel": [3, 5, 7]}, "pool": {}})),
        "lr": Float(1e-4, 1.0, log=True),
        "n": Integer(0, 1000),
    },
)


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
    assert len(cells.values) == len(cells) <= MOST_CELLS


def test_the_prior_is_what_the_parameter_draws_or_an_expert_believes(parameter):
    cells, rng = Cells(parameter), np.random.default_rng(0)
    seen = np.bincount([cells.cell(parameter.sample(rng)) for _ in range(4000)], minlength=len(cells))
    assert cells.prior.sum() == pytest.approx(1.0)
    assert seen.sum() == 4000
    coarse = cells.listed is None and isinstance(parameter, Integer)  # 1,001 values in 128 cells: 7 or 8 in each
    if parameter.prior is not None:
        np.testing.assert_array_equal(cells.prior, prior_mass(parameter, cells.edges))
        assert chisquare(seen, 4000 * cells.prior).pvalue < 1e-9
    elif len(cells) > 1 and not coarse:
        assert chisquare(seen, 4000 * cells.prior).pvalue > 1e-4  # 1 fair seed in 10,000 fails, for each parameter


def test_what_a_parameter_cannot_be_has_no_cell():
    assert Cells(Categorical((1, 2))).cell(True) == -1
    assert Cells(Integer(0, 1000)).cell(1001) == -1
    assert Cells(Float(0.0, 1.0)).cell("conv") == -1
    assert Cells(Float(0.0, 1.0, step=0.1)).cell(0.1 * 3) == 3  # 0.30000000000000004


# --- columns


def test_a_row_is_active_where_the_architecture_is():
    columns, rng = Columns(BLOCKS), np.random.default_rng(0)
    archs = [BLOCKS.sample(rng) for _ in range(150)]
    rows = columns.of(archs)
    np.testing.assert_array_equal(columns.of(archs[::-1]), rows[::-1])
    for arch, row in zip(archs, rows, strict=True):
        assert [name for name, cell in zip(columns.names, row, strict=True) if cell >= 0] == list(arch.values)
    assert columns.of([]).shape == (0, len(BLOCKS.slots))
    assert not columns.exact


def test_columns_pass_over_what_the_space_does_not_know():
    row = Columns(BLOCKS).of([Architecture.of({"body.repeat": 1, "body.0": "attention", "old": 3})])[0]
    assert (row >= 0).sum() == 1


@given(any_spaces, seeds)
def test_counts_are_how_often_each_cell_occurs(space, seed):
    columns, _, rows = drawn(space, 20, seed)
    counts = columns.counts(rows)
    for column, cells in enumerate(columns.cells):
        active = rows[rows[:, column] >= 0, column]
        np.testing.assert_array_equal(counts[column, : len(cells)], np.bincount(active, minlength=len(cells)))
        assert counts[column, len(cells) :].sum() == 0


# --- activity


@given(any_spaces, seeds)
def test_a_row_says_which_parameters_of_its_architecture_are_active(space, seed):
    columns, activity, rows = drawn(space, 8, seed)
    rng = np.random.default_rng(seed)
    for row in rows:
        arch = columns.architecture(row, rng)
        says = {name for name, cell in zip(columns.names, row, strict=True) if cell >= 0}
        assert says == set(arch.values) & set(columns.names)
        again = columns.of([arch])[0]
        if columns.exact:
            np.testing.assert_array_equal(again, row)
        np.testing.assert_array_equal(again >= 0, row >= 0)
    for column in range(len(columns.names)):
        np.testing.assert_array_equal(activity.active(rows, column), rows[:, column] >= 0)


@given(any_spaces, seeds)
def test_a_mutation_keeps_what_is_not_drawn_again(space, seed):
    columns, activity, parents = drawn(space, 12, seed)
    rng = np.random.default_rng(seed)
    redraw = rng.random(parents.shape) < 0.3
    rows = activity.draw(prior(columns), len(parents), rng, parents, redraw)
    kept = ~redraw & (parents >= 0) & (rows >= 0)
    np.testing.assert_array_equal(rows[kept], parents[kept])
    for column in range(len(columns.names)):
        np.testing.assert_array_equal(activity.active(rows, column), rows[:, column] >= 0)
    nothing = np.zeros_like(redraw)
    np.testing.assert_array_equal(activity.draw(prior(columns), len(parents), rng, parents, nothing), parents)


def test_conditions_on_constants_repeats_and_the_inactive():
    space = Space(
        input="vector",
        root={
            "depth": 3,
            "op": Choice({"conv": {"kernel": [3, 5]}, "skip": {}}),
            "rate": When({"op.conv.kernel": 5}, {"p": [0.1, 0.2]}),  # inactive without "conv"
            "tail": When({"depth": 3}, {"n": [1, 2]}),
            "body": Repeat(2, {"stride": [1, 2], "pool": When({".stride": 1}, {"size": [2, 3]})}),
        },
    )
    columns, _, rows = drawn(space, 4000)
    reached = {row.tobytes() for row in rows}
    assert reached == {row.tobytes() for row in columns.of(every(space))}  # the rarest of 384 comes 5 times or more


@settings(max_examples=25)
@given(exact_spaces.filter(lambda space: 1 < space.count()[0] <= 200), seeds)
def test_only_what_is_in_the_space_is_drawn(space, seed):
    columns, _, rows = drawn(space, 50, seed)
    bare = dataclasses.replace(space, forbid=())  # what is forbidden is left to the sampler
    assert {row.tobytes() for row in rows} <= {row.tobytes() for row in columns.of(every(bare))}


# --- history

COLUMNS = Columns(NET)
FEATURES = Features(COLUMNS)
ARCHS = [o.arch for o in random_trials(12)]
FIELDS = ["rows", "losses", "excess", "seconds", "state", "source", "trained", "counts"]

numbers = st.none() | st.sampled_from([0.5, 1.0, math.nan, math.inf, -math.inf])
observations = st.builds(
    Observation,
    st.sampled_from(ARCHS),
    st.sampled_from(["complete", "over_budget", "failed"]),
    st.tuples(numbers, numbers),
    excess=st.sampled_from([(), (0.5,), (-0.5, 0.1)]),
    cost=st.sampled_from([None, 3.0, 0.0]),
    source=st.sampled_from(["", "", "", "run a", "3 epochs"]),
)
histories = st.lists(observations, max_size=15)


def fresh(*steps):
    history = History(COLUMNS, FEATURES, 2)
    for seen in steps:
        history.update(seen)
    return history


def assert_same(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (one.taken, one.tried, one.sources, len(one)) == (other.taken, other.tried, other.sources, len(other))
    assert one.milestone() == other.milestone()
    everything = np.arange(len(one))
    np.testing.assert_array_equal(one.vectors(everything), other.vectors(everything))


@given(histories, st.lists(st.integers(0, 15), max_size=4))
def test_a_history_told_in_parts_is_the_same(seen, cuts):
    parts = [seen[:cut] for cut in sorted(cuts)]
    assert_same(fresh(*parts, seen), fresh(seen))
    assert_same(fresh(tuple(seen), [*seen]), fresh(seen))


@given(histories, histories, st.integers(0, 15))
def test_of_another_history_nothing_remains(before, after, same):
    after = [*before[:same], *after]  # shortened, changed from some point on, or quite another
    history = fresh(before)
    history.vectors(np.arange(len(before)))
    history.update(after)
    assert_same(history, fresh(after))


def test_evidence_is_not_taken_and_what_is_over_budget_was_not_trained():
    arch, other, third = ARCHS[:3]
    history = fresh(
        [
            Observation(arch, "complete", (0.1, None), source="run old"),
            Observation(other, "over_budget", (None, 9.0), 1.0),
            Observation(third, "failed", (None, 1.0)),
        ]
    )
    assert history.taken == {other.fingerprint(), third.fingerprint()}
    assert history.tried == {row.tobytes() for row in COLUMNS.of([other, third])}
    assert history.trained.tolist() == [False, False, True]
    np.testing.assert_array_equal(history.counts, COLUMNS.counts(COLUMNS.of([third])))
    assert np.isnan(history.losses).tolist() == [[False, True], [True, False], [True, False]]


def test_milestones_follow_from_the_length_alone():
    history, one = fresh(), told(ARCHS[0])
    reached = []
    for n in range(1, 400):
        history.update([one] * n)
        reached.append(history.milestone())
    assert reached == sorted(reached)
    for n, milestone in enumerate(reached, 1):
        assert milestone <= n <= 1.1 * milestone + 1  # never far behind
        assert reached[milestone - 1] == milestone  # it was one then
    assert reached[:10] == list(range(1, 11))
    assert len(set(reached)) < 60  # and few
    assert [fresh(random_trials(n)).milestone() for n in (7, 30, 55)] == [reached[n - 1] for n in (7, 30, 55)]


def test_vectors_are_those_of_the_rows_however_many_are_asked_for():
    history = fresh(random_trials(3000))
    rng = np.random.default_rng(0)
    for size in (10, 1500, 1500, 3000, 3, 0):
        some = rng.choice(3000, size, replace=False)
        np.testing.assert_array_equal(history.vectors(some), FEATURES.of(history.rows[some]))


@given(spaces(), seeds)
def test_what_was_drawn_is_an_architecture_of_the_space(space, seed):
    columns, activity, rows = drawn(space, 8, seed)
    for row in rows:
        found = activity.architecture(row, np.random.default_rng(seed))
        assert found == columns.architecture(row, np.random.default_rng(seed))
        assert list(found.values) == list(columns.architecture(row, np.random.default_rng(seed)).values)
