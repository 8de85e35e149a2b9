"""Records from files, and the Markdown documents that are generated from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from quantbench.errors import ConfigError
from quantbench.files import write_text
from quantbench.records import NotRun, RecordFile, RunRecord, read_json
from quantbench.report.pareto import pareto_markdown
from quantbench.report.tables import markdown_table, provenance

SCHEMA_VERSION = 1
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
WRITE_COMMAND = "pytest bench --json FILE"


class _AnyVersion(BaseModel):
    schema_version: int


def check_place(path: Path) -> None:
    """Refuses a place for records before minutes of measuring, not after.

    Raises:
        ConfigError: if the path is a folder, or its folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--json {path}: its folder cannot be made ({error.strerror}); name another file") from None
    if path.is_dir():
        raise ConfigError(f"--json {path}: is a folder; name a file in it")


def write_records(path: Path, records: Sequence[RunRecord], not_run: Sequence[NotRun]) -> None:
    """Writes what `read_records` reads, whole or not at all."""
    file = RecordFile(records=list(records), not_run=list(not_run))
    write_text(path, file.model_dump_json(indent=1) + "\n")


def read_records(paths: Sequence[Path]) -> list[RunRecord]:
    """The records of several files; a later file's record replaces an earlier one of the same experiment.

    Raises:
        ConfigError: if a file is missing, not what `--json` writes, of another version, or holds no record at all.
    """
    found: dict[str, RunRecord] = {}
    for path in paths:
        # The version first: another one may have other keys, and a file of something else has none.
        version = read_json(_AnyVersion, path, ConfigError, f"write it with: {WRITE_COMMAND}").schema_version
        if version != SCHEMA_VERSION:
            wanted = f"is not {SCHEMA_VERSION}; measure again: {WRITE_COMMAND}"
            raise ConfigError(f"{path}: schema_version {version} {wanted}")
        file = read_json(RecordFile, path, ConfigError, f"write it again with: {WRITE_COMMAND}")
        found.update({record.experiment: record for record in file.records})
    if not found:
        raise ConfigError(f"{', '.join(map(str, paths))}: no record; write some with: {WRITE_COMMAND}")
    return list(found.values())


def results_tables(records: Sequence[RunRecord]) -> str:
    """The results table and where its figures come from."""
    return f"{markdown_table(records)}\n{provenance(records)}"


def pareto_document(records: Sequence[RunRecord]) -> str:
    """The Pareto tables, the results table, and where the figures come from."""
    return (
        "# Accuracy against size and latency\n\n"
        "● marks the front: no other experiment of the workload is at least as accurate, as small and as fast, and "
        "better in one of them. Estimates are compared, not intervals; the plot shows both.\n\n"
        f"{pareto_markdown(records)}\n## Results\n\n{results_tables(records)}"
    )


def with_tables(path: Path, records: Sequence[RunRecord]) -> str:
    """A Markdown file's text with the tables in the place of what stands between its two result markers.

    Raises:
        ConfigError: if the file cannot be read or lacks the markers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name a Markdown file") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{path}: put the lines '{BEGIN}' and '{END}' where the results belong")
    return f"{head}{BEGIN}\n{results_tables(records)}{END}{tail}"
