"""`nas dashboard`."""

from __future__ import annotations

import click

from nas.errors import NasError

HOST = "127.0.0.1"
"""The dashboard knows no passwords, and whoever reaches it may delete studies."""


@click.command()
@click.argument("run", type=click.Path())
@click.option("--storage", metavar="URL", help="Where the study is, for a run that was made with --storage.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
def dashboard(run: str, storage: str | None, port: int, show: bool) -> None:
    """Look at the study of RUN in Optuna's dashboard (extra 'dashboard'), on this machine alone, until Ctrl-C.

    A search that is at work may go on meanwhile.
    """
    from nas.study.dashboard import serve
    from nas.study.folder import RunFolder

    def ready(url: str) -> None:
        click.echo(f"{url}\nCtrl-C ends it", err=True)
        if show:
            click.launch(url)

    try:
        serve(RunFolder(run), storage, HOST, port, ready)
    except ImportError as error:
        raise NasError(f"the dashboard is not installed: {error}\n  pip install 'pareto-nas[dashboard]'") from None
