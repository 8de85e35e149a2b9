"""`quantbench parity`: one recipe through several backends, or one experiment at several versions."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden, RealData, allow_download
from quantbench.errors import ConfigError, QuantbenchError

if TYPE_CHECKING:
    from quantbench.records.parity import ParityRecord

# The section of a document.
SECTION = "parity"


def parity(
    what: Annotated[
        list[str], typer.Argument(metavar="WORKLOAD…", help="Workloads, or files: see --experiments and --records.")
    ],
    recipe: Annotated[str, typer.Option(help="Recipe that every backend runs.")] = "static_int8",
    backends: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Backends; default: all that run the recipe here.")
    ] = None,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="WORKLOAD A B …: compare these experiments of one workload.")
    ] = False,
    records: Annotated[
        bool, typer.Option("--records", help="A.json B.json …: compare what was recorded of the same experiments.")
    ] = False,
    base: Annotated[str | None, typer.Option(help="Compared with; default: eager, or else the first.")] = None,
    no_speed: Annotated[bool, typer.Option("--no-speed", help="Time nothing.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the record to this file; given as WORKLOAD it is shown again.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help=f"Replace the section '{SECTION}' of this Markdown file.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Compare the same recipe through several backends: accuracy, answers, logits, scales, size and speed.

    Exit status: 0 all that was asked for was compared, 2 something could not be.
    """
    from quantbench.files import write_text
    from quantbench.records.parity import ParityFile
    from quantbench.report.documents import check_place, with_sections
    from quantbench.report.parity import parity_tables, parity_text

    if out:
        check_place(out)
    if into:
        # A mistake in the document is told before minutes of measuring.
        with_sections(into, [SECTION], lambda *_: "", "tables")
    allow_download(real_data)
    command = shlex.join(["quantbench", *sys.argv[1:]])
    if records:
        from quantbench.parity.recorded import compared_records

        found = compared_records([Path(each) for each in what], command)
    elif all(each.endswith(".json") for each in what):
        from quantbench.records.parity import read_parity

        found = [record for each in what for record in read_parity(Path(each))]
    else:
        asked = _Asked(recipe, backends.split(",") if backends else None, experiments, base, not no_speed, command)
        found = _measured(what, asked, configs, golden, engine)
    print("\n\n".join(parity_text(each) for each in found))
    if out:
        write_text(out, ParityFile(comparisons=found).model_dump_json(indent=1) + "\n")
    if into:
        write_text(into, with_sections(into, [SECTION], lambda *_: parity_tables(found), "tables"))
    failed = [f"{each.workload}: {one.name}: {one.reason}" for each in found for one in each.left_out if one.failed]
    if failed:
        raise QuantbenchError("\n".join(failed))


class _Asked:
    """Options of a comparison that measures."""

    def __init__(
        self, recipe: str, backends: list[str] | None, experiments: bool, base: str | None, timed: bool, command: str
    ) -> None:
        self.recipe, self.backends, self.experiments = recipe, backends, experiments
        self.base, self.timed, self.command = base, timed, command


def _measured(what: list[str], asked: _Asked, configs: Path, golden: Path, engine: str | None) -> list[ParityRecord]:
    from quantbench.config.selection import find_workload, recipe_of
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.parity.choosing import base_first, named, through_backends
    from quantbench.parity.comparison import compared
    from quantbench.records.parity import NotCompared

    if asked.experiments and (asked.backends or len(what) < 3):
        raise ConfigError("--experiments: name one workload and two experiments of it or more, and no --backends")
    runs, found = Runs(Settings(golden, engine)), []
    for name in what[:1] if asked.experiments else what:
        workload = find_workload(name, configs)
        if asked.experiments:
            title, chosen, left_out = "experiments", named(workload, what[1:]), list[NotCompared]()
        else:
            recipe = recipe_of(workload, asked.recipe, "--recipe")
            title = ", ".join([recipe.name, *(f"{key} {value}" for key, value in recipe.params.items())])
            chosen, left_out = through_backends(workload, recipe, asked.backends)
        ordered = base_first(chosen, asked.base, left_out)
        by_name = {each: runs.run(experiment) for each, experiment in ordered.items()}
        found.append(compared(by_name, title, asked.command, left_out, asked.timed, asked.base is not None))
    return found
