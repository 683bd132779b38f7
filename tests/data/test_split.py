"""Stratified sampling against its own words: total, shares, one of each, nested."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import stratified

labels = st.lists(st.integers(2, 40), min_size=2, max_size=12).map(
    lambda sizes: np.repeat(np.arange(len(sizes)), sizes)
)


@given(labels, st.floats(0.01, 0.99), st.integers(0, 99))
def test_both_sides_hold_every_class_at_its_share(y, share, seed):
    held = stratified(y, share, np.random.default_rng(seed))
    size, taken = np.bincount(y), np.bincount(y[held], minlength=y.max() + 1)
    assert len(set(held.tolist())) == len(held)
    assert (np.diff(held) > 0).all()
    assert ((taken >= 1) & (taken <= size - 1)).all()
    assert (np.abs(np.clip(taken - share * size, -1, 1) - (taken - share * size)) < 1e-6).all() or taken.min() == 1


@given(labels, st.floats(0.3, 0.7), st.integers(0, 99))
def test_the_total_is_the_rounded_share(y, share, seed):
    y = np.concatenate([y, y, y])  # six of a class and more: no class runs into its bounds
    assert len(stratified(y, share, np.random.default_rng(seed))) == round(share * len(y))


def test_equal_classes_do_not_favour_the_first():
    y = np.repeat(np.arange(3), 12)  # 0.2 of them is 2.4 each, 7 in all: one class gives three
    third = [np.bincount(y[stratified(y, 0.2, np.random.default_rng(s))]).argmax() for s in range(60)]
    assert set(third) == {0, 1, 2}  # chance that a fair draw leaves one out: 1e-10


def test_a_larger_share_contains_a_smaller_one():
    y = np.repeat(np.arange(10), 100)
    small, large = (set(stratified(y, share, np.random.default_rng(3), leave=0)) for share in (0.1, 0.3))
    assert small < large


@pytest.mark.parametrize(("share", "leave", "expected"), [(1.0, 0, [1, 5]), (1.0, 1, [1, 4]), (0.01, 0, [1, 1])])
def test_the_ends(share, leave, expected):
    y = np.repeat([0, 1], [1, 5])
    assert np.bincount(y[stratified(y, share, np.random.default_rng(0), leave=leave)]).tolist() == expected
