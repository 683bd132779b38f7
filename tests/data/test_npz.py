"""A user's own file: what is read, and what each thing that can be wrong with it is answered."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas.data import load_task
from nas.errors import DataError

X = np.random.default_rng(1).normal(size=(40, 3, 6)).astype(np.float32)
Y = np.arange(40) % 2


def spoilt(x, index, value):
    x = x.copy()
    x[index] = value
    return x


BAD = {
    "no x": ({"x_train": None}, ["no array x_train", "found y_train, x_test, y_test", "savez"]),
    "neither": ({"x_train": None, "y_train": None}, ["no array x_train and no array y_train"]),
    "nan": ({"x_train": spoilt(X, (7, 1, 2), np.nan)}, ["x_train holds 1 values", "nan", "(7, 1, 2)", "fill"]),
    "inf": ({"x_test": spoilt(X[:10], ([3, 4], 0, 0), np.inf)}, ["x_test holds 2 values", "inf", "(3, 0, 0)"]),
    "rank 1": ({"x_train": X[:, 0, 0]}, ["x_train has 1 axes", "(40,)"]),
    "rank 5": ({"x_train": X[:, None, None]}, ["x_train has 5 axes"]),
    "lengths": ({"y_train": Y[:39]}, ["x_train has 40 samples, y_train has 39 labels"]),
    "test lengths": ({"y_test": Y[:9]}, ["x_test has 10 samples, y_test has 9"]),
    "one class": ({"y_train": Y * 0}, ["one class only, '0'"]),
    "empty": ({"x_train": X[:0], "y_train": Y[:0]}, ["x_train is empty", "(0, 3, 6)"]),
    "empty test": ({"x_test": X[:0], "y_test": Y[:0]}, ["x_test is empty"]),
    "no values": ({"x_train": X[:, :, :0]}, ["x_train is empty"]),
    "single sample": ({"y_train": spoilt(Y, 5, 2)}, ["class '2' has a single sample", "at least one"]),
    "unseen class": ({"classes": ["a", "b", "c"]}, ["class 'c' has no sample"]),
    "several rare": ({"classes": ["a", "b", "c", "d"]}, ["(2 such classes)"]),
    "out of range": ({"y_train": spoilt(Y, 5, 2), "classes": ["a", "b"]}, ["y_train[5] is 2", "0, 1"]),
    "negative": ({"y_train": spoilt(Y, 5, -1)}, ["negative label -1", "1 times"]),
    "negative index": ({"y_train": spoilt(Y, 5, -1), "classes": ["a", "b"]}, ["y_train[5] is -1"]),
    "unknown in test": ({"y_test": spoilt(Y[:10], 3, 7)}, ["y_test[3] is 7", "0, 1"]),
    "unknown name": ({"y_train": np.array(["a", "b"])[Y], "y_test": np.array(["a", "z"] * 5)}, ["y_test[1] is 'z'"]),
    "mixed labels": ({"y_test": np.array(["a", "b"] * 5)}, ["y_test holds <U1"]),
    "test shape": ({"x_test": X[:10, :, :5]}, ["x_test has samples of shape (3, 5), x_train of (3, 6)"]),
    "test scale": ({"x_test": X[:10].astype(np.uint8)}, ["x_train is float32, x_test is uint8"]),
    "objects": ({"x_train": np.array([np.zeros(2), np.zeros(3)], object)}, ["x_train is an object array", "padded"]),
    "text": ({"x_train": X.astype(str)}, ["x_train holds <U", "float32"]),
    "complex": ({"x_train": X.astype(complex)}, ["x_train holds complex128"]),
    "float classes": ({"y_train": Y * 1.0}, ["y_train holds floats", "--task classification"]),
    "a column of float classes": (
        {"y_train": Y[:, None] * 1.0},
        ["y_train holds floats", "--task classification"],
    ),
    "one-hot": ({"y_train": np.eye(2)[Y]}, ["y_train has shape (40, 2)", "argmax"]),
    "column": ({"y_train": Y[:, None]}, ["y_train has shape (40, 1)", "ravel"]),
    "half a test set": ({"y_test": None}, ["x_test without y_test"]),
    "other half": ({"x_test": None}, ["y_test without x_test"]),
    "layout name": ({"layout": "NTW"}, ["no layout called 'NTW'", "Known:"]),
    "layout rank": ({"layout": "NCHW"}, ["layout NCHW has 4 axes, x_train has 3", "NHW, NCT, NTC"]),
    "layout type": ({"layout": [1, 2]}, ["layout holds int64"]),
    "class names": ({"classes": [["a", "b"]]}, ["classes is <U1"]),
    "class twice": ({"classes": ["a", "a"]}, ["'a' twice"]),
    "unused split": ({"x_valid": X}, ["x_valid would not be used", "train, val and test"]),
    "huge": ({"x_train": X.astype(float) * 1e200}, ["too large to scale"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_are_answered(write, case):
    changes, words = BAD[case]
    path = write(**changes)
    with pytest.raises(DataError) as caught:
        load_task(path)
    for word in [path, *words]:
        assert word in str(caught.value)


def test_a_missing_file(tmp_path, write):
    write()
    with pytest.raises(DataError, match=r"Did you mean '.*mine\.npz'"):
        load_task(str(tmp_path / "mime.npz"))
    with pytest.raises(DataError, match="no folder"):
        load_task(str(tmp_path / "absent" / "mine.npz"))
    with pytest.raises(DataError, match=r"the file itself is named: .*mine\.npz"):
        load_task(str(tmp_path))


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(
        DataError, match=r"no data set called 'digit', and no file or folder\. Did you mean 'digits'\? Data are "
    ):
        load_task("digit")


@pytest.mark.parametrize(
    ("content", "words"), [(b"x,y\n1,2\n", "not a .npz"), (b"", "not a .npz"), (b"PK\3\4abc", "not a .npz")]
)
def test_not_an_npz_file(tmp_path, content, words):
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_task(str(path))


def test_a_file_that_was_cut_or_altered(write):
    path = Path(write())
    whole = bytearray(path.read_bytes())
    whole[600:620] = bytes(20)
    path.write_bytes(whole)
    with pytest.raises(DataError, match="cannot be read"):
        load_task(str(path))
    path.write_bytes(whole[:900])
    with pytest.raises(DataError, match=r"not a \.npz"):
        load_task(str(path))


def test_a_zip_of_other_things(tmp_path):
    path = tmp_path / "other.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train", "1 2 3")
        file.writestr("y_train", "1 2 3")
    with pytest.raises(DataError, match="not a numpy array"):
        load_task(str(path))


@pytest.mark.parametrize("type_", [np.uint8, np.int16, np.float16, np.float64, bool])
def test_every_type_of_number(write, type_):
    x = np.random.default_rng(0).integers(0, 2, (40, 3, 6)).astype(type_)
    task = load_task(write(x_train=x, x_test=x[:10]))
    unit = 255 if type_ is np.uint8 else 1
    assert task.x_train.dtype.is_floating_point
    assert task.mean == pytest.approx([0.5 / unit] * 3, abs=0.1 / unit)
    assert task.x_train.std(correction=0).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["no", "yes"])[Y], ("no", "yes")),
        (np.array([b"no", b"yes"])[Y], ("no", "yes")),
        (Y * 5 + 2, ("2", "7")),
        (Y.astype(np.uint8), ("0", "1")),
        (Y.astype(bool), ("0", "1")),
        (Y * 2 - 1, ("-1", "1")),
    ],
    ids=["text", "bytes", "gaps", "uint8", "bool", "signs"],
)
def test_labels_become_indices_of_the_sorted_classes(write, labels, classes):
    task = load_task(write(y_train=labels, y_test=labels[:10]))
    assert task.classes == classes
    assert sorted(task.full()[1].tolist()) == [0] * 20 + [1] * 20
    assert task.test()[1].tolist() == Y[:10].tolist()


def test_given_classes_keep_their_order(write):
    names = np.array(["zebra", "ant"])
    by_index, by_name = (load_task(write(classes=names, y_train=y, y_test=y[:10])) for y in (Y, names[Y]))
    assert by_index.classes == by_name.classes == ("zebra", "ant")
    assert by_index.y_train.tolist() == by_name.y_train.tolist()
