"""Runs the example beside an exported file where this package cannot be imported."""

import subprocess
import sys
from pathlib import Path

_WITHOUT_NAS = """
import runpy, sys
sys.modules["nas"] = None  # any import of it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_example(example: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """Return how it ended, told these words."""
    command = [sys.executable, "-I", "-X", "utf8", "-c", _WITHOUT_NAS, str(example), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=example.parent, encoding="utf-8")


def classify(example: Path, *words: object) -> list[tuple[str, float]]:
    """Return class and probability of each sample."""
    done = run_example(example, *words)
    assert done.returncode == 0, done.stderr
    return [(name, float(p)) for name, p in (line.rsplit("\t", 1) for line in done.stdout.splitlines())]
