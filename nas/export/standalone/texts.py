"""Texts as they come, made into the ids of their tokens."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nas.export.standalone.rows import missing_words, read_columns, read_text


def read_texts(given: str, metadata: dict[str, Any], encoding: str = "") -> np.ndarray:
    """Return texts as ids: (n, T).

    A .csv or .tsv file gives the texts of its column, any other file a text a line; what is no file is a text itself.

    Args:
        encoding: of the file; empty: that of the training data.
    """
    path, recipe = Path(given), metadata["recipe"]
    encoding = encoding or recipe["encoding"]
    if not os.path.isfile(given):
        if path.suffix.lower() in (".csv", ".tsv", ".txt") and " " not in path.name:
            sys.exit(f"{path}: there is no such file")
        if encoding != recipe["encoding"]:
            sys.exit(f"{given!r}: there is no such file; put quotes around a text of several words")
        rows, lines = [given], [1]
    elif path.suffix.lower() in (".csv", ".tsv"):
        words, lines, _ = read_columns(path, [recipe["column"]], encoding)
        missing = missing_words()
        rows = ["" if word in missing else word for word in words[recipe["column"]]]
    else:
        rows = read_text(path, encoding).replace("\r\n", "\n").removesuffix("\n").split("\n")
        lines = list(range(1, len(rows) + 1))
    blank = [str(line) for row, line in zip(rows, lines, strict=True) if not row.strip()]
    if len(blank) == len(rows):
        sys.exit(f"{path}: all texts in it are empty" if os.path.isfile(given) else "the text is empty")
    if blank:
        shown = ", ".join(blank[:5]) + (", ..." if len(blank) > 5 else "")
        print(f"{path}: no text in line {shown}: what is printed there says nothing", file=sys.stderr)
    return token_ids(rows, recipe)


def token_ids(rows: list[str], recipe: dict[str, Any]) -> np.ndarray:
    """Return the ids of texts (n, T), cut at the end, filled with 0 in front."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit("texts are read by the library tokenizers: pip install tokenizers")
    tokenizer = Tokenizer.from_str(json.dumps(recipe["tokenizer"]))
    ids = np.zeros((len(rows), recipe["length"]), np.float32)
    for row, encoding in zip(ids, tokenizer.encode_batch(rows), strict=True):
        found = encoding.ids[: recipe["length"]]
        row[len(row) - len(found) :] = found
    return ids
