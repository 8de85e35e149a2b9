"""`quantbench quantize`: one checkpoint, made and written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden, RealData, allow_download
from quantbench.errors import QuantbenchError


def quantize(
    workload: Annotated[str, typer.Argument(help="A workload file or the name of one.")],
    config: Annotated[str, typer.Option(help="A recipe, or an experiment of the workload.")],
    calibration_n: Annotated[int | None, typer.Option(help="Calibration samples; default: the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Checkpoint file; default: <workload>-<recipe>.pt.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Quantize a workload's baseline and write the int8 checkpoint, a state dict for torch.load(weights_only=True)."""
    from quantbench.config.selection import find_workload, with_recipe
    from quantbench.experiment.artifact import candidate, reference
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.files import replacing

    allow_download(real_data)
    params = {} if calibration_n is None else {"calibration_n": calibration_n}
    experiment = with_recipe(find_workload(workload, configs), config, params)
    run = Runs(Settings(golden, engine)).run(experiment)
    # Made now: a file that the model reads by itself may have changed since the cached one was made.
    source = reference(run.opened, again=True).artifact
    candidate(run.opened, experiment, run.backend, source, again=True)
    file, *others = run.artifact.files
    if others:
        raise QuantbenchError(
            f"{experiment.id}: its artifact is {1 + len(others)} files, and this command writes one; copy them from "
            f"{file.parent}: {', '.join(each.name for each in run.artifact.files)}"
        )
    path = out or Path(f"{experiment.workload.name}-{config}{file.suffix}")
    with replacing(path) as temporary:
        temporary.write_bytes(file.read_bytes())
    size = run.size
    print(f"{path}: {size.quantized_bytes:,} bytes, {size.ratio:.2f}× smaller than fp32 ({size.fp32_bytes:,} bytes)")
