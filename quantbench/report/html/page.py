"""The page as one file: its parts, its style and its script within it, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

from quantbench.report.html.circumstances import circumstances_section, words_section
from quantbench.report.html.content import Content
from quantbench.report.html.experiment import experiments_section
from quantbench.report.html.fronts import fronts_section
from quantbench.report.html.markup import Html, element, joined
from quantbench.report.html.media import Media
from quantbench.report.html.overview import overview_section
from quantbench.report.html.place import MARK
from quantbench.report.html.samples import media_style
from quantbench.report.html.summary import changes_section, headline, verdict_section
from quantbench.report.html.training import sensitivity_section, training_section

# Of the whole file; pictures and sounds are left out beyond it.
LARGEST_BYTES = 3_000_000


def page(content: Content) -> str:
    """The whole file: the same content gives the same bytes.

    Pictures and sounds of samples that would make it larger than `LARGEST_BYTES` are left out, with a note.
    """
    kept, left_out = _within(content.media, LARGEST_BYTES - len(_page(replace(content, media={})).encode()) - 20_000)
    notes = list(content.notes)
    if left_out:
        notes.append(f"{left_out} pictures or sounds of samples are left out, so that this file stays below 3 MB.")
    return _page(replace(content, media=kept, notes=notes))


def _within(media: object, room: int) -> tuple[dict[tuple[str, int], Media], int]:
    kept: dict[tuple[str, int], Media] = {}
    found = dict(media)  # type: ignore[call-overload]
    for key, each in found.items():
        # With the element or the rule around it.
        room -= len(each.uri) + 160
        if room < 0:
            break
        kept[key] = each
    return kept, len(found) - len(kept)


def _page(content: Content) -> str:
    sections = [
        verdict_section(content), changes_section(content), overview_section(content), fronts_section(content),
        experiments_section(content), sensitivity_section(content), training_section(content),
        circumstances_section(content), words_section(),
    ]  # fmt: skip
    outcome, sentence = headline(content)
    title = f"{outcome}: {sentence} – quantbench"
    body = element(
        "body",
        element("a", "To the verdict", href="#verdict", class_="skip"),
        element("header", element("h1", "quantbench report"), _navigation(sections)),
        element("main", sections, id="main"),
        element("footer", element("p", "Made by quantbench from its records; nothing here was loaded from elsewhere.")),
        element("script", Html(_asset("page.js"))),
    )
    return f"<!doctype html>\n{element('html', _head(title, content), body, lang='en')}\n"


def _head(title: str, content: Content) -> Html:
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
        element("style", Html(_asset("style.css") + media_style(content))),
    )


def _navigation(sections: Sequence[Html]) -> Html:
    names = (
        ("verdict", "Verdict"), ("changes", "Since accepted"), ("experiments", "All experiments"),
        ("fronts", "Loss against size and time"), ("details", "One by one"), ("sensitivity", "Sensitivity"),
        ("training", "Trainings"), ("circumstances", "Machine and commands"), ("words", "Words"),
    )  # fmt: skip
    whole = joined(sections)
    there = [(id_, name) for id_, name in names if f'<section id="{id_}"' in whole]
    return element(
        "nav", element("ul", [element("li", element("a", name, href=f"#{id_}")) for id_, name in there]),
        aria_label="Parts of this page",
    )  # fmt: skip


def _asset(name: str) -> str:
    return files("quantbench.report.html").joinpath(name).read_text(encoding="utf-8")
