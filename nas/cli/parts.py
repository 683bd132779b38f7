"""`nas blocks`, `nas check` and `nas plugins`: the parts there are, and those of a user's own."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from nas.cli.group import plugin_option
from nas.errors import NasError, did_you_mean
from nas.registry import Table

_TAKES = {"map": "maps (C, H, W)", "tokens": "tokens (T, C)", "vector": "vectors (F,)", "any": "anything"}
_COMMENT = re.compile(r"^\s*(\w+)\s*:[^#\n]*#\s*(.+)$", re.MULTILINE)
"""A field and what is said of it, at the end of its line."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@plugin_option
def blocks(names: tuple[str, ...]) -> None:
    """List the blocks and heads that a space can name, with their fields, types and defaults.

    A stem is a block too. On images, blocks that take tokens see the positions one after the other.
    """
    from nas.blocks import BLOCKS, HEADS

    tables: dict[str, Table[Any]] = {"block": BLOCKS, "head": HEADS}
    known = [name for table in tables.values() for name in table]
    for name in names:
        if name not in known:
            raise NasError(did_you_mean("block or head", name, known))
    entries = [
        _entry(kind, name, table[name], table.by(name) if table.own(name) else "")
        for kind, table in tables.items()
        for name in table
        if not names or name in names
    ]
    click.echo("\n\n".join(entries))


def _entry(kind: str, name: str, part: Any, by: str) -> str:
    """Return a part as one reads it: what it is, what it takes, and a line for each field."""
    said = (inspect.getdoc(part) or "").split("\n")[0]
    own = f"  [{_origin(by)}]" if by else ""
    lines = [f"{name}  ({kind}; takes {_TAKES[part.takes]}){own}", *([f"    {said}"] if said else [])]
    comments = _comments(part.Config)
    kinds = get_type_hints(part.Config)
    fields = [
        (f"{f.name}: {_kind(kinds[f.name])} = {_written(f.default)}", f.name) for f in dataclasses.fields(part.Config)
    ]
    width = min(max((len(text) for text, _ in fields), default=0), 44)
    for text, field in fields:
        comment = comments.get(field, "")
        lines.append(f"    {text:<{width}}  # {comment}" if comment else f"    {text}")
    return "\n".join(lines)


def _origin(module: str) -> str:
    """Return the plugin that a module is, as the user wrote it."""
    from nas.plugins import loaded

    return next((p.spec for p in loaded() if p.module == module), module)


def _comments(config: type) -> dict[str, str]:
    try:
        return dict(_COMMENT.findall(inspect.getsource(config)))
    except (OSError, TypeError):  # its source is not there
        return {}


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    return str(getattr(hint, "__name__", hint))


def _written(value: object) -> str:
    """Return a value as a space file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@click.command()
@click.argument("files", metavar="FILE.py|MODULE...", nargs=-1, required=True)
@click.option("--data-root", metavar="DIR", default="data", show_default=True, help="Folder of a data set's files.")
def check(files: tuple[str, ...], data_root: str) -> None:
    """Check each part that plugins file against the contract of its kind, on small shapes, spaces and networks.

    Says of each that it is ok, or what it breaks and what to do; exit code 1 where one is not ok. In your own tests
    call nas.testing, which is the same.
    """
    from nas.plugins import load
    from nas.testing import ContractBroken, check_part

    broken = 0
    for plugin in [load(file) for file in files]:
        for part in plugin.id.parts:
            try:
                words = "ok" if check_part(part, data_root) else "there is no contract for this kind"
            except ContractBroken as error:
                words = f"broken\n  {error}"
            except NasError as error:
                words = f"cannot be checked here\n  {error}"
            except Exception as error:  # whatever a user's part raises
                words = f"broken\n  {type(error).__name__}: {' '.join(str(error).split())}{_where(error, plugin.path)}"
            broken += words not in ("ok", "there is no contract for this kind")
            click.echo(f"{part}: {words}")
    if broken:
        raise SystemExit(1)


def _where(error: Exception, path: str) -> str:
    """Return the last line of a user's file that led to an error; "" where there is none."""
    import traceback

    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"\n  {path}: line {lines[-1].lineno}" if lines else ""


@click.command()
def plugins() -> None:
    """List the plugins that installed packages offer (entry points nas.plugins). None is loaded unless you name it."""
    from nas.plugins import installed

    found = installed()
    if not found:
        click.echo("no installed package offers a plugin; give a file of your own with --plugin my_blocks.py", err=True)
    for name, module in sorted(found.items()):
        click.echo(f"{name:20} {module}    --plugin {name}")
