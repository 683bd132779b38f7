"""A device elsewhere is a real OpenSSH server on this machine: what it measures, what goes wrong, what stays there."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nas.api import Front, Study
from nas.errors import NasError, RunError
from nas.measure import MeterApart, describe, elsewhere, pyz, reference, ssh
from nas.measure.elsewhere import MeterElsewhere
from nas.measure.latency import Calibration
from nas.measure.quiet import measuring
from nas.measure.runtimes import RUNTIMES

asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed: pip install 'pareto-nas[ssh]'")

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(
    SSHD is None or not Path("/proc/self").exists(),
    reason="needs an OpenSSH server and Linux: apt-get install openssh-server",
)


def script(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def bare_python(folder, *packages):
    """Return an interpreter that can import `packages` and nothing else that is installed."""
    folder.mkdir()
    for package in packages:
        site = Path(package.__file__).parents[1]
        for path in site.glob(f"{package.__name__}*"):  # with what lies beside it, such as numpy.libs
            (folder / path.name).symlink_to(path)
    return script(folder / "python", f"PYTHONPATH='{folder}' exec '{sys.executable}' -S \"$@\"")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return bare_python(tmp_path_factory.mktemp("device") / "bare", np, onnxruntime)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "reference.onnx"
    path.write_bytes(reference.model())
    return path


class Sshd:
    """A server of this user on a free port of this machine, whose sessions have a folder for temporary files."""

    def __init__(self, folder):
        self.folder, self.tmp = folder, folder / "its tmp; $(exit) 'x'"
        self.tmp.mkdir(mode=0o700)
        for name in ("host", "other", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(command, check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def start(self, *, sftp=True, largest_file=None):
        lines = [
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/authorized",
            f"PidFile {self.folder}/pid",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            f'SetEnv "TMPDIR={self.tmp}"',
            *(["Subsystem sftp internal-sftp"] if sftp else []),
        ]
        config = self.folder / "config"
        config.write_text("\n".join([*lines, "PerSourcePenalties no", ""]))
        if subprocess.run([SSHD, "-t", "-f", config], capture_output=True).returncode:  # older than 9.8
            config.write_text("\n".join([*lines, ""]))

        def limit():
            if largest_file is not None:
                import resource

                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond it is an error then, as on a full disk
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", config], stderr=log, preexec_fn=limit, restore_signals=False
            )
        wait_until(self.listens)

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def sessions(self):
        """Return the processes that serve one connection each."""
        return [pid for pid, parent, _ in processes() if parent == self.process.pid]

    def kill_sessions(self, how=signal.SIGKILL):
        for pid in self.sessions():
            with suppress(ProcessLookupError):  # it ended by itself since
                os.kill(pid, how)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.kill_sessions()
            self.process.terminate()
            self.process.wait()

    def left(self):
        """Return what a meter has left there: folders and processes."""
        running = [words for _, _, words in processes() if str(self.tmp) in words]
        return [*(path.name for path in self.tmp.glob("nas-meter*")), *running]


def processes():
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            yield int(path.name), int(parent), (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            continue


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, true
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's server locks its unprivileged part in
    made = Sshd(tmp_path_factory.mktemp("sshd"))
    yield made
    made.stop()


@pytest.fixture
def home(server, tmp_path, monkeypatch):
    """What ssh knows of the device, under the name `board`, in a home of its own."""
    if server.process is None or server.process.poll() is not None:
        server.start()
    folder = tmp_path / ".ssh"
    folder.mkdir()
    key = (server.folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {key}")
    (folder / "config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {server.port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {server.folder}/user\n  IdentitiesOnly yes\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("TMPDIR", str(server.tmp))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is read again: both sides take turns, and nobody else
    return tmp_path


@pytest.fixture
def fresh(home, python):
    """A meter that was never connected and has no calibration."""
    with MeterElsewhere(f"ssh:board/onnxruntime:python={python}") as made:
        yield made


@pytest.fixture
def meter(fresh, net):
    """A meter that has measured."""
    here = describe()
    processor = here["cpu"] or str(here["os"]).split()[-1]
    fresh.calibration = Calibration(0.04, f"onnxruntime on {processor}", reference.NAME)
    fresh.measure(net, reference.IN_SHAPE)
    return fresh


@contextmanager
def under_way(meter, net, server):
    """Have a measurement under way for as long as the body lasts; yields a list that then holds how it ended."""
    found = []

    def measure():
        try:
            found.append(meter.measure(net, reference.IN_SHAPE))
        except NasError as error:
            found.append(error)

    def runs():
        return any("network.onnx" in words for _, _, words in processes() if str(server.tmp) in words)

    thread = threading.Thread(target=measure)
    with measuring():  # its meter waits for this one
        thread.start()
        wait_until(lambda: runs() or found)
        yield found
        thread.join()


@needs_sshd
def test_it_measures_as_here_and_leaves_nothing(fresh, net, server):
    meter = fresh
    found = meter.measure(net, reference.IN_SHAPE)
    assert 0 < found.low <= found.value <= found.high < 1000
    assert meter.drifts == [pytest.approx(0, abs=5)]
    assert meter.disturbed == 0
    with MeterApart("onnxruntime") as here:
        assert here.measure(net, reference.IN_SHAPE).value == pytest.approx(found.value, rel=0.9)
    assert meter.device["python"] == ".".join(map(str, sys.version_info[:3]))
    assert meter.device["torch"] is None
    assert meter.device["onnxruntime"] == onnxruntime.__version__
    assert meter.takes == "onnx"
    assert len(server.sessions()) == 1  # the one connection serves them all
    meter.close()
    assert server.left() == []


@needs_sshd
def test_a_kept_calibration_is_the_unit_and_belongs_to_the_device(meter, net):
    kept = meter.calibration
    assert kept.runtime == f"onnxruntime on {meter.device['cpu']}"
    meter.calibration = Calibration(1000.0, kept.runtime, reference.NAME)
    assert 500 < meter.measure(net, reference.IN_SHAPE, limits=[1000.0, 2.0]).value < 2000
    for runtime in ("onnxruntime on Another CPU", "onnxruntime", "openvino on Another CPU"):
        meter.calibration = Calibration(1.0, runtime, reference.NAME)
        with pytest.raises(RunError, match=f"the calibration was made with '{runtime}', this is 'onnx"):
            meter.measure(net, reference.IN_SHAPE)


@needs_sshd
def test_a_file_that_cannot_be_run_is_an_error_that_names_it_and_the_meter_lives_on(meter, net, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(NasError, match=rf"^board: {tmp_path}/broken\.onnx: ONNX Runtime cannot load it"):
        meter.measure(tmp_path / "broken.onnx", (1, 8, 8))
    with pytest.raises(NasError, match=r"reference\.onnx: cannot be run on one sample of shape \(7, 7\)"):
        meter.measure(net, (7, 7))
    with pytest.raises(NasError, match=r"none\.onnx: cannot be read: No such file"):
        meter.measure(tmp_path / "none.onnx", (7, 7))
    assert meter.measure(net, reference.IN_SHAPE).value > 0


@needs_sshd
def test_any_path_of_a_python_is_one_word_there(home, net, python):
    odd = script(home / 'it\'s; exit 3 # $(x) "`y`" *\\' / "my python", f"exec '{python}' \"$@\"")
    at_home = os.path.relpath(odd, os.path.expanduser(f"~{getpass.getuser()}"))
    for path in (odd, f"~/{at_home}"):
        with MeterElsewhere(f"ssh:board/onnxruntime:python={path}") as meter:
            assert meter.calibration.reference_ms > 0


@needs_sshd
def test_user_and_port_may_stand_in_the_target(home, server, python):
    (home / ".ssh" / "config").unlink()
    shutil.copy(server.folder / "user", home / ".ssh" / "id_ed25519")
    host = f"{getpass.getuser()}@127.0.0.1:{server.port}"
    with MeterElsewhere(f"ssh:{host}/onnxruntime:batch=4,python={python}") as meter:
        assert meter.calibration.runtime.startswith("onnxruntime:batch=4 on ")


@needs_sshd
def test_it_may_be_behind_another_host_and_the_key_in_an_agent(home, server, python, monkeypatch):
    config, agent = home / ".ssh" / "config", home / "agent"
    config.write_text(config.read_text().replace("IdentitiesOnly", "#").replace("IdentityFile", "#"))
    with config.open("a") as file:
        file.write(f"Host behind\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyJump board\n")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL)
    try:
        wait_until(agent.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        subprocess.run(["ssh-add", "-q", server.folder / "user"], check=True)
        with MeterElsewhere(f"ssh:behind/onnxruntime:python={python}") as meter:
            assert meter.calibration.reference_ms > 0
            assert len(server.sessions()) == 2
        wait_until(lambda: not server.sessions())
    finally:
        process.terminate()
        process.wait()


@needs_sshd
def test_a_host_that_is_not_known_is_refused(home, server, fresh):
    for text in ("", f"[127.0.0.1]:{server.port + 1} {(server.folder / 'host.pub').read_text()}"):
        (home / ".ssh" / "known_hosts").write_text(text)
        with pytest.raises(RunError, match="its host key is not known\n  connect once with 'ssh board'"):
            _ = fresh.calibration
    (home / ".ssh" / "known_hosts").unlink()
    config = home / ".ssh" / "config"
    config.write_text(config.read_text() + "  UserKnownHostsFile none\n  StrictHostKeyChecking no\n")
    with pytest.raises(RunError, match="its host key is not known"):
        _ = fresh.calibration


@needs_sshd
def test_a_host_with_another_key_than_before_is_refused(home, server, fresh):
    other = (server.folder / "other.pub").read_text()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    with pytest.raises(RunError, match="another host key than the one known") as error:
        _ = fresh.calibration
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in str(error.value)


@needs_sshd
def test_a_key_that_is_not_accepted_is_told(home, server, fresh):
    config = home / ".ssh" / "config"
    config.write_text(config.read_text().replace("/user\n", "/other\n"))
    with pytest.raises(RunError, match=r"none of our keys is accepted.*\n  see that 'ssh board' works without"):
        _ = fresh.calibration
    config.write_text(config.read_text().replace("/other\n", "/missing\n"))
    with pytest.raises(RunError, match=r"config, or a key that it names, cannot be used: .*missing"):
        _ = fresh.calibration


@needs_sshd
def test_what_the_device_lacks_is_told(home, tmp_path):
    version = "import runpy, sys; sys.version_info = (3, 9, 2); del sys.argv[0]; runpy.run_path(sys.argv[0])"
    old = version.replace("argv[0])", "argv[0], run_name='__main__')")
    for python, words in (
        (bare_python(tmp_path / "without", np), "has no onnxruntime\n  .* -m pip install onnxruntime"),
        (bare_python(tmp_path / "empty"), "has no numpy and no onnxruntime\n"),
        (script(tmp_path / "old", f'exec \'{sys.executable}\' -c "{old}" "$@"'), "is Python 3.9.2, the meter needs"),
        (tmp_path / "none", "there is no /.*/none that runs .*\n.*python=~/venv/bin/python"),
        (script(tmp_path / "odd", "echo '{\"no\": 1}'; echo why >&2"), "odd does not run the meter .status 0: why"),
    ):
        with (
            MeterElsewhere(f"ssh:board/onnxruntime:python={python}") as meter,
            pytest.raises(RunError, match=rf"^board: (?s:.*){words}"),
        ):
            _ = meter.calibration


@needs_sshd
def test_a_device_gone_in_the_middle_fails_one_measurement_and_keeps_nothing(meter, net, server):
    kept = meter.calibration
    with under_way(meter, net, server) as ended:
        server.kill_sessions()
        wait_until(lambda: ended)
        wait_until(lambda: not server.left())  # while we still wait: it cleans up by itself
    (error,) = ended
    assert type(error) is NasError
    assert f"board: {net}: the connection was lost" in str(error)
    assert meter.measure(net, reference.IN_SHAPE).value > 0
    assert meter.calibration == kept


@needs_sshd
def test_one_that_falls_silent_is_noticed(meter, net, server, monkeypatch):
    monkeypatch.setattr(ssh, "KEEPALIVE_S", 0.2)
    meter.close()
    meter.measure(net, reference.IN_SHAPE)
    with under_way(meter, net, server) as ended:
        server.kill_sessions(signal.SIGSTOP)
        wait_until(lambda: ended)
    server.kill_sessions()
    assert "the connection was lost" in str(ended[0])
    assert meter.measure(net, reference.IN_SHAPE).value > 0


@needs_sshd
def test_one_that_stays_away_ends_the_run(meter, net, server):
    server.stop()
    wait_until(lambda: meter._link.is_closed())
    for _ in range(2):
        with pytest.raises(NasError, match=rf"board: {net}: it cannot be reached .*connects anew") as error:
            meter.measure(net, reference.IN_SHAPE)
        assert type(error.value) is NasError
    with pytest.raises(RunError, match=r"cannot be reached .*2 measurements before\n.*'ssh board' works.*--resume"):
        meter.measure(net, reference.IN_SHAPE)
    server.start()
    assert meter.measure(net, reference.IN_SHAPE).value > 0


@needs_sshd
def test_one_that_was_never_there_ends_the_run_at_once(home, server):
    server.stop()
    with (
        MeterElsewhere("ssh:board/onnxruntime", Calibration(1.0, "onnxruntime on x", reference.NAME)) as meter,
        pytest.raises(RunError, match=r"it cannot be reached \(.*\)\n  see that 'ssh board' works"),
    ):
        meter.measure(Path(__file__), reference.IN_SHAPE)


@needs_sshd
def test_a_connection_lost_while_nobody_measures_is_made_anew(meter, net, server):
    server.kill_sessions()
    wait_until(lambda: meter._link.is_closed())
    assert meter.measure(net, reference.IN_SHAPE).value > 0


@needs_sshd
def test_what_takes_too_long_is_ended_there_too(meter, net, server, monkeypatch):
    monkeypatch.setattr(elsewhere, "TIMEOUT_S", 1.0)
    with under_way(meter, net, server) as ended:
        wait_until(lambda: ended)
        assert not any("meter.pyz" in words for words in server.left())
    assert type(ended[0]) is NasError
    assert f"board: {net}: takes longer than 1 s to measure" in str(ended[0])
    monkeypatch.undo()


@needs_sshd
def test_ctrl_c_ends_the_measurement_there_and_the_meter_lives_on(meter, net, server):
    def measures():
        return any("network.onnx" in words for words in server.left())

    def interrupt():
        wait_until(measures)
        os.kill(os.getpid(), signal.SIGINT)

    with measuring():
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            meter.measure(net, reference.IN_SHAPE)
        thread.join()
        wait_until(lambda: not measures())
    assert meter.measure(net, reference.IN_SHAPE).value > 0


@needs_sshd
def test_a_network_that_brings_the_meter_down_is_an_error_of_its_own(meter, net, server):
    with under_way(meter, net, server) as ended:
        for pid, _, words in processes():
            if "network.onnx" in words and str(server.tmp) in words:
                os.kill(pid, signal.SIGSEGV)
        wait_until(lambda: ended)
    assert type(ended[0]) is NasError
    assert "brings the measuring process down (signal SEGV" in str(ended[0])


@needs_sshd
def test_a_full_disk_there_fails_the_measurement(meter, net, server, tmp_path):
    server.stop()
    server.start(largest_file=400_000)
    (tmp_path / "large.onnx").write_bytes(bytes(500_000))
    with pytest.raises(NasError, match=r"^board: 500,000 bytes cannot be written to .*\n  free space there"):
        meter.measure(tmp_path / "large.onnx", (1, 8, 8))
    assert meter.measure(net, reference.IN_SHAPE).value > 0
    meter.close()
    assert server.left() == []
    server.stop()
    server.start(largest_file=10_000)  # not even the meter
    with pytest.raises(RunError, match="cannot be written"):
        meter.measure(net, reference.IN_SHAPE)
    server.stop()


@needs_sshd
def test_a_server_without_sftp_is_told(home, server):
    server.stop()
    server.start(sftp=False)
    with MeterElsewhere("ssh:board/onnxruntime") as meter, pytest.raises(RunError, match="it has no SFTP"):
        _ = meter.calibration
    assert server.left() == []
    server.stop()


@needs_sshd
def test_a_run_is_gone_on_with_there_when_its_device_is_named_again(home, server, python, tiny, digits, tmp_path):
    target = f"ssh:board/onnxruntime:python={python}"
    Study(tiny, digits, runtime=target, sampler="random", out=tmp_path / "run").search(trials=1)
    before = (server.folder / "log").read_text().count("Accepted publickey")
    front = Front.load(tmp_path / "run", data=digits)
    for do in (lambda: Study.resume(tmp_path / "run", task=digits).search(trials=2), front.measure, front[0].export):
        with pytest.raises(RunError, match=f"measure.* on {target}, and no other machine is connected to because"):
            do()
    assert (server.folder / "log").read_text().count("Accepted publickey") == before
    again = Study.resume(tmp_path / "run", task=digits, targets=[target]).search(trials=2)
    assert again[0].export().latencies[0].target == target  # named in this process
    assert front.measure([target], members=[front[0]])[0].latencies["latency_ms"].searched is not None
    # More where a figure is off, which is then measured again.
    assert (server.folder / "log").read_text().count("Accepted publickey") >= before + 3
    assert server.left() == []


@needs_sshd
def test_a_program_that_ends_without_closing_leaves_nothing(home, server, python):
    source = (
        "import os; from nas.measure.elsewhere import MeterElsewhere\n"
        f"meter = MeterElsewhere('ssh:board/onnxruntime:python={python}')\n"
        "print(meter.calibration.reference_ms, flush=True)\n"
    )
    for end in ("", "os._exit(3)"):
        done = subprocess.run([sys.executable, "-W", "error", "-c", source + end], capture_output=True, text=True)
        assert float(done.stdout) > 0
        assert done.stderr == ""
        wait_until(lambda: not server.left())


@needs_sshd
def test_an_unreadable_config_is_told(home):
    (home / ".ssh" / "config").write_text("Host board\n  Port many\n")
    with MeterElsewhere("ssh:board/onnxruntime") as meter, pytest.raises(RunError, match=r"~/\.ssh/config.*many"):
        _ = meter.calibration


def test_a_target_without_a_host_and_a_missing_library_are_told(monkeypatch):
    with pytest.raises(NasError, match="'openvino' names no other machine; write ssh:user@host/openvino"):
        MeterElsewhere("openvino")
    monkeypatch.setattr(elsewhere, "find_spec", lambda name: None)
    with pytest.raises(NasError, match="pip install 'pareto-nas\\[ssh\\]'"):
        MeterElsewhere("ssh:board/onnxruntime")


def test_what_is_no_answer_is_taken_for_none():
    good = {"calibration": {}, "device": {"cpu": "x", "os": "y"}, "quiet": True, "measurement": [2, 1, 3], "drift": 0}
    assert elsewhere._answer(f"hello\n{json.dumps(good)}\n\nbye", measured=True)["measurement"] == (2, 1, 3)
    bad = [{**good, "measurement": m} for m in ([], [1, 2, 3], [float("inf")] * 3, ["a"] * 3, 3, [0, 0, 0])]
    bad += [{key: good[key] for key in good if key != dropped} for dropped in good]
    bad += [{**good, "device": {}}, {"error": "x"}, []]
    for found in bad:
        assert elsewhere._answer(json.dumps(found), measured=True) is None, found
    assert elsewhere._answer("", measured=False) is None


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("pyz") / "meter.pyz"
    path.write_bytes(pyz.pack())
    return path


def by_hand(python, *words, cwd=None):
    return subprocess.run([python, *map(str, words)], capture_output=True, text=True, cwd=cwd)


def test_the_file_measures_with_numpy_and_the_runtime_alone(packed, python, net, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("random.py", "numpy.py", "nas.py"):
        (tmp_path / name).write_text("raise SystemExit('not me')")
    done = by_hand(python, packed, "onnxruntime:batch=2", net, "--in-shape", "3,32,32", cwd=tmp_path)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == 0
    value, low, high = found["measurement"]
    assert 0 < low <= value <= high
    assert found["calibration"]["runtime"] == "onnxruntime:batch=2"
    again = json.dumps({**found["calibration"], "reference_ms": 1000.0})
    arguments = [net, "--in-shape", "3,32,32", "--limits", "1,1000", "--calibration", again]
    found = json.loads(by_hand(python, packed, "onnxruntime:batch=2", *arguments).stdout)
    assert found["measurement"][0] > 100
    assert found["drift"] < -0.9


def test_the_file_is_the_same_for_the_same_modules(packed):
    pyz.pack.cache_clear()
    assert pyz.pack() == packed.read_bytes()
    assert set(pyz.RUNTIMES) == {name for name in RUNTIMES if RUNTIMES[name].takes == "onnx"}


def test_its_help_needs_no_numpy_and_its_errors_are_json(packed, python, net, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = by_hand(sys.executable, "-S", packed, "--help").stdout
    assert told.startswith("usage: meter.pyz")
    assert "the ends of its 95 % interval" in " ".join(told.split())
    for words, error in (
        (["onxruntime", "--calibrate"], "Did you mean 'onnxruntime'"),
        (["eager", "--calibrate"], "no runtime called 'eager'"),
        (["onnxruntime:threads=0", "--calibrate"], "threads must be at least 1"),
        (["onnxruntime", net], "say either --calibrate, or an ONNX file and its --in-shape"),
        (["onnxruntime", net, "--in-shape", "3,32,32", "--calibration", "{}"], "cannot be read"),
        (["onnxruntime", net, "--in-shape", "3,32,32", "--calibration", "no"], "Expecting value"),
        (["onnxruntime", net, "--in-shape", "3,3"], "cannot be run on one sample"),
    ):
        done = by_hand(python, packed, *words)
        assert done.returncode == 1
        assert error in json.loads(done.stdout)["error"]
