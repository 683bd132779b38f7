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
    help_text = "Where the run's data are now; a function that makes them is named again.  [default: where they were]"
    data = click.option("--data", metavar="SPEC", help=help_text)
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


def given_again(data: str | None) -> str:
    """Return the options that a further command on the run needs as this one did: plugins, and data that come of code.

    A blank stands in front of each.
    """
    from nas.data.code import is_code

    return given_plugins() + (f" --data {shlex.quote(data)}" if data is not None and is_code(data) else "")


def say_plugins(found: Front) -> None:
    """Say which plugins have changed since a run was made.

    Raises:
        RunError: one is not loaded.
    """
    for line in found.changed_plugins():
        click.echo(line, err=True)


DATA = (
    "a named data set, a .npz, .csv, .tsv or .ts file, a folder of images, or mine.py:function (docs/data.md, "
    "docs/data-tables-and-text.md)"
)
"""What `--data` may be, in a few words."""

READING = (
    *("data", "data_root", "resolution", "channels", "length", "task", "target_column", "text_column", "vocabulary"),
    *("test_data", "encoding"),
)
"""The names of `reading_options`."""


def _number(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    return None if value is None else int(value)


def reading_options(command: _Command) -> _Command:
    """Let a command be told what data to read, and what is done to them on the way; each a field of `StudyConfig`."""
    kinds = click.Choice(["classification", "regression"])
    usual = "the only one called target, label, class or y, or beside a text"
    options = (
        click.option("--data", metavar="SPEC", help=f"What to learn: {DATA}.  [default: digits]"),
        click.option("--data-root", metavar="DIR", help="Folder of named data sets.  [default: data]"),
        click.option("--task", type=kinds, help="What the labels are, where whole numbers can be either."),
        click.option(
            "--resolution",
            type=click.IntRange(min=1),
            metavar="N",
            help="Resize images to N x N: the shorter side, then the centre.",
        ),
        click.option(
            "--channels", type=click.Choice(["1", "3"]), callback=_number, help="Make images grey (1) or RGB (3)."
        ),
        click.option(
            "--length",
            type=click.IntRange(min=1),
            metavar="N",
            help="Cut sequences at the end, or pad them there with zeros, to N steps; cut or fill texts to N tokens.  "
            "[default: as they are; tokens that are enough for 95 % of the texts]",
        ),
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


def executor_option(command: _Command) -> _Command:
    """Let a command be told again that a run measured on a Ray cluster."""
    help_text = "For a run that measured on a Ray cluster: ray or ray:ADDRESS, named again.  [default: local]"
    return click.option("--executor", metavar="WHERE", default="local", help=help_text)(command)


def pick_option(help_text: str) -> Callable[[_Command], _Command]:
    """Let a command be told which networks of a run, by rules."""
    return click.option("--pick", "picks", multiple=True, metavar="RULE", help=help_text)


def picked(found: Front, rules: Sequence[str]) -> list[Member]:
    """Return the networks that rules choose, and say which wishes lie outside of what there is.

    Raises:
        NasError: a rule cannot be read, or nothing fits it.
    """
    members = found.pick_all(rules)
    for line in found.remarks(rules):
        click.echo(line, err=True)
    return members


RULES = """RULE is one of these, and a limit may stand behind all but the last:

\b
    knee                     where a little less of one objective begins to cost much of another
    best:OBJECTIVE           the best in one figure
    closest                  nearest to having the best of every objective
    closest:accuracy=0.95,latency_ms=0.5    nearest to these values; what is better counts as met
    trial:NUMBER             that trial, on the front or not
    'best:accuracy where latency_ms<=1 and n_params<=50k'
"""
"""Of the help of a command."""


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
