"""Records of searches as files: JSON, Markdown, and the marked section of a document."""

from __future__ import annotations

import re
from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.files import read_text, write_text
from quantbench.report.documents import MAX_DOCUMENT_BYTES
from quantbench.report.search import Record, markdown, report_of

SECTION = re.compile(r"<!-- search: begin (?P<experiment>\S+) -->\n(?P<text>.*?)<!-- search: end -->", re.DOTALL)


def write_search(record: Record, document: Path, json: Path | None, into: Path | None) -> list[Path]:
    """Writes what is asked for, all texts being made first, so that a mistake in one leaves nothing half-written.

    Args:
        record: what was found.
        document: Markdown file of its own.
        json: file for the record itself.
        into: document whose section `<!-- search: begin EXPERIMENT -->` … `<!-- search: end -->` is replaced.

    Returns:
        The paths.

    Raises:
        ConfigError: if `into` cannot be read or has no such section.
    """
    text = markdown(report_of(record))
    texts = {document: f"# {record.experiment}\n\n{text}"}
    if into:
        texts[into] = with_section(into, record.experiment, text)
    if json:
        texts[json] = record.model_dump_json(indent=1) + "\n"
    for path, content in texts.items():
        write_text(path, content)
    return list(texts)


def with_section(path: Path, experiment: str, text: str) -> str:
    """A document with the section of an experiment replaced.

    Raises:
        ConfigError: if it cannot be read or has no such section.
    """
    try:
        document = read_text(path, MAX_DOCUMENT_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name a Markdown file") from None
    for section in SECTION.finditer(document):
        if section["experiment"] == experiment:
            return document[: section.start("text")] + text + document[section.end("text") :]
    raise ConfigError(
        f"{path}: put the lines '<!-- search: begin {experiment} -->' and '<!-- search: end -->' where the search "
        "belongs"
    )
