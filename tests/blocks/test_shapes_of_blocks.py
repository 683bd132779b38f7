"""Output sizes are ceil(size / stride) for whatever sizes, and the converters undo each other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.blocks import BLOCKS, Flatten, MapToTokens, TokensToMap, config_class

sizes = st.integers(1, 19)
odd = st.sampled_from([1, 3, 5, 7])
strides = st.integers(1, 5)
quick = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("name", ["conv", "separable", "mbconv", "resblock", "maxpool", "avgpool"])
@quick
@given(h=sizes, w=sizes, kernel=odd, stride=strides)
def test_windows_visit_ceil_positions(name: str, h: int, w: int, kernel: int, stride: int) -> None:
    block = BLOCKS[name]((2, h, w), config_class(BLOCKS[name])(kernel=kernel, stride=stride))
    expected = (block.out_shape[0], math.ceil(h / stride), math.ceil(w / stride))
    assert block.out_shape == expected
    assert block.eval()(torch.zeros(1, 2, h, w)).shape[1:] == expected


windows = st.one_of(st.tuples(odd, strides), st.integers(1, 6).map(lambda k: (k, k)))


@pytest.mark.parametrize("name", ["maxpool", "avgpool"])
@quick
@given(h=sizes, w=sizes, window=windows)
def test_pools_agree_with_a_loop(name: str, h: int, w: int, window: tuple[int, int]) -> None:
    """Over windows that are cut off at the borders, so that padding counts for nothing."""
    kernel, stride = window
    block = BLOCKS[name]((1, h, w), config_class(BLOCKS[name])(kernel=kernel, stride=stride))
    x = torch.randn(1, 1, h, w) - 3  # padding with zeros would win a maximum, and raise a mean
    y = block(x)
    assert y.shape[1:] == block.out_shape == (1, math.ceil(h / stride), math.ceil(w / stride))
    before = kernel // 2 if kernel % 2 else 0  # an odd window is centred, an even one starts at its position
    for i, j in torch.cartesian_prod(torch.arange(y.shape[2]), torch.arange(y.shape[3])).tolist():
        top, left = i * stride - before, j * stride - before
        seen = x[0, 0, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
        torch.testing.assert_close(y[0, 0, i, j], seen.amax() if name == "maxpool" else seen.mean())


@quick
@given(h=sizes, w=sizes, patch=st.integers(1, 7))
def test_patches_cover_every_pixel_once(h: int, w: int, patch: int) -> None:
    block = BLOCKS["patches"]((1, h, w), config_class(BLOCKS["patches"])(width=1, patch=patch))
    torch.nn.init.ones_(block.embed.weight)
    y = block(torch.ones(1, 1, h, w))
    assert y.shape[1:] == block.out_shape == (1, math.ceil(h / patch), math.ceil(w / patch))
    assert y.sum().item() == h * w


@quick
@given(t=st.integers(1, 40), kernel=odd, stride=strides, dilation=st.integers(1, 4))
def test_conv1d_visits_ceil_positions(t: int, kernel: int, stride: int, dilation: int) -> None:
    config = config_class(BLOCKS["conv1d"])(width=3, kernel=kernel, stride=stride, dilation=dilation)
    block = BLOCKS["conv1d"]((t, 2), config)
    assert block.out_shape == (math.ceil(t / stride), 3)
    assert block.eval()(torch.zeros(1, t, 2)).shape[1:] == block.out_shape


@quick
@given(c=st.integers(1, 5), h=sizes, w=sizes, n=st.integers(1, 3))
def test_tokens_are_the_rows_of_the_map(c: int, h: int, w: int, n: int) -> None:
    x = torch.randn(n, c, h, w)
    to_tokens = MapToTokens((c, h, w))
    to_map = TokensToMap(to_tokens.out_shape, (h, w))
    tokens = to_tokens(x)
    assert tokens.shape[1:] == to_tokens.out_shape == (h * w, c)
    assert torch.equal(tokens[:, w * (h - 1)], x[:, :, h - 1, 0])
    assert to_map.out_shape == (c, h, w)
    assert torch.equal(to_map(tokens), x)


def test_flatten_takes_any_shape() -> None:
    for shape in ((2, 3, 4), (3, 4), (12,)):
        flatten = Flatten(shape)
        x = torch.randn(5, *shape)
        assert flatten.out_shape == (math.prod(shape),)
        assert torch.equal(flatten(x), x.reshape(5, -1))


def test_a_grid_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="a grid of 3 x 4 holds 12 tokens, got 10"):
        TokensToMap((10, 6), (3, 4))
