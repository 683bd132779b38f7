"""A table in a CSV or TSV file -> columns, or a message that names the line."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas.data.written import have_decimal_commas, have_leading_zeros
from nas.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv")

_DELIMITERS = ",;\t|"

_FIRST = 20
"""Lines that tell what separates fields."""

_ZEROS = re.compile(r"""(?:^|[,;\t|"])\s*0\d+\s*(?:$|[,;\t|"])""", re.MULTILINE)
"""A field, or part of one, that a number would not keep as it is."""


def is_csv(spec: str) -> bool:
    """Whether a spec names a table; no file is opened."""
    return Path(spec).suffix.lower() in SUFFIXES


def read_csv_file(path: Path, encoding: str = "utf-8", words: Collection[str] = ()) -> pd.DataFrame:
    """Return the table in a file with one header line, its columns typed as pandas infers them, but for two kinds.

    A column with a 007 in it holds words (postcodes, codes of diseases), for a number would lose the zeros. Where
    semicolons separate, a column all of whose values are written like 123,4 holds numbers.

    The delimiter is a tab in .tsv, else the likeliest of comma, semicolon, tab and bar. Quotes mean nothing in a file
    with tabs some of whose fields begin with one and do not end with one.

    Args:
        words: columns that hold words, whatever they look like here: those of another file of the same kind.
    Raises:
        DataError: no such file, not this encoding, lines of unequal length, or columns of one name.
    """
    import pandas as pd

    text = _text(path, encoding)
    head = text[:65536]
    if not head.strip():
        raise DataError(f"{path}: the file is empty; its first line names the columns")
    delimiter = _delimiter(path, head)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" and _has_loose_quotes(text) else csv.QUOTE_MINIMAL
    columns = _check_lines(path, text, delimiter, quoting)

    def read(names: Collection[str]) -> pd.DataFrame:
        how: dict[str, Any] = {"sep": delimiter, "quoting": quoting, "names": columns, "header": 0, "index_col": False}
        how["low_memory"] = False  # else a column has numbers in one part of a large file and words in the next
        return pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(names, str), **how)

    try:
        kept = {name for name in columns if name in words}
        if _ZEROS.search(text):
            plain = read(columns)
            kept |= {name for name in columns if have_leading_zeros(plain[name])}
        table = read(kept)
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from error
    if len(table) == 0:
        raise DataError(f"{path}: there is a header and no line below it")
    if delimiter == ";":
        for name in set(word_columns(table)) - kept:
            there = table[name].dropna()
            if have_decimal_commas(there):
                table[name] = pd.to_numeric(table[name].str.replace(",", ".", regex=False))
    return table


def word_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that hold words: not those that hold numbers, true and false, or nothing."""
    found = []
    for name, column in table.items():
        there = column.dropna()
        if len(there) and all(isinstance(value, str) for value in there):
            found.append(str(name))
    return found


def find_column(path: Path, table: pd.DataFrame, name: str, option: str) -> str:
    """Return the column called `name`.

    Raises:
        DataError: there is none; names what is nearest.
    """
    if name not in table.columns:
        raise DataError(f"{path}: {option}: {did_you_mean('column', name, map(str, table.columns))}")
    return name


def line_of(row: int) -> int:
    """Return the line in the file of a row, from 0, of its table; right where no field spans lines."""
    return row + 2


def _text(path: Path, encoding: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        if not path.exists() and path.parent.is_dir():
            found = sorted(p.name for p in path.parent.iterdir() if is_csv(p.name))
            near = difflib.get_close_matches(path.name, found, n=1, cutoff=0.5)
            hint = f" Did you mean '{path.parent / near[0]}'?" if near else " Check the path"
            raise DataError(f"{path}: no such file.{hint}") from None
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"  # the mark that some programs put in front is no part of the first column's name
    try:
        return content.decode(encoding)
    except LookupError:
        raise DataError(f"{path}: there is no encoding called '{encoding}'; write e.g. --encoding latin-1") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise DataError(
            f"{path}: byte {error.start} (line {line}) is 0x{content[error.start]:02x}, which is not "
            f"{encoding.removesuffix('-sig')}; say how it is encoded, e.g. --encoding {likely}"
        ) from None
    except UnicodeError as error:
        raise DataError(f"{path}: is not {encoding}: {error}; say how it is encoded with --encoding") from None


def _delimiter(path: Path, head: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = head.splitlines()[0]
    try:
        likely = csv.Sniffer().sniff(first, _DELIMITERS).delimiter
    except csv.Error:
        likely = max(_DELIMITERS, key=first.count)
    # A header may hold one of the others in a name: what cuts the first lines alike, and into most, separates them.
    fields = {delimiter: _fields_alike(head, delimiter) for delimiter in (likely, *_DELIMITERS)}
    return max(fields, key=lambda delimiter: fields[delimiter])  # the first of equals


def _fields_alike(head: str, delimiter: str) -> int:
    """Return how many fields each of the first lines has; 0 where they differ."""
    try:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        numbers = {len(fields) for fields in itertools.islice(rows, _FIRST) if fields}
    except csv.Error:
        return 0
    return numbers.pop() if len(numbers) == 1 else 0


def _has_loose_quotes(text: str) -> bool:
    opened = re.findall(r'(?:^|\t)"[^\t\n]*', text, re.MULTILINE)
    return any(not re.fullmatch(r'\t?"(?:[^"]|"")*"\r?', field) for field in opened)


def _check_lines(path: Path, text: str, delimiter: str, quoting: Literal[0, 3]) -> list[str]:
    """Return the names of the columns.

    Raises:
        DataError: names the first line that is longer or shorter than the header.
    """
    limit = csv.field_size_limit(max(len(text), 131072))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
        header = [name.strip() for name in next(reader)]
        for fields in reader:
            if fields and len(fields) != len(header):
                name = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}[delimiter]
                raise DataError(
                    f"{path}: line {reader.line_num} has {len(fields)} fields, the header {len(header)} (separated by "
                    f"{name}); mend the line, or put quotes around a field that holds a {name}"
                )
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(limit)
    named = [name or f"column_{i + 1}" for i, name in enumerate(header)]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called '{twice}'; give each its own name")
    return named
