"""Where a study may be kept: the same study in a file, a journal and a PostgreSQL server, and what each refuses."""

import gc
import itertools
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import RunError
from nas.objectives import Measurement, parse_objective
from nas.records import TrialRecord
from nas.rng import generator
from nas.space.yaml import parse
from nas.study import storages
from nas.study.storage import Storage
from nas.study.storages import hide_password, open_storage, storage_errors

OBJECTIVES = [parse_objective("accuracy"), parse_objective("latency_ms")]
SECRET = "it's { s3cret }"


# --- a server of our own ----------------------------------------------------------------------------------------------


def _initdb():
    """Return PostgreSQL's initdb, which Debian keeps off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    return shutil.which("initdb") or (str(found[-1]) if found else None)


class Server:
    """A PostgreSQL server of an unprivileged user on a free port, with a folder of its own."""

    def __init__(self, initdb):
        self.bin = Path(initdb).parent
        self.as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="nas-postgresql-"))  # pytest's are closed to other users
        (self.folder / "password").write_text(SECRET)
        if self.as_user:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run("initdb", "-D", "data", "-U", "me", "-A", "scram-sha-256", "--pwfile=password", "-N", "--locale=C")
        self.process = None
        self.databases = itertools.count()

    def run(self, program, *arguments):
        command = [self.bin / program, *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, **self.as_user)

    def start(self):
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=20")
        command = [self.bin / "postgres", "-D", "data", "-p", str(self.port), *(f"-c{one}" for one in settings)]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self.as_user)
        end = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def answers(self):
        import psycopg

        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self):
        """Stop it at once, as a machine does that is switched off."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def url(self, database, password=SECRET, user="me"):
        quoted = password.replace(" ", "%20").replace("{", "%7B").replace("}", "%7D")
        return f"postgresql://{user}:{quoted}@127.0.0.1:{self.port}/{database}"

    def new_database(self):
        import psycopg

        name = f"studies{next(self.databases)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'pareto-nas[postgresql]'")
    if (initdb := _initdb()) is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    if os.getuid() == 0 and subprocess.run(["id", "postgres"], capture_output=True).returncode:
        pytest.skip("needs a user 'postgres' to run PostgreSQL as, since root must not")
    made = Server(initdb)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.folder)


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def url(request, tmp_path):
    """A storage that is there and empty, of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("server").new_database()
    return f"{request.param}:///{tmp_path}/a {{b}} % c.db"


# --- one study, wherever it is ----------------------------------------------------------------------------------------


def record(arch, number, **others):
    prices = {"latency_ms": Measurement(0.5, 0.4, 0.6)}
    fields = {"state": "complete", "prices": prices, "scores": {"accuracy": 0.9, "loss": 0.3}, "curve": ((1.0, 0.9),)}
    return TrialRecord(number=number, arch=arch, **{**fields, **others})


@pytest.fixture
def archs(tiny):
    found = [tiny.sample(generator(0, "storages", i)) for i in range(40)]
    return list(dict.fromkeys(found))


def test_what_was_written_is_read_again(url, tiny, archs):
    with pytest.raises(RunError, match="no study called 'one' to resume"):
        Storage(url, "one", tiny, OBJECTIVES, resume=True)
    storage = Storage(url, "one", tiny, OBJECTIVES, resume=False)
    with pytest.raises(RunError, match="a study called 'one' exists already"):
        Storage(url, "one", tiny, OBJECTIVES, resume=False)
    assert [storage.start(archs[i]) for i in range(4)] == [0, 1, 2, 3]
    storage.keep("calibrations", {"a": [1.5, None]})
    storage.finish(record(archs[0], 0))
    storage.finish(record(archs[1], 1, state="failed", scores={}, reason="the loss 'exploded' {at once} ü"))
    over = record(archs[4], 4, state="over_budget", scores={}, curve=())
    assert storage.reject(over) == 4
    half = record(archs[2], 2, state="stopped_early", paused=True, share=0.1)
    storage.pause(half)

    again = Storage(url, "one", tiny, OBJECTIVES, resume=True)
    assert again.attributes["calibrations"] == {"a": [1.5, None]}
    finished, interrupted = again.load()
    failed = record(archs[1], 1, state="failed", scores={}, reason="the loss 'exploded' {at once} ü")
    assert finished == [record(archs[0], 0), failed, half, over]
    assert interrupted == [(3, archs[3])]
    again.finish(record(archs[2], 2, epochs=3.0))
    again.finish(record(archs[3], 3))
    assert again.start(archs[5]) == 5
    assert Storage(url, "one", tiny, OBJECTIVES, resume=True).load()[0][2] == record(archs[2], 2, epochs=3.0)


def test_optuna_reads_it_by_itself(url, tiny, archs):
    storage = Storage(url, "one", tiny, OBJECTIVES, resume=False)
    storage.finish(replace(record(archs[0], storage.start(archs[0]))))
    (trial,) = optuna.load_study(study_name="one", storage=open_storage(url)).trials
    assert trial.values == [0.9, 0.5]
    assert trial.params == dict(archs[0].values)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_a_trial_asks_little_however_many_parameters_it_has(url):
    body = 10 * "- {conv: {width: {int: [8, 64]}, kernel: [3, 5], stride: [1, 2]}}\n"
    space = parse(f"input: image\nbody:\n{body}head: {{pool: {{}}}}\n", name="thirty")
    storage, statements = Storage(url, "one", space, OBJECTIVES, resume=False), []
    sqlalchemy.event.listen(storage._storage.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    for n in range(2):
        statements.clear()
        arch = space.sample(generator(0, "statements", n))
        storage.finish(record(arch, storage.start(arch)))
    assert len(arch.values) == 30
    assert sum("SELECT" in statement for statement in statements) <= 15


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_what_optuna_promises_of_its_parameters_holds(url):
    study = optuna.create_study(storage=open_storage(url), study_name="theirs")
    trial = study.ask()
    assert trial.suggest_int("n", 1, 9) == trial.suggest_int("n", 1, 9)
    assert study.ask().suggest_int("n", 3, 99) in range(3, 100)  # a range may change
    with pytest.raises(ValueError, match="different distribution kind"):
        study.ask().suggest_float("n", 0.0, 1.0)
    again = optuna.load_study(storage=open_storage(url), study_name="theirs")
    with pytest.raises(ValueError, match="different distribution kind"):
        again.ask().suggest_float("n", 0.0, 1.0)
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_param(trial._trial_id, "m", 1.0, optuna.distributions.IntDistribution(1, 9))
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_param(trial._trial_id, "n", 1.0, optuna.distributions.IntDistribution(1, 9))
    with pytest.raises(KeyError):
        open_storage(url).get_trial_number_from_id(99)
    assert [t.params.keys() for t in study.trials] == [{"n"}, {"n"}, set(), set()]


def test_several_studies_share_one(url, tiny, archs):
    both = [Storage(url, name, tiny, OBJECTIVES, resume=False) for name in ("one", "two")]
    for storage, arch in zip(both, archs, strict=False):
        assert storage.start(arch) == 0
    assert [storage.load()[1] for storage in both] == [[(0, archs[0])], [(0, archs[1])]]


def test_many_may_be_the_first_to_open_it(url):
    together = threading.Barrier(4)

    def open_it(_):
        together.wait()
        return open_storage(url)

    with ThreadPoolExecutor(4) as several:
        assert len(list(several.map(open_it, range(4)))) == 4


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("study.db", "'study.db' is no URL; write e.g. sqlite:///study.db, journal:///study.log or postgresql://"),
        ("mysql://me:s3cret@host/db", r"mysql://me:\*\*\*@host/db: no kind called 'mysql'"),
        ("postgres://me:s3cret@host/db", "no kind called 'postgres'. Did you mean 'postgresql'"),
        ("sqlite://", "names no file; write sqlite:///study.db"),
        ("sqlite:///:memory:", "names no file"),
        ("journal://host/file", "names no file; write journal:///study.db, or with four slashes an absolute path"),
        ("postgresql://me:s3cret@host:port/db", r"postgresql://me:\*\*\*@host:port/db: cannot be read"),
        ("sqlite:///nowhere/study.db", r"there is no folder .*/nowhere; make it first\n.* four: sqlite:////folder"),
        ("journal:///nowhere/study.log", r"there is no folder .*/nowhere; make it first\n.* four: journal:////folder"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=said) as error:
        open_storage(given)
    assert "s3cret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_folder_or_another_file_is_refused_and_left_as_it_is(kind, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match=r"folder: is a folder; name a file in it"):
        open_storage(f"{kind}:///{tmp_path}/folder")
    for content in (b"a shopping list\n" * 300, b'["a", "b"]\n' * 300):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(RunError, match=r"other: (cannot be opened: file is not a database|is no journal)"):
            open_storage(f"{kind}:///{tmp_path}/other")
        assert (tmp_path / "other").read_bytes() == content


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_what_cannot_be_written_is_refused(kind, tmp_path, monkeypatch):
    url = f"{kind}:///{tmp_path}/study"
    open_storage(url)

    def writable(path, mode):
        return bool(os.stat(path).st_mode & stat.S_IWUSR)  # root may write anywhere

    monkeypatch.setattr(storages.os, "access", writable)
    for place, mode in ((tmp_path / "study", 0o600), (tmp_path, 0o700)):
        place.chmod(mode & ~0o200)
        with pytest.raises(RunError, match=f"study: {place} cannot be written; name another file"):
            open_storage(url)
        place.chmod(mode)
    open_storage(url)


def test_a_journal_goes_on_after_a_kill_in_the_middle_of_a_line(tmp_path, tiny, archs):
    url, path = f"journal:///{tmp_path}/study", tmp_path / "study"
    Storage(url, "one", tiny, OBJECTIVES, resume=False).start(archs[0])
    whole = path.read_bytes()
    for cut in (whole.rfind(b"\n", 0, -1) + 1, len(whole) - 1):  # only just begun; without its end
        path.write_bytes(whole[: cut + 1] if cut < len(whole) - 1 else whole[:-1])
        storage = Storage(url, "one", tiny, OBJECTIVES, resume=True)
        assert storage.load() == ([], [])
        assert storage.start(archs[1]) == 0
        assert Storage(url, "one", tiny, OBJECTIVES, resume=True).load() == ([], [(0, archs[1])])


def test_a_journal_that_a_killed_process_has_locked_is_had_in_the_end(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    storage = Storage("journal:///runs/study", "one", tiny, OBJECTIVES, resume=False)
    lock = storage._storage._backend._lock
    lock.acquire()
    lock.grace_period = 0.1  # instead of half a minute
    storage.keep("a", 1)
    assert storage.attributes["a"] == 1


def test_a_driver_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        RunError, match=r"driver is not installed: .*psycopg.*\n  pip install 'pareto-nas\[postgresql\]'"
    ):
        open_storage("postgresql://me:s3cret@host/db")


def test_a_file_at_rest_is_alone_and_can_be_read_where_nothing_can_be_written(tmp_path, tiny, archs):
    path = tmp_path / "a #% b.db"
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    storage = Storage(url, "one", tiny, OBJECTIVES, resume=False)
    storage.start(archs[0])
    both = Storage(url, "one", tiny, OBJECTIVES, resume=True)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    del storage
    gc.collect()
    assert both.start(archs[1]) == 1
    both.close()
    assert list(tmp_path.iterdir()) == [path]
    assert both.start(archs[2]) == 2  # it is opened again
    assert path.read_bytes()[18:20] == b"\x01\x01"  # the formats of a file whose journal is deleted, not WAL


@pytest.mark.parametrize(
    ("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("fuse.sshfs", "delete"), ("", "delete")]
)
def test_files_that_several_machines_may_have_open_are_written_as_such(kind, mode, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    folder = tmp_path / "my runs"
    folder.mkdir()
    lines = ["/dev/vda / ext4 rw 0 0", f"server:/x {folder} {kind} rw 0 0".replace("my runs", r"my\040runs")]
    mounts.write_text("\n".join(lines if kind else []))
    monkeypatch.setattr(storages, "_MOUNTS", mounts)
    storage = open_storage(f"sqlite:///{folder}/study.db")
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    with storage.engine.connect() as connection:  # full: what is written outlives a power cut
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


# --- a server ---------------------------------------------------------------------------------------------------------


def refused(url, said):
    with pytest.raises(RunError, match=said) as error:
        open_storage(url)
    assert SECRET not in str(error.value)
    assert "wr0ng" not in str(error.value)
    assert "***" in str(error.value)


def test_a_wrong_password_is_told_and_not_shown(server):
    refused(
        server.url("postgres", "wr0ng"), r"password authentication failed for user .me.(.|\n)*psql postgresql://me@"
    )


def test_a_database_that_is_not_there_is_told(server):
    refused(server.url("none"), "database .none. does not exist")


def test_one_that_we_may_not_write_is_told(server):
    import psycopg

    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'wr0ng'")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    refused(server.url(url.rpartition("/")[2], "wr0ng", "guest"), "permission denied for schema public")


def test_a_server_that_is_not_there_is_told_within_its_time(monkeypatch):
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'pareto-nas[postgresql]'")
    monkeypatch.setattr(storages, "CONNECT_S", 2)  # the least there is
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        refused(f"postgresql://me:wr0ng@{host}/db", "refused")
        silent.listen()  # the kernel takes the connection, and nobody answers
        refused(f"postgresql://me:wr0ng@{host}/db", "time")


def test_a_server_that_was_away_is_found_again_and_one_that_stays_away_is_told(server, tiny, archs):
    url = server.new_database()
    storage = Storage(url, "one", tiny, OBJECTIVES, resume=False)
    storage.start(archs[0])
    server.stop()
    with pytest.raises(RunError, match=r"refused(.|\n)*--resume") as error, storage_errors(url):
        storage.keep("a", 1)
    assert SECRET not in str(error.value)
    server.start()
    assert storage.start(archs[1]) == 1


def test_a_driver_may_say_what_it_wants():
    url = "postgresql://me:s3%20cret@host/db"
    with pytest.raises(RunError, match=r"//me:\*\*\*@host/db: no route for \*\*\*\n"), storage_errors(url):
        raise OSError("no route for s3 cret")


def test_other_errors_are_none_of_a_storage():
    with pytest.raises(ZeroDivisionError), storage_errors("sqlite:///a.db"):
        _ = 1 / 0


# --- passwords --------------------------------------------------------------------------------------------------------


@given(st.text("ab:@/?#&=%{ ", min_size=1), st.sampled_from(["", ":5432", "/db", ":5432/db?sslmode=require"]))
def test_a_password_is_hidden_whatever_is_in_it(password, rest):
    shown = hide_password(f"postgresql://me:SECRET{password}SECRET@host{rest}")
    assert shown == f"postgresql://me:***@host{rest}"


@given(st.from_regex(r"[a-z+]+://[a-z]*@?[a-z.]*(:[0-9]+)?/[a-z/.]*", fullmatch=True))
def test_a_url_without_one_is_shown_as_it_is(url):
    assert hide_password(url) == url
