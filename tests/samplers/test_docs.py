"""What the page on the sampler shows is true."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "sampler.md"


def test_the_example_runs():
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0


def test_every_file_named_is_there():
    page = PAGE.read_text(encoding="utf-8")
    for name in page.split("| step |")[1].split("\n\n")[0].split("`"):
        if name.isidentifier() and name not in {"nas"}:
            assert (PAGE.parents[1] / "nas" / "samplers" / "tpe" / f"{name}.py").exists(), name
