"""What every subset method keeps, herding and farthest-first against slow truths, and the directions they look in."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import SUBSETS, representative, select, stratified
from nas.data.representative import principal_components
from nas.errors import DataError, NasError

METHODS = sorted(SUBSETS)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def samples(draw):
    """Up to six classes of 1 to 40 samples with copies among them, labels of any value in any order."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    labels = draw(st.permutations([-1, 0, 1, 5, 7, 900]))[: len(sizes)]
    random = rng(draw(st.integers(0, 99)))
    y = random.permutation(np.repeat(labels, sizes))
    x = random.normal(size=(len(y), draw(st.sampled_from([1, 3, 50])))).astype(np.float32)
    return x[random.integers(len(y), size=len(y))] if draw(st.booleans()) else x, y


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


@pytest.fixture(
    scope="class", params=[4096, 7], ids=["whole classes", "divided classes"]
)  # Hypothesis takes no narrower one
def part(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representative, "_PART", request.param)
        yield request.param


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("part")
@given(data=samples(), shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), seed=st.integers(0, 99))
def test_contract(method, data, shares, seed):
    x, y = data
    small, large = (select(method, x, y, share, rng(seed)) for share in sorted(shares))
    for chosen, share in zip((small, large), sorted(shares), strict=True):
        assert chosen.dtype == np.int64
        assert (np.diff(chosen) > 0).all()
        assert chosen[0] >= 0
        assert chosen[-1] < len(y)
        expected = np.unique(y[stratified(y, share, rng(seed), leave=0)], return_counts=True)
        for got, wanted in zip(np.unique(y[chosen], return_counts=True), expected, strict=True):
            assert got.tolist() == wanted.tolist()
        assert set(y[chosen]) == set(y)
        assert (chosen == select(method, x, y, share, rng(seed))).all()
    for c in set(y):
        of_small, of_large = (set(s[y[s] == c].tolist()) for s in (small, large))
        assert of_small <= of_large or (of_large < of_small and len(of_small) == len(of_large) + 1)


@pytest.mark.usefixtures("part")
def test_equal_classes_are_strictly_nested(method):
    x, y = rng().normal(size=(300, 5)).astype(np.float32), np.arange(300) % 3
    chosen = [set(select(method, x, y, share, rng(1))) for share in (0.02, 0.1, 0.13, 0.5, 0.99, 1.0)]
    assert [len(c) for c in chosen] == [6, 30, 39, 150, 297, 300]
    assert all(a < b for a, b in pairwise(chosen))


def test_the_generator_decides_where_there_is_a_choice(method, part):
    x, y = rng().normal(size=(400, 5)).astype(np.float32), np.arange(400) % 2
    one, other = (select(method, x, y, 0.2, rng(seed)).tolist() for seed in (1, 2))
    assert (one == other) == (method != "stratified" and part > 200)  # all of a class in view leaves none


def test_samples_of_any_shape_are_flattened(method):
    x, y = rng().normal(size=(60, 3, 4, 5)).astype(np.float32), np.arange(60) % 3
    flat = select(method, x.reshape(60, 60), y, 0.3, rng())
    assert select(method, x, y, 0.3, rng()).tolist() == flat.tolist()


def test_samples_and_labels_stay_as_they_are(method):
    x, y = rng().normal(size=(60, 40)).astype(np.float32), np.arange(60) % 3
    before = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    select(method, x, y, 0.3, rng())
    assert (x == before[0]).all()
    assert (y == before[1]).all()


def test_copies_of_one_sample_do_no_harm(method):
    x, y = np.full((30, 50), 7, np.float32), np.repeat([0, 1], [10, 20])
    assert np.bincount(y[select(method, x, y, 0.5, rng())]).tolist() == [5, 10]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, 30, float("nan")])
def test_a_share_is_a_share(method, share):
    with pytest.raises(DataError, match=r"subset must be in \(0, 1\], got .*for 30 % write 0\.3"):
        select(method, np.zeros((4, 2), np.float32), np.arange(4) % 2, share, rng())


def test_a_miss_is_helpful():
    with pytest.raises(NasError, match=r"no subset method called 'herdng'. Did you mean 'herding'\? Known: herding, k"):
        select("herdng", np.zeros((4, 2), np.float32), np.arange(4) % 2, 0.5, rng())


def clusters(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, each of a dense and a wide cluster of unequal size, in 6 dimensions."""
    random = rng(5)
    y = np.arange(n) % 2
    centre = np.where(random.random(n) < 0.8, 0.0, 4.0) + 2 * y
    return (centre[:, None] + random.normal(size=(n, 6)) * (1 + (centre > 3))[:, None]).astype(np.float32), y


def mean_error(x, y, chosen):
    return sum(np.linalg.norm(x[y == c].mean(0) - x[chosen][y[chosen] == c].mean(0)) for c in set(y))


def radius(x, y, chosen):
    """The largest distance from a sample to the nearest chosen one of its class."""
    distances = np.linalg.norm(x[:, None] - x[chosen][None], axis=2)
    return np.where(y[:, None] == y[chosen][None], distances, np.inf).min(1).max()


@pytest.mark.parametrize(("method", "error"), [("herding", mean_error), ("kcentre", radius)])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("part", [4096, 120])
def test_each_is_better_than_chance_at_what_it_is_for(method, error, share, part, monkeypatch):
    monkeypatch.setattr(representative, "_PART", part)
    x, y = clusters()
    ours = error(x, y, select(method, x, y, share, rng()))
    chance = [error(x, y, select("stratified", x, y, share, rng(s))) for s in range(20)]
    assert ours < min(chance)  # without any advantage: 1 seed in 21


def slow_herding(x: np.ndarray, k: int) -> list[int]:
    """Chen et al., eq. 8, on samples of one class, term by term."""
    squared = ((x[:, None].astype(float) - x[None]) ** 2).sum(2)
    kernel = np.exp(-squared / (2 * np.median(squared[np.triu_indices(len(x), 1)])))
    chosen: list[int] = []
    for _ in range(k):
        score = kernel.mean(0) - kernel[chosen].sum(0) / (len(chosen) + 1)
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
    return chosen


@pytest.mark.parametrize("k", [1, 2, 5, 17, 39])
def test_herding_agrees_with_the_formula(k):
    x = rng(k).normal(size=(40, 6)).astype(np.float32)
    assert set(select("herding", x, np.zeros(40, int), k / 40, rng())) == set(slow_herding(x, k))


@given(st.integers(0, 999), st.integers(1, 3))
def test_farthest_first_is_within_twice_the_best_radius(seed, k):
    x, y = rng(seed).normal(size=(7, 2)).astype(np.float32), np.zeros(7, int)
    best = min(radius(x, y, list(chosen)) for chosen in combinations(range(7), k))
    assert radius(x, y, select("kcentre", x, y, k / 7, rng())) <= 2 * best + 1e-5  # Gonzalez 1985


def test_farthest_first_begins_in_the_middle_and_goes_to_the_ends():
    x = np.array([[0], [1], [2], [3.1], [4.5]], np.float32)
    got = [select("kcentre", x, np.zeros(5, int), k / 5, rng()).tolist() for k in (1, 2, 3)]
    assert got == [[2], [2, 4], [0, 2, 4]]


def test_principal_components_keep_what_varies():
    random = rng(2)
    scales = np.r_[np.linspace(9, 3, 20), np.full(580, 0.01)]
    turn = np.linalg.qr(random.normal(size=(600, 600)))[0]
    x = (5 + random.normal(size=(8000, 600)) * scales @ turn).astype(np.float32)  # more than a sample and a chunk
    z = principal_components(x, 20, rng())
    assert z.shape == (8000, 20)
    a, b = random.integers(8000, size=(2, 500))
    kept = np.linalg.norm(z[a] - z[b], axis=1) / np.linalg.norm(x[a] - x[b], axis=1)
    assert kept[a != b].min() > 0.99
    assert kept[a != b].max() < 1.001


def test_principal_components_of_few_samples_or_features():
    few, narrow = rng().normal(size=(9, 100)).astype(np.float32), rng().normal(3, size=(50, 4)).astype(np.float32)
    z = principal_components(few, 32, rng())
    distances = [np.linalg.norm(a[:, None] - a[None], axis=2) for a in (few, z)]
    np.testing.assert_allclose(*distances, atol=1e-4)
    np.testing.assert_allclose(principal_components(narrow, 32, rng()), narrow - narrow.mean(0), atol=1e-6)
