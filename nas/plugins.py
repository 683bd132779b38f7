"""Parts of a user's own: a file, a module or an installed distribution, loaded where the user names it.

A plugin is code. It is loaded because somebody named it in this process, on the command line or in Python, and never
because a run's files do: those say which plugins a run was made with, and by their digests whether these are the same.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from nas.errors import NasError, RunError
from nas.registry import Table, filed_by

GROUP = "nas.plugins"
"""Of entry points. An installed plugin is loaded where it is named, as any other."""

_loaded: dict[str, Plugin] = {}
"""By the path of a file, else by the name of the module; in the order in which they were loaded."""


@dataclass(frozen=True)
class PluginId:
    """What a run keeps of a plugin."""

    name: str
    """Of its file, without folders, or of its module."""

    digest: str
    """16 hex digits that name the file's bytes, or those of all Python files of the module's package."""

    distribution: str = ""
    """Name and version, where the module is installed."""

    parts: tuple[str, ...] = ()
    """What it files: kind and name of each."""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution + ', ' if self.distribution else ''}digest {self.digest})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as YAML has it."""
        return {**asdict(self), "parts": list(self.parts)}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> PluginId:
        """Undo `to_dict`.

        Raises:
            KeyError, TypeError: it is none.
        """
        return cls(str(kept["name"]), str(kept["digest"]), str(kept["distribution"]), tuple(map(str, kept["parts"])))


@dataclass(frozen=True)
class Plugin:
    """A plugin that is loaded here, and can be in another process; crosses pipes."""

    id: PluginId

    spec: str
    """What the user wrote, and would write again."""

    path: str = ""
    """Of a file; empty for a module."""

    source: bytes = field(default=b"", repr=False)
    """Of a file, as it was when it was loaded: a process that is started later runs the same."""

    @property
    def module(self) -> str:
        """The name of its module in `sys.modules`, unless somebody had imported the file before."""
        return _module_name(self.path, self.id.digest) if self.path else self.id.name

    def has(self, *kinds: str) -> bool:
        """Whether it files a part of one of these kinds, such as "block"."""
        return any(part.startswith(f"{kind} ") for part in self.id.parts for kind in kinds)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        source = base64.b64encode(self.source).decode()
        return {"id": self.id.to_dict(), "spec": self.spec, "path": self.path, "source": source}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Plugin:
        """Undo `to_json`."""
        source = base64.b64decode(plain["source"])
        return cls(PluginId.from_dict(plain["id"]), plain["spec"], plain["path"], source)


def load(spec: str | Path) -> Plugin:
    """Load a plugin, once.

    Args:
        spec: the path of a Python file; or the name of an installed plugin (`installed`) or of a module, such as
            "my_package.blocks". A file stands alone: what it imports is installed, or is on PYTHONPATH.
    Raises:
        NasError: there is none, it cannot be run (with the line), or it files nothing.
    """
    text = str(spec)
    if text.endswith(".py") or "/" in text or "\\" in text:
        path = Path(text).expanduser()
        try:
            source = path.read_bytes()
        except OSError as error:
            raise NasError(f"plugin {text}: cannot be read: {error.strerror or error}") from None
        return _file(str(path.resolve()), source, text)
    return _module(installed().get(text, text).partition(":")[0], text)


def loaded() -> tuple[Plugin, ...]:
    """Return the plugins of this process."""
    return tuple(_loaded.values())


def restore(plugins: Iterable[Plugin]) -> None:
    """Load in this process what another one has loaded, such as the driver of a search.

    Raises:
        NasError: one cannot be loaded here.
        RunError: one is another here than there.
    """
    for plugin in plugins:
        if plugin.path:
            _file(plugin.path, plugin.source, plugin.spec)
            continue
        here = _module(plugin.id.name, plugin.spec)
        if here.id.digest != plugin.id.digest:
            raise RunError(
                f"plugin {plugin.id.name}: is another on this machine ({here.id}) than where the search was begun "
                f"({plugin.id}); install the same on each"
            )


def installed() -> dict[str, str]:
    """Return the plugins that installed distributions offer: name to module. None of them is loaded by this."""
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)}


def check_same(recorded: Sequence[PluginId], run: str, *, strict: bool, kinds: Sequence[str] = ()) -> list[str]:
    """Check that the plugins a run was made with are loaded here.

    Args:
        run: the run's folder, for messages.
        strict: whether one that was changed since is refused: the same choices may now make other networks.
        kinds: of parts; a plugin that has none of them is not needed. Empty: all are.
    Returns:
        A line for each that was changed since.
    Raises:
        RunError: one is not loaded, or was changed and `strict`.
    """
    here = {plugin.id.name: plugin for plugin in _loaded.values()}
    needed = [p for p in recorded if not kinds or any(part.startswith(f"{k} ") for part in p.parts for k in kinds)]
    if missing := [plugin for plugin in needed if plugin.name not in here]:
        options = " ".join(f"--plugin {plugin.name}" for plugin in missing)
        raise RunError(
            f"{run}: this run was made with {' and '.join(map(str, missing))}; give {options}, or in Python "
            f"nas.load_plugin({missing[0].name!r}): code is never loaded because a run's file names it"
        )
    changed = []
    for plugin in needed:
        now = here[plugin.name].id
        if now.digest != plugin.digest:
            digests = f"digest {plugin.digest}, now {now.digest}"
            line = f"{run}: {plugin.name} has changed since this run was made ({digests})"
            if strict:
                raise RunError(
                    f"{line}: the same choices may make other networks\n"
                    "  give the file as it was, or begin a new run, which --warm-start can tell of this one"
                )
            changed.append(f"{line}: what it builds may be another network")
    return changed


def together(recorded: Sequence[PluginId]) -> tuple[PluginId, ...]:
    """Return what a run keeps: the plugins it was made with, and those loaded here besides."""
    names = {plugin.name for plugin in recorded}
    return (*recorded, *(plugin.id for plugin in _loaded.values() if plugin.id.name not in names))


# ---------------------------------------------------------------- loading


def _check_alone(key: str, name: str, spec: str) -> None:
    """A run names its plugins without folders: no two of a name."""
    twin = next((known for at, known in _loaded.items() if at != key and known.id.name == name), None)
    if twin is not None:
        raise NasError(f"plugin {spec}: another one of that name is loaded ({twin.spec}); rename one of them")


def _file(path: str, source: bytes, spec: str) -> Plugin:
    """Run the bytes of a file as a module, unless they were run before; what an older version filed goes."""
    digest = _digest([source])
    known = _loaded.get(path)
    if known is not None and known.id.digest == digest:
        return known
    _check_alone(path, Path(path).name, spec)
    name = _module_name(path, digest)
    module = _imported(path)  # by the user's own script, or the script itself
    if known is not None or module is None:
        if known is not None:
            _forget(known.module)
            del _loaded[path]
        module = ModuleType(name)
        module.__file__ = path
        sys.modules[name] = module  # dataclasses and annotations look their module up
        try:
            exec(compile(source, path, "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            _forget(name)
            raise NasError(f"plugin {_told(error, path)}") from error
    try:
        parts = _parts(_own(filed_by(module.__name__)), spec)
    except NasError:
        _forget(name)
        raise
    _loaded[path] = Plugin(PluginId(Path(path).name, digest, "", parts), spec, path, source)
    return _loaded[path]


def _module(name: str, spec: str) -> Plugin:
    known = _loaded.get(name)
    if known is not None:
        return known
    _check_alone(name, name, spec)
    before = _all()
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # of its parent; of a name that is none
        found = None
    except (Exception, SystemExit) as error:  # the parent package was run
        raise NasError(f"plugin {_told(error, '')}") from error
    if found is None and name not in sys.modules:
        known_names = ", ".join(sorted(installed())) or "none"
        raise NasError(
            f"plugin {spec!r}: there is no such module here, nor an installed plugin (installed: {known_names}); write "
            "a path such as ./my_blocks.py for a file, or put the module's folder on PYTHONPATH"
        )
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        for table, part in _all() - before:
            if table.own(part):
                table.drop(part)
        raise NasError(f"plugin {_told(error, found.origin or '' if found else '')}") from error
    top = sys.modules[name.partition(".")[0]]
    at = getattr(module, "__file__", None)
    # A folder without an __init__.py is a package too, and may be several folders.
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    files = sorted(file for folder in folders for file in folder.rglob("*.py")) if folders else [Path(at)] if at else []
    if not files:
        raise NasError(f"plugin {spec!r}: it is no file of Python; write the path of one, or a module of yours")
    digest = _digest(file.read_bytes() for file in files)
    names = metadata.packages_distributions().get(top.__name__, [])
    distribution = f"{names[0]} {metadata.version(names[0])}" if names else ""
    parts = _parts([*_own(filed_by(name)), *sorted(_own(_all() - before))], spec)
    _loaded[name] = Plugin(PluginId(name, digest, distribution, parts), spec)
    return _loaded[name]


def _module_name(path: str, digest: str) -> str:
    return f"nas_plugin_{Path(path).stem}_{digest}"


def _forget(module: str) -> None:
    """Take out what the module of a file has filed."""
    sys.modules.pop(module, None)
    for table, part in filed_by(module):
        table.drop(part)


def _parts(found: Iterable[str], spec: str) -> tuple[str, ...]:
    """Return the parts of a plugin, each once.

    Raises:
        NasError: there are none.
    """
    parts = tuple(dict.fromkeys(found))
    if not parts:
        raise NasError(
            f'plugin {spec}: files nothing; put a decorator above each part, such as @nas.BLOCKS.add("my_block")'
        )
    return parts


def _all() -> set[tuple[Table[Any], str]]:
    return {(table, name) for table in Table.tables for name in table}


def _own(parts: Iterable[tuple[Table[Any], str]]) -> list[str]:
    return [f"{table.kind} {name}" for table, name in parts if table.own(name)]


def _imported(path: str) -> ModuleType | None:
    """Return the module that the file at `path` is already, if it is."""
    for module in list(sys.modules.values()):
        at = getattr(module, "__file__", None)
        if isinstance(at, str) and Path(at).name == Path(path).name and Path(at).resolve() == Path(path):
            return module
    return None


def _digest(contents: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _told(error: BaseException, path: str) -> str:
    """Say what went wrong and where: the last line of the user's own that led to it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}: line {error.lineno}: {error.msg}: {(error.text or '').strip()}"
    ours = str(Path(__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    users = [f for f in frames if f.filename == path] or [f for f in frames if not f.filename.startswith(ours)]
    words = str(error) if isinstance(error, NasError) else f"{type(error).__name__}: {error}"
    if not users:
        return f"{path}: {words}"
    line = f"\n  {users[-1].line}" if users[-1].line else ""
    if isinstance(error, ModuleNotFoundError) and path and (Path(path).parent / f"{error.name}.py").exists():
        line += f"\n  a file is loaded by itself, without {error.name}.py beside it: put its folder on PYTHONPATH"
    return f"{users[-1].filename}: line {users[-1].lineno}: {words}{line}"
