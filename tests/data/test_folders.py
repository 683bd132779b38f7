"""A folder of images: what is read from it, in what order, upright, in which size and colour."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import pets, picture, plant
from PIL import Image
from torchvision import transforms

from nas.data import load_task
from nas.data.folders import read_folder
from nas.data.images import prepare
from nas.data.reading import AS_THEY_ARE, Reading
from nas.errors import DataError

SMALL = Reading(resolution=4)


def test_a_tree_of_classes(tmp_path):
    task = load_task(pets(tmp_path / "pets", (6, 9), n=10))
    assert (task.name, task.in_shape, task.classes) == ("pets", (3, 6, 9), ("cat", "dog"))
    assert (len(task.y_train), len(task.y_val)) == (16, 4)
    assert (task.channels, task.resolution, task.length) == ("RGB", None, None)
    assert task.scale == 1 / 255
    pixels = np.asarray(picture((6, 9), 0)) / 255
    found = task.full()[0][task.full()[1] == 0] * torch.tensor(task.std).reshape(3, 1, 1)
    found = (found + torch.tensor(task.mean).reshape(3, 1, 1)).permute(0, 2, 3, 1)
    assert min(abs(one.numpy() - pixels).max() for one in found) < 1e-5, "cat/0.png is one of them, as it was stored"


def test_splits_of_the_tree_are_the_splits_of_the_task(tmp_path):
    for split, n in (("train", 5), ("val", 3), ("test", 2)):
        pets(tmp_path, n=n, split=split)
    task = load_task(tmp_path)
    assert [len(y) for y in (task.y_train, task.y_val, task.test()[1])] == [10, 6, 4]
    assert task.y_val.tolist() == [0, 0, 0, 1, 1, 1]
    assert load_task(tmp_path, seed=5).fingerprint() == task.fingerprint(), "there is nothing to draw"


@pytest.mark.parametrize(("train", "val"), [("Training", "valid"), ("train", "validation")])
def test_splits_by_other_names(tmp_path, train, val):
    pets(tmp_path, n=3, split=train), pets(tmp_path, n=1, split=val)
    task = load_task(tmp_path)
    assert (len(task.y_train), len(task.y_val)) == (6, 2)


def test_a_class_may_be_called_train(tmp_path):
    vehicles = plant(tmp_path, **{f"{c}__{i}": (5, 5) for c in ("bus", "train", "tram") for i in range(2)})
    assert load_task(vehicles).classes == ("bus", "train", "tram")


def test_a_split_of_an_unknown_name_is_no_class(tmp_path):
    pets(tmp_path, n=2, split="train"), pets(tmp_path, n=2, split="holdout")
    with pytest.raises(DataError, match="holds train and also holdout; keep only the folders of splits"):
        load_task(tmp_path)


def test_the_order_is_that_of_the_paths_whatever_the_disk_says(tmp_path):
    there = plant(tmp_path / "a", dog__2=(4, 4), cat__b__0=(4, 4), dog__1=(4, 4), cat__a=(4, 4))
    again = tmp_path / "b"
    for source in sorted(there.rglob("*.png"), reverse=True):
        target = again / source.relative_to(there)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    one, other = (read_folder(path, AS_THEY_ARE) for path in (there, again))
    assert np.array_equal(one.x_train, other.x_train)
    seeds = (3, 1, 2, 0)  # cat/a, cat/b/0, dog/1, dog/2
    assert np.array_equal(one.x_train, [np.asarray(picture((4, 4), seed)) for seed in seeds])
    assert one.y_train.tolist() == [0, 0, 1, 1]


def test_hidden_files_and_files_of_other_kinds_are_left_out(tmp_path):
    pets(tmp_path, n=2)
    plant(tmp_path, **{".git__x": (9, 9), "cat__.thumbs__x": (9, 9)})
    plant(tmp_path / "__MACOSX", x=(9, 9))
    picture((9, 9)).save(tmp_path / "cat" / ".hidden.png")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    assert read_folder(tmp_path, AS_THEY_ARE).x_train.shape == (4, 8, 8, 3)


def test_links_are_followed_and_a_circle_of_them_ends(tmp_path):
    kept = plant(tmp_path / "elsewhere", a__0=(8, 8), a__1=(8, 8))
    pets(tmp_path / "pets", n=2)
    os.symlink(kept / "a", tmp_path / "pets" / "bird")
    os.symlink(kept / "a" / "0.png", tmp_path / "pets" / "cat" / "linked.png")
    os.symlink(tmp_path / "pets" / "cat", tmp_path / "pets" / "cat" / "again")
    arrays = read_folder(tmp_path / "pets", AS_THEY_ARE)
    assert arrays.y_train.tolist() == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_as_its_exif_says(tmp_path, orientation):
    upright = np.zeros((16, 24), np.uint8)
    upright[:, :8] = 255  # white on the left
    turn = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # as PIL numbers its transpositions
    stored = Image.fromarray(upright)
    stored = stored if turn is None else stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(4):
        path = tmp_path / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        stored.save(path, quality=100, exif=exif)
    found = read_folder(tmp_path, AS_THEY_ARE).x_train
    assert found.shape == (4, 16, 24)
    assert abs(found.astype(int) - upright).max() < 8


@pytest.mark.parametrize("size", [(50, 33), (33, 50), (64, 64), (7, 200), (20, 11)])
def test_resizing_is_torchvisions_to_the_bit(size):
    there = transforms.Compose([transforms.Resize(20), transforms.CenterCrop(20)])
    assert np.array_equal(prepare(picture(size), 20, 3), np.asarray(there(picture(size))))


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path):
    waves = np.sin(np.arange(640)[:, None] / 60) * np.cos(np.arange(480) / 50) * 120 + 128
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "x.jpg", quality=95)
    with Image.open(tmp_path / "x.jpg") as whole, Image.open(tmp_path / "x.jpg") as part:
        whole.load()
        assert abs(prepare(whole, 16, 1).astype(int) - prepare(part, 16, 1)).max() <= 6


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("L", 1), ("1", 1), ("LA", 1), ("I;16", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3)],
)
def test_every_kind_of_pixel_becomes_grey_or_rgb(tmp_path, mode, channels):
    image = picture((8, 8), mode="L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        assert image.mode == mode
    suffix = "tif" if mode == "CMYK" else "png"
    for i in range(4):
        path = tmp_path / "ab"[i % 2] / f"{i}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
    found = read_folder(tmp_path, AS_THEY_ARE)
    assert (found.layout, found.channels) == (("NHW", "grey") if channels == 1 else ("NHWC", "RGB"))
    grey = np.asarray(picture((8, 8), mode="L"))
    if mode in ("L", "LA", "I;16"):
        assert np.array_equal(found.x_train[0], grey)
    if mode in ("RGB", "RGBA"):
        assert np.array_equal(found.x_train[0], np.asarray(picture((8, 8))))


def test_mixed_colours_become_what_is_asked(tmp_path):
    pets(tmp_path, n=2)
    picture((8, 8), mode="L").save(tmp_path / "cat" / "grey.png")
    grey, rgb = (load_task(tmp_path, channels=channels) for channels in (1, 3))
    assert (grey.in_shape, grey.channels) == ((1, 8, 8), "grey")
    assert (rgb.in_shape, rgb.channels) == ((3, 8, 8), "RGB")
    assert grey.fingerprint() != rgb.fingerprint()


def test_what_changes_the_data_changes_their_fingerprint(tmp_path):
    pets(tmp_path, (8, 12), n=3)
    tasks = [load_task(tmp_path, resolution=resolution) for resolution in (None, 4, 5)]
    assert [task.in_shape for task in tasks] == [(3, 8, 12), (3, 4, 4), (3, 5, 5)]
    assert [task.resolution for task in tasks] == [None, 4, 5]
    assert len({task.fingerprint() for task in tasks}) == 3
    assert load_task(tmp_path, resolution=4).fingerprint() == tasks[1].fingerprint()


def test_arrays_of_uint8_are_prepared_as_files_are(tmp_path):
    pets(tmp_path / "pets", (9, 14), n=3)
    plain, small = (read_folder(tmp_path / "pets", how) for how in (AS_THEY_ARE, SMALL))
    np.savez(tmp_path / "pets.npz", x_train=plain.x_train, y_train=plain.y_train, classes=plain.classes)
    one, other = (load_task(path, resolution=4, channels=1) for path in (tmp_path / "pets.npz", tmp_path / "pets"))
    assert one.fingerprint() == other.fingerprint()
    assert small.x_train.shape == (6, 4, 4, 3)


def test_it_is_found_wherever_it_is_named_from(tmp_path, monkeypatch):
    pets(tmp_path / "pets", n=2)
    monkeypatch.chdir(tmp_path / "pets")
    assert load_task(".").name == "pets"
    assert Path.cwd() == tmp_path / "pets"
