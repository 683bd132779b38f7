"""The tiny space whose search the tests share, and what lies in a folder."""

import hashlib
from pathlib import Path

TINY = """\
input: image
body:
  repeat: {int: [1, 2]}
  block: {choice: {conv: {width: [4, 8, 64], stride: 2}, identity: {}}}
head: {pool: {}}
training:
  epochs: 1
  batch_size: 64
  optimizer: {sgd: {lr: [0.1, 0.3, 1.0e+12]}}
"""
"""60 architectures that train in 0.05 s: some build alike, some are large, some diverge."""

BUDGET = "n_params<=2k"
"""Broken by those with a 64 wide convolution before another one."""


def snapshot(folder: Path) -> dict[str, str]:
    """Return what lies in a folder, by path: folders too, files by their content."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in folder.rglob("*")
    }
