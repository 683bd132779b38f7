"""What an architecture is worth: features, relevance, regression, expected gain."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct
from tpe_cases import NET, any_spaces, drawn, figures, random_trials, seeds

from nas.pareto import hypervolume, non_dominated
from nas.samplers.tpe.cells import Cells
from nas.samplers.tpe.columns import Columns
from nas.samplers.tpe.features import Features, encoded
from nas.samplers.tpe.gain import Gain, directions
from nas.samplers.tpe.regression import Kernel, Regression
from nas.samplers.tpe.relevance import relevance
from nas.space import Categorical, Float, Integer, Repeat, Space

# --- features


@given(any_spaces, seeds)
def test_features_are_blocks_of_parameters_and_sums_of_roles(space, seed):
    columns, _, rows = drawn(space, 6, seed)
    features = Features(columns)
    vectors = features.of(rows)
    assert vectors.shape == (6, len(features.group))
    assert (features.start > 0).all()
    assert set(features.group) == set(range(len(features.start)))
    blocks = [vectors[:, features.group == group] for group in range(len(features.start))]
    for alike in columns.roles:
        own = [blocks.pop(0) for _ in alike]
        for column, block in zip(alike, own, strict=True):
            lengths = np.linalg.norm(block, axis=1)
            np.testing.assert_allclose(lengths, rows[:, column] >= 0, atol=1e-6)  # 1 where active, else 0
        if len(alike) > 1:
            np.testing.assert_allclose(blocks.pop(0), sum(own), atol=1e-5)
            slope = sum(place * block for place, block in zip(np.linspace(-1, 1, len(own)), own, strict=True))
            np.testing.assert_allclose(blocks.pop(0), slope, atol=1e-5)
    assert not blocks


def test_early_and_late_are_told_apart_and_order_alone_is_not_much():
    columns = Columns(Space(input="vector", root={"body": Repeat(3, Categorical(("conv", "pool")))}))
    features = Features(columns)
    early, late = features.of(np.array([[0, 1, 1], [1, 1, 0]]))
    role, slope = (features.group == 3), (features.group == 4)
    np.testing.assert_array_equal(early[role], late[role])
    np.testing.assert_array_equal(early[slope], -late[slope])
    assert early[slope].any()


@pytest.mark.parametrize("parameter", [Integer(0, 30), Float(1e-4, 1.0, log=True), Categorical((1, 2, 4, 8))])
def test_neighbouring_numbers_are_alike(parameter):
    table = encoded(Cells(parameter))
    alike = table[0] @ table[:-1].T
    assert all(a > b for a, b in pairwise(alike[: len(alike) // 2]))
    assert not table[-1].any()


def test_words_are_not_alike():
    np.testing.assert_array_equal(encoded(Cells(Categorical(("a", "b", "c")))), np.eye(4, 3))


# --- relevance


def test_the_group_that_matters_gets_more_weight_than_twenty_that_do_not():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 42)).astype(np.float32)
    features -= features.mean(axis=0)
    group = np.repeat(np.arange(21), 2)
    y = features[:, 14] - 0.5 * features[:, 15] + 0.1 * rng.standard_normal(40)
    weights = relevance(features, (y - y.mean()) / y.std(), group, np.full(21, 1 / 42))
    assert weights.argmax() == 7
    assert weights[7] > np.delete(weights, 7).sum() / 2
    assert weights[7] > 5 * np.delete(weights, 7).max()
    assert (weights > 0).all()


def test_what_says_nothing_keeps_what_was_believed_of_it():
    start = np.array([0.5, 2.0])
    features = np.zeros((10, 2), dtype=np.float32)
    features[:, 0] = np.linspace(-1, 1, 10)
    y = features[:, 0] / features[:, 0].std()
    assert relevance(features, y, np.array([0, 1]), start)[1] == pytest.approx(2.0)


# --- regression

KERNELS = [(0.2, 0.7, 0.1), (0.6, 1.4, 0.03), (0.6, 0.7, 0.3), (1.0, 0.7, 0.1)]


def problem(n=30, m=12, n_groups=4, seed=0):
    """Return features to learn from and to predict, targets, groups, and weights that are far from one another."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + m, 3 * n_groups)).astype(np.float32)
    y = np.sin(x[:n, 0]) + x[:n, 4] * x[:n, 1] + 0.1 * rng.standard_normal(n)
    return x[:n], x[n:], (y - y.mean()) / y.std(), np.repeat(np.arange(n_groups), 3), np.array([1.0, 0.3, 2.0, 0.1])


def scaled(x, kernel, group, *points):
    """Return features as the kernel sees them: centred, weighted, of mean length 1."""
    root = np.sqrt(kernel.weights)[group]
    mean = x.mean(axis=0)
    unit = math.sqrt(((root * (x - mean)) ** 2).sum(axis=1).mean())
    return [(root * (p - mean) / unit).astype(float) for p in points]


@pytest.mark.parametrize(("additive", "length", "noise"), KERNELS)
def test_the_posterior_is_that_of_scikit_learn(additive, length, noise):
    x, new, y, group, weights = problem()
    kernel = Kernel(weights, additive, length, noise)
    regression = Regression(x, y, np.zeros(len(x), dtype=bool), group, kernel)
    f, g = scaled(x, kernel, group, x, new)
    covariance = ConstantKernel(additive) * DotProduct(1e-9)
    if additive < 1:
        covariance += ConstantKernel(1 - additive) * RBF(length)
    oracle = GaussianProcessRegressor(covariance, alpha=noise, optimizer=None).fit(f, y)
    mean, deviation = oracle.predict(g, return_std=True)
    scale = math.sqrt(y @ oracle.alpha_ / len(y))  # the variance of largest likelihood
    found = regression.predict(new)
    np.testing.assert_allclose(found[0], mean, atol=1e-4)
    np.testing.assert_allclose(found[1], scale * deviation, atol=1e-3)
    np.testing.assert_allclose(regression.smooth, oracle.predict(f), atol=1e-4)
    np.testing.assert_allclose(regression.smooth, regression.predict(x)[0], atol=1e-4)
    fast, nothing = regression.predict(new, unsure=False)
    np.testing.assert_allclose(fast, found[0])
    assert not nothing.any()


@pytest.mark.parametrize("agreement", [0.0, 0.6, 1.0])
def test_evidence_enters_by_its_agreement(agreement):
    x, new, y, group, weights = problem()
    evidence = np.arange(len(x)) % 3 > 0
    kernel = Kernel(weights, 0.6, 0.7, 0.1, agreement)
    regression = Regression(x, y, evidence, group, kernel)

    def covariance(a, b, other):
        distance = ((a[:, None, :] - b) ** 2).sum(axis=2)
        k = 0.6 * a @ b.T + 0.4 * np.exp(-distance / (2 * 0.7**2))
        return np.where(other, agreement * k, k)

    f, g = scaled(x, kernel, group, x, new)
    inverse = np.linalg.inv(covariance(f, f, evidence[:, None] != evidence) + 0.1 * np.eye(len(x)))
    k = covariance(g, f, evidence)
    variance = np.diag(covariance(g, g, np.array(False)) - k @ inverse @ k.T) * (y @ inverse @ y) / len(y)
    mean, deviation = regression.predict(new)
    np.testing.assert_allclose(mean, k @ inverse @ y, atol=1e-4)
    np.testing.assert_allclose(deviation, np.sqrt(variance), atol=1e-3)
    np.testing.assert_allclose(regression.smooth[~evidence], regression.predict(x[~evidence])[0], atol=1e-4)


def test_without_agreement_evidence_says_nothing():
    x, new, y, group, weights = problem()
    kernel = Kernel(weights, 0.6, 0.7, 0.1, 0.0)
    own = np.zeros(len(x), dtype=bool)
    alone = Regression(x, y, own, group, kernel)
    both = np.concatenate([own, ~own])  # the same architectures, so that the features keep their centre
    for other in (y, -y, np.random.default_rng(1).standard_normal(len(y))):
        beside = Regression(np.concatenate([x, x]), np.concatenate([y, other]), both, group, kernel)
        np.testing.assert_allclose(beside.predict(new)[0], alone.predict(new)[0], atol=1e-6)
        ratio = beside.predict(new)[1] / alone.predict(new)[1]  # the unit of variance is common to all sources
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def nets(n, seed):
    """Return features and standardised errors of random nets."""
    columns = Columns(NET)
    archs = [o.arch for o in random_trials(n, seed)]
    y = np.array([figures(arch)[0] for arch in archs])
    return Features(columns), Features(columns).of(columns.of(archs)), (y - y.mean()) / y.std()


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_learned(seed):
    features, x, y = nets(90, seed)
    evidence = np.arange(90) >= 30

    def agreement(others):
        targets = np.concatenate([y[:30], (others - others.mean()) / others.std()])
        return Regression.learn(x, targets, evidence, features.group, [features.start]).agreement

    assert agreement(y[30:]) >= 0.8
    assert agreement(-y[30:]) <= 0.3


def test_what_was_learned_predicts():
    features, x, y = nets(300, 5)
    own = np.zeros(100, dtype=bool)
    kernel = Regression.learn(x[:100], y[:100], own, features.group, [features.start])
    mean, deviation = Regression(x[:100], y[:100], own, features.group, kernel).predict(x[100:])
    assert np.var(y[100:] - mean) < 0.3 * np.var(y[100:])
    inside = np.abs(y[100:] - mean) < 2 * deviation
    assert 0.8 < inside.mean() <= 1.0  # 95 % if the model were true


def test_noise_is_learned():
    features, x, y = nets(100, 6)
    own, noise = np.zeros(100, dtype=bool), np.random.default_rng(0).standard_normal(100)
    quiet, loud = (
        Regression.learn(x, t / t.std(), own, features.group, [features.start]).noise
        for t in (y, y + noise - noise.mean())
    )
    assert quiet < loud


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_trials_and_equal_ones_are_enough(n):
    features, x, y = nets(n, 0) if n > 1 else (*nets(2, 0)[:1], nets(2, 0)[1][:1], np.zeros(1))
    own = np.zeros(2 * n, dtype=bool)
    twice, targets = np.concatenate([x, x]), np.concatenate([y, y]) + np.repeat([0.0, 1e-3], n)
    kernel = Regression.learn(twice, targets, own, features.group, [features.start])
    mean, deviation = Regression(twice, targets, own, features.group, kernel).predict(twice)
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()


# --- gain

UNIT = {1: 1.0, 2: math.pi / 4, 3: math.pi / 6}
"""c_m: the share of the cube that the positive part of the unit ball fills."""


def front_of(m, k, seed):
    points = np.random.default_rng(seed).dirichlet(np.ones(m), k) if m > 1 else np.array([[0.7]])
    return points[non_dominated(-points)]


def volume(gains):
    return hypervolume(-gains, np.zeros(gains.shape[1]))


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_known_gain_is_the_hypervolume_added(m, seed):
    front = front_of(m, 6, seed)
    new = np.random.default_rng(seed + 100).random((40, m)) * 1.2 - 0.1
    exact = np.array([volume(np.concatenate([front, point[None]])) - volume(front) for point in new])
    found = UNIT[m] * Gain(front).expected(new, np.zeros_like(new))
    tolerance = {1: 1e-12, 2: 0.01, 3: 0.05}[m] * volume(np.concatenate([front, new]))
    np.testing.assert_allclose(found, exact, atol=tolerance)
    np.testing.assert_allclose(
        UNIT[m] * Gain(front[:0]).expected(front, np.zeros_like(front)), front.prod(axis=1), atol=tolerance
    )


def test_one_guessed_loss_is_expected_improvement():
    mean, deviation = (a.ravel() for a in np.meshgrid(np.linspace(0.0, 2.0, 21), [0.1, 0.3, 1.0]))
    z = (mean - 1.0) / deviation
    exact = deviation * (z * norm.cdf(z) + norm.pdf(z))
    found = Gain(np.array([[1.0]])).expected(mean[:, None], deviation[:, None])
    assert (np.abs(found - exact) < 0.06 * deviation).all()  # seven nodes


@pytest.mark.parametrize("guessed", [(0,), (1,), (0, 1), (0, 2), (0, 1, 2)], ids=str)
def test_a_guessed_gain_is_the_mean_of_what_may_be_added(guessed):
    m = max(3 if max(guessed) > 1 else 2, len(guessed))
    front, rng = front_of(m, 5, 0), np.random.default_rng(0)
    mean = np.random.default_rng(1).random((6, m)) * 0.8 + 0.2
    deviation = np.zeros((6, m))
    deviation[:, guessed] = 0.3
    found = UNIT[m] * Gain(front).expected(mean, deviation)
    draws = mean + deviation * rng.standard_normal((3000, 6, m))
    before = volume(front)
    exact = np.array([[volume(np.vstack([front, p])) - before for p in points] for points in draws])
    np.testing.assert_allclose(found, exact.mean(axis=0), atol=0.1 * exact.mean(axis=0).max())


@given(st.sampled_from([1, 2, 3]), seeds, st.floats(0, 1))
def test_what_is_known_to_be_dominated_gains_nothing(m, seed, share):
    front = front_of(m, 5, seed)
    known = np.zeros_like(front)
    assert not Gain(front).expected(front * share, known).any()
    np.testing.assert_array_equal(Gain(front).expected(front, known), 0.0)
    np.testing.assert_array_equal(Gain(front[:0]).expected(-front - 0.1, known), 0.0)  # beyond the reference


gains = arrays(float, (4, 3), elements=st.floats(-2, 2))


@given(gains, gains.map(np.abs), st.lists(st.booleans(), min_size=3, max_size=3), gains.map(np.abs), seeds)
def test_a_better_mean_never_gains_less(mean, deviation, known, better, seed):
    deviation[:, known] = 0.0
    gain = Gain(front_of(3, 5, seed))
    less, more = gain.expected(mean, deviation), gain.expected(mean + better, deviation)
    assert (less >= 0).all()
    assert (more >= less - 1e-12).all()


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_directions_are_unit_vectors_of_the_positive_part(m):
    d = directions(m)
    assert (d > 0).all()
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1.0)
    np.testing.assert_allclose((d**2).mean(axis=0), 1 / m, atol=0.02)  # no loss is preferred
