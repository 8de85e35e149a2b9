"""`quantbench inspect`: what a checkpoint holds, and what became of one in another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden


def inspect_(
    file: Annotated[Path, typer.Argument(help="A state dict, .onnx, or a model file of another runtime.")],
    other: Annotated[Path | None, typer.Argument(help="A second one; the difference is explained.")] = None,
    experiment: Annotated[
        str | None,
        typer.Option("--as", help="An experiment's id: does FILE load, and was it made, as its recipe says?"),
    ] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
) -> None:
    """Print a checkpoint key by key, or explain what became of one in another.

    Exit status: 0; 1 if a difference is left unexplained or FILE is not what --as takes it for; 2 if a file cannot
    be read.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.errors import CheckpointError, ConfigError
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.inspect.onnx_inspection import SUFFIX, compare_onnx_files, describe_onnx_file
    from quantbench.inspect.runtime_files import compare_runtime_files, describe_runtime_file, is_runtime_file

    if SUFFIX in (file.suffix, getattr(other, "suffix", None)):
        _refuse_as(experiment, file)
        text, is_explained = (describe_onnx_file(file), True) if other is None else compare_onnx_files(file, other)
        print(text)
        raise typer.Exit(0 if is_explained else 1)
    if is_runtime_file(file):
        _refuse_as(experiment, file)
        text, is_same = (describe_runtime_file(file), True) if other is None else compare_runtime_files(file, other)
        print(text)
        raise typer.Exit(0 if is_same else 1)
    from quantbench.inspect.inspection import check_experiment, compare_files, describe_file

    if other is not None:
        text, is_explained = compare_files(file, other)
    else:
        text, is_explained = describe_file(file), True
    print(text)
    if experiment is not None:
        selected = select(load_experiments(configs), experiment)
        if len(selected) > 1:
            raise ConfigError(
                f"--as {experiment}: {len(selected)} experiments match; name one, such as {selected[0].id}"
            )
        run = Runs(Settings(golden, engine)).run(selected[0])
        try:
            print(check_experiment(file, run))
        except CheckpointError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(1) from None
    raise typer.Exit(0 if is_explained else 1)


def _refuse_as(experiment: str | None, file: Path) -> None:
    """Refuses to take a file that holds its own model for the checkpoint of an experiment."""
    from quantbench.errors import ConfigError

    if experiment is not None:
        raise ConfigError(
            f"--as {experiment}: {file} is no state dict; give the file that it was made from beside it instead"
        )
