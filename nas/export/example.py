"""A script that classifies with an exported file and needs no part of this package."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from nas.export import standalone

_SHARED: tuple[Callable[..., Any], ...] = (
    *(standalone.read_samples, standalone.sample_files, standalone.arranged, standalone.read_image),
    *(standalone.standardised, standalone.outputs, standalone.probabilities, standalone.main),
)

_TEXT = '''\
"""Predict with the network beside this script: python THIS_SCRIPT SAMPLES.npy

Prints class and probability, or the predicted numbers, of each sample, given in the units of the training data. Needs
numpy, {needs}; where images are taken a file of one will do too, by Pillow. What the data were, and how they are
scaled, is in {where}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = {name}


{functions}

if __name__ == "__main__":
    main(FILE, {open_network})
'''


def example_source(name: str, open_network: Callable[..., Any], needs: str, where: str) -> str:
    """Return the text of the script.

    Nothing of a run but the file's own name gets into it, as a Python literal: class names stay data.

    Args:
        name: of the file, which lies beside the script.
        open_network: the function of `standalone` that opens such a file.
        needs: packages, for the reader.
        where: what holds the metadata, for the reader.
    """
    functions = "\n\n".join(inspect.getsource(function) for function in (open_network, *_SHARED))
    return _TEXT.format(
        needs=needs,
        where=where,
        name=ascii(name),
        functions=functions,
        open_network=open_network.__name__,
    )
