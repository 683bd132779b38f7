"""What the commands share: options, how errors are told, and what is said before one trusts an accuracy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.api import Member

_Command = TypeVar("_Command", bound=Callable[..., Any])


def data_options(command: _Command) -> _Command:
    """Let a command be told where the data of a run are now."""
    root = click.option("--data-root", metavar="DIR", help="Folder of named data sets.  [default: the search's]")
    data = click.option("--data", help="Where the run's data are now; the same data.  [default: where they were]")
    return data(root(command))


def table_options(command: _Command) -> _Command:
    """Let a command be told how a table is read; each is a field of `StudyConfig`."""
    kinds = click.Choice(["classification", "regression"])
    usual = "the only one called target, label, class or y, or beside a text"
    options = (
        click.option("--task", type=kinds, help="What the labels are, where whole numbers can be either."),
        click.option(
            "--target-column",
            multiple=True,
            metavar="NAME",
            help=f"Of a table, what is to be predicted; repeat for several.  [default: {usual}]",
        ),
        click.option(
            "--text-column",
            metavar="NAME",
            help="Of a table, the texts to classify.  [default: found beside a single column of labels]",
        ),
        click.option("--vocabulary", type=click.IntRange(min=16), help="Most tokens of texts.  [default: 4096]"),
        click.option(
            "--length", type=click.IntRange(min=1), help="Tokens a text is cut to.  [default: enough for 95 % of them]"
        ),
        click.option(
            "--test-data", metavar="FILE", help="A table to test on in the end.  [default: a fifth of the rows]"
        ),
        click.option("--encoding", help="Of a table, e.g. latin-1.  [default: utf-8]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


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
