"""Shipped spaces by name, from any folder; other spaces by path."""

from __future__ import annotations

from pathlib import Path

from nas.errors import SpaceError, did_you_mean
from nas.space import Space

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "search_spaces", _HERE.parent / "search_spaces")  # in an installed package; in a checkout


def shipped() -> dict[str, Path]:
    """Return the files of the spaces that come with the package, by name."""
    folder = next((f for f in _FOLDERS if f.is_dir()), None)
    return {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_space(spec: str | Path) -> Space:
    """Read a space by the name of a shipped one or by the path of a file; a file of that path comes first.

    Raises:
        SpaceError: there is neither, or the file is no space.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        return Space.from_yaml(path)
    names = shipped()
    if str(spec) in names:
        return Space.from_yaml(names[str(spec)])
    if path.suffix in (".yaml", ".yml") or path.exists():
        near = did_you_mean("shipped space", path.stem, names)
        raise SpaceError(f"no space file {path}; {near}")
    raise SpaceError(f"{did_you_mean('shipped space', spec, names)}; nor is there a file {str(spec)!r}")
