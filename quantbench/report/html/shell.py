"""The frame of every page: style and script within it, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from quantbench.report.html.markup import Html, element, joined
from quantbench.report.html.place import MARK


def shell(title: str, heading: str, sections: Sequence[Html], names: Sequence[tuple[str, str]], style: str = "") -> str:
    """A page as one file.

    Args:
        title: of the window.
        heading: of the page.
        sections: in order; empty ones are left out.
        names: id and name of each section that a link leads to.
        style: rules beside those of every page.
    """
    body = element(
        "body",
        element("a", "To the content", href="#main", class_="skip"),
        element("header", element("h1", heading), _navigation(sections, names)),
        element("main", sections, id="main", tabindex="-1"),
        element("footer", element("p", "Made by quantbench from its records; nothing here was loaded from elsewhere.")),
        element("script", Html(_asset("page.js"))),
    )
    return f"<!doctype html>\n{element('html', _head(title, style), body, lang='en')}\n"


def _head(title: str, style: str) -> Html:
    script = base64.b64encode(hashlib.sha256(_asset("page.js").encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=Html(policy)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        Html(MARK),
        element("title", title),
        element("style", Html(_asset("style.css") + style)),
    )


def _navigation(sections: Sequence[Html], names: Sequence[tuple[str, str]]) -> Html:
    whole = joined(sections)
    there = [(id_, name) for id_, name in names if f'<section id="{id_}"' in whole]
    return element(
        "nav",
        element("ul", [element("li", element("a", name, href=f"#{id_}")) for id_, name in there]),
        aria_label="Parts of this page",
    )


def _asset(name: str) -> str:
    return files("quantbench.report.html").joinpath(name).read_text(encoding="utf-8")
