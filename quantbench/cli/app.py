"""`quantbench`: the verbs of the suite from the shell. Heavy imports wait in the command that needs them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

import quantbench
from quantbench.cli.ablating import ablate
from quantbench.cli.gates import gates
from quantbench.cli.inspecting import inspect
from quantbench.cli.listing import list_
from quantbench.cli.quantizing import quantize
from quantbench.cli.reporting import report
from quantbench.cli.running import run
from quantbench.cli.search import search, sensitivity
from quantbench.cli.training import adopt, curves, train
from quantbench.errors import FormLeftOutWarning, OldWordWarning, QuantbenchError, SharedLayerWarning

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command("list")(list_)
for command in (train, adopt, quantize, run, gates, inspect, report, curves, ablate, sensitivity, search):
    app.command()(command)


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"quantbench {quantbench.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Test-driven benchmark and regression suite for neural-network quantization."""


def _show_warning(usual: Callable[..., None], message: Warning | str, *where: Any) -> None:
    """Shows a hint about a file of the user in one line, without its place in our code."""
    if isinstance(message, OldWordWarning | SharedLayerWarning | FormLeftOutWarning):
        print(f"quantbench: {message}", file=sys.stderr)
    else:
        usual(message, *where)


def main() -> None:
    """Runs the command line; a mistake of the user's ends with its line and exit status 2."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            app()
    except QuantbenchError as error:
        print(f"quantbench: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # Of a file that could not be moved into its place the second name is the place.
        place = error.filename2 or error.filename
        print(f"quantbench: {place}: {error.strerror}; name another place", file=sys.stderr)
        sys.exit(2)
