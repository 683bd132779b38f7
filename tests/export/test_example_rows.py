"""Rows and texts as users have them: the examples make of them what the package makes, and name what is wrong."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.csv_file import read_csv_file, word_columns
from nas.data.table import apply_columns, fit_columns
from nas.export.standalone import missing_words, read_columns, read_rows, read_texts

TRAINED = pd.DataFrame(
    {
        "größe": [1.5, np.nan, 2.5, 80.0] * 30,
        "zahl": [1, 2, 3, 4] * 30,
        "ort": ["Köln", "Ulm", None, "true"] * 30,
        "balkon": [True, False, None, True] * 30,
        "code": ["007", "010", "10", "99"] * 30,
    }
)
KINDS = {name: "number" if name in ("größe", "zahl") else "category" for name in TRAINED}
COLUMNS = json.loads(json.dumps(fit_columns(TRAINED, KINDS)))


def metadata(encoding="utf-8", columns=COLUMNS):
    width = apply_columns(TRAINED, columns).shape[1]
    return {"in_shape": [width], "recipe": {"kind": "table", "encoding": encoding, "columns": columns}}


blank = st.sampled_from(["", "NA", "null", "nan", "None"])
number = (
    blank | st.floats(-1e6, 1e6).map(repr) | st.integers(-999, 999).map(str) | st.sampled_from([" 7 ", "+1.", ".5"])
)
row = st.tuples(
    number,
    number,
    blank | st.sampled_from(["Köln", "Ulm", "Rom", "true", "True", " Ulm", 'a "b"', "12"]),
    blank | st.sampled_from(["true", "TRUE", "False", "false"]),
    blank | st.sampled_from(["007", "7", "10", "010", "99", "1e1"]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@settings(max_examples=80)
@given(
    rows=st.lists(row, min_size=1, max_size=8),
    order=st.permutations(list(TRAINED)),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "latin-1", "utf-16"]),
    commas=st.booleans(),
)
def test_rows_are_read_as_those_of_a_test_set_are(folder, rows, order, delimiter, encoding, commas):
    table = pd.DataFrame(rows, columns=list(TRAINED))
    if commas and delimiter == ";":
        table["größe"] = [word.replace("+1.", "1").replace(".", ",") for word in table["größe"]]
    path = folder / "new.csv"
    path.write_text(table[order].to_csv(index=False, sep=delimiter), encoding=encoding)
    expected = apply_columns(read_csv_file(path, encoding, word_columns(TRAINED)), COLUMNS)
    found = read_rows(str(path), metadata(encoding))
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    # And a row alone gives what it gives among others.
    one = table[order].iloc[:1]
    path.write_text(one.to_csv(index=False, sep=delimiter), encoding=encoding)
    np.testing.assert_array_equal(read_rows(str(path), metadata(encoding)), found[:1])


@pytest.mark.parametrize("word", sorted({*missing_words(), "na", "NONE", "Null", " NA", "-", "?", "0", "N/a", "NaT"}))
def test_what_is_missing_is_what_pandas_takes_for_missing(word):
    read = pd.read_csv(io.StringIO(f'a,b\nx,"{word}"\ny,z\n'))
    assert bool(read["b"].isna()[0]) == (word in missing_words())


GOOD = "größe;zahl;ort;balkon;code\n1,5;2;Ulm;true;007\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.replace("zahl", "zahlen"),
            r"no column 'zahl'; is it 'zahlen'\? Rename it\n  read as utf-8 and divided by s",
        ),
        (GOOD.replace("balkon;", "").replace("true;", ""), "no column 'balkon'; the network reads größe, zahl, ort,"),
        (GOOD.replace(";", ":"), r"divided by comma, the columns of the file are \['größe:zahl:ort:balkon:code'\]"),
        (GOOD.replace(";", " "), "comma, semicolon, tab and bar may divide them"),
        (GOOD.replace("größe", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}ße"), "another encoding is named behind"),
        (GOOD.replace("zahl", "größe"), "two columns are called 'größe'"),
        (GOOD + "1,5;2;Ulm;true\n", r"line 3 has 4 fields, the header 5 \(separated by semicolon\)"),
        (GOOD + "1,5;zwei;Ulm;true;7\n", "line 3: column 'zahl' holds numbers, and here 'zwei'; write it as 123,4"),
        (GOOD + "1,5;inf;Ulm;true;7\n", "line 3: column 'zahl' holds numbers, and here 'inf'"),
        (GOOD + "1.5;1;Ulm;true;7\n", "line 3: column 'größe' holds numbers, and here '1.5'; write it as 123,4"),
        (GOOD + "1,5;1_0;Ulm;true;7\n", "here '1_0'"),
        (GOOD.replace("1,5", '"1,5"').replace(";", ","), "here '1,5'; write it as 123.4, or leave the field empty"),
        ("größe;zahl;ort;balkon;code\n", "a header and no line below it"),
        (" \n", "the file is empty"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_its_place(tmp_path, text, said):
    (tmp_path / "new.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=said):
        read_rows(str(tmp_path / "new.csv"), metadata())


@pytest.mark.parametrize(
    ("name", "encoding", "said"),
    [
        ("new.csv", "", r"new\.csv: is not utf-8: .* name its encoding behind the file, e\.g\. .*new\.csv latin-1"),
        ("wide.csv", "", r"wide\.csv: is not utf-8: .* e\.g\. .*wide\.csv utf-16"),
        ("new.csv", "klingon", "there is no encoding called 'klingon'"),
        ("old.csv", "", r"old\.csv: cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, encoding, said):
    (tmp_path / "new.csv").write_text(GOOD, encoding="latin-1")
    (tmp_path / "wide.csv").write_text(GOOD, encoding="utf-16")
    assert len(read_rows(str(tmp_path / "new.csv"), metadata(), "latin-1")) == 1
    with pytest.raises(SystemExit, match=said):
        read_rows(str(tmp_path / name), metadata(), encoding)


def test_unknown_categories_are_told_but_not_missing_ones(tmp_path, capsys):
    (tmp_path / "new.csv").write_text(GOOD + "1,5;2;;true;7\n1,5;2;Rom;true;007\n", encoding="utf-8")
    x = read_rows(str(tmp_path / "new.csv"), metadata())
    assert (x[1, -1], x[0, -1]) == (1, 0)
    said = capsys.readouterr().err
    assert "column 'ort': rare or not there in training, taken as other: 'Rom'\n" in said
    assert "column 'code': rare or not there in training, taken as other: '7'\n" in said
    assert "balkon" not in said


def test_blank_lines_quotes_and_the_mark_in_front(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text('\ufeff a ,b\n\n"x, ""y""\nz",1\n   \n', encoding="utf-8")
    assert read_columns(path, ["a"], "UTF-8") == ({"a": ['x, "y"\nz']}, [4], ",")
    path.write_text('a\tb\n"x\t1\ny "z"\t2\n', encoding="utf-8")  # quotes that mean nothing
    assert read_columns(path, ["a"], "utf-8")[0]["a"] == ['"x', 'y "z"']
    path.write_text('a\n\n""\nx\n', encoding="utf-8")
    assert (
        read_columns(path, ["a"], "utf-8")[0]["a"] == list(pd.read_csv(path, keep_default_na=False)["a"]) == ["", "x"]
    )


@pytest.fixture(scope="module")
def recipe():
    pytest.importorskip("tokenizers", reason="texts need the extra 'text'")
    from nas.data.reading import Reading
    from nas.data.text import learn_texts

    texts = ["ein schöner Tag", "ein kalter Tag am Meer", "SCHÖNES Meer!"] * 4
    learned = learn_texts(texts, [], np.arange(12), Reading(length=6)).recipe
    return json.loads(json.dumps({**learned, "column": "text", "encoding": "latin-1"}))


TEXTS = ["Ein schöner Tag", "", "am kalten, kalten Meer; und noch mehr davon", "zzz"]


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("t.txt", "\n".join(TEXTS), ""),
        ("t.txt", "\r\n".join([*TEXTS, ""]), "utf-8"),
        ("t", "\n".join([*TEXTS, ""]), ""),
        ("t.csv", pd.DataFrame({"id": range(4), "text": TEXTS}).to_csv(index=False), ""),
        ("t.tsv", pd.DataFrame({"text": TEXTS, "y": 1}).to_csv(index=False, sep="\t").replace('""', "NA"), "utf-8"),
    ],
)
def test_texts_are_read_as_in_training(tmp_path, capsys, recipe, name, content, encoding):
    from nas.data.text import token_ids

    (tmp_path / name).write_bytes(content.encode(encoding or "latin-1"))
    found = read_texts(str(tmp_path / name), {"recipe": recipe}, encoding)
    np.testing.assert_array_equal(found, token_ids(TEXTS, recipe))
    assert f"no text in line {3 if name[2:] in ('csv', 'tsv') else 2}: what is printed there" in capsys.readouterr().err
    np.testing.assert_array_equal(read_texts(TEXTS[0], {"recipe": recipe}), found[:1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((" ",), "^the text is empty$"),
        (("ein", "Tag"), "'ein': there is no such file; put quotes around a text of several words"),
        (("no.csv",), r"no\.csv: there is no such file"),
        (("no column.csv",), "there is no column 'text'"),
        (("blank.txt",), r"blank\.txt: the file is empty"),
        (("blank.csv",), r"blank\.csv: all texts in it are empty"),
    ],
)
def test_what_is_wrong_with_texts_is_told(tmp_path, monkeypatch, recipe, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no column.csv").write_text("review,y\na,b\n")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "blank.csv").write_text("text,y\n,b\nNA,c\n")
    with pytest.raises(SystemExit, match=said):
        read_texts(words[0], {"recipe": recipe}, *words[1:])


def test_a_long_text_is_no_name_of_a_file(recipe):
    assert read_texts("Tag " * 5000, {"recipe": recipe}).shape == (1, 6)


def test_a_missing_tokenizer_is_told(monkeypatch, recipe):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SystemExit, match="pip install tokenizers"):
        read_texts("Tag", {"recipe": recipe})
