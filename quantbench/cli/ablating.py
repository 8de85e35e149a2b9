"""`quantbench ablate`: every row of an ablation trained, and its table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, OUT, Amp, Configs, Jobs, Out, RealData, allow_download
from quantbench.errors import QuantbenchError
from quantbench.extras import require
from quantbench.stopping import status


def ablate(
    ablation: Annotated[
        str, typer.Argument(help="An ablation file, the name of one in <configs>/ablations, or a record to draw again.")
    ],
    jobs: Jobs = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each row; another number gives other bits.")] = 1,
    out: Out = OUT,
    amp: Amp = False,
    configs: Configs = CONFIGS,
    real_data: RealData = False,
) -> None:
    """Train every row of an ablation, several at once, and print the table; a killed run continues.

    Given a record (.json), it prints and draws that one and trains nothing.

    Exit status: 0 every row has a result, 2 one failed or something is wrong, 130 interrupted (143 by SIGTERM).
    """
    from quantbench.config.ablation import find_ablation
    from quantbench.jobs.places import check_jobs
    from quantbench.records.ablation import read_ablation
    from quantbench.report.ablation import ablation_text, write_ablation

    # Before hours of training, not after.
    require("quantbench ablate", "matplotlib")
    if ablation.endswith(".json"):
        record = read_ablation(Path(ablation))
        print(ablation_text(record) + "\n".join(map(str, write_ablation(record, out))))
        return
    check_jobs(jobs)
    allow_download(real_data)
    found = find_ablation(ablation, configs)
    out.mkdir(parents=True, exist_ok=True)

    from quantbench.ablation.run import AblationRun

    run = AblationRun(found, amp, threads)
    try:
        run.train(jobs)
    except KeyboardInterrupt:
        print(f"quantbench: {run.interrupted()}", file=sys.stderr)
        raise typer.Exit(status()) from None
    record = run.record(shlex.join(["quantbench", *sys.argv[1:]]))
    paths = write_ablation(record, out)
    print(ablation_text(record) + "\n".join(map(str, paths)))
    if run.failed:
        raise QuantbenchError("\n".join(f"{found.path}: rows.{name}: {why}" for name, why in run.failed.items()))
