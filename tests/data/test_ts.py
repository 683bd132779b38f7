"""Sequences in .ts files: real ones written and read back, and heads of every kind."""

import os
from pathlib import Path

import numpy as np
import pytest

from nas.data import load_task
from nas.data.npz import read_npz
from nas.data.reading import AS_THEY_ARE, Reading
from nas.data.ts import read_ts
from nas.errors import DataError

REAL = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def write_ts(path: Path, x: np.ndarray, y: np.ndarray, classes: list[str], *, head: str = "") -> Path:
    """Write x (n, C, T) and labels as a .ts file."""
    cases = ([",".join(map(repr, channel)) for channel in case.tolist()] for case in x)
    rows = [":".join([*channels, str(label)]) for channels, label in zip(cases, y, strict=True)]
    tags = f"@problemName {path.stem.rsplit('_', 1)[0]}\n@timeStamps false\n@missing false\n@univariate false\n"
    tags += f"@dimensions {x.shape[1]}\n@equalLength true\n@seriesLength {x.shape[2]}\n"
    path.write_text(f"#written by a test\n{tags}{head}@classLabel true {' '.join(classes)}\n@data\n" + "\n".join(rows))
    return path


@pytest.mark.parametrize("name", ["JapaneseVowels", "BasicMotions", "ArrowHead"])
def test_real_sequences_are_read_back(tmp_path, name):
    source = REAL / "sequences" / f"{name}.npz"
    if not source.exists():
        pytest.skip(f"no {source}; NAS_TEST_DATA names the folder of real data")
    arrays = read_npz(source)
    parts = {part: (x[:60], y[:60]) for part, (x, y) in arrays.parts().items()}
    # Heads list the classes by first appearance: their order is the file's, not that of their names.
    order = list(dict.fromkeys(str(label) for _, y in parts.values() for label in y))
    for part, (x, y) in parts.items():
        write_ts(tmp_path / f"{name}_{part.upper()}.ts", np.asarray(x, float), y, order)
    found = read_ts(tmp_path / f"{name}_TEST.ts", AS_THEY_ARE)
    assert found.name == name
    for part, (x, y) in parts.items():
        assert np.array_equal(found.parts()[part][0], x)
        assert found.parts()[part][1].tolist() == [str(label) for label in y]
    assert found.classes is not None
    assert found.classes.tolist() == order


SMALL = "1,2,3:4,5,6:yes\n3,2,1:0,0,1:no\n1,1,1:2,2,2:yes\n0,1,0:1,0,1:no\n"
X = [[[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [0, 0, 1]], [[1, 1, 1], [2, 2, 2]], [[0, 1, 0], [1, 0, 1]]]
HEADS = {
    "full": "@problemName odd\n@univariate false\n@dimensions 2\n@classLabel true no yes\n@data\n",
    "small letters": "@problemname odd\n@classlabel TRUE no yes\n@data\n",
    "capitals": "@PROBLEMNAME odd\n@CLASSLABEL true no yes\n@DATA\n",
    "comments": "#one\n%two\n\n@problemName odd\n# three\n@classLabel true no yes\n\n@data\n\n",
    "windows": "@problemName odd\r\n@classLabel true no yes\r\n@data\r\n",
    "mark of UTF-8": "\ufeff@problemName odd\n@classLabel true no yes\n@data\n",
    "no names": "@problemName odd\n@classLabel true\n@data\n",
    "no tag of classes": "@problemName odd\n@data\n",
    "unknown tags": "@problemName odd\n@licence none\n@creator\n@classLabel true no yes\n@data\n",
    "unused class": "@problemName odd\n@classLabel true maybe no yes\n@data\n",
    "spaces": "  @problemName   odd  \n@dimension 2\n@classLabel true  no   yes \n@data \n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_of_every_kind(tmp_path, head):
    path = tmp_path / "file.ts"
    path.write_bytes((head + SMALL).encode())
    found = read_ts(path, AS_THEY_ARE)
    assert found.name == "odd"
    assert found.layout == "NCT"
    assert found.x_train.tolist() == X
    assert found.y_train.tolist() == ["yes", "no", "yes", "no"]
    assert found.x_test is None
    task = load_task(path, val_share=0.5)
    assert (task.in_shape, task.classes) == ((3, 2), ("no", "yes"))


HEAD = "@problemName odd\n@classLabel true no yes\n@data\n"


@pytest.fixture
def uneven(tmp_path) -> Path:
    (tmp_path / "odd_TRAIN.ts").write_text(HEAD + "1,2,3,4:yes\n1,2:no\n1,2,3:yes\n5:no\n")
    (tmp_path / "odd_TEST.ts").write_text(HEAD + "9,8,7,6,5:yes\n")
    return tmp_path


@pytest.mark.parametrize("length", [1, 3, 5, 7])
def test_a_length_cuts_and_pads_at_the_end(uneven, length):
    found = read_ts(uneven, Reading(length=length))
    assert found.x_test is not None
    assert found.x_test[0, 0].tolist() == [9, 8, 7, 6, 5, 0, 0][:length]
    assert found.x_train[3, 0].tolist() == [5, 0, 0, 0, 0, 0, 0][:length]
    task = load_task(uneven, length=length, val_share=0.5)
    assert (task.in_shape, task.length) == ((length, 1), length)


def test_a_length_does_the_same_to_arrays(tmp_path, uneven):
    whole = read_ts(uneven, Reading(length=5))
    np.savez(tmp_path / "odd.npz", x_train=whole.x_train, y_train=whole.y_train)
    for length in (3, 9):
        one = load_task(tmp_path / "odd.npz", length=length, val_share=0.5)
        assert one.fingerprint() == load_task(uneven, length=length, val_share=0.5).fingerprint()


def test_either_half_and_the_folder_are_the_pair(uneven):
    (uneven / "notes.md").write_text("no data")
    specs = (uneven, uneven / "odd_TRAIN.ts", uneven / "odd_TEST.ts")
    tasks = [load_task(spec, length=4, val_share=0.5) for spec in specs]
    assert len({task.fingerprint() for task in tasks}) == 1
    assert [len(task.test()[1]) for task in tasks] == [1, 1, 1]


def test_a_folder_of_several_asks_which(uneven):
    (uneven / "even_TRAIN.ts").write_text(HEAD + "1:yes\n")
    with pytest.raises(DataError, match=r"several data sets \(even_TRAIN\.ts, odd_TRAIN\.ts\); name the file"):
        load_task(uneven)
