"""A script that predicts with an exported file from data as a user has them, and needs no part of this package."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.export import standalone
from nas.export.metadata import Metadata

Function = Callable[..., Any]

_SHARED: tuple[Function, ...] = (
    *(standalone.standardised, standalone.outputs, standalone.probabilities, standalone.main),
)


@dataclass(frozen=True)
class Samples:
    """In what form samples are given to a script."""

    takes: str
    """The words of its command line; all but the first may be left out."""

    says: str
    """The same, for the reader."""

    reads: tuple[Function, ...]
    """What makes arrays of them: the function that does, then those that it calls."""

    imports: tuple[str, ...] = ()
    """Modules of the standard library that these need, beside those that every script needs."""

    needs: str = ""
    """A package that these need, for the reader."""


_ARRAYS = (standalone.read_arrays, standalone.loaded, standalone.arranged)
_TEXT_FILES = (standalone.read_columns, standalone.read_text, standalone.missing_words)

ARRAYS = Samples(
    takes="SAMPLES.npy",
    says="samples in the units of the training data, as arrays in a .npy or .npz file",
    reads=_ARRAYS,
)

IMAGE = Samples(
    takes="IMAGE_OR_SAMPLES.npy",
    says="an image file, or samples in the units of the training data, as arrays in a .npy or .npz file",
    reads=(standalone.read_images, standalone.as_trained, standalone.resized, *_ARRAYS[1:]),
    needs="Pillow",
)

SERIES = Samples(
    takes="CASES.ts_OR_SAMPLES.npy",
    says="a .ts file, with labels or without, or samples in the units of the training data, as arrays in a .npy or "
    ".npz file",
    reads=(standalone.read_series, standalone.series_of, *_ARRAYS),
)

ROWS = Samples(
    takes="ROWS.csv [ENCODING]",
    says="a .csv or .tsv file with a header, that has the columns of the training data; missing values and unknown "
    "categories may be there, the columns that were predicted need not",
    reads=(standalone.read_rows, *_TEXT_FILES, standalone.numbers, standalone.categories),
    imports=("csv", "difflib", "io", "re"),
)

TEXTS = Samples(
    takes="TEXT_OR_TEXTS.csv [ENCODING]",
    says="a text in quotes; a file with a text a line; or a .csv or .tsv file with the column of the training texts",
    reads=(standalone.read_texts, standalone.token_ids, *_TEXT_FILES),
    imports=("csv", "difflib", "io", "os", "re"),
    needs="tokenizers",
)


def samples_of(metadata: Metadata) -> Samples:
    """Return in what form samples for a network are given: as a user has them, where that is known, else as arrays."""
    recipe = metadata.get("recipe") or {}
    if recipe.get("kind") in ("table", "text") and "encoding" in recipe:
        return ROWS if recipe["kind"] == "table" else TEXTS
    shape = metadata.get("data_shape") or metadata.get("in_shape", ())
    if len(shape) == 3 and shape[0] in (1, 3, 4) and metadata.get("scale") != 1:
        return IMAGE
    return SERIES if len(shape) == 2 else ARRAYS


_TEXT = '''\
"""Predict with the network beside this script: python THIS_SCRIPT {takes}

{says}
"""

from __future__ import annotations

{imports}
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = {name}


{functions}

if __name__ == "__main__":
    main(FILE, {open_network}, {read}, {takes!r})
'''


def example_source(name: str, open_network: Function, needs: str, where: str, metadata: Metadata) -> str:
    """Return the text of the script.

    Nothing of a run but the file's own name gets into it, as a Python literal: names of classes and columns stay data.

    Args:
        name: of the file, which lies beside the script.
        open_network: the function of `standalone` that opens such a file.
        needs: packages, for the reader.
        where: what holds the metadata, for the reader.
        metadata: of the file.
    """
    samples = samples_of(metadata)
    words = (
        f"Takes {samples.says}. Prints class and probability, or the predicted numbers, of each sample. Needs "
        f"{', '.join(filter(None, ('numpy', needs, samples.needs)))}. What the data were, and how they are prepared, "
        f"is in {where}."
    )
    functions = (open_network, *samples.reads, *_SHARED)
    return _TEXT.format(
        takes=samples.takes,
        says=textwrap.fill(words, 120),
        imports="\n".join(f"import {module}" for module in sorted({"json", "sys", *samples.imports})),
        name=ascii(name),
        functions="\n\n".join(inspect.getsource(function) for function in functions),
        open_network=open_network.__name__,
        read=samples.reads[0].__name__,
    )
