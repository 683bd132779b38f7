"""The page: one file that loads nothing, whatever the run is called and its trials failed of."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from nas.errors import RunError
from nas.records import write_text
from nas.report.elements import escaped
from nas.report.facts import again, shipped, time_spent, what_mattered
from nas.report.headline import headline
from nas.report.payload import payload, to_script
from nas.report.story import Story

SCRIPTS = ("base", "scales", "run", "tooltip", "axes", "front", "parallel", "members", "trace", "main")
"""Files of `page/`, in the order in which they are read; one script in the end."""


GENERATOR = "pareto-nas report"
"""Says near the beginning of a page that it is one of ours, and may be written anew."""

_HEAD = 1000


def write_page(path: Path, story: Story) -> None:
    """Write the page about a run, atomically, in place of an earlier one.

    Raises:
        RunError: the file cannot be written, or is there already and is something else.
    """
    if path.exists() and not _is_ours(path):
        raise RunError(f"{path}: exists already and is no page of ours; choose another name with --out")
    write_text(path, page(story))


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return GENERATOR.encode() in file.read(_HEAD)
    except OSError:
        return False


def page(story: Story) -> str:
    """Return the page as HTML.

    All that comes from the run is escaped where it is text, and JSON in a script element that is never run where it is
    drawn. The page may load nothing, and may run the one script that it was written with, which its hash names.
    """
    drawn = payload(story)
    told = (time_spent(story), what_mattered(drawn["importances"]), shipped(story), again(story))
    style, script = _read("page.css"), "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    return fill(
        _read("page.html"),
        {
            "generator": GENERATOR,
            "policy": html.escape(policy, quote=True),
            "title": escaped(f"{story.run}: {story.space.name} on {story.data}"),
            "style": style,
            "headline": headline(story),
            "facts": "\n".join(told),
            "data": to_script(drawn),
            "script": script,
        },
    )


def fill(template: str, texts: Mapping[str, str]) -> str:
    """Put texts, HTML already, where a template names them; what they say themselves is not looked at.

    >>> fill("<p>{{a}} {{b}}</p>", {"a": "{{b}}", "b": "B"})
    '<p>{{b}} B</p>'
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: texts[match[1]], template)


def _read(name: str) -> str:
    return files("nas.report").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source expression of an inline style or script, as a Content Security Policy has it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
