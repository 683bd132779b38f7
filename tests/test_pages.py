"""The docs are true: every block is run or says why not, every option and every link exists."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from docs_files import FILES, ROOT
from forked_nas import PYTHON, nas_command

from nas.cli import main
from nas.study.folder import RunFolder

PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]

REPLACED = {
    "nas search ": "nas search --trials 3 --epochs 1 --sampler random ",
    "nas retrain ": "nas retrain --epochs 1 --workers 1 ",
    "nas space ": "nas space --samples 5 ",
    "results/mine/exports/trial-00017.onnx.example.py": "$(ls results/mine/exports/*.onnx.example.py | head -n 1)",
}
"""What is run instead of what a page shows, so that it takes seconds. Of an option that is given twice the last counts:
what a page says itself is what is run."""

ENVIRONMENT = {
    "BROWSER": "true",  # the program of that name
    "OMP_NUM_THREADS": "1",
    "PIP_NO_INDEX": "1",
    "PYTHONPATH": str(ROOT),
    "http_proxy": "http://127.0.0.1:9",  # nobody listens there
    "https_proxy": "http://127.0.0.1:9",
}


REPLACED_PYTHON = {
    r"nas\.Study\((\"[^\"]*\")": r'nas.Study(\1, epochs=1, sampler="random"',
    r"trials=\d+": "trials=3",
}
"""The same in Python, as regular expressions."""

BLOCK = re.compile(r"(?:^<!-- (not run|needs): ([^\n]+) -->\n)?^```(sh|python)\n(.*?)^```", re.M | re.S)
"""A block of commands or of Python, and the comment on the line before it."""


@dataclass(frozen=True)
class Block:
    """A block of commands, or of Python, of a page."""

    page: str
    text: str
    not_run: str = ""  # the reason
    needs: tuple[str, ...] = ()  # modules
    language: str = "sh"

    @property
    def missing(self) -> list[str]:
        return [module for module in self.needs if find_spec(module) is None]


def blocks_of(page: str, language: str = "sh") -> list[Block]:
    """Return the blocks of a language on a page, in order."""
    found = []
    for mark, words, said, block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        needs = tuple(words.split(", ")) if mark == "needs" else ()
        found.append(Block(page, block, words if mark == "not run" else "", needs, said))
    return [block for block in found if block.language == language]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Iterator[dict[str, str]]:
    """What the commands see; `nas` is the code of this checkout."""
    programs = tmp_path_factory.mktemp("programs")
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **ENVIRONMENT, "PATH": path, "PROGRAMS": str(programs)}
    with nas_command(programs, environment):
        yield environment


def runnable(page: str) -> list[Block]:
    return [b for language in ("sh", "python") for b in blocks_of(page, language) if not b.not_run]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_the_blocks_of_a_page_run(page, environment, tmp_path):
    """Its commands, each block by itself; then all of its Python in one process, in the same folder."""
    for make in FILES.get(page, ()):
        make(tmp_path)
    blocks = runnable(page)
    present = [block for block in blocks if not block.missing]
    for block in present:
        if block.language == "sh":
            run(block, environment, tmp_path)
    run_python([block for block in present if block.language == "python"], environment, tmp_path)
    left_out = [f"{first_line(block)} (needs {', '.join(block.missing)})" for block in blocks if block.missing]
    if left_out:
        pytest.skip(f"{len(present)} of {len(blocks)} blocks were run; not {'; '.join(left_out)}")


def run(block: Block, environment: dict[str, str], folder: Path) -> None:
    """Run a block of commands."""
    text = block.text
    for shown, instead in REPLACED.items():
        text = text.replace(shown, instead)
    call(block, ["bash", "-euo", "pipefail", "-c", text], environment, folder)


def run_python(blocks: list[Block], environment: dict[str, str], folder: Path) -> None:
    """Run the Python of a page, one block after the other, as one file: workers import it."""
    if not blocks:
        return
    text = "\n\n".join(block.text for block in blocks)
    for shown, instead in REPLACED_PYTHON.items():
        text = re.sub(shown, instead, text)
    script = folder / "blocks_of_the_page.py"
    script.write_text(text, encoding="utf-8")
    call(blocks[0], [Path(environment["PROGRAMS"], PYTHON), script], environment, folder)


def call(block: Block, words: list[str | Path], environment: dict[str, str], folder: Path) -> None:
    """Run a program, and fail with what it says where it fails."""
    result = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,  # where it hangs
        check=False,
    )
    if result.returncode:
        pytest.fail(f"{block.page}, the block that begins {first_line(block)!r}:\n{result.stdout}", pytrace=False)


def first_line(block: Block) -> str:
    return block.text.partition("\n")[0]


def test_every_link_leads_somewhere():
    pages = [ROOT / page for page in PAGES] + sorted((ROOT / "docs/decisions").glob("*.md"))
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                path, _, heading = link.partition("#")
                target = page.parent / path if path else page
                assert target.exists(), f"{page.relative_to(ROOT)} links to {link}, which is not there"
                assert not heading or heading in headings(target), f"{page.relative_to(ROOT)}: no heading {link}"


def headings(page: Path) -> list[str]:
    """Return how links name the headings of a page."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]


def test_the_readme_lists_every_page():
    links = set(re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert set(PAGES) - {"README.md"} <= links


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_is_named_exists(page):
    """In blocks that are not run, and in the text, too."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line for block in blocks_of(page) for line in block.text.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for code in [*lines, *(span for span in spans if span.startswith("nas "))]:
        for name, rest in re.findall(r"(?:^|[ /])nas ([a-z]+)([^|&#]*)", code):
            assert name in main.commands, f"{page}: {code}"
            unknown = set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest)) - options(main.commands[name])
            assert not unknown, f"{page}: nas {name} has no {', '.join(unknown)}: {code}"


def options(command: click.Command) -> set[str]:
    return {"--help", "-h", *(word for parameter in command.params for word in parameter.opts)}


def test_the_readme_tells_of_every_option_of_a_search():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told_elsewhere = {"--help", "--objective", "--runtime", "--task", "--text-column", "--vocabulary", "--test-data"}
    told_elsewhere |= {"--encoding", "--val-share", "--subset-method"}  # on the pages on data and on training
    missing = {word for word in options(main.commands["search"]) if word.startswith("--") and word not in text}
    assert missing <= told_elsewhere


def test_the_readme_tells_of_everything_in_a_run_folder():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = [value for name, value in vars(RunFolder("run")).items() if isinstance(value, Path) and name != "path"]
    assert [path.name for path in paths if f"`{path.name}" not in text and not path.name.startswith(".")] == []


def test_who_cites_cites_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for field in ("version", "license"):
        assert f'\n{field} = "{cited[field]}"\n' in project, f"CITATION.cff has another {field} than pyproject.toml"


def test_a_block_that_fails_is_told_with_its_page_and_output(environment, tmp_path):
    block = Block("page.md", "nas front nowhere\necho not reached\n")
    with pytest.raises(pytest.fail.Exception) as failed:
        run(block, environment, tmp_path)
    assert "page.md, the block that begins 'nas front nowhere'" in str(failed.value)
    assert "nowhere: no such run folder" in str(failed.value)
    assert "not reached\n" not in str(failed.value)


def test_the_python_of_a_page_is_one_process_and_a_fault_is_told_with_its_line(environment, tmp_path):
    good = [Block("page.md", "import os\nhere = os.getpid()\n"), Block("page.md", "assert here == os.getpid()\n")]
    run_python(good, environment, tmp_path)
    bad = [*good, Block("page.md", "import nas\nnas.Front.load('nowhere')\n")]
    with pytest.raises(pytest.fail.Exception) as failed:
        run_python(bad, environment, tmp_path)
    assert "nas.Front.load('nowhere')" in str(failed.value)
    assert "nowhere: no such run folder" in str(failed.value)


def test_what_is_shown_is_run_in_little():
    found = 'nas.Study("image", data="a").search(trials=100)'
    for shown, instead in REPLACED_PYTHON.items():
        found, n = re.subn(shown, instead, found)
        assert n, f"no page shows {shown}"
    assert found.startswith('nas.Study("image", epochs=1, sampler="random", data="a").search(trials=3)')
    text = "".join(block.text for page in PAGES for block in blocks_of(page, "python"))
    assert all(re.search(shown, text) for shown in REPLACED_PYTHON)
