"""What the page on the sampler shows is true."""

import doctest
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import sampler_page

PAGE = Path(__file__).parents[2] / "docs" / "sampler.md"
RESULTS = PAGE.parents[1] / "results" / "samplers"


def test_the_example_runs():
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0


def test_every_file_named_is_there():
    page = PAGE.read_text(encoding="utf-8")
    for name in page.split("| step |")[1].split("\n\n")[0].split("`"):
        if name.isidentifier() and name not in {"nas"}:
            assert (PAGE.parents[1] / "nas" / "samplers" / "tpe" / f"{name}.py").exists(), name


def test_the_tables_are_what_was_measured():
    page = PAGE.read_text(encoding="utf-8")
    assert sampler_page.written(page, RESULTS) == page, "python scripts/sampler_page.py writes them"


def test_all_of_ours_on_the_page_ran_with_the_same_code():
    rows = [row for folder in (RESULTS, RESULTS / "ablation") for row in sampler_page.runs(folder)]
    assert len({row.get("code") for row in rows if row["sampler"].startswith("tpe")}) == 1
