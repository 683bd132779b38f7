"""Rows of a table -> vectors: what of each column is learned on the training rows alone, and kept as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.arrays import Arrays, Learned
from nas.data.csv_file import find_column, line_of, read_csv_file, word_columns
from nas.data.reading import Reading
from nas.data.split import hold_out, strata
from nas.data.text import learn_texts, text_column, texts
from nas.data.written import MOSTLY, are_dates, are_numbers_in_disguise, have_leading_zeros
from nas.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

RARE = 0.01
"""Categories of a smaller share of the training rows count as one."""

_MOST_CLASSES = 20
"""Whole numbers of more values than these may be classes or not: the user says."""

_TO_READ = "to learn from its words, name the column with --text-column"

_USUAL = ("target", "label", "class", "y")
"""Names of the column to predict where nobody says."""


def read_table(path: Path, how: Reading) -> Arrays:
    """Read a table whose columns but the targets are what is predicted from.

    Without a test file a fifth of the rows, the same in every run, is set aside for that.

    Raises:
        DataError: names file, column, line and remedy.
    """
    table = read_csv_file(path, how.encoding)
    text = text_column(path, table, how)
    targets = target_columns(path, table, how, text)
    features = [name for name in table.columns if name not in targets]
    if not features:
        raise DataError(f"{path}: there is no column beside {', '.join(targets)} to predict from")
    if text in targets:
        raise DataError(f"{path}: column '{text}' cannot be both the text and what is predicted")
    columns: dict[str, str] = {}
    if text:
        features = [text]
        rest = [name for name in table.columns if name not in (*targets, text)]
        ignored = [f"columns beside the text are not read: {', '.join(map(str, rest))}"] if rest else []
    else:
        columns, ignored = plan(path, table[features])
    test = y_test = None
    y = labels(path, table, targets, how)
    if how.test_data:
        test_path = Path(how.test_data).expanduser()
        test = read_csv_file(test_path, how.encoding, word_columns(table))
        for name in (*features, *targets):
            find_column(test_path, test, name, "as in the training data")
        test = as_in_training(test_path, test, table, columns)
        y_test = labels(test_path, test, targets, how)
    if y.dtype.kind != "f":
        _check_classes(path, targets[0], y, held_out=test is None)
    notes: list[str] = []
    if test is None:
        kept, held = hold_out(strata_of(y), path.stem)
        table, test = table.iloc[kept].reset_index(drop=True), table.iloc[held].reset_index(drop=True)
        y, y_test = y[kept], y[held]
        notes.append(f"a fifth of the rows ({len(held)}) is the test set; --test-data FILE gives another")
    train_rows, test_rows = table, test

    def learn(train: np.ndarray) -> Learned:
        if text:
            rows, others = (texts(path, part[text]) for part in (train_rows, test_rows))
            learned_texts = learn_texts(rows, others, train, how)
            recipe = {**learned_texts.recipe, "column": text, "encoding": how.encoding}
            return replace(learned_texts, recipe=recipe)
        learned = fit_columns(train_rows.iloc[train], columns)
        x, x_test = (apply_columns(part, learned) for part in (train_rows, test_rows))
        recipe = {"kind": "table", "encoding": how.encoding, "columns": learned}
        return Learned(x_train=x, x_test=x_test, layout="NF", recipe=recipe)

    return Arrays(
        name=path.stem,
        where=str(path),
        x_train=np.arange(len(y)),
        y_train=y,
        x_test=np.arange(len(test)),
        y_test=y_test,
        targets=np.array(targets),
        learn=learn,
        notes=(*ignored, *notes),
    )


def target_columns(path: Path, table: pd.DataFrame, how: Reading, text: str) -> list[str]:
    """Return the columns to predict: those that the user names, else the only one with a usual name or beside a text.

    Args:
        text: the column of texts; empty where there is none.
    """
    if how.target_columns:
        return [find_column(path, table, name, "--target-column") for name in how.target_columns]
    others = [str(name) for name in table.columns if name != text]
    if text and len(others) == 1:
        return others
    usual = [str(name) for name in table.columns if str(name).lower() in _USUAL]
    if len(usual) == 1:
        return usual
    names = ", ".join(map(str, table.columns[:20])) + (", ..." if len(table.columns) > 20 else "")
    raise DataError(f"{path}: say which column is to be predicted, --target-column NAME; there are {names}")


def labels(path: Path, table: pd.DataFrame, targets: Sequence[str], how: Reading) -> np.ndarray:
    """Return the labels of rows: (n,) whole numbers or strings for classes, (n,) or (n, n_targets) floats.

    Raises:
        DataError: one is missing or infinite, or it is not clear what they are.
    """
    found = []
    for name in targets:
        column = table[name]
        missing = np.flatnonzero(column.isna())
        if len(missing):
            raise DataError(
                f"{path}: line {line_of(int(missing[0]))}: target '{name}' is missing ({len(missing)} such rows); "
                "drop those rows, or fill them in; NA, None, nan and null are read as missing too: give a class "
                "of such a name another one"
            )
        _check_finite(path, f"target '{name}'", column, "drop that row")
        found.append(_label(path, name, column, how.task, alone=len(targets) == 1))
    return found[0] if len(found) == 1 else np.stack(found, axis=1)


def _label(path: Path, name: str, column: pd.Series, task: str, *, alone: bool) -> np.ndarray:
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    regression = not alone or task == "regression"
    if not numeric and (regression or column.nunique() > _MOST_CLASSES):
        words = column.astype(str)
        if are_numbers_in_disguise(words):
            raise DataError(f"{path}: target '{name}' {_disguise(words)}")
    if regression:
        said = column.iloc[0]
        column = column if numeric else pd.to_numeric(column, errors="coerce")  # 007 is a number to predict
        if column.isna().any():
            raise DataError(f"{path}: target '{name}' holds '{said}', and a regression predicts numbers")
        return column.to_numpy(np.float64)
    if not numeric:
        return column.astype(str).to_numpy(str)
    values = column.to_numpy()
    if values.dtype.kind == "f" and task == "auto":
        return values
    n_values = len(np.unique(values))
    if task == "auto" and n_values > _MOST_CLASSES:
        raise DataError(
            f"{path}: target '{name}' holds {n_values} different whole numbers: classes, or a number to predict? Say "
            "so with --task classification or --task regression"
        )
    return values


def _check_finite(path: Path, what: str, column: pd.Series, remedy: str) -> None:
    """Check that a column of numbers holds no infinite ones; others pass."""
    import pandas as pd

    if not pd.api.types.is_float_dtype(column):
        return
    infinite = np.flatnonzero(np.isinf(column.to_numpy(np.float64)))
    if len(infinite):
        raise DataError(
            f"{path}: line {line_of(int(infinite[0]))}: {what} is {column.iloc[infinite[0]]} ({len(infinite)} such "
            f"rows); correct it, or {remedy}"
        )


def _disguise(words: pd.Series) -> str:
    import pandas as pd

    strange = words[pd.to_numeric(words, errors="coerce").isna()]
    return f"holds numbers with a comma or a unit, such as '{strange.iloc[0]}': write them as 123.4"


def _check_classes(path: Path, name: str, y: np.ndarray, held_out: bool) -> None:
    """Check that labels (n,) are classes of which every part can have some.

    Args:
        held_out: whether a test set is taken from them too.
    """
    values, counts = np.unique(y, return_counts=True)
    if len(values) > len(y) / 2 and len(y) > _MOST_CLASSES:
        raise DataError(f"{path}: target '{name}' has {len(values)} different values in {len(y)} rows: no classes")
    least = 3 if held_out else 2
    if counts.min() < least:
        few = int(counts.argmin())
        parts = "training, validation and test" if held_out else "training and validation"
        raise DataError(
            f"{path}: class '{values[few]}' of target '{name}' has {counts[few]} of the rows, and {parts} need one "
            "each; add rows, or take that class out"
        )


def strata_of(y: np.ndarray) -> np.ndarray:
    """Return integers (n,) by which labels of any kind are told apart in a split."""
    return strata(y) if y.dtype.kind == "f" else np.unique(y, return_inverse=True)[1]


# ---------------------------------------------------------------- columns


def plan(path: Path, table: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """Return what each column is, number or category, and why others are ignored, a line each.

    Raises:
        DataError: nothing is left, or a column of numbers has slips in it.
    """
    columns, ignored = {}, []
    for name, column in table.items():
        kind, why = _kind(path, str(name), column)
        if why:
            ignored.append(f"column '{name}' is ignored: {why}")
        else:
            columns[str(name)] = kind
    if not columns:
        raise DataError("\n  ".join([f"{path}: there is no column to learn from", *ignored]))
    return columns, ignored


def _kind(path: Path, name: str, column: pd.Series) -> tuple[str, str]:
    """Return number or category, and why the column is of no use; "" where it is of use.

    Raises:
        DataError: numbers with slips or infinite ones among them.
    """
    import pandas as pd

    there = column.dropna()
    n_values, n = there.nunique(), len(column)
    if n_values == 0:
        return "", "it is empty"
    if n_values == 1 and len(there) == n:
        return "", f"it is {there.iloc[0]} in every row"
    if _is_true_or_false(there):
        return "category", ""
    if pd.api.types.is_numeric_dtype(column):
        _check_finite(path, f"column '{name}'", column, "leave the field empty")
        counted = (
            pd.api.types.is_integer_dtype(column) and n_values == n > 2 and int(column.max() - column.min()) == n - 1
        )
        return "number", "it numbers the rows" if counted and column.is_monotonic_increasing else ""
    texts = there.astype(str)
    slips = there[pd.to_numeric(there, errors="coerce").isna()]
    if len(slips) < (1 - MOSTLY) * len(there) and len(there) > 10 and not have_leading_zeros(texts):
        raise DataError(
            f"{path}: line {line_of(int(slips.index[0]))}: column '{name}' holds numbers, and here '{slips.iloc[0]}' "
            f"({len(slips)} such values); correct them, or leave the fields empty"
        )
    if are_dates(texts):
        return "", "it holds dates; add columns of numbers made of them, such as the month or the days since a day"
    if n_values > _MOST_CLASSES and are_numbers_in_disguise(texts):
        return "", f"it {_disguise(texts)}"
    if n_values > 50 and n_values > 0.9 * len(there):
        return "", f"nearly every row has a text of its own: a name, no category; {_TO_READ}"
    if texts.value_counts().iloc[0] < RARE * n:
        return "", f"none of its {n_values} values is in {RARE:.0%} of the rows; {_TO_READ}"
    return "category", ""


def as_in_training(path: Path, test: pd.DataFrame, table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a test file, true and false written as in the training file.

    Args:
        path: of the test file.
        table: the training file.
        columns: what each column is there, as `plan` returned it.
    Raises:
        DataError: a column that holds numbers in the training file has slips or infinite ones in it.
    """
    import pandas as pd

    test = test.copy()
    for name, kind in columns.items():
        there = test[name].dropna()
        if kind == "number":
            numbers = pd.to_numeric(there, errors="coerce")
            slips = there[numbers.isna()]
            if len(slips):
                raise DataError(
                    f"{path}: line {line_of(int(slips.index[0]))}: column '{name}' holds numbers in the training data, "
                    f"and here '{slips.iloc[0]}' ({len(slips)} such values); correct them, or leave the fields empty"
                )
            _check_finite(path, f"column '{name}'", pd.to_numeric(test[name]), "leave the field empty")
        elif _is_true_or_false(table[name].dropna()):  # which only pandas writes so, and not beside other words
            test[name] = test[name].map(lambda v: str(v).capitalize() if str(v).lower() in ("true", "false") else v)
    return test


def _is_true_or_false(there: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_bool_dtype(there) or set(map(str, there.unique()[:3])) <= {"True", "False"}


def fit_columns(rows: pd.DataFrame, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what is learned of each column on the training rows, as JSON-able values.

    Of a number its median, and whether it is missing somewhere; of a category the values that are in `RARE` of the rows
    at least, in order, and whether a column stands for all others: rare, unknown and missing ones.
    """
    learned: list[dict[str, Any]] = []
    for name, kind in columns.items():
        column = rows[name]
        if kind == "number":
            there = column.dropna()
            median = float(there.median()) if len(there) else 0.0
            learned.append({"name": name, "kind": kind, "median": median, "missing": len(there) < len(column)})
        else:
            counts = column.dropna().astype(str).value_counts()
            common = sorted(counts[counts >= RARE * len(rows)].index)
            learned.append({"name": name, "kind": kind, "values": common})
    return learned


def apply_columns(rows: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return (n, n_features) float64 of rows, as `fit_columns` learned it.

    A number gives itself, the median where it is missing, and where some were missing among the training rows a 1 if it
    is; a category gives a 1 in the place of its value, and one more place for all values that have none.
    """
    import pandas as pd

    parts: list[np.ndarray] = []
    for column in columns:
        values = rows[column["name"]]
        if column["kind"] == "number":
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
            absent = ~np.isfinite(numbers)
            parts.append(np.where(absent, column["median"], numbers)[:, None])
            if column["missing"]:
                parts.append(absent[:, None].astype(np.float64))
        else:
            places = {value: i for i, value in enumerate(column["values"])}
            at = values.astype(object).where(values.notna(), None).map(lambda v, p=places: p.get(str(v), len(p)))
            parts.append(np.eye(len(places) + 1)[at.to_numpy(np.int64)])
    return np.concatenate(parts, axis=1)


def feature_names(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the features that `apply_columns` returns."""
    names: list[str] = []
    for column in columns:
        name = column["name"]
        if column["kind"] == "number":
            names += [name, f"{name} missing"] if column["missing"] else [name]
        else:
            names += [*(f"{name}={value}" for value in column["values"]), f"{name} other"]
    return names
