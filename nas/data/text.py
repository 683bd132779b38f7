"""Texts -> token ids, by a tokenizer of the library `tokenizers` that is learned on the training texts alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.arrays import Learned
from nas.data.csv_file import find_column
from nas.data.reading import Reading
from nas.data.written import MOSTLY, are_dates, are_numbers_in_disguise
from nas.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_ENOUGH = 0.95
"""Share of the training texts that are not cut."""

_MOST_TOKENS = 256
"""Texts are cut to these where nobody says more: attention costs the square."""

_PAD, _UNKNOWN = "[PAD]", "[UNK]"
"""Ids 0 and 1."""


def text_column(path: Path, table: pd.DataFrame, how: Reading) -> str:
    """Return the column of texts: the one that the user names, or one of two, the other being labels; else ""."""
    if how.text_column:
        return find_column(path, table, how.text_column, "--text-column")
    if len(table.columns) != 2:
        return ""
    prose = [str(name) for name in table.columns if name not in how.target_columns and _is_prose(table[name])]
    return prose[0] if len(prose) == 1 else ""


def _is_prose(column: pd.Series) -> bool:
    """Whether a column holds words that mostly differ, and are neither dates nor numbers, however those are written."""
    import pandas as pd

    there = column.dropna()
    if len(there) == 0 or not all(isinstance(value, str) for value in there):
        return False
    if pd.to_numeric(there, errors="coerce").notna().mean() > 1 - MOSTLY or are_dates(there):
        return False
    return bool(there.nunique() > 0.5 * len(there)) and not are_numbers_in_disguise(there)


def texts(path: Path, column: pd.Series) -> list[str]:
    """Return a column as texts; a missing one is empty."""
    return ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]


def learn_texts(rows: Sequence[str], test: Sequence[str], train: np.ndarray, how: Reading) -> Learned:
    """Learn a tokenizer on the training texts, and make ids of all: (n, T) float32.

    Byte-pair encoding of words in small letters; what is seen once in training is spelled in parts. T is enough for
    95 % of the training texts, and no more than 256 unless it is said; longer ones are cut at the end, shorter ones
    filled with 0 in front, so that the last position is a text's own.

    Cost: about 1 s for 5,000 short messages.

    Reference: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, ACL 2016.
    https://arxiv.org/abs/1508.07909
    """
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE(unk_token=_UNKNOWN))
    tokenizer.normalizer = library.normalizers.Sequence([library.normalizers.NFKC(), library.normalizers.Lowercase()])
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    trainer = library.trainers.BpeTrainer(
        vocab_size=how.vocabulary,
        limit_alphabet=max(how.vocabulary - 2, 1),  # else every letter that was seen is a token, however many
        min_frequency=2,
        special_tokens=[_PAD, _UNKNOWN],
        show_progress=False,
    )
    learned_on = [rows[i] for i in train]
    tokenizer.train_from_iterator(learned_on, trainer)
    size = int(tokenizer.get_vocab_size())
    if size <= 2:
        raise DataError("the training texts are empty, so that there is nothing to learn from; check --text-column")
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(learned_on)]
    length = how.length or min(max(1, int(np.ceil(np.quantile(lengths, _ENOUGH)))), _MOST_TOKENS)
    recipe = {"kind": "text", "length": length, "vocabulary": size, "tokenizer": json.loads(tokenizer.to_str())}
    cut = float(np.mean([n > length for n in lengths]))
    return Learned(
        x_train=token_ids(rows, recipe),
        x_test=token_ids(test, recipe),
        layout="ids",
        recipe=recipe,
        notes=(f"{size} tokens; texts are cut to {length} of them ({cut:.0%} of the training texts are longer)",),
    )


def token_ids(rows: Sequence[str], recipe: Mapping[str, Any]) -> np.ndarray:
    """Return the ids of texts, (n, T) float32, as `learn_texts` learned it; floats, as all networks take them."""
    tokenizer = _tokenizers().Tokenizer.from_str(json.dumps(recipe["tokenizer"]))
    length = int(recipe["length"])
    ids = np.zeros((len(rows), length), np.float32)
    for row, encoding in zip(ids, tokenizer.encode_batch(list(rows)), strict=True):
        found = encoding.ids[:length]
        if found:
            row[-len(found) :] = found
    return ids


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.normalizers
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise DataError("texts need the library tokenizers: pip install 'pareto-nas[text]'") from None
    return tokenizers
