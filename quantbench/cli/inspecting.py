"""`quantbench inspect`: what a checkpoint holds, and what became of one in another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden


def inspect_(
    file: Annotated[Path, typer.Argument(help="A state dict saved by torch.save, safetensors, or .onnx.")],
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

    if SUFFIX in (file.suffix, getattr(other, "suffix", None)):
        if experiment is not None:
            raise ConfigError(f"--as {experiment}: {file} is no state dict; give the two {SUFFIX} files instead")
        text, is_explained = (describe_onnx_file(file), True) if other is None else compare_onnx_files(file, other)
        print(text)
        raise typer.Exit(0 if is_explained else 1)
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
