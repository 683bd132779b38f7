"""The script beside a file, given what a user has, says what the trained network says of the same rows: without nas."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from without_nas import classify, run_example

import nas
from nas.api import Member
from nas.data import load_task
from nas.data.csv_file import read_csv_file, word_columns
from nas.data.table import apply_columns
from nas.data.task import Task, standardise
from nas.data.text import token_ids
from nas.export import FORMATS
from nas.space.yaml import parse

SLOW = ("executorch", "pt2")
"""As in test_ship_formats."""

SPACES = {
    "vector": "body: {dense: {width: 24}}",
    "text": "stem: {embedding: {dim: 8}}\nbody: {conv1d: {width: 8, kernel: 3}}",
    "sequence": "body: {conv1d: {width: 8, kernel: 3}}",
    "image": "body: {conv: {width: 8}}",
}


@dataclass(frozen=True)
class Trained:
    """A network, the data that it has seen, and what of them is given to the script."""

    member: Member
    task: Task
    data: Path

    def outputs(self, x: torch.Tensor) -> np.ndarray:
        """Return what it gives for standardised samples."""
        with torch.no_grad():
            return self.member.network()(x).numpy()

    def example(self, format: str) -> Path:
        if reason := FORMATS[format].unavailable():
            pytest.skip(reason)
        path = self.data.parent / f"{self.data.stem}{FORMATS[format].suffix}"
        return Path(self.member.export(path, format=format, overwrite=True).example)


def trained(data: Path, input: str, epochs: int = 4, **how) -> Trained:
    training = f"{{epochs: {epochs}, batch_size: 16, optimizer: {{adam: {{lr: 0.02}}}}}}"
    text = f"input: {input}\n{SPACES[input]}\nhead: {{pool: {{dropout: [0.0, 0.1]}}}}\ntraining: {training}"
    task = load_task(data, input=input, **how)
    study = nas.Study(parse(text, name="small"), task, ["loss", "n_params"], out=data.parent / f"{input}-{data.stem}")
    return Trained(study.search(trials=1).members[0], task, data)


def flats(n: int = 200) -> pd.DataFrame:
    """Rents of flats, some of whose sizes and towns are missing; commas before the fraction, zeros in postcodes."""
    rng = np.random.default_rng(0)
    size, town = rng.uniform(20, 120, n), rng.choice(["Köln", "Ulm", "Kiel"], n)
    rent = size * np.select([town == "Köln", town == "Ulm"], [12.0, 9.0], 10.0) + rng.normal(0, 20, n)
    table = pd.DataFrame({"größe": size.round(1), "ort": town, "plz": rng.choice(["01067", "50667"], n)})
    table = table.assign(balkon=rng.choice(["true", "false"], n), miete=rent.round(2))
    table.loc[rng.random(n) < 0.1, "größe"] = np.nan
    table.loc[rng.random(n) < 0.1, "ort"] = np.nan
    return table


def write(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False, sep=";", decimal=",", encoding="latin-1", na_rep="NA")
    return path


def new_rows(table: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return all rows and two more, in other columns: towns that nobody knows, no size, no target."""
    more = pd.DataFrame({"größe": [np.nan, 70.5], "ort": ["Rom", None], "plz": ["00001", "50667"], "balkon": "true"})
    rows = pd.concat([table.drop(columns=target), more], ignore_index=True).assign(notiz="x, y")
    return rows[sorted(rows)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def classes(folder):
    """A network that tells dear flats from cheap ones."""
    table = flats()
    table["klasse"] = np.where(table.pop("miete") > 750, "teuer", "günstig")
    found = trained(write(table, folder / "klassen.csv"), "vector", encoding="latin-1", target_column="klasse")
    write(new_rows(table, "klasse"), folder / "neu.csv")
    return found


def prepared(one: Trained, path: Path) -> torch.Tensor:
    """Return the rows of a table as the package makes them; those of the validation data are among them."""
    words = word_columns(read_csv_file(one.data, "latin-1"))
    rows = apply_columns(read_csv_file(path, "latin-1", words), one.task.recipe["columns"])
    x = standardise(rows, one.task.mean, one.task.std)
    assert set(map(tuple, one.task.x_val.tolist())) <= set(map(tuple, x.tolist()))
    return x


def agree(found: list[tuple[str, float]], one: Trained, x: torch.Tensor) -> None:
    expected = torch.from_numpy(one.outputs(x)).softmax(1).numpy()
    assert [name for name, _ in found] == [one.task.classes[i] for i in expected.argmax(1)]
    np.testing.assert_allclose([p for _, p in found], expected.max(1), atol=1e-4)
    assert len({name for name, _ in found}) > 1, "or else it says little"


@pytest.mark.parametrize("format", [pytest.param(f, marks=pytest.mark.slow) if f in SLOW else f for f in FORMATS])
def test_rows_of_a_table(classes, format):
    """Semicolons, decimal commas, latin-1, missing values, unknown towns; columns in another order."""
    new = classes.data.with_name("neu.csv")
    agree(classify(classes.example(format), new), classes, prepared(classes, new))


def test_a_single_row_and_what_is_wrong_with_a_table(classes):
    example, new = classes.example("onnx"), classes.data.with_name("neu.csv")
    lines = new.read_text("latin-1").splitlines()
    all_rows = classify(example, new)

    def told(text: str, *more: str, encoding: str = "utf-8") -> tuple[int, str, str]:
        path = new.with_name("one.csv")
        path.write_text(text, encoding=encoding)
        done = run_example(example, path, *more)
        return done.returncode, done.stdout, done.stderr

    code, out, _ = told("\n".join(lines[:2]), "utf-8")
    assert (code, out) == (0, "{}\t{:.4f}\n".format(*all_rows[0]))
    for text, said in (
        ("\n".join(lines).replace("plz", "ort2"), "there is no column 'plz'; the network reads"),
        ("\n".join(lines).replace(";", ":"), "comma, semicolon, tab and bar may divide them"),
        ("\n".join(lines).replace("70,5", "siebzig"), "line 203: column 'größe' holds numbers, and here 'siebzig'"),
    ):
        code, out, err = told(text, encoding="latin-1")
        assert (code, out) == (1, "")
        assert said in err
        assert "Traceback" not in err


def test_numbers_to_predict(folder):
    table = flats()
    one = trained(write(table, folder / "mieten.csv"), "vector", encoding="latin-1", target_column="miete")
    new = write(new_rows(table, "miete"), folder / "mieten neu.csv")
    done = run_example(one.example("onnx"), new)
    assert done.returncode == 0, done.stderr
    expected = one.outputs(prepared(one, new))[:, 0] * one.task.y_std[0] + one.task.y_mean[0]
    found = np.array([float(line) for line in done.stdout.splitlines()])
    np.testing.assert_allclose(found, expected, atol=1e-4 * one.task.y_std[0], rtol=1e-5)
    there = table["größe"].notna().to_numpy()
    assert np.sqrt(np.mean((found[:200] - table["miete"])[there] ** 2)) < table["miete"].std(), "units of the rent"
    assert "column 'ort': rare or not there in training, taken as other: 'Rom'" in done.stderr


def test_texts(folder):
    pytest.importorskip("tokenizers", reason="texts need the extra 'text'")
    rng = np.random.default_rng(0)
    words = ["schön", "kalt", "Meer", "Haus", "NA", "Tag", "Zimmer"]
    texts = [" ".join(rng.choice(words, rng.integers(3, 12))) for _ in range(160)]
    texts[3], texts[4] = "", "kalt; kalt, und noch"
    table = pd.DataFrame({"y": ["gut" if "schön" in text else "schlecht" for text in texts], "text": texts})
    data = folder / "texte.csv"
    table.to_csv(data, index=False, sep=";", encoding="latin-1")
    one = trained(data, "text", epochs=12, encoding="latin-1")
    x = torch.from_numpy(token_ids(texts, one.task.recipe))
    assert set(map(tuple, one.task.x_val.tolist())) <= set(map(tuple, x.tolist()))
    example = one.example("onnx")
    found = classify(example, data)
    agree(found, one, x)
    (folder / "texte.txt").write_text("\n".join(texts), encoding="utf-8")
    assert classify(example, folder / "texte.txt", "utf-8") == found
    assert classify(example, texts[0]) == found[:1]
    done = run_example(example, "")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the text is empty\n")


@pytest.mark.parametrize("input", [pytest.param("sequence", marks=pytest.mark.slow), "vector"])
def test_series_in_a_ts_file(folder, input):
    rng = np.random.default_rng(0)
    lines = ["@problemName waves", "@classLabel true slow fast", "@data"]
    for i in range(60):
        steps = np.arange(12 + i % 3) * (0.3, 1.2)[i % 2] + rng.uniform(0, 6)
        parts = (np.sin(steps), np.cos(steps) + rng.normal(0, 0.3, len(steps)))
        lines.append(":".join(",".join(f"{v:.3f}" for v in c) for c in parts) + f":{('slow', 'fast')[i % 2]}")
    data = folder / "waves.ts"
    data.write_text("\n".join(lines))
    one = trained(data, input, length=13)
    x = load_task(data, input=input, length=13)
    found = classify(one.example("onnx"), data)
    rows = torch.cat([x.x_train, x.x_val])
    expected = torch.from_numpy(one.outputs(rows)).softmax(1).max(1).values.numpy()
    assert len(found) == len(expected) == 60
    np.testing.assert_allclose(sorted(p for _, p in found), np.sort(expected), atol=1e-4)


@pytest.mark.parametrize("input", [pytest.param("image", marks=pytest.mark.slow), "sequence"])
def test_an_image_of_a_folder(folder, input):
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / "photos" / ("dark", "light")[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 120, (12 + i % 3, 14, 3)) + 120 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    one = trained(folder / "photos", input, resolution=8)
    example = one.example("onnx")
    outputs = one.outputs(torch.cat([one.task.x_train, one.task.x_val]))
    expected = torch.from_numpy(outputs).softmax(1).max(1).values.numpy()
    for path in sorted((folder / "photos").rglob("*.png"))[:3]:
        ((_, probability),) = classify(example, path)
        assert np.abs(expected - probability).min() < 1e-4
