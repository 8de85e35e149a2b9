"""Records from files, and the Markdown documents that are generated from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.files import write_text
from quantbench.records import RecordFile, RunRecord, read_json
from quantbench.report.pareto import pareto_markdown
from quantbench.report.tables import markdown_table, provenance

SCHEMA_VERSION = 1
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def read_records(paths: Sequence[Path]) -> list[RunRecord]:
    """The records of several files; a later file's record replaces an earlier one of the same experiment.

    Raises:
        ConfigError: if a file is missing, not what `--json` writes, of another version, or holds no record at all.
    """
    found: dict[str, RunRecord] = {}
    for path in paths:
        file = read_json(RecordFile, path, ConfigError, "write it with: pytest bench --json FILE")
        if file.schema_version != SCHEMA_VERSION:
            raise ConfigError(f"{path}: schema_version {file.schema_version} is not {SCHEMA_VERSION}; measure again")
        found.update({record.experiment: record for record in file.records})
    if not found:
        raise ConfigError(f"{', '.join(map(str, paths))}: no record; write some with: pytest bench --json FILE")
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


def replace_tables(path: Path, records: Sequence[RunRecord]) -> None:
    """Replaces what stands between the two result markers of a Markdown file.

    Raises:
        ConfigError: if the file cannot be read or lacks the markers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{path}: put the lines '{BEGIN}' and '{END}' where the results belong")
    write_text(path, f"{head}{BEGIN}\n{results_tables(records)}{END}{tail}")
