"""Optuna's dashboard on the study of a run, for whoever sits at this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nas.errors import RunError
from nas.study.folder import RunFolder
from nas.study.own import check_own, check_there, own_url
from nas.study.storage import Storage

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(folder: RunFolder, url: str | None, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the dashboard until the process is interrupted. A search may be at work in the study meanwhile.

    Args:
        url: of the storage the run was made with; None: the run folder's own.
        port: 0: one that is free.
        ready: told the page's address when it answers.
    Raises:
        ImportError: the dashboard is not installed.
        RunError: there is no such study, it is another run's, or the port is taken.
    """
    from optuna_dashboard import wsgi

    config = folder.read_config()
    check_there(folder, url)
    url = url or own_url(folder)
    name = config.study_name or config.space.name
    storage = Storage(url, name, config.space, config.parsed_objectives(), resume=True)
    try:
        check_own(storage, config, folder, url)
        try:
            server = make_server(host, port, _refuse, server_class=_Server, handler_class=_Handler)
        except OSError as error:
            raise RunError(
                f"port {port} cannot be used: {error.strerror}; choose another with --port, 0: any"
            ) from None
        with server:
            server.set_app(_from_here(wsgi(storage.backend), {f"{host}:{server.server_port}"}))
            ready(f"http://{host}:{server.server_port}/dashboard/studies/{storage.study_id}")
            server.serve_forever()
    except KeyboardInterrupt:
        pass  # the usual end
    finally:
        storage.close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def _from_here(app: App, hosts: set[str]) -> App:
    """Let through what a browser asks of this very address.

    A page of somebody else's, open in the same browser, could otherwise delete studies: by a request to this address,
    or by a name of its own that it lets point here.
    """

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        if environ.get("HTTP_HOST") in hosts and (origin is None or origin.partition("://")[2] in hosts):
            return app(environ, start_response)
        return _refuse(environ, start_response)

    return guarded


def _refuse(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("403 Forbidden", [("Content-Type", "text/plain")])
    return [b"not from here"]
