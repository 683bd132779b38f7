"""HTML out of plain values, all of them escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Literal


class Markup(str):
    """Text that is HTML already."""


def escaped(value: object) -> str:
    """Return a value as HTML text; `Markup` stays as it is.

    >>> escaped("</script>"), escaped(Markup("<b>"))
    ('&lt;/script&gt;', '<b>')
    """
    return value if isinstance(value, Markup) else html.escape(str(value), quote=True)


def element(tag: str, *children: object, **attributes: str) -> Markup:
    """Return an element. `class_` is the attribute class, `aria_label` is aria-label; an empty one is left out.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"' for name, value in attributes.items() if value
    )
    return Markup(f"<{tag}{said}>{''.join(map(escaped, children))}</{tag}>")


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    figures: Sequence[int] = (),
    kind: Literal["cards", "rows"] = "cards",
) -> Markup:
    """Return a table.

    Args:
        figures: the columns of numbers, which stand to the right.
        kind: cards become a list of cards on a narrow screen, rows stay rows.
    """
    columns = [element("th", name, scope="col", class_="figure" if i in figures else "") for i, name in enumerate(head)]
    body = []
    for row in rows:
        cells = []
        for i, (name, value) in enumerate(zip(head, row, strict=True)):
            wide = "wide" if i == len(head) - 1 else ""
            attributes = {"class_": "figure" if i in figures else wide, "data-label": name}
            cells.append(element("td", value, **attributes))
        body.append(element("tr", *cells))
    rows_ = element("tbody", *body)
    made = element("table", element("caption", caption), element("thead", element("tr", *columns)), rows_, class_=kind)
    return element("div", made, class_="wide-table")


def bar(share: float, kind: str = "") -> Markup:
    """Return a bar of a share of its full length; the number stands beside it, so it is hidden from readers."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}"
    inner = element("rect", width=width, height="10", class_=f"bar {kind}".strip())
    ground = element("rect", width="100", height="10", class_="ground")
    attributes = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true", "class_": "meter"}
    return element("svg", ground, inner, **attributes)


def section(key: str, title: str, *children: object) -> Markup:
    """Return a part of the page, with its heading."""
    heading = element("h2", title, id=f"{key}-title")
    return element("section", heading, *children, id=key, aria_labelledby=f"{key}-title")


def listing(pairs: Sequence[tuple[str, object]]) -> Markup:
    """Return names and what they are, as a description list."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="facts"
    )
