"""Which axis is which: every pair of what a file holds and what a space reads."""

import numpy as np
import pytest
import torch

from nas.data import Arrays, load_task, make_task
from nas.errors import DataError

N, Y = 40, np.arange(40) % 2
SIZES = {"N": N, "C": 3, "H": 5, "W": 7, "T": 11, "F": 13}


def arrays(layout, *, declared=True, **sizes):
    shape = tuple((SIZES | sizes)[axis] for axis in layout)
    x = np.random.default_rng(0).normal(2.0, 3.0, shape).astype(np.float32)
    return Arrays(
        name="x", where="x", x_train=x, y_train=Y, x_test=x[:10], y_test=Y[:10], layout=layout if declared else None
    )


WANTED = {
    ("NCHW", None): (3, 5, 7),
    ("NHWC", None): (3, 5, 7),
    ("NHW", None): (1, 5, 7),
    ("NCT", None): (11, 3),
    ("NTC", None): (11, 3),
    ("NF", None): (13,),
    ("NCHW", "image"): (3, 5, 7),
    ("NHWC", "sequence"): (5, 21),
    ("NHW", "sequence"): (5, 7),
    ("NCT", "sequence"): (11, 3),
    ("NF", "sequence"): (13, 1),
    ("NHWC", "vector"): (105,),
    ("NCT", "vector"): (33,),
    ("NF", "vector"): (13,),
}


@pytest.mark.parametrize(("layout", "input"), WANTED)
def test_declared_layouts(layout, input):
    data = arrays(layout)
    task = make_task(data, input=input)
    assert task.in_shape == WANTED[layout, input]
    assert task.x_train.shape[1:] == task.x_val.shape[1:] == task.test()[0].shape[1:] == task.in_shape
    channel = {3: 0, 2: 1, 1: 0}[len(task.in_shape)]
    assert len(task.mean) == len(task.std) == task.in_shape[channel]
    undone = task.test()[0] * spread(task.std, task.in_shape) + spread(task.mean, task.in_shape)
    assert torch.allclose(undone.flatten(1).sum(1), torch.tensor(data.x_train[:10]).flatten(1).sum(1), atol=1e-2)


def spread(values, in_shape):
    return torch.tensor(values).reshape((-1, 1, 1) if len(in_shape) == 3 else (-1,))


@pytest.mark.parametrize(
    ("layout", "input", "sizes", "in_shape"),
    [
        ("NCHW", None, {}, (3, 5, 7)),
        ("NHWC", None, {}, (3, 5, 7)),
        ("NHWC", None, {"C": 1}, (1, 5, 7)),
        ("NCHW", None, {"W": 3}, (3, 5, 3)),  # both ends look like colours: torch's order
        ("NCHW", None, {"C": 16}, (16, 5, 7)),
        ("NCT", None, {}, (11, 3)),
        ("NHW", "image", {}, (1, 5, 7)),
        ("NCT", "vector", {}, (33,)),
        ("NF", None, {}, (13,)),
    ],
)
def test_guessed_layouts(layout, input, sizes, in_shape):
    assert make_task(arrays(layout, declared=False, **sizes), input=input).in_shape == in_shape


@pytest.mark.parametrize(("layout", "input"), [("NCT", "image"), ("NTC", "image"), ("NF", "image")])
def test_what_is_no_image_is_refused(layout, input):
    with pytest.raises(
        DataError, match=r"cannot be read as 'input: image'; use a space with 'input: (sequence|vector)'"
    ):
        make_task(arrays(layout), input=input)


def test_an_unknown_input_is_refused():
    with pytest.raises(DataError, match=r"no input kind called 'images'\. Did you mean 'image'"):
        make_task(arrays("NF"), input="images")


def test_tokens_are_time_steps(write):
    x = np.arange(40 * 3 * 6, dtype=np.float32).reshape(40, 3, 6)
    task = load_task(write(x_train=x, x_test=x[:10]))
    undone = task.test()[0] * torch.tensor(task.std) + torch.tensor(task.mean)
    assert torch.allclose(undone[2, 4], torch.tensor(x[2, :, 4]), atol=1e-3)


def test_rows_are_tokens():
    data = arrays("NCHW")
    image, rows = (make_task(data, input=input) for input in ("image", "sequence"))
    assert torch.equal(rows.x_train[3, 2], image.x_train[3, :, 2].flatten())


def test_a_flattened_image_is_standardised_as_the_image():
    data = arrays("NHWC")
    image, flat = (make_task(data, input=input) for input in ("image", "vector"))
    assert torch.equal(flat.x_train, image.x_train.flatten(1))


def test_channels_are_standardised_by_the_training_split_alone():
    data = arrays("NCT")
    task = make_task(data)
    assert torch.allclose(task.x_train.mean((0, 1)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(task.x_train.std((0, 1), correction=0), torch.ones(3), atol=1e-4)
    assert task.x_val.mean((0, 1)).abs().max() > 1e-3


def test_a_constant_channel_stays_finite():
    x = np.full((40, 3), 0.1, np.float32)
    x[:, 0] = np.arange(40)
    task = make_task(Arrays(name="x", where="x", x_train=x, y_train=Y))
    assert task.std[1:] == (1.0, 1.0)
    assert task.x_train[:, 1:].abs().max() < 1e-6


def test_a_large_offset_keeps_its_digits():
    seconds = 1.7e9 + np.arange(40.0)[:, None]  # float32 counts these in steps of 128
    task = make_task(Arrays(name="x", where="x", x_train=seconds, y_train=Y))
    assert len(task.x_train.unique()) == 32
