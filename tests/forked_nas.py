"""`nas` and `forked-python`, forked from a process that has imported everything once: seconds less for each command.

Run as `python forked_nas.py SOCKET` it waits for commands; `nas_command` writes the programs that send them.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

PYTHON = "forked-python"
"""Runs a file of Python as `python FILE` does."""

COMMAND = """\
#!{python} -IS
import json, os, socket, sys
from os.path import basename

server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
words = json.dumps([[basename(sys.argv[0]), *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(words).to_bytes(4, "big")], [0, 1, 2])
server.sendall(words)
answer = server.recv(1)
sys.exit(answer[0] if answer else "nas ended without an exit code")
"""


@contextmanager
def nas_command(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Give a folder that holds the programs; their commands see `environment` changed by their script's."""
    address = folder / "socket"
    for name in ("nas", PYTHON):
        command = folder / name
        command.write_text(COMMAND.format(python=sys.executable, address=str(address)))
        command.chmod(0o755)
    process = subprocess.Popen([sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the process that runs the commands has not started"
        yield folder
    finally:
        process.terminate()
        process.communicate()


def serve(address: str) -> None:
    """Be each command that is asked for, in a fork of this process, until the end."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            become(connection)
            answer(connection, command())
        connection.close()
        os.waitpid(-1, os.WNOHANG)


def become(connection: socket.socket) -> None:
    """Take over what makes the process of a command: its streams, folder, environment and words."""
    size, streams, *_ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as file:
        words, folder, environment = json.loads(file.read(int.from_bytes(size, "big")))
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words


def command() -> int:
    """Run `nas`, or the file that is to be run, and return its exit code."""
    from nas.cli import main

    try:
        if sys.argv[0] == "nas":
            main(prog_name="nas")
        else:
            del sys.argv[0]
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def answer(connection: socket.socket, code: int) -> None:
    """End as a process does, but for the libraries' own ends: they would wait for threads, which a fork has not."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([code]))
    os._exit(code)


IMPORTED = ("torch", "torchvision", "fvcore.nn", "onnx", "onnxruntime", "optuna", "pandas", "scipy.stats")
IMPORTED += ("sklearn.datasets", "sklearn.model_selection", "matplotlib.pyplot", "nas.cli", "nas.api", "nas.tables")
IMPORTED += ("nas.study.loop", "nas.study.session", "nas.retrain", "nas.ship", "nas.measured", "nas.testing")


if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    serve(sys.argv[1])
