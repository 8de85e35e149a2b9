"""Figures that somebody published, beside ours from records: what was measured where, and how far it agrees.

`python benchmarks/published_figures.py docs/results/records.json docs/keyword-spotting.md docs/residual-networks.md`
writes the sections `<!-- published: begin FILE -->` … `<!-- published: end -->` of these documents anew, each from its
file of published figures, named relative to the document.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantbench.config.reading import read_yaml
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.files import write_text
from quantbench.records.run import RunRecord
from quantbench.registry import unknown_name, validation_lines
from quantbench.report.documents import read_records, with_sections
from quantbench.report.tables import NOTHING, markdown_rows, provenance

# Kilobytes of the published sizes.
KB = 1_000


class PublishedRow(BaseModel):
    """One configuration's published figures; what the source does not give is None.

    Attributes:
        accuracy: per cent.
        drop_pp: against the source's own fp32, percentage points.
        size_kb: of the file, kilobytes.
        size_ratio: the source's own fp32 size / this size.
        forward_ms: of one batch.
        speedup: over the source's own fp32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    accuracy: float | None = None
    drop_pp: float | None = None
    size_kb: float | None = None
    size_ratio: float | None = None
    forward_ms: float | None = None
    speedup: float | None = None


class Published(BaseModel):
    """A published piece of work.

    Attributes:
        what: its data, model and batch, for the caption.
        workloads: ours that are set beside it.
        rows: by the name of our experiment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    what: str
    workloads: Annotated[tuple[str, ...], Field(min_length=1)]
    rows: Annotated[dict[str, PublishedRow], Field(min_length=1)]


def read_published(path: Path) -> Published:
    """Reads a file of published figures.

    Raises:
        ConfigError: if it is missing or not what is expected, one line per mistake.
    """
    parsed = read_yaml(path, "a file of published figures")
    try:
        return Published.model_validate(parsed)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, path))) from None


def _lines(error: ValidationError, path: Path) -> list[str]:
    """One line per mistake; an unknown key's says which keys there are."""
    lines = validation_lines(error, str(path))
    for i, item in enumerate(error.errors(include_url=False)):
        if item["type"] == "extra_forbidden":
            *parents, key = map(str, item["loc"])
            known = sorted((PublishedRow if parents else Published).model_fields)
            lines[i] = f"{path}: {''.join(f'{part}.' for part in parents)}{key}: {unknown_name('key', key, known)}"
    return lines


def published_markdown(published: Published, records: Sequence[RunRecord]) -> str:
    """Tables of accuracy, size and forward time, the published figure first; and where ours come from.

    Raises:
        ConfigError: if a workload has no record at all.
    """
    ours = {record.experiment: record for record in records}
    known = {record.experiment.partition("/")[0] for record in records}
    if absent := [workload for workload in published.workloads if workload not in known]:
        raise ConfigError(
            f"no record of the workload {absent[0]}, to set beside published figures; measure it with: "
            f"pytest bench --experiment '{absent[0]}/*' --json FILE"
        )
    tables: tuple[tuple[str, str, str, Callable[[RunRecord], str]], ...] = (
        ("Accuracy, % [95 %]", "accuracy", "{:.2f}", _accuracy),
        ("Drop, pp [95 %]", "drop_pp", "{:+.2f}", _drop),
        ("Size, KB (1,000 bytes)", "size_kb", "{:.2f}", _size),
        ("fp32 size / size", "size_ratio", "{:.2f}", _ratio),
        ("Forward, ms", "forward_ms", "{:.2f}", _forward),
        ("Speed-up over the same eager fp32 [99 %] / over the fastest fp32 [99 %]", "speedup", "{:.1f}", _speedup),
    )
    lines = [f"Published: {published.what}.", ""]
    for title, theirs, form, own in tables:
        rows = []
        for name, row in published.rows.items():
            found = [ours.get(f"{workload}/{name}") for workload in published.workloads]
            figure = getattr(row, theirs)
            cells = [own(record) if record else NOTHING for record in found]
            if figure is not None or (theirs == "drop_pp" and any(cell != NOTHING for cell in cells)):
                rows.append((name, NOTHING if figure is None else form.format(figure), *cells))
        if rows:
            lines += [f"**{title}**", "", *markdown_rows(("experiment", "published", *published.workloads), rows), ""]
    measured = [record for record in records if record.experiment.partition("/")[0] in published.workloads]
    return "\n".join(lines) + "\n" + provenance(measured)


def _accuracy(record: RunRecord) -> str:
    if (a := record.accuracy) is None:
        return NOTHING
    low, high = (100 * limit for limit in a.quantized_interval)
    return f"{100 * a.quantized:.2f} [{low:.2f}, {high:.2f}]"


def _drop(record: RunRecord) -> str:
    if (a := record.accuracy) is None or record.recipe["kind"] == "fp32":
        return NOTHING
    return f"{a.drop_pp:+z.2f} [{a.drop_interval_pp[0]:+z.2f}, {a.drop_interval_pp[1]:+z.2f}]"


def _size(record: RunRecord) -> str:
    return f"{record.size.quantized_bytes / KB:.2f}" if record.size else NOTHING


def _ratio(record: RunRecord) -> str:
    return f"{record.size.ratio:.2f}" if record.size and record.recipe["kind"] != "fp32" else NOTHING


def _forward(record: RunRecord) -> str:
    if (t := record.latency) is None:
        return NOTHING
    return f"{1e3 * float(np.median(t.int8_s)):.2f} (batch {t.batch_size}, {t.threads} thread(s))"


def _speedup(record: RunRecord) -> str:
    if (t := record.latency) is None:
        return NOTHING
    both = ((t.speedup, t.speedup_interval), (t.speedup_over_fastest, t.speedup_over_fastest_interval))
    return " / ".join(f"{speedup:.2f} [{limits[0]:.2f}, {limits[1]:.2f}]" for speedup, limits in both)


def with_published(path: Path, records: Sequence[RunRecord]) -> str:
    """A Markdown file's text with its sections of published figures made anew.

    Raises:
        ConfigError: if the file has no such section, or one names no file of figures, or a wrong one.
    """

    def section(_: str, arguments: list[str]) -> str:
        if len(arguments) != 1:
            raise ConfigError(f"{path}: <!-- published: begin FILE --> names one file of published figures")
        return published_markdown(read_published(path.parent / arguments[0]), records)

    return with_sections(path, ["published"], section, "published figures")


def main() -> None:
    """Writes all documents, or none of them after a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="what `pytest bench --json` wrote")
    parser.add_argument("documents", type=Path, nargs="+", help="Markdown files")
    given = parser.parse_args()
    try:
        records = read_records([given.records])
        texts = {path: with_published(path, records) for path in given.documents}
    except QuantbenchError as error:
        sys.exit(str(error))
    for path, text in texts.items():
        write_text(path, text)


if __name__ == "__main__":
    main()
