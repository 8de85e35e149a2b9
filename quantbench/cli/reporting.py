"""`quantbench report`: tables, plots and a page of recorded runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, OUT, Configs, Golden
from quantbench.extras import require

if TYPE_CHECKING:
    from quantbench.records.run import ExperimentError, RunRecord


def report(
    records: Annotated[list[Path], typer.Argument(help="Files written by --json.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the tables and plots.", show_default=f"{OUT}; none with --html or --junit"),
    ] = None,
    into: Annotated[
        list[Path] | None, typer.Option(help="Also replace the marked sections of this Markdown file; may be repeated.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one page that holds everything to this file, for people to look at.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write each verdict as a test case to this file.")] = None,
    samples: Annotated[
        bool, typer.Option(help="Show flipped samples in the page, where their data is on this machine.")
    ] = True,
    blame: Annotated[
        list[Path] | None, typer.Option(help="Show this file of quantbench blame --json in the page; may be repeated.")
    ] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
) -> None:
    """Write tables and plots of recorded runs, or with --html one page of everything in them.

    Tables and plots are the Pareto front, and the sensitivity of layers if it was measured.
    """
    from quantbench.files import write_text
    from quantbench.report.documents import check_place, read_all, with_tables
    from quantbench.report.html.place import check_page
    from quantbench.report.tables import error_lines

    if html:
        check_page(html)
    if junit:
        check_place(junit, "--junit", records)
    is_shown = html is not None or junit is not None
    folder = out if is_shown else out or OUT
    if folder:
        # Before what may take long, and before anything is written.
        require("quantbench report", "matplotlib")
    found = read_all(records, empty=is_shown)
    for line in error_lines(found.errors):
        print(f"quantbench: missing in this report: {line}", file=sys.stderr)
    # All texts first, so that a mistake in one leaves nothing half-written.
    texts = _tables(folder, found.records, found.errors) if folder else {}
    texts |= {path: with_tables(path, found.records, found.errors) for path in into or []}
    if html:
        from quantbench.cli.page import page_of

        texts[html] = page_of(found, records, configs if samples else None, golden, blame or ())
    if junit:
        from quantbench.report.junit import junit as cases

        texts[junit] = cases(found)
    plots = _plots(folder, found.records) if folder else []
    for path, text in texts.items():
        write_text(path, text)
    print("\n".join(map(str, [*plots, *texts])))


def _tables(out: Path, found: Sequence[RunRecord], errors: Sequence[ExperimentError]) -> dict[Path, str]:
    """Documents of the folder that can be written of these records."""
    from quantbench.report.documents import pareto_document, sensitivity_document
    from quantbench.report.sensitivity import sensitivities

    texts = {out / "pareto.md": pareto_document(found, errors)}
    if sensitivities(found):
        texts[out / "sensitivity.md"] = sensitivity_document(found)
    return texts


def _plots(out: Path, found: Sequence[RunRecord]) -> list[Path]:
    """Draws the plots of the folder, and gives their files."""
    from quantbench.report.pareto import pareto_plot
    from quantbench.report.sensitivity import sensitivities
    from quantbench.report.sensitivity_plot import sensitivity_plot

    plots = list(pareto_plot(found, [out / "pareto.png", out / "pareto.svg"]))
    if parts := sensitivities(found):
        drawn = [out / "sensitivity.png", out / "sensitivity.svg"]
        sensitivity_plot(parts, drawn)
        plots += drawn
    return plots
