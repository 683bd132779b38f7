"""What the commands share: options, how errors are told, and what is said before one trusts an accuracy."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.api import Front, Member

_Command = TypeVar("_Command", bound=Callable[..., Any])


def data_options(command: _Command) -> _Command:
    """Let a command be told where the data of a run are now."""
    root = click.option("--data-root", metavar="DIR", help="Folder of named data sets.  [default: the search's]")
    data = click.option("--data", help="Where the run's data are now; the same data.  [default: where they were]")
    return data(root(command))


def plugin_option(command: _Command) -> _Command:
    """Let a command be given parts of the user's own, before anything else of it is looked at."""

    def load(ctx: click.Context, option: click.Parameter, specs: tuple[str, ...]) -> None:
        if specs and not ctx.resilient_parsing:
            from nas import plugins

            for spec in specs:
                plugins.load(spec)

    return click.option(
        "--plugin",
        multiple=True,
        metavar="FILE.py|MODULE",
        is_eager=True,
        expose_value=False,
        callback=load,
        help="Blocks, samplers, runtimes, data sets, objectives of your own (docs/plugins.md); repeat for several.",
    )(command)


def given_plugins() -> str:
    """Return the options that name the plugins of this process again, a blank in front of each."""
    from nas import plugins

    return "".join(f" --plugin {shlex.quote(plugin.spec)}" for plugin in plugins.loaded())


def say_plugins(found: Front) -> None:
    """Say which plugins have changed since a run was made.

    Raises:
        RunError: one is not loaded.
    """
    for line in found.changed_plugins():
        click.echo(line, err=True)


def targets_option(help_text: str) -> Callable[[_Command], _Command]:
    """Let a command be told on which targets to measure."""
    setting = "RUNTIME[:SETTING=VALUE,...]"
    return click.option("--target", "--runtime", "targets", multiple=True, metavar=setting, help=help_text)


class Commands(click.Group):
    """Commands in the order of use; each ends with one clear message where the user can mend something."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NasError as error:
            click.echo(f"nas: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("nas: interrupted", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(141)


def say_notices(members: Sequence[Member]) -> None:
    """Say of networks whose training was stopped that it was."""
    for notice in filter(None, (member.notice for member in members)):
        click.echo(notice, err=True)
