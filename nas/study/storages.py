"""From a URL to the Optuna storage of a study: a SQLite file, a journal file, or a PostgreSQL database."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages import journal as optuna_journal

from nas.errors import RunError, did_you_mean

CONNECT_S = 10
"""How long a database server has to answer, for each address that its name stands for."""

_LOCKED_S = 30
"""How long SQLite waits for another process that writes, such as a dashboard."""

_SCHEMES = ("sqlite", "journal", "postgresql", "postgresql+psycopg", "postgresql+psycopg2")

_EXAMPLES = "sqlite:///study.db, journal:///study.log or postgresql://user@host/database"


def open_storage(url: str) -> BaseStorage:
    """Return the storage behind a URL; its file or its tables are made where they are missing.

    sqlite:///study.db: a file, written by one machine. journal:///study.log: a file that several machines may write,
    on NFS too. postgresql://user@host/database: a server's; its password is best kept in ~/.pgpass or PGPASSWORD.
    A path is relative to the current folder after three slashes, and absolute after four.

    Raises:
        RunError: the URL is none of these, its driver is not installed, its folder is missing or cannot be written,
            its file is something else, or its server does not let us in within `CONNECT_S`.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:
        raise RunError(f"storage {hide_password(url)!r} is no URL; write e.g. {_EXAMPLES}")
    if scheme not in _SCHEMES:
        raise RunError(f"storage {hide_password(url)}: {did_you_mean('kind', scheme, _SCHEMES)}\n  e.g. {_EXAMPLES}")
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise RunError(f"storage {hide_password(url)}: cannot be read; write e.g. {_EXAMPLES}") from None
    if scheme.startswith("postgresql"):
        return _postgresql(parsed)
    path = _path(parsed)
    return _sqlite(parsed, path) if scheme == "sqlite" else _journal(path)


def close_storage(storage: BaseStorage) -> None:
    """Let go of the file or the server behind a storage of `open_storage`; a SQLite file is left as one file."""
    if isinstance(storage, _Tables):
        storage.close()


def hide_password(url: str) -> str:
    """Return a URL as it may be shown: whoever reads a terminal or a log learns no password.

    >>> hide_password("postgresql://me:se@cret@host/db?sslmode=require&password=secret")
    'postgresql://me:***@host/db?sslmode=require&password=***'
    """
    hidden = re.sub(r"(?<=://)([^/?#:@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)(?<=[?&])(\w*password)=[^&]*", r"\1=***", hidden)


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Say in words that a storage failed under what is done in the block.

    Raises:
        RunError: it did.
    """
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        said = _driver_words(error, _password(url))
        raise RunError(f"storage {hide_password(url)}: {said}\n  a search goes on with --resume") from None


def _sqlite(url: sqlalchemy.URL, path: Path) -> BaseStorage:
    try:
        storage = _tables(url.set(database=str(path)), path, connect_args={"timeout": _LOCKED_S})
        _set_journal(path, "WAL" if _is_local(path) else "DELETE")
    except Exception as error:  # SQLAlchemy's and the driver's own
        raise RunError(f"storage {path}: cannot be opened: {_driver_words(error)}") from None
    return storage


def _set_journal(path: Path, mode: str) -> None:
    """Choose how SQLite makes a change safe, for everybody who opens the file; as it was, while somebody is in it.

    WAL waits for the disk once where DELETE does four times, and is as safe; but all who use the file have to be on one
    machine, and to read it one has to write beside it. So it is set while a search has it open, and on a disk of its
    own: at rest, a study is a file like any other. See results/training/storage.json.
    """
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", timeout=0, uri=True)) as connection,
    ):
        connection.execute(f"PRAGMA journal_mode = {mode}")


_MOUNTS = Path("/proc/self/mounts")
_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "tmpfs"}


def _is_local(path: Path) -> bool:
    """Return whether a file is known to be on a disk of this machine; only Linux tells."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = {}
    for line in lines:
        _, point, kind, *_ = line.split()
        kinds[re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), point)] = kind
    return next((kinds[str(p)] for p in path.parents if str(p) in kinds), "") in _LOCAL


def _postgresql(url: sqlalchemy.URL) -> BaseStorage:
    shown = hide_password(url.render_as_string(hide_password=False))
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")  # SQLAlchemy 2.0 and 2.1 mean different drivers by it
    # A server that vanishes without a word is noticed within about a minute, where TCP alone takes a quarter of an hour
    # for what was sent and two hours for what is awaited.
    settings: dict[str, Any] = {
        "client_encoding": "utf8",  # of a server that was set up without a language, text would come as bytes
        "connect_timeout": CONNECT_S,
        "tcp_user_timeout": 60_000,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    settings = {name: value for name, value in settings.items() if name not in url.query}
    try:
        return _tables(url, connect_args=settings, pool_pre_ping=True)  # a search is silent for minutes
    except ImportError as error:
        raise RunError(
            f"storage {shown}: its driver is not installed: {error.__cause__ or error}\n"
            f"  pip install 'pareto-nas[postgresql]'"
        ) from None
    except Exception as error:  # SQLAlchemy's and the driver's own
        plain = sqlalchemy.URL.create("postgresql", url.username, None, url.host, url.port, url.database)
        raise RunError(
            f"storage {shown}: cannot be opened: {_driver_words(error, url.password or '')}\n"
            f"  see that 'psql {plain.render_as_string()}' works; a password is best kept in ~/.pgpass or PGPASSWORD"
        ) from None


def _tables(url: sqlalchemy.URL, path: Path | None = None, **engine: Any) -> BaseStorage:
    text = url.render_as_string(hide_password=False)
    text = text.replace("{", "{{").replace("}", "}}")  # Optuna formats it, and SQLAlchemy 2.0 leaves them
    _make_tables(text, engine)
    storage = _Tables(text, engine, skip_table_creation=True, skip_compatibility_check=True)
    storage.close = weakref.finalize(storage, _close, storage.engine, path)
    return storage


def _close(engine: sqlalchemy.Engine, path: Path | None) -> None:
    engine.dispose()
    if path is not None:
        _set_journal(path, "DELETE")


class _Tables(RDBStorage):
    """Optuna's storage, where a trial of 40 parameters costs an eighth of the time (results/training/storage.json).

    Optuna asks the database twice for each parameter: for the trial, and for an earlier value of the parameter, whose
    range has to be compatible. Here the session and this object know; what they do not know is asked for. Parameters
    then go to the database together. Optuna's method is private: under another name it would be as slow as it was.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close: Callable[[], object] = lambda: None
        self._ranges: dict[tuple[int, str], BaseDistribution] = {}

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """Return the number of a trial within its study, and read nothing else of it."""
        asked = sqlalchemy.text("SELECT number FROM trials WHERE trial_id = :id")
        with self.engine.connect() as connection:
            found = connection.execute(asked, {"id": trial_id}).scalar()
        if found is None:
            raise KeyError(f"no trial has the id {trial_id}")
        return int(found)

    def _set_trial_param_without_commit(
        self,
        session: Any,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        from optuna.storages._rdb import models

        trial = session.get(models.TrialModel, trial_id)
        key = (trial.study_id if trial else -1, param_name)
        known = self._ranges.get(key)
        if trial is None or known is None:
            super()._set_trial_param_without_commit(
                session, trial_id, param_name, param_value_internal, distribution, previous_distribution
            )
        else:
            self.check_trial_is_updatable(trial_id, trial.state)
            check_distribution_compatibility(known, distribution)
            session.add(
                models.TrialParamModel(
                    trial_id=trial_id,
                    param_name=param_name,
                    param_value=param_value_internal,
                    distribution_json=distribution_to_json(distribution),
                )
            )
        self._ranges[key] = distribution


def _make_tables(text: str, engine: dict[str, Any]) -> None:
    """Make or check Optuna's tables, over connections of their own: where that fails, none stays open."""
    for left in reversed(range(_TRIES)):
        try:
            RDBStorage(text, {**engine, "poolclass": sqlalchemy.pool.NullPool})
            return
        except sqlalchemy.exc.DBAPIError as error:
            first_come = isinstance(error, sqlalchemy.exc.IntegrityError | sqlalchemy.exc.ProgrammingError)
            if not left or not (first_come or "already exists" in str(error)):
                raise
            time.sleep(0.1)


_TRIES = 10
"""Each other process that opens an empty database at the same moment may get in the way of a few of these."""


def _journal(path: Path) -> BaseStorage:
    # The path is absolute: the link that is the lock points at it, and where it is dangling, Optuna waits for ever for
    # a process that was killed. Links are exclusive on NFS of any age, files from its version 3 on.
    symlinks = hasattr(os, "symlink") and os.name == "posix"
    lock = (optuna_journal.JournalFileSymlinkLock if symlinks else optuna_journal.JournalFileOpenLock)(str(path))
    try:
        _cut_short(path, lock)
        return JournalStorage(optuna_journal.JournalFileBackend(str(path), lock_obj=lock))
    except OSError as error:
        raise RunError(f"storage {path}: cannot be opened: {error.strerror or error}") from None
    except Exception:  # whatever Optuna makes of lines that are none of its own
        raise RunError(f"storage {path}: is no journal of Optuna's, or a damaged one; name another file") from None


def _cut_short(path: Path, lock: Any) -> None:
    """Take away a last line that its writer was killed in: the next one would be appended to it, and both be lost."""
    if not path.exists():
        return
    lock.acquire()
    try:
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _LONGEST_LINE))
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
    finally:
        lock.release()


_LONGEST_LINE = 2**24


def _path(url: sqlalchemy.URL) -> Path:
    """Return the absolute path of the file that a URL names, which can be written."""
    if url.host or not url.database or url.database == ":memory:":
        raise RunError(
            f"storage {url.render_as_string()}: names no file; "
            f"write {url.drivername}:///study.db, or with four slashes an absolute path"
        )
    path = Path(url.database).resolve()
    folder = path.parent
    if not folder.is_dir():
        raise RunError(
            f"storage {url.render_as_string()}: there is no folder {folder}; make it first\n"
            f"  a path after three slashes is relative; an absolute one has four: {url.drivername}:////folder/file"
        )
    if path.is_dir():
        raise RunError(f"storage {path}: is a folder; name a file in it")
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise RunError(f"storage {path}: {place} cannot be written; name another file, or change its permissions")
    return path


def _password(url: str) -> str:
    try:
        return sqlalchemy.make_url(url).password or ""
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return ""


def _driver_words(error: BaseException, secret: str = "") -> str:
    """Return the first line of what the driver says, without SQLAlchemy's and Optuna's words around it."""
    while (inner := getattr(error, "orig", None) or error.__cause__) is not None:
        error = inner
    said = " ".join((str(error).strip() or type(error).__name__).split("\n\n")[0].split())
    said = re.sub(r"^\(\w+(\.\w+)*\) ", "", said)
    return said.replace(secret, "***") if secret else said
