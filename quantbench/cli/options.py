"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Configs = Annotated[Path, typer.Option(help="Folder of workload files.")]
Golden = Annotated[Path, typer.Option(help="Folder of goldens and baselines.")]
Engine = Annotated[str | None, typer.Option(help="Quantized engine; default: x86 on x86-64, qnnpack on Arm.")]
RealData = Annotated[bool, typer.Option("--real-data", help="Let a missing data set be downloaded.")]
NoBlame = Annotated[bool, typer.Option("--no-blame", help="Look for no layer to blame where a gate on accuracy fails.")]
Amp = Annotated[bool, typer.Option("--amp", help="Compute in bf16 where that is safe (torch.autocast).")]
Sequential = Annotated[
    bool | None,
    typer.Option(
        "--sequential/--full",
        help="Look at test samples in random order until every gate is decided, or at all of them; default: at all of "
        "up to 20,000.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the tables and plots.")]
Jobs = Annotated[
    str | None,
    typer.Option(
        help="How many are computed at once in processes of this machine, or dask:tcp://HOST:PORT for the workers of a "
        "cluster; default: one for each core."
    ),
]

CONFIGS = Path("configs")
GOLDEN = Path("golden")
OUT = Path("out")


# Of every command, before or after its name.
VERBOSE = "--verbose"


def is_verbose() -> bool:
    """True if tracebacks of errors are asked for."""
    return VERBOSE in sys.argv[1:]


def allow_download(allowed: bool) -> None:
    """Lets data sets be downloaded from now on, if the option says so."""
    if allowed:
        from quantbench.data.source import DOWNLOAD_VARIABLE

        os.environ[DOWNLOAD_VARIABLE] = "1"
