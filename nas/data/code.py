"""Data that a Python function makes: `module:function`, or `path/to/file.py:function`, with arguments if need be.

Code is run because a user names it, on the command line or in Python; never because a file of a run does
(`nas.study.session.load_data` keeps that).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.arrays import Arrays
from nas.data.reading import Reading
from nas.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from nas.data.task import Task

_SPEC = re.compile(r"(?P<where>.+?):(?P<function>[A-Za-z_]\w*)(?P<arguments>\(.*\))?", re.DOTALL)
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "classes", "targets", "layout", "task")
_WANTED = "a dict of arrays (x_train, y_train, ...), a tuple (x_train, y_train[, x_test, y_test]), Arrays or a Task"


def is_code(spec: str) -> bool:
    """Return whether `spec` names a function; a file or folder of that name goes first.

    >>> [is_code(spec) for spec in ("mine:load", "a/b.py:load(size=32)", "digits", "http://x.org/y", "a/b:load")]
    [True, True, False, False, False]
    """
    found = _SPEC.fullmatch(spec)
    if found is None or os.path.exists(os.path.expanduser(spec)):
        return False
    return found["where"].endswith(".py") or _MODULE.fullmatch(found["where"]) is not None


def run_code(spec: str, how: Reading) -> Arrays | Task:
    """Import what `spec` names, call it, and return what it returns as arrays, or a task as it is.

    The folder of the file, or the current folder, is on the path of imports meanwhile.

    Raises:
        DataError: it cannot be imported or called, raises, or returns something else.
    """
    found = _SPEC.fullmatch(spec)
    assert found is not None, "is_code goes before"
    arguments = _arguments(spec, found["arguments"] or "()")
    where = found["where"]
    with _on_path(Path(os.path.expanduser(where)).resolve().parent if where.endswith(".py") else Path.cwd()):
        module = _module(spec, where)
        made = call(spec, _function(spec, module, found["function"]), arguments)
    name = f"{Path(where).stem if where.endswith('.py') else where}:{found['function']}"
    return as_arrays(spec, name, made, how)


def _arguments(spec: str, text: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("arguments have names")
        return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise DataError(
            f"{spec}: the arguments {text} cannot be read ({error}); write numbers, texts, lists, by name: "
            "'module:function(size=32)'"
        ) from None


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _module(spec: str, where: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(os.path.expanduser(where)).resolve()
        if not path.is_file():
            raise DataError(f"{spec}: there is no file {where}; check the path")
        # A name of its own, so that a file called random.py replaces nothing.
        name = "nas_data_" + re.sub(r"\W", "_", path.stem)
        made = importlib.util.spec_from_file_location(name, path)
        assert made is not None, "it is a .py file"
        assert made.loader is not None, "it is a .py file"
        module = importlib.util.module_from_spec(made)
        sys.modules[name] = module  # dataclasses look their module up
        made.loader.exec_module(module)
        return module
    except ModuleNotFoundError as error:
        if error.name == where:
            raise DataError(
                f"{spec}: there is no module {where}, neither installed nor in {Path.cwd()}; a file is named by its "
                "path: path/to/file.py:function"
            ) from None
        raise DataError(f"{spec}: cannot be imported: {error}; install {error.name}, or mend the import") from error
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{spec}: cannot be imported: {_told(error)}") from error


def _function(spec: str, module: ModuleType, name: str) -> Callable[..., object]:
    if not hasattr(module, name):
        here = (key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise DataError(f"{spec}: {did_you_mean('function', name, here)}")
    function = getattr(module, name)
    if not callable(function):
        raise DataError(f"{spec}: {name} is a {type(function).__name__}, not a function")
    return function


def call(spec: str, function: Callable[..., object], arguments: dict[str, Any]) -> object:
    """Return what a user's function returns.

    Raises:
        DataError: it raises; says what and where.
    """
    try:
        return function(**arguments)
    except DataError as error:
        raise DataError(f"{spec}: {error}") from error
    except (Exception, SystemExit) as error:
        raise DataError(f"{spec}: the function failed: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """Say what was raised, and where: the innermost line, as the traceback has it, where that is not ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    at = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{at}"


def as_arrays(spec: str, name: str, made: object, how: Reading) -> Arrays | Task:
    """Return what a user's function returned as arrays, or the task that it is.

    Raises:
        DataError: it is neither, nor what arrays can be made of.
    """
    if isinstance(made, Arrays):
        return made
    if isinstance(made, tuple | list) and len(made) in (2, 4):
        made = dict(zip(("x_train", "y_train", "x_test", "y_test"), made, strict=False))
    if isinstance(made, Mapping):
        for key in made:
            if key not in _KEYS:
                raise DataError(f"{spec}: returned a dict with {key!r}: {did_you_mean('array', key, _KEYS)}")
        if missing := [key for key in ("x_train", "y_train") if made.get(key) is None]:
            raise DataError(f"{spec}: returned a dict without {' and '.join(missing)}; it needs both")
        given = {key: value for key, value in made.items() if value is not None}
        texts: dict[str, Any] = {key: str(given.pop(key)) for key in ("layout", "task") if key in given}
        arrays: dict[str, Any] = {key: _array(spec, key, value) for key, value in given.items()}
        return Arrays(name=name, where=spec, **texts, **arrays)
    from nas.data.task import Task

    if not isinstance(made, Task):
        raise DataError(f"{spec}: returned a {type(made).__name__}; it may return {_WANTED}")
    for option in ("resolution", "channels", "length"):
        if getattr(how, option) is not None:
            raise DataError(f"{spec}: returned a Task, which is ready; --{option} would do nothing: leave it out")
    return made


def _array(spec: str, key: str, value: object) -> np.ndarray:
    """Return `value` as an array, from whatever numpy takes: lists, tensors of the CPU, arrays."""
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, tensors on a GPU or with a gradient
        raise DataError(f"{spec}: {key} is no array ({error}); return a numpy array") from error
    if array.dtype == object:
        raise DataError(f"{spec}: {key} is an array of Python objects; samples must have one shape and one type")
    return array
