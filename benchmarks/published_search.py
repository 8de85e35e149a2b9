"""A search that somebody published, beside ours.

`quantbench search vgg16_shapes/low_bit_4 --json search.json`, then `python benchmarks/published_search.py search.json
docs/published/vgg16.yaml docs/mixed-precision.md --plots docs/results` writes the section of that experiment in the
document, `<!-- search: begin EXPERIMENT -->` … `<!-- search: end -->`, and the chart of its layers.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quantbench.config.reading import read_yaml
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.files import write_text
from quantbench.records.base import read_json
from quantbench.records.search import SearchRecord
from quantbench.registry import validation_lines
from quantbench.report.figures import ORANGE, drawn
from quantbench.report.search import ACCEPTED, SearchReport, Table, markdown, report_of, widths
from quantbench.report.search_documents import with_section
from quantbench.report.search_plot import draw_layers, layers_size


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PublishedDecision(_Strict):
    """One layer tried on top of those accepted.

    Attributes:
        layer: its number, from 0.
        drop_pp: total drop, percentage points.
    """

    layer: Annotated[int, Field(ge=0)]
    drop_pp: float
    accepted: bool


class PublishedSearch(_Strict):
    """A published search.

    Attributes:
        what: its model, data and way, for the caption.
        experiments: ours that it is set beside.
        accuracy: with all layers high, per cent.
        epsilon_pp: total drop that was accepted, percentage points.
        sensitivities_pp: drop of each layer alone at its low width, percentage points, in the order of the layers.
        decisions: in the order of the search.
        bits: what was found, in the order of the layers.
        passes: over all samples that it took.
    """

    what: str
    experiments: Annotated[tuple[str, ...], Field(min_length=1)]
    accuracy: float
    epsilon_pp: float
    sensitivities_pp: Annotated[tuple[float, ...], Field(min_length=1)]
    decisions: tuple[PublishedDecision, ...]
    bits: tuple[int, ...]
    passes: int

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        k = len(self.sensitivities_pp)
        if len(self.bits) != k or sorted(each.layer for each in self.decisions) != list(range(k)):
            raise ValueError(
                f"{k} sensitivities, {len(self.bits)} bits and {len(self.decisions)} decisions; each layer has one of "
                "each"
            )
        return self


def read_published_search(path: Path, experiment: str, layers: int) -> PublishedSearch:
    """Reads a file of a published search that an experiment is to be set beside.

    Args:
        path: the file.
        experiment: id of ours.
        layers: how many of its layers are tried.

    Raises:
        ConfigError: if the file is missing or not what is expected, or is no counterpart of the experiment.
    """
    parsed = read_yaml(path, "a file of a published search")
    try:
        found = PublishedSearch.model_validate(parsed)
    except ValidationError as error:
        raise ConfigError("\n".join(validation_lines(error, str(path)))) from None
    if experiment not in found.experiments:
        raise ConfigError(
            f"{path}: is set beside {', '.join(found.experiments)}, not {experiment}; add it, or leave it out"
        )
    if len(found.bits) != layers:
        raise ConfigError(
            f"{path}: is of {len(found.bits)} layers, but of {experiment} {layers} are tried; search without --layer"
        )
    return found


def beside(record: SearchRecord, published: PublishedSearch) -> SearchReport:
    """The report of our search with the published figures in columns and lines of their own."""
    ours = report_of(record)
    if ours.decisions is None:
        raise ConfigError(f"{record.experiment}: has no decisions to be set beside published ones")
    return replace(
        ours,
        sensitivities=_with_sensitivities(ours.sensitivities, published),
        decisions=_with_decisions(ours.decisions, published),
        found=[ours.found[0], widths("published", published.bits, min(published.bits)), *ours.found[1:]],
        origin=[
            *ours.origin,
            f"published: {published.what}; {published.accuracy:.2f} %, {published.passes} passes",
        ],
    )


def _with_sensitivities(table: Table, published: PublishedSearch) -> Table:
    """The published drops after ours, the fourth column; the second holds a layer's index."""

    def widened(row: tuple[str, ...]) -> tuple[str, ...]:
        return (*row[:3], f"{published.sensitivities_pp[int(row[1])]:+.2f}", *row[3:])

    columns = (*table.columns[:3], "published pp", *table.columns[3:])
    return replace(table, columns=columns, rows=[widened(row) for row in table.rows])


def _with_decisions(table: Table, published: PublishedSearch) -> Table:
    """The published decision log, line by line."""
    columns = (*table.columns, "published: layer", "drop pp", "decision")
    theirs = [(str(each.layer), f"{each.drop_pp:+.2f}", ACCEPTED[each.accepted]) for each in published.decisions]
    return replace(table, columns=columns, rows=[(*row, *own) for row, own in zip(table.rows, theirs, strict=True)])


def layers_plot_beside(record: SearchRecord, published: PublishedSearch, paths: list[Path]) -> None:
    """Draws the drop of each layer alone, with the published drops as marks, into each of the files."""
    with drawn(paths, layers_size(record)) as (_, [[axis]]):
        ordered = draw_layers(axis, record)
        theirs = [published.sensitivities_pp[each.index] for each in ordered]
        axis.plot(theirs, range(len(ordered)), "D", color=ORANGE, markersize=4, label="published")
        axis.legend(loc="lower right", frameon=False)


def main() -> None:
    """Writes the section and the chart, or neither after a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, help="what `quantbench search --json` wrote")
    parser.add_argument("published", type=Path, help="file of the published search")
    parser.add_argument("document", type=Path, help="Markdown file")
    parser.add_argument("--plots", type=Path, default=Path("out"), help="folder of the chart")
    given = parser.parse_args()
    try:
        record = read_json(SearchRecord, given.record, ConfigError, "write it with: quantbench search … --json FILE")
        published = read_published_search(given.published, record.experiment, len(record.layers))
        text = with_section(given.document, record.experiment, markdown(beside(record, published)))
    except QuantbenchError as error:
        sys.exit(str(error))
    stem = f"search_{record.experiment.replace('/', '_')}_layers"
    layers_plot_beside(record, published, [given.plots / f"{stem}.{suffix}" for suffix in ("png", "svg")])
    write_text(given.document, text)


if __name__ == "__main__":
    main()
