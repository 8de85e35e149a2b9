"""Elements of HTML and SVG whose text is always escaped, since names and messages in records are anybody's."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from quantbench.files import printable

# Elements without an end tag.
VOID = frozenset({"meta", "br", "input", "img", "hr"})
# Characters of a message that a page shows; a traceback that got into one is cut.
LONGEST_TEXT = 4_000


class Html(str):
    """Text that is markup already; every other text is escaped where it is put into an element."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def text(value: object) -> Html:
    """A text as the page shows it: escaped, cut, and without characters that turn or hide others.

    Example:
        >>> text("<script>")
        '&lt;script&gt;'
    """
    whole = str(value)
    shown = whole if len(whole) <= LONGEST_TEXT else f"{whole[:LONGEST_TEXT]}…"
    return Html(html.escape("\n".join(printable(line) for line in shown.splitlines()), quote=True))


def words_of(value: object) -> str:
    """A value of JSON in words.

    Example:
        >>> words_of({"range": "minmax", "bits": [4, 8]}), words_of(None)
        ('range minmax, bits 4, 8', '–')
    """
    match value:
        case float():
            return f"{value:.4g}"
        case Mapping():
            return ", ".join(f"{key} {words_of(each)}" for key, each in value.items() if each is not None)
        case Sequence() if not isinstance(value, str):
            return ", ".join(words_of(each) for each in value)
        case None:
            return "–"
        case _:
            return str(value)


def joined(*children: Child) -> Html:
    """Children one after the other; what is no markup is escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            parts.append(child if isinstance(child, Html) else text(child))
        else:
            parts.append(joined(*child))
    return Html("".join(parts))


def element(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element.

    Args:
        name: of the element.
        children: what is within, in order.
        attributes: names with `_` in the place of `-` (`class_` for `class`); None and False leave one out, True
            writes its name alone.

    Example:
        >>> element("td", "a < b", class_="name", scope=None)
        '<td class="name">a &lt; b</td>'
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        written.append(f" {attribute}" if value is True else f' {attribute}="{_attribute(value)}"')
    begin = f"<{name}{''.join(written)}>"
    return Html(begin if name in VOID else f"{begin}{joined(*children)}</{name}>")


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return value if isinstance(value, Html) else text(value).replace("\n", " ")


def anchor(prefix: str, name: str) -> str:
    """Id of an element for a name of a file: what is no plain character becomes a dash.

    Example:
        >>> anchor("experiment", "cnn/ptq_int8"), anchor("experiment", "<b>")
        ('experiment-cnn/ptq_int8', 'experiment--b-')
    """
    return f"{prefix}-{re.sub(r'[^A-Za-z0-9_./-]', '-', name)}"


def section(id_: str, title: str, *children: Child, level: int = 2, note: str = "") -> Html:
    """A titled part of the page, named by its title; nothing where it would be empty."""
    body = joined(*children)
    if not body:
        return Html("")
    heading = element(f"h{level}", title, id=f"{id_}-title")
    said = element("p", note, class_="note") if note else None
    return element("section", heading, said, body, id=id_, aria_labelledby=f"{id_}-title")


def part(title: str, *children: Child, note: str = "") -> Html:
    """A part of an experiment with its heading; nothing where it would be empty."""
    body = joined(*children)
    if not body:
        return Html("")
    return element(
        "div", element("h4", title), element("p", note, class_="note") if note else None, body, class_="part"
    )


def table(
    caption: str,
    titles: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    class_: str = "",
    hidden: bool = False,
    stacks: bool = False,
) -> Html:
    """A table that scrolls by itself, whose first column names its rows.

    Args:
        caption: read out before the table.
        titles: of the columns.
        rows: cells, in the order of the titles.
        class_: of the table.
        hidden: the caption is for screen readers alone.
        stacks: cells stand below each other on a phone, where the style takes their roles from them.
    """

    def role(name: str) -> str | None:
        return name if stacks else None

    heads = [element("th", title, scope="col", role=role("columnheader")) for title in titles]
    body = []
    for first, *others in rows:
        cells = [element("td", cell, role=role("cell")) for cell in others]
        body.append(element("tr", element("th", first, scope="row", role=role("rowheader")), cells, role=role("row")))
    if not body:
        return Html("")
    made = element(
        "table",
        element("caption", caption, class_="hidden" if hidden else None),
        element("thead", element("tr", heads, role=role("row")), role=role("rowgroup")),
        element("tbody", body, role=role("rowgroup")),
        class_=class_ or None,
        role=role("table"),
    )
    return scrolling(caption, made)


def scrolling(label: str, *children: Child) -> Html:
    """A frame for anything wider than a phone, reached with the keyboard."""
    return element("div", *children, class_="scroll", role="group", aria_label=label, tabindex="0")
