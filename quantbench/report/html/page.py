"""The page of recorded runs: its parts in order, and media as far as there is room."""

from __future__ import annotations

from dataclasses import replace

from quantbench.report.html.against import against_section
from quantbench.report.html.circumstances import circumstances_section, words_section
from quantbench.report.html.content import Content, Place
from quantbench.report.html.experiment import experiments_section
from quantbench.report.html.fronts import fronts_section
from quantbench.report.html.media import Media
from quantbench.report.html.overview import overview_section
from quantbench.report.html.samples import media_style
from quantbench.report.html.shell import shell
from quantbench.report.html.summary import changes_section, headline, verdict_section
from quantbench.report.html.training import sensitivity_section, training_section

# Of the whole file; pictures and sounds are left out beyond it.
LARGEST_BYTES = 3_000_000
# Ids of its parts and their names.
NAMES = (
    ("verdict", "Verdict"), ("against", "Since the base"), ("changes", "Since accepted"),
    ("experiments", "All experiments"),
    ("fronts", "Loss against size and time"), ("details", "One by one"), ("sensitivity", "Sensitivity"),
    ("training", "Trainings"), ("circumstances", "Machine and commands"), ("words", "Words"),
)  # fmt: skip


def page(content: Content) -> str:
    """The whole file: the same content gives the same bytes.

    Pictures and sounds of samples that would make it larger than `LARGEST_BYTES` are left out, with a note.
    """
    kept, left_out = _within(content.media, LARGEST_BYTES - len(_page(replace(content, media={})).encode()) - 20_000)
    notes = list(content.notes)
    if left_out:
        notes.append(f"{left_out} pictures or sounds of samples are left out, so that this file stays below 3 MB.")
    return _page(replace(content, media=kept, notes=notes))


def _within(media: object, room: int) -> tuple[dict[Place, Media], int]:
    kept: dict[Place, Media] = {}
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
        verdict_section(content), against_section(content), changes_section(content), overview_section(content),
        fronts_section(content),
        experiments_section(content), sensitivity_section(content), training_section(content),
        circumstances_section(content), words_section(),
    ]  # fmt: skip
    outcome, sentence = headline(content)
    title = f"{outcome}: {sentence} – quantbench"
    return shell(title, "quantbench report", sections, NAMES, media_style(content))
