"""What a user with bad data is told: the place, what was found there, and what to do."""

import os
from pathlib import Path

import numpy as np
import pytest
from pictures import pets, picture, plant

from nas.data import load_task
from nas.errors import DataError

HEAD = "@problemName odd\n@classLabel true no yes\n@data\n"


def two_sizes(root):
    plant(root, cat__0=(30, 40), cat__1=(30, 40), dog__0=(30, 40), dog__1=(28, 60))


def two_colours(root):
    plant(root, cat__0=(8, 8), cat__1=picture((8, 8), mode="L"), dog__0=(8, 8), dog__1=(8, 8))


def cut(root):
    pets(root, (40, 40))
    whole = (root / "dog" / "2.png").read_bytes()
    (root / "dog" / "2.png").write_bytes(whole[: len(whole) // 2])


def broken(root):
    pets(root)
    for i in (1, 3):
        (root / "cat" / f"{i}.png").write_bytes(b"not an image")


def empty(root):
    pets(root)
    (root / "bird").mkdir()


def of_text(root):
    pets(root)
    (root / "bird").mkdir()
    (root / "bird" / "names.csv").write_text("a,b")


def loose(root):
    root.mkdir()
    picture((8, 8)).save(root / "a.png")


def dead_link(root):
    pets(root)
    os.symlink(root / "nowhere.png", root / "cat" / "link.png")


def floats(root):
    pets(root)
    picture((8, 8), mode="F").save(root / "cat" / "float.tif")


def new_in_test(root):
    pets(root, split="train"), pets(root, split="test")
    plant(root, test__bird__0=(8, 8), test__bird__1=(8, 8))


def no_train(root):
    pets(root, split="val"), pets(root, split="test")


def splits_and_classes(root):
    pets(root, split="train"), pets(root, split="val")
    plant(root, bird__0=(8, 8))


def two_vals(root):
    for split in ("train", "val", "valid"):
        pets(root, split=split)


def one_class(root):
    plant(root, cat__0=(8, 8), cat__1=(8, 8))


def one_image(root):
    pets(root)
    plant(root, bird__0=(8, 8))


def own_val(root):
    pets(root, split="train"), pets(root, split="val")


def ts(text, name="odd_TRAIN.ts"):
    def make(root):
        root.mkdir()
        (root / name).write_text(text)

    return make


def npz(**arrays):
    def make(root):
        root.mkdir()
        np.savez(root / "mine.npz", **arrays)

    return make


FLOATS = {"x_train": np.zeros((8, 3, 5, 5)), "y_train": np.arange(8) % 2}
SERIES = {"x_train": np.zeros((8, 3, 5)), "y_train": np.arange(8) % 2}
ROWS = "1,2:yes\n3,4:no\n1,2:yes\n3,4:no\n"

CASES = {
    # name: (what makes it, what is loaded below it, options, what the message says)
    "sizes": (two_sizes, ".", {}, ["cat/0.png is 30 x 40", "dog/1.png is 28 x 60", "--resolution 28", "square"]),
    "colours": (two_colours, ".", {}, ["cat/1.png is grey (1 ", "cat/0.png has colours (3)", "--channels 1", "RGB"]),
    "cut image": (cut, ".", {}, ["dog/2.png: the image cannot be decoded", "mend or remove it"]),
    "no image": (broken, ".", {}, ["cat/1.png", "no image that is known", "1 more such files"]),
    "empty class": (empty, ".", {}, ["bird: the folder of a class is empty", "remove it, or add images (.jpg"]),
    "class of text": (of_text, ".", {}, ["bird: the folder of a class holds no images, but names.csv"]),
    "loose images": (loose, ".", {}, ["1 images lie in the folder itself, such as a.png", "CLASS/a.png"]),
    "dead link": (dead_link, ".", {}, ["cat/link.png: a link that leads nowhere"]),
    "floats": (floats, ".", {}, ["cat/float.tif: holds 'F' pixels", "8 bit"]),
    "class in test alone": (
        new_in_test,
        ".",
        {},
        ["test/bird: a class that the training images do not have", "cat, dog"],
    ),
    "no train": (no_train, ".", {}, ["holds test, val and no folder called train"]),
    "splits and classes": (splits_and_classes, ".", {}, ["holds train, val and also bird"]),
    "two vals": (two_vals, ".", {}, ["both val and valid hold a split"]),
    "one class": (one_class, ".", {}, ["one class only, 'cat'"]),
    "one image": (one_image, ".", {}, ["class 'bird' has a single sample"]),
    "val and a share": (own_val, ".", {"val_share": 0.3}, ["a validation split of its own (8 samples)", "--val-share"]),
    "length of images": (pets, ".", {"length": 8}, ["--length is for sequences"]),
    "no resolution": (pets, ".", {"resolution": 0}, ["resolution must be a whole number of at least 1, got 0"]),
    "large resolution": (pets, ".", {"resolution": 9999}, ["at most 4096 pixels, got 9999"]),
    "two channels": (pets, ".", {"channels": 2}, ["channels must be 1 (grey) or 3 (RGB), got 2"]),
    "floats resized": (
        npz(**FLOATS),
        "mine.npz",
        {"resolution": 8},
        ["--resolution 8", "float64 with 3 of 5 x 5", "uint8"],
    ),
    "sequences resized": (npz(**SERIES), "mine.npz", {"resolution": 8}, ["is for images, and the data are sequences"]),
    "images cut": (npz(**FLOATS), "mine.npz", {"length": 8}, ["--length is for sequences, and the data are images"]),
    "half a val": (npz(**SERIES, x_val=np.zeros((2, 3, 5))), "mine.npz", {}, ["x_val without y_val; add y_val"]),
    "val of another shape": (
        npz(**SERIES, x_val=np.zeros((2, 3, 4)), y_val=[0, 1]),
        "mine.npz",
        {},
        ["x_val has samples of shape (3, 4), x_train of (3, 5)"],
    ),
    "class in val alone": (npz(**SERIES, x_val=np.zeros((2, 3, 5)), y_val=[0, 2]), "mine.npz", {}, ["y_val[1] is 2"]),
    "array by another name": (npz(**SERIES, x_valid=np.zeros(2)), "mine.npz", {}, ["x_valid would not be used", "val"]),
    "folder of a .npz": (npz(**SERIES), ".", {}, ["the file itself is named", "mine.npz"]),
    "unequal lengths": (
        ts(HEAD + "1,2,3:yes\n1,2:no\n"),
        ".",
        {},
        ["2 steps in ", "odd_TRAIN.ts, line 5", "3 in ", "line 4", "--length 3 pads", "zeros", "--length 2 cuts"],
    ),
    "unequal channels": (ts(HEAD + "1,2:1,2,3:yes\n"), ".", {}, ["line 4: channels of unequal length: 2, 3"]),
    "missing value": (
        ts(HEAD + "1,2:yes\n1,2,?:no\n"),
        ".",
        {},
        ["line 5: value 3 is missing ('?')", "file.py:function"],
    ),
    "NaN": (ts(HEAD + "1,NaN:3,4:yes\n"), ".", {}, ["line 4, channel 1: value 2 is missing (NaN)"]),
    "word": (ts(HEAD + "1,two:yes\n"), ".", {}, ["line 4: value 2 is 'two', no number"]),
    "label": (ts(HEAD + "1,2:maybe\n"), ".", {}, ["line 4: label 'maybe' is not among", "no, yes"]),
    "no label": (ts(HEAD + "1,2\n"), ".", {}, ["line 4: no label"]),
    "channels": (ts(HEAD + "1:2:yes\n1:no\n"), ".", {}, ["line 5: 1 channels before the label, not 2"]),
    "tag of channels": (
        ts("@dimensions 3\n" + HEAD + "1:2:yes\n"),
        ".",
        {},
        ["2 channels before the label, not 3"],
    ),
    "times": (ts("@timeStamps true\n" + HEAD + "(0,1),(1,2):yes\n"), ".", {}, ["@timeStamps true", "even steps"]),
    "targets": (ts("@targetLabel true\n@data\n1,2:0.5\n"), ".", {}, ["@targetLabel true", "classes"]),
    "no classes": (ts("@classLabel false\n@data\n1,2:3\n"), ".", {}, ["@classLabel false", "no labels to learn"]),
    "no data": (ts("@problemName odd\n1,2:yes\n"), ".", {}, ["line 2: '1,2:yes' before @data"]),
    "no cases": (ts(HEAD), ".", {}, ["no cases after @data"]),
    "no head": (ts("@problemName odd\n"), ".", {}, ["no line @data"]),
    "test alone": (ts(HEAD + ROWS, "odd_TEST.ts"), "odd_TEST.ts", {}, ["without odd_TRAIN.ts beside it"]),
    "no such .ts": (ts(HEAD + ROWS), "even_TRAIN.ts", {}, ["even_TRAIN.ts: no such file"]),
    "resolution of .ts": (ts(HEAD + ROWS), ".", {"resolution": 8}, ["--resolution is for images"]),
    "channels of .ts": (ts(HEAD + ROWS), ".", {"channels": 1}, ["--channels is for images"]),
    "another kind": (ts("a,b\n", "a.csvx"), "a.csvx", {}, ["a file of no kind that is read here", "a .npz file"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_message_says_where_what_and_what_to_do(tmp_path, case):
    make, spec, options, words = CASES[case]
    root = tmp_path / "data"
    make(root)
    with pytest.raises(DataError) as caught:
        load_task(root / spec, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr("nas.data.memory.available_bytes", lambda: 100_000)


def test_images_that_would_not_fit_are_not_decoded(tmp_path, little_memory, monkeypatch):
    pets(tmp_path, (64, 48), n=8)
    monkeypatch.setattr("nas.data.folders.decode_files", None)
    with pytest.raises(DataError) as caught:
        load_task(tmp_path)
    for word in (
        "16 images of 64 x 48 with 3 channels",
        "885 kB of memory, and 100 kB are free",
        "--resolution 17 would",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize(("type_", "size"), [(np.uint8, "433 kB"), (np.float32, "865 kB"), (np.float64, "2.02 MB")])
def test_a_file_that_would_not_fit_is_not_read(tmp_path, little_memory, monkeypatch, type_, size):
    np.savez_compressed(tmp_path / "big.npz", x_train=np.zeros((100, 3, 20, 12), type_), y_train=np.arange(100) % 2)
    monkeypatch.setattr("nas.data.npz._read", None)
    with pytest.raises(DataError) as caught:
        load_task(tmp_path / "big.npz")
    for word in (
        "big.npz",
        f"x_train is (100, 3, 20, 12) of {np.dtype(type_)}",
        f"{size} of memory",
        "100 kB are free",
    ):
        assert word in str(caught.value)


def test_arrays_that_are_there_but_whose_copies_would_not_fit(tmp_path, little_memory, monkeypatch):
    (tmp_path / "many.py").write_text(
        "import numpy as np\ndef f(): return np.eye(5000, 9, dtype='u1'), [0, 1] * 2500\n"
    )
    with pytest.raises(DataError, match=r"5000 samples of \(9,\) as float32.* and 100 kB are free"):
        load_task(f"{tmp_path / 'many.py'}:f")


def test_what_fits_is_read_although_memory_is_little(tmp_path, little_memory):
    pets(tmp_path, (8, 8))
    assert load_task(tmp_path).in_shape == (3, 8, 8)
    pets(tmp_path / "large", (64, 48), n=8)
    assert load_task(Path(tmp_path / "large"), resolution=17).in_shape == (3, 17, 17)
    with pytest.raises(DataError, match="would take 93"):
        load_task(Path(tmp_path / "large"), resolution=18)
