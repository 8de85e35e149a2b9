"""`quantbench blame`: the layer that makes an experiment's candidate worse, why, and how much."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden, RealData, allow_download
from quantbench.errors import ConfigError

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment

# The section of a document.
SECTION = "blame"
SUFFIXES = (".png", ".svg")
# What --against calls the accepted results.
ACCEPTED = "golden"


def blame(
    experiment: Annotated[
        list[str], typer.Argument(metavar="EXPERIMENT…", help="Ids of experiments, or one file that --json wrote.")
    ],
    json: Annotated[Path | None, typer.Option(help="Write the records to this file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the error along the network (.png, .svg); of one experiment.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help=f"Replace the section '{SECTION}' of this Markdown file.")] = None,
    budget: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time for each; default: no limit.")] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="golden|RECORDS|REVISION", help="Tell what changed since, instead of the layer to blame."),
    ] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Find the layer that makes a quantized model worse, and confirm it by putting the layer back.

    Layers are compared on calibration samples and a few test samples without their labels; what each costs is measured
    on the test set. Nothing is judged and nothing accepted.

    Exit status: 0 all was looked into, 2 something could not be.
    """
    from quantbench.files import write_text
    from quantbench.records.blame import BlameFile
    from quantbench.report.blame import blame_tables, blame_text
    from quantbench.report.documents import check_place, with_sections

    _check(experiment, plot, budget)
    if against is not None and (plot or into or budget is not None):
        raise ConfigError("--against: tells what changed in text and --json; leave --plot, --into and --budget out")
    for place in (json, plot):
        if place:
            check_place(place)
    if into:
        # A mistake in the document is told before minutes of measuring.
        with_sections(into, [SECTION], lambda *_: "", "tables")
    allow_download(real_data)
    if against is not None:
        _tell_changes(experiment, against, json, configs, golden, engine)
        return
    if experiment[0].endswith(".json"):
        from quantbench.records.blame import read_blames

        records = [each for path in experiment for each in read_blames(Path(path))]
    else:
        from quantbench.experiment.run import Settings
        from quantbench.experiment.runs import Runs
        from quantbench.session.blaming import look_into

        runs, command = Runs(Settings(golden, engine)), shlex.join(["quantbench", *sys.argv[1:]])
        records = [look_into(runs.run(each), command, budget) for each in _chosen(experiment, configs)]
    print("\n\n".join(blame_text(each) for each in records))
    if json:
        write_text(json, BlameFile(blames=records).model_dump_json(indent=1) + "\n")
    if into:
        write_text(into, with_sections(into, [SECTION], lambda *_: blame_tables(records), "tables"))
    if plot:
        from quantbench.report.blame_plot import blame_plot

        blame_plot(records[0], [plot])
        print(f"plot: {plot}")


def _tell_changes(
    names: list[str], against: str, json: Path | None, configs: Path, golden: Path, engine: str | None
) -> None:
    """Shows what changed of experiments since they were accepted, recorded, or made at a revision."""
    from quantbench.against.comparison import against as measured_against
    from quantbench.against.earlier import since_golden, since_record, since_revision
    from quantbench.config.reading import load_experiments
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.files import write_text
    from quantbench.records.changes import ChangesFile
    from quantbench.report.changes import changes_text
    from quantbench.report.documents import read_records

    chosen, command = _chosen(names, configs), shlex.join(["quantbench", *sys.argv[1:]])
    runs = Runs(Settings(golden, engine))
    if against == ACCEPTED:
        records = [since_golden(runs.run(each), command) for each in chosen]
    elif against.endswith(".json"):
        earlier = read_records([Path(against)])
        records = [since_record(runs.run(each), earlier, Path(against), command) for each in chosen]
    else:
        with measured_against(against, chosen, load_experiments(configs), configs, golden, engine) as base:
            records = [since_revision(runs.run(each), base, command) for each in chosen]
    print("\n\n".join(changes_text(each) for each in records))
    if json:
        write_text(json, ChangesFile(changes=records).model_dump_json(indent=1) + "\n")


def _check(experiment: list[str], plot: Path | None, budget: float | None) -> None:
    if budget is not None and budget <= 0:
        raise ConfigError(f"--budget {budget:g}: give seconds, more than 0")
    if plot and plot.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot {plot}: name a file that ends with {' or '.join(SUFFIXES)}")
    if plot and len(experiment) > 1:
        raise ConfigError(f"--plot {plot}: is of one experiment, and {len(experiment)} are named")


def _chosen(names: list[str], configs: Path) -> list[Experiment]:
    """Experiments by id or glob, each once.

    Raises:
        ConfigError: if there is no such experiment, or it quantizes nothing.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.recipes.spec import leaves_fp32

    configured = load_experiments(configs)
    found = {each.id: each for name in names for each in select(configured, name)}
    quantizing = [each for each in found.values() if not leaves_fp32(each.recipe)]
    if not quantizing:
        raise ConfigError(f"{names[0]}: quantizes nothing; name an experiment whose candidate is quantized")
    return quantizing
