"""`quantbench report`: tables and plots of recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import OUT, Out
from quantbench.extras import require


def report(
    records: Annotated[list[Path], typer.Argument(help="Files written by --json.")],
    out: Out = OUT,
    into: Annotated[
        list[Path] | None, typer.Option(help="Also replace the marked sections of this Markdown file; may be repeated.")
    ] = None,
) -> None:
    """Write tables and plots of recorded runs: the Pareto front, and the sensitivity of layers if measured."""
    from quantbench.files import write_text
    from quantbench.report.documents import pareto_document, read_with_errors, sensitivity_document, with_tables
    from quantbench.report.pareto import pareto_plot
    from quantbench.report.sensitivity import sensitivities
    from quantbench.report.sensitivity_plot import sensitivity_plot
    from quantbench.report.tables import error_lines

    require("quantbench report", "matplotlib")
    found, errors = read_with_errors(records)
    for line in error_lines(errors):
        print(f"quantbench: missing in this report: {line}", file=sys.stderr)
    parts = sensitivities(found)
    # All texts first, so that a mistake in one leaves nothing half-written.
    texts = {out / "pareto.md": pareto_document(found, errors)}
    texts |= {path: with_tables(path, found, errors) for path in into or []}
    if parts:
        texts[out / "sensitivity.md"] = sensitivity_document(found)
    plots = list(pareto_plot(found, [out / "pareto.png", out / "pareto.svg"]))
    if parts:
        drawn = [out / "sensitivity.png", out / "sensitivity.svg"]
        sensitivity_plot(parts, drawn)
        plots += drawn
    for path, text in texts.items():
        write_text(path, text)
    print("\n".join(map(str, [*plots, *texts])))
