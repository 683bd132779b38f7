"""Tables in files: what becomes of columns (scikit-learn is the oracle), and what of a file is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from nas.data import load_task
from nas.data.csv_file import read_csv_file
from nas.data.table import apply_columns, feature_names, fit_columns
from nas.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def flats(n=120, seed=0):
    """Rents that follow from size and town, some sizes missing."""
    rng = np.random.default_rng(seed)
    town = rng.choice(["Ulm", "Bonn", "Kiel"], n, p=[0.6, 0.3, 0.1])
    size = rng.uniform(20, 120, n).round(1)
    rent = (size * np.select([town == "Ulm", town == "Bonn"], [9.0, 12.0], 10.0) + rng.normal(0, 20, n)).round(2)
    table = pd.DataFrame({"size": size, "town": town, "balcony": rng.random(n) < 0.5, "rent": rent})
    table.loc[rng.random(n) < 0.1, "size"] = np.nan
    return table


def test_a_table_becomes_vectors_and_the_recipe_says_how(write):
    table = flats()
    task = load_task(write(table.to_csv(index=False)), target_column="rent")
    assert (task.kind, task.targets, task.name) == ("regression", ("rent",), "table")
    recipe = json.loads(json.dumps(task.recipe))
    names = feature_names(recipe["columns"])
    expected = ["size", "size missing", "town=Bonn", "town=Kiel", "town=Ulm", "town other"]
    assert names == [*expected, "balcony=False", "balcony=True", "balcony other"]
    assert task.in_shape == (len(names),)
    # All rows, by the recipe and the metadata alone, as a user would: the samples of the task are among them.
    x = (apply_columns(table, recipe["columns"]) - np.array(task.mean)) / np.array(task.std)
    rows = {tuple(row) for row in x.astype(np.float32).round(4).tolist()}
    x_test, y_test = task.test()
    for part in (task.x_train, task.x_val, x_test):
        assert {tuple(row) for row in part.numpy().round(4).tolist()} <= rows
    assert (len(task.x_train), len(task.x_val), len(y_test)) == (77, 19, 24)
    assert any("a fifth of the rows (24) is the test set" in note for note in task.notes)


cells = st.lists(
    st.tuples(st.none() | st.floats(-100, 100), st.none() | st.sampled_from("abcd")), min_size=3, max_size=30
).filter(lambda rows: any(v is not None for v, _ in rows) and any(c is not None for _, c in rows))


@given(cells, cells)
def test_columns_are_encoded_as_scikit_learn_does(train, new):
    train, new = (pd.DataFrame(rows, columns=["v", "c"]).astype({"v": float}) for rows in (train, new))
    learned = json.loads(json.dumps(fit_columns(train, {"v": "number", "c": "category"})))
    found = apply_columns(new, learned)
    assert found.shape == (len(new), len(feature_names(learned)))
    imputer = SimpleImputer(strategy="median").fit(train[["v"]])
    assert found[:, 0] == pytest.approx(imputer.transform(new[["v"]])[:, 0])
    if train["v"].isna().any():
        assert (found[:, 1] == new["v"].isna()).all()
    there = train[["c"]].dropna()
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(there)
    n = len(encoder.categories_[0])
    assert (found[:, -n - 1 : -1] == encoder.transform(new[["c"]].fillna("missing"))).all()
    assert (found[:, -n - 1 :].sum(axis=1) == 1).all(), "what is unknown or missing has a place of its own"


def test_nothing_is_learned_from_rows_that_judge(write):
    """Other values in the rows that are no training rows: the recipe stays the same."""
    table = flats()
    path = write(table.to_csv(index=False))
    task = load_task(path, target_column="rent", seed=3)
    judged = {round(float(y), 3) for y in task.y_val.numpy()[:, 0] * task.y_std[0] + task.y_mean[0]}
    changed = table.copy()
    rows = [i for i, rent in enumerate(table["rent"]) if round(float(np.float32(rent)), 3) in judged]
    rows = rows or [i for i, rent in enumerate(table["rent"]) if min(abs(rent - j) for j in judged) < 1e-2]
    assert len(rows) >= 15
    changed.loc[rows, "size"] = 1e6
    changed.loc[rows, "town"] = "Rom"
    again = load_task(write(changed.to_csv(index=False)), target_column="rent", seed=3)
    assert again.recipe == task.recipe
    assert (again.mean, again.std) == (task.mean, task.std)


def test_rare_categories_share_a_place():
    column = ["a"] * 150 + ["b"] * 48 + ["c", "d"]
    learned = fit_columns(pd.DataFrame({"c": column}), {"c": "category"})
    assert learned[0]["values"] == ["a", "b"]
    assert apply_columns(pd.DataFrame({"c": ["d", "e", None]}), learned).tolist() == [[0, 0, 1]] * 3


def test_classes_and_a_test_file_of_ones_own(write, tmp_path):
    table = flats().assign(label=lambda t: np.where(t["rent"] > 600, "dear", "cheap"))
    path = write(table[:90].drop(columns="rent").to_csv(index=False, sep=";"))
    test = write(table[90:].drop(columns="rent").to_csv(index=False), "test.csv")
    task = load_task(path, test_data=test)
    assert (task.classes, task.kind) == (("cheap", "dear"), "classification")
    assert len(task.test()[0]) == 30
    assert len(task.x_train) + len(task.x_val) == 90
    assert not any("test set" in note for note in task.notes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("50.5", '"1,234"', r"test\.csv: line 3: column 'size' holds numbers in the training data, .* '1,234' \(1 "),
        ("50.5", "12 km", r"test\.csv: line 3: column 'size' holds numbers .* '12 km'"),
        ("50.5", "inf", r"test\.csv: line 3: column 'size' is inf"),
        (",700", ",", r"test\.csv: line 3: target 'rent' is missing"),
    ],
)
def test_slips_in_a_test_file_are_told_with_its_name(write, old, new, said):
    test = write("size,town,rent\n40.5,Ulm,400\n50.5,Ulm,700\n60.5,Bonn,800\n".replace(old, new), "test.csv")
    path = write(flats().drop(columns="balcony").to_csv(index=False))
    with pytest.raises(DataError, match=said):
        load_task(path, target_column="rent", test_data=test)


def test_true_and_false_are_what_they_are_beside_another_word(write):
    """Which has pandas read a column as words, in one of the two files alone."""
    table = flats().assign(balcony=lambda t: t["balcony"].map({True: "TRUE", False: "FALSE"}))
    test = write(table[90:].assign(balcony=["unknown", *table["balcony"][91:]]).to_csv(index=False), "test.csv")
    task = load_task(write(table[:90].to_csv(index=False)), target_column="rent", test_data=test)
    at = feature_names(task.recipe["columns"]).index("balcony=False")
    x = (task.test()[0].numpy() * task.std + task.mean).round(3)[:, at : at + 3]
    assert x[0].tolist() == [0, 0, 1]
    assert x[1:, 1].tolist() == (table["balcony"][91:] == "TRUE").astype(float).tolist()


def test_what_separates_is_what_cuts_all_lines_alike(write):
    """Names with a comma, as German exports have them; the rows hold a comma each too."""
    head = "Miete (EUR, kalt);Fläche;Stadt\n"
    found = read_csv_file(Path(write(head + "".join(f"{700 + i},50;{50 + i};Ulm\n" for i in range(5)))))
    assert list(found.columns) == ["Miete (EUR, kalt)", "Fläche", "Stadt"]
    assert found["Miete (EUR, kalt)"].tolist() == [700.5 + i for i in range(5)]


def test_columns_that_say_nothing_are_named(write):
    table = flats().assign(
        **{
            "Unnamed: 0": range(120),
            "country": "DE",
            "owner": [f"Name {i}" for i in range(120)],
            "since": pd.date_range("2020-01-01", periods=120).strftime("%Y-%m-%d"),
            "empty": np.nan,
        }
    )
    task = load_task(write(table.to_csv(index=False)), target_column="rent")
    notes = "\n".join(task.notes)
    for words in (
        "'Unnamed: 0' is ignored: it numbers the rows",
        "'country' is ignored: it is DE in every row",
        "'owner' is ignored: nearly every row has a text of its own",
        "'since' is ignored: it holds dates; add columns of numbers",
        "'empty' is ignored: it is empty",
    ):
        assert words in notes
    assert [c["name"] for c in task.recipe["columns"]] == ["size", "town", "balcony"]


COUNTS = "size,n\n" + "\n".join(f"{i}.5,{i}" for i in range(30))
GOOD = "size,town,rent\n" + "\n".join(f"{i}.5,{'ab'[i % 2]},{i * 7.25}" for i in range(30)) + "\n"


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (GOOD, {"target_column": ["rentt"]}, r"--target-column: no column called 'rentt'. Did you mean 'rent'"),
        (GOOD, {}, r"say which column is to be predicted, --target-column NAME; there are size, town, rent"),
        (GOOD + "1,a\n", {"target_column": ["rent"]}, r"line 32 has 2 fields, the header 3 \(separated by comma\)"),
        (GOOD + "1,a,,\n", {"target_column": ["rent"]}, r"line 32 has 4 fields, the header 3"),
        (GOOD + "1,a,\n2,b,\n", {"target_column": ["rent"]}, r"line 32: target 'rent' is missing \(2 such rows\)"),
        (GOOD + "x1,a,3.5\n", {"target_column": ["rent"]}, r"line 32: column 'size' holds numbers, and here 'x1'"),
        (
            GOOD,
            {"target_column": ["town"], "task": "regression"},
            "target 'town' holds 'a', and a regr",
        ),
        ("rent,rent\n1,2\n", {"target_column": ["rent"]}, "two columns are called 'rent'"),
        ("", {"target_column": ["rent"]}, "the file is empty"),
        ("rent\n1.5\n2.5\n", {"target_column": ["rent"]}, "no column beside rent"),
        ("a,rent\n", {"target_column": ["rent"]}, "a header and no line below it"),
        (
            GOOD.replace(",a,", ",c,", 1),
            {"target_column": ["town"]},
            "class 'c' of target 'town' has 1 of the rows",
        ),
        (GOOD, {"target_column": ["size"], "task": "classification"}, "holds float64; expected class labels"),
        (COUNTS, {"target_column": ["n"]}, r"target 'n' holds 30 different whole numbers.*--task regression"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_with_its_place(write, text, more, message):
    with pytest.raises(DataError, match=message):
        load_task(write(text), **more)


INF = GOOD.replace("3.5,", "inf,", 1)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (INF, {"target_column": ["rent"]}, r"line 5: column 'size' is inf \(1 such rows\); .*leave the field empty"),
        (INF, {"target_column": ["size"]}, r"line 5: target 'size' is inf \(1 such rows\); correct it, or drop"),
        (GOOD.replace(",a,", ",NA,"), {"target_column": ["town"]}, r"15 such rows.*NA, None, nan and null are read as"),
    ],
    ids=["column", "target", "NA"],
)
def test_what_is_no_value_is_told_with_its_place(write, text, more, message):
    with pytest.raises(DataError, match=message):
        load_task(write(text), **more)


def written(how, n=60, sep=","):
    """A table of sizes and rents, the rents as `how` writes them."""
    rents = [round(float(v), 2) for v in np.random.default_rng(0).uniform(900, 2000, n)]
    return "".join(
        ["size;rent;town\n".replace(";", sep), *(f"{i}.5{sep}{how(v)}{sep}Ulm\n" for i, v in enumerate(rents))]
    )


def test_decimal_commas_are_read_where_semicolons_separate(write):
    plain = load_task(write(written(str, sep=";")), target_column="rent", seed=0)
    comma = written(lambda v: str(v).replace(".", ","), sep=";")
    found = load_task(write(comma), target_column="rent", seed=0)
    assert (found.targets, found.y_mean, found.y_std) == (plain.targets, plain.y_mean, plain.y_std)
    half = comma.replace(";Ulm\n", ";a\n", 30).replace(";Ulm\n", ";b\n")
    columns = load_task(write(half), target_column="town").recipe["columns"]
    assert [(c["name"], c["kind"]) for c in columns] == [("size", "number"), ("rent", "number")]


@pytest.mark.parametrize(
    "how",
    [
        lambda v: f'"{v:,.2f}"',
        lambda v: f'"{v:,.2f} EUR"',
        lambda v: f"{v} km/h",
        lambda v: f'"{v:.1f}"'.replace(".", ","),
    ],
)
def test_numbers_that_are_written_as_words_are_named(write, how):
    path = write(written(how))
    for task in ("auto", "regression"):
        with pytest.raises(DataError, match=r"target 'rent' holds numbers with a comma or a unit, such as '.*: write"):
            load_task(path, target_column="rent", task=task)
    path = write(written(how).replace(",Ulm\n", ",a\n", 30).replace(",Ulm\n", ",b\n"))
    notes = load_task(path, target_column="town").notes
    assert any("column 'rent' is ignored: it holds numbers with a comma or a unit" in note for note in notes)


def test_zeros_in_front_are_kept(write):
    """Postcodes and codes are words: as classes, as categories, and in a test file in which no zero leads."""
    rows = [(f"{i % 3:03d}", f"0{i % 4}", i * 1.5) for i in range(60)]
    lines = "".join(f"{label},{code},{x}\n" for label, code, x in rows)
    head = "label,code,x\n"
    assert load_task(write(head + lines)).classes == ("000", "001", "002")
    (code, _) = load_task(write(head + lines), target_column="label").recipe["columns"]
    assert code == {"name": "code", "kind": "category", "values": ["00", "01", "02", "03"]}
    mixed = head + lines.replace(",00,", ",10,").replace(",01,", ",11,")
    test = write(head + "".join(f"{label},{10 + i % 2},{x}\n" for i, (label, _, x) in enumerate(rows)), "test.csv")
    task = load_task(write(mixed), test_data=test)
    assert task.recipe["columns"][0]["values"] == ["02", "03", "10", "11"]
    x, _ = task.test()
    ten = x[::2, 2].unique()
    assert len(ten) == 1
    assert ten > 0, "10 in the test file is the category 10"
    assert load_task(write(head + lines), target_column="code", task="regression").targets == ("code",)


def test_a_column_is_words_from_its_first_line_on(write):
    """However late the first word comes: pandas would type a large file part by part."""
    path = write("a\n" + "1.50\n" * 1_100_000 + "x\n")
    found = read_csv_file(Path(path))
    assert set(found["a"].unique()) == {"1.50", "x"}


def test_another_encoding_is_told_with_byte_and_remedy(write):
    path = write(GOOD.replace("size", "größe"), encoding="latin-1")
    with pytest.raises(DataError, match=r"byte 2 \(line 1\) is 0xf6, which is not utf-8; .*--encoding latin-1"):
        load_task(path, target_column="rent")
    assert load_task(path, target_column="rent", encoding="latin-1").recipe["columns"][0]["name"] == "größe"
    with pytest.raises(DataError, match="no encoding called 'klingon'"):
        load_task(path, target_column="rent", encoding="klingon")
    marked = write("\ufeff" + GOOD, "marked.csv")
    assert load_task(marked, target_column="rent").recipe["columns"][0]["name"] == "size"
    with pytest.raises(DataError, match=r"no such file. Did you mean '.*marked.csv'"):
        load_task(marked.replace("marked", "market"), target_column="rent")


def test_the_file_that_ships_carries_the_recipe(write, tmp_path, capsys):
    import onnxruntime

    import nas
    from nas import tables
    from nas.space.yaml import parse

    space = parse(
        """
input: vector
body: {dense: {width: [16, 32], act: relu, norm: batch}}
head: {pool: {}}
training: {epochs: 20, batch_size: 16, optimizer: {adamw: {lr: 0.02}}}
""",
        name="small",
    )
    table = flats(300)
    path = write(table.to_csv(index=False))
    study = nas.Study(space, path, target_column="rent", out=tmp_path / "run", rungs="none")
    front = study.search(trials=2)
    assert front.config.objectives == ("rmse", "latency_ms")
    best = nas.Front.load(tmp_path / "run").pick("best:rmse")
    page = (best.retrain(seeds=1, epochs=20).folder / "model_card.md").read_text()
    assert "made of 3 columns of a table" in page
    assert "- town: one of Bonn, Kiel, Ulm, or another" in page
    assert "- size: a number, " in page
    shipped = best.export()
    tables.print_shipped([shipped])
    assert f"python {shipped.example} ROWS.csv" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(shipped.file)
    meta = session.get_modelmeta().custom_metadata_map
    x = apply_columns(table, json.loads(meta["recipe"])["columns"])
    x = (x - json.loads(meta["mean"])) / json.loads(meta["std"])
    out = session.run(None, {"input": x.astype(np.float32)})[0][:, 0]
    rent = out * json.loads(meta["y_std"])[0] + json.loads(meta["y_mean"])[0]
    assert np.sqrt(np.mean((rent - table["rent"]) ** 2)) < 0.6 * table["rent"].std()


def test_what_is_said_of_tables_is_refused_for_other_data():
    with pytest.raises(DataError, match="digits: --target-column, --encoding: of tables"):
        load_task("digits", target_column="y", encoding="latin-1")
