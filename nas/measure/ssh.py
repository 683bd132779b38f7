"""A connection to another machine, with a folder there that lasts exactly as long as the connection.

The library is asyncssh, which reads ~/.ssh/config as ssh does, ProxyJump, Match and Include among it; paramiko leaves
most of that to its caller. Its event loop has a thread, so that the connection is kept alive while nobody waits for it.
Reference: https://asyncssh.readthedocs.io
"""

from __future__ import annotations

import asyncio
import shlex
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nas.errors import NasError, RunError

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

CONNECT_S = 20.0
"""For all of connecting: name, TCP, keys, and whatever ProxyJump or ProxyCommand add."""

COPY_S = 120.0
"""For a file to arrive there."""

GRACE_S = 15.0
"""For what takes no time: news that a process has ended, a folder that is made."""

KEEPALIVE_S = 5.0
"""Between two signs of life; where three stay away the connection is lost."""

_FOLDER = (
    'd=$(mktemp -d "${TMPDIR:-/tmp}/nas-meter.XXXXXX") && trap "" HUP INT TERM PIPE && printf "%s\\n" "$d" && cat; '
    'rm -rf "$d"'
)
"""Makes a folder, tells its name, and removes it when its standard input ends: when we close it, when the connection
is lost, when this process is killed."""


class Lost(Exception):  # no user's error yet: what it means depends on what was under way
    """The machine cannot be reached, or no longer; the message says how that showed."""


class Done(NamedTuple):
    """How a process there ended."""

    stdout: str
    stderr: str
    status: int | None
    signal: str
    """Its name, such as KILL, where one ended the process; else empty, and there is a status."""

    seconds: float


class Link:
    """A connection and its folder. Every call is bounded in time.

    Args:
        host: HOST or USER@HOST, perhaps with :PORT, as ~/.ssh/config or the network knows it.

    Attributes:
        folder: its path there, once `open` has returned.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.folder = ""
        self._connection: asyncssh.SSHClientConnection | None = None
        self._holder: asyncssh.SSHClientProcess[str] | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="nas-ssh", daemon=True)
        self._thread.start()
        self._up.wait()

    def open(self) -> None:
        """Connect, with a host key that is known and a key or an agent of ours, and make the folder.

        Raises:
            Lost: it does not answer.
            RunError: it answers and does not let us in, or we do not trust it.
        """
        self._do(self._open(), CONNECT_S + 2 * GRACE_S)

    def put(self, content: bytes, name: str) -> str:
        """Write a file into the folder and return its path there.

        Raises:
            Lost: the connection ends meanwhile.
            NasError: it cannot be written.
        """
        path = f"{self.folder}/{name}"
        self._do(self._put(content, path), COPY_S)
        return path

    def remove(self, path: str) -> None:
        """Remove a file of the folder, if it can be: the folder goes anyway."""
        import asyncssh

        assert self._sftp is not None
        with suppress(Lost, asyncssh.SFTPError):
            self._do(self._sftp.unlink(path), GRACE_S)

    def run(self, words: Sequence[str], timeout_s: float) -> Done:
        """Run a program, each of its words as it is; its standard input stays open until it ends.

        Raises:
            Lost: the connection ends meanwhile, or there is no answer in time.
        """
        return self._do(self._run(words), timeout_s)

    def is_closed(self) -> bool:
        """Return whether the connection is known to have ended."""
        return self._connection is None or self._connection.is_closed()

    def close(self) -> None:
        """Let go of everything, there and here; call it once."""
        try:
            self._do(self._close(), GRACE_S)
        except Lost:
            pass
        finally:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(GRACE_S)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._up.set()
        await self._end.wait()

    def _do(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Wait for what the thread does."""
        import asyncssh

        async def bounded() -> T:
            return await asyncio.wait_for(work, seconds)

        future = asyncio.run_coroutine_threadsafe(bounded(), self._loop)
        try:
            return future.result()
        except asyncio.TimeoutError:
            raise Lost(f"no answer within {seconds:g} s") from None
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ChannelOpenError) as error:
            raise Lost(f"the connection was lost ({error.reason})") from error
        except asyncssh.SFTPError:
            raise
        except (asyncssh.Error, OSError) as error:
            raise Lost(f"the connection was lost ({error})") from error
        finally:
            future.cancel()  # what Ctrl-C left

    async def _open(self) -> None:
        try:
            self._connection = await asyncio.wait_for(self._connect(), CONNECT_S)
        except asyncio.TimeoutError:
            raise Lost(f"no answer within {CONNECT_S:g} s") from None
        except OSError as error:
            raise Lost(f"it cannot be reached ({error.strerror or error})") from error
        self._holder = await self._process(["sh", "-c", _FOLDER])
        self.folder = await self._told(self._holder)
        self._sftp = await self._sftp_client()

    async def _connect(self) -> asyncssh.SSHClientConnection:
        import asyncssh

        user, _, rest = self.host.rpartition("@")
        host, _, port = rest.partition(":")
        where: dict[str, Any] = {"host": host, "config": ()}
        where |= {"port": int(port)} if port else {}
        where |= {"username": user} if user else {}
        try:
            options = asyncssh.SSHClientConnectionOptions(**where)
        except (OSError, ValueError) as error:
            raise RunError(f"{self.host}: ~/.ssh/config, or a key that it names, cannot be used: {error}") from error
        known = _known_hosts(options)
        try:
            return await asyncssh.connect(
                **where,
                known_hosts=known,
                connect_timeout=CONNECT_S,
                login_timeout=CONNECT_S,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=3,
                agent_forwarding=False,
                x11_forwarding=False,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise RunError(f"{self.host}: {_untrusted(self.host, options, known)}") from error
        except asyncssh.PermissionDenied as error:
            raise RunError(
                f"{self.host}: none of our keys is accepted ({error.reason})\n  see that '{by_hand(self.host)}' works "
                "without a question: with an agent, or with a key that has no passphrase"
            ) from error
        except asyncssh.ConnectionLost as error:
            raise Lost(f"it hangs up ({error.reason})") from error
        except asyncssh.Error as error:
            raise RunError(f"{self.host}: no connection: {error}\n  see that '{by_hand(self.host)}' works") from error

    async def _told(self, holder: asyncssh.SSHClientProcess[str]) -> str:
        """Return the name of the folder that `holder` made."""
        while line := await asyncio.wait_for(holder.stdout.readline(), GRACE_S):
            if "/nas-meter." in line:  # what a login script prints comes before it
                return line.removesuffix("\n")
        why = (await holder.stderr.read()).strip() or "its shell does not say why"
        raise RunError(f"{self.host}: no folder can be made there: {why}\n  free space there, or set TMPDIR there")

    async def _sftp_client(self) -> asyncssh.SFTPClient:
        import asyncssh

        assert self._connection is not None
        try:
            return await self._connection.start_sftp_client()
        except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
            raise RunError(
                f"{self.host}: it takes no files, since it has no SFTP ({error.reason})\n"
                "  install openssh-sftp-server there, or name it in sshd_config: Subsystem sftp internal-sftp"
            ) from error

    async def _put(self, content: bytes, path: str) -> None:
        import asyncssh

        assert self._sftp is not None
        try:
            async with self._sftp.open(path, "wb") as file:
                await file.write(content)
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
            raise
        except asyncssh.SFTPError as error:
            raise NasError(
                f"{self.host}: {len(content):,} bytes cannot be written to {path}: {error.reason}\n"
                "  free space there, or set TMPDIR there to a folder on another disk"
            ) from error

    async def _run(self, words: Sequence[str]) -> Done:
        process = await self._process(words)
        started = time.monotonic()
        try:
            done = await process.wait()
        finally:
            process.close()
        signal = done.exit_signal[0] if done.exit_signal else ""
        if done.exit_status is None and not signal:
            raise Lost("the connection was lost in the middle")
        return Done(str(done.stdout), str(done.stderr), done.exit_status, signal, time.monotonic() - started)

    async def _process(self, words: Sequence[str]) -> asyncssh.SSHClientProcess[str]:
        assert self._connection is not None
        command = f"exec {shlex.join(words)}"
        return await self._connection.create_process(command, request_pty=False, errors="replace")

    async def _close(self) -> None:
        if self._connection is None:
            return
        try:
            if self._holder is not None and not self._connection.is_closed():
                self._holder.stdin.write_eof()
                await asyncio.wait_for(self._holder.wait(), GRACE_S / 2)
        finally:
            self._connection.abort()
            await self._connection.wait_closed()


def by_hand(host: str) -> str:
    """Return the command that makes the same connection.

    >>> by_hand("me@10.0.0.7:2222"), by_hand("kitchen")
    ('ssh -p 2222 me@10.0.0.7', 'ssh kitchen')
    """
    name, _, port = host.partition(":")
    return f"ssh -p {port} {name}" if port else f"ssh {name}"


def _known_hosts(options: asyncssh.SSHClientConnectionOptions) -> list[str]:
    """Return the files that hold the keys of hosts we trust, of those that ssh would look into."""
    # 'UserKnownHostsFile none' is None here, which asyncssh takes for 'check nothing'.
    named = options.known_hosts if isinstance(options.known_hosts, list) else []
    files = [*(named or ["~/.ssh/known_hosts"]), "/etc/ssh/ssh_known_hosts"]
    return [str(path) for file in files if (path := Path(str(file)).expanduser()).is_file()]


def _untrusted(host: str, options: asyncssh.SSHClientConnectionOptions, known: list[str]) -> str:
    """Return why a host's key is not accepted, and what to do about it."""
    import asyncssh

    name, port = options.host_key_alias or options.host, options.port
    called = name if port == 22 else f"[{name}]:{port}"
    if known and any(asyncssh.match_known_hosts(known, name, "", None if port == 22 else port)[:3]):
        return (
            f"it has another host key than the one known as {called}: it was set up anew, or somebody else answers\n"
            f"  if it was set up anew: ssh-keygen -R '{called}', and once '{by_hand(host)}' to accept the new one"
        )
    return (
        f"its host key is not known\n  connect once with '{by_hand(host)}', and accept the key if it is the right one"
    )
