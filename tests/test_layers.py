"""The house as a test: imports point down, light rooms stay light, the test set has one door."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NAS = Path(__file__).parent.parent / "nas"
FILES = {str(path.relative_to(NAS.parent)): path for path in sorted(NAS.rglob("*.py"))}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "rng": set(),
    "shapes": set(),
    "durations": {"errors"},
    "counts": set(),
    "registry": {"errors"},
    "plugins": {"errors", "registry"},
    "objectives": {"errors", "registry"},
    "metrics": {"errors", "objectives", "registry"},
    "space": {"errors", "rng"},
    "catalog": {"errors", "space"},
    "pareto": {"errors", "objectives"},
    "blocks": {"errors", "registry", "shapes"},
    "data": {"errors", "registry", "rng", "shapes"},
    "export": {"errors", "registry", "shapes"},
    "records": {"errors", "objectives", "space"},
    "build": {"errors", "registry", "shapes", "space", "blocks"},  # registry: the type of the tables it is handed
    "measure": {"errors", "registry", "plugins", "objectives", "shapes", "space", "blocks", "build", "export"},
    "training": {"errors", "registry", "rng", "objectives", "metrics", "data"},
    "samplers": {"errors", "registry", "rng", "objectives", "space", "pareto"},
    # durations, counts: as one says them; samplers: how Optuna writes a parameter, for its importances.
    "report": {"errors", "durations", "counts", "objectives", "space", "records", "samplers"},
}
MAY_IMPORT["study"] = set(MAY_IMPORT) - {"report"}
MAY_IMPORT["progress"] = {"errors", "durations", "objectives", "pareto", "records", "training", "study"}
MAY_IMPORT["retrain"] = MAY_IMPORT["study"] - {"registry", "catalog", "blocks", "samplers"} | {"study"}
MAY_IMPORT["ship"] = MAY_IMPORT["retrain"] - {"training", "durations"}
MAY_IMPORT["measured"] = MAY_IMPORT["retrain"] | {"ship"}
MAY_IMPORT["trackers"] = {"errors", "records", "training", "study"}
MAY_IMPORT["testing"] = MAY_IMPORT["study"] - {"durations", "catalog", "pareto", "records"}
MAY_IMPORT["api"] = set(MAY_IMPORT) - {"progress", "testing"}
MAY_IMPORT["tables"] = {"durations", "objectives", "progress", "study", "retrain", "ship", "measured", "api"}
MAY_IMPORT["__init__"] = set(MAY_IMPORT) - {"progress", "tables", "testing"}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAY_IMPORT["__main__"] = {"cli"}


def room(path: Path) -> str:
    return path.relative_to(NAS).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Yield every module of ours that is imported anywhere: in functions and for types alone too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if f"{alias.name}.".startswith("nas."))
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "nas":
                yield from (f"nas.{alias.name}" for alias in node.names)
            elif module.startswith((".", "nas.")):
                yield module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and str(a.value).startswith("nas"))


@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_imports_point_down(path):
    here = room(path)
    assert here in MAY_IMPORT, f"nas/{here} is a new room: say in MAY_IMPORT what it may import"
    for name in imported_modules(ast.parse(path.read_text(encoding="utf-8"))):
        assert not name.startswith("."), f"{path}: write the full name of {name}"
        there = name.split(".")[1] if "." in name else "__init__"
        assert there == here or there in MAY_IMPORT[here], f"nas/{here} may not import {name}"


def test_the_table_has_no_circle_and_no_line_for_nothing():
    assert set(graphlib.TopologicalSorter(MAY_IMPORT).static_order()) == set(MAY_IMPORT)
    assert set(MAY_IMPORT) == {room(path) for path in FILES.values()}


def test_an_import_is_found_wherever_it_hides():
    source = """
import nas.a, os, nasal
from nas import b
from nas.c.d import e
from . import f
def g():
    import nas.h as i
    return importlib.import_module("nas.j")
if TYPE_CHECKING:
    import nas
"""
    assert sorted(imported_modules(ast.parse(source))) == [".", "nas", "nas.a", "nas.b", "nas.c.d", "nas.h", "nas.j"]


TORCH = {"torch", "torchvision"}
HEAVY = TORCH | {"pandas", "optuna", "matplotlib", "ray"}
STAYS_LIGHT = {
    "nas": HEAVY,
    "nas.space": HEAVY,
    "nas.space.fields": HEAVY,
    "nas.space.yaml": HEAVY,
    "nas.cli": HEAVY,
    "nas.metrics": HEAVY,
    "nas.pareto": TORCH,
    "nas.records": TORCH,
    "nas.report": TORCH,
    "nas.retrain": TORCH,
    "nas.plugins": HEAVY,
}


@pytest.mark.parametrize(("module", "heavy"), STAYS_LIGHT.items(), ids=STAYS_LIGHT)
def test_importing_it_loads_nothing_heavy(module, heavy):
    path = NAS.parent / module.replace(".", "/")
    if not (path.is_dir() or path.with_suffix(".py").is_file()):
        pytest.skip(f"there is no {module} yet")
    code = f"import sys, {module}; print(*(name for name in {sorted(heavy)} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=NAS.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", [p for p in FILES.values() if room(p) in ("space", "pareto", "records")], ids=str)
def test_torch_is_not_even_hidden_in_a_function(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not TORCH & {name.split(".")[0] for name in names}


def test_the_test_set_has_one_door():
    opening = [
        name
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "test"
    ]
    assert set(opening) == {"nas/retrain/held_out.py", "nas/testing/data.py"}, "the latter is the contract of data"
    assert [here for here, there in MAY_IMPORT.items() if "testing" in there] == ["cli"], "and no search can reach it"
