"""`quantbench export`: a measured experiment as a folder to hand on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden, RealData, allow_download


def export(
    experiment: Annotated[str, typer.Argument(help="An experiment's id.")],
    out: Annotated[Path, typer.Option(help="Folder that is made; one that holds something is refused.")],
    backend: Annotated[str | None, typer.Option(help="The same recipe through another backend.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Write an experiment's artifact, a card of what it is and how accurate, and a program of a few lines that runs it.

    Exit status: 0 written, 2 not.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select, through_backend
    from quantbench.errors import ConfigError
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.export.readme import figure
    from quantbench.export.writing import check_free
    from quantbench.export.writing import export as write

    check_free(out)
    allow_download(real_data)
    found = select(load_experiments(configs), experiment)
    if len(found) > 1:
        raise ConfigError(f"{experiment}: {len(found)} experiments match; name one, such as {found[0].id}")
    (chosen,) = found
    if backend is not None and backend != chosen.backend.name:
        chosen = through_backend(chosen.workload, chosen.config.recipe, backend, "--backend")
    card = write(Runs(Settings(golden, engine)).run(chosen), out, shlex.join(["quantbench", *sys.argv[1:]]))
    size = sum(each.size_bytes for each in card.files if each.role == "artifact")
    print(f"{out}: {card.experiment}: {figure(card)}; {size:,} bytes; licence of the weights: {card.licence}")
    for each in card.files:
        print(f"  {each.name}: {each.role}, {each.size_bytes:,} bytes, sha256 {each.sha256}")
    if not any(each.role == "program" for each in card.files):
        print(f"  no program is known for backend '{chosen.backend.name}'")
