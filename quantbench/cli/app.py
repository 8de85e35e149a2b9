"""`quantbench`: the verbs of the suite from the shell. Heavy imports wait in the command that needs them."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

import quantbench
from quantbench.cli.ablating import ablate
from quantbench.cli.accepting import accept
from quantbench.cli.blaming import blame
from quantbench.cli.commenting import comment
from quantbench.cli.comparing import compare
from quantbench.cli.doctor import doctor
from quantbench.cli.exporting import export
from quantbench.cli.gates import gates
from quantbench.cli.history import history
from quantbench.cli.initializing import init
from quantbench.cli.inspecting import inspect_
from quantbench.cli.listing import list_
from quantbench.cli.merging import merge
from quantbench.cli.options import VERBOSE, is_verbose
from quantbench.cli.parity import parity
from quantbench.cli.quantizing import quantize
from quantbench.cli.reporting import report
from quantbench.cli.running import run
from quantbench.cli.schema import schema
from quantbench.cli.search import search, sensitivity
from quantbench.cli.training import adopt, curves, train
from quantbench.config.import_paths import OPTION, allow_imports
from quantbench.errors import FormLeftOutWarning, OldWordWarning, QuantbenchError, SharedLayerWarning
from quantbench.exits import refuse_exits
from quantbench.foreign import foreign, message_of, passes, traceback_of
from quantbench.stopping import HINT, status, stoppable
from quantbench.streams import close_output, open_all

Verbose = Annotated[bool, typer.Option(VERBOSE, help="Show the traceback of each error.")]


def _allow_imports(modules: list[str] | None) -> list[str] | None:
    allow_imports(modules or ())
    return modules


ALLOW_HELP = "Let workload files name this module, or those of this folder, outside of the project."
AllowImport = Annotated[
    list[str] | None, typer.Option(OPTION, metavar="MODULE", callback=_allow_imports, help=ALLOW_HELP)
]


def _with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the options of all commands, too, whose place on the command line is nobody's business."""

    @functools.wraps(command)
    def with_shared(*args: Any, verbose: bool, allow_import: list[str] | None, **kwargs: Any) -> None:  # noqa: ARG001
        # Both are read elsewhere: `is_verbose`, and the option's own callback.
        try:
            with stoppable():
                command(*args, **kwargs)
        except KeyboardInterrupt:
            print(f"quantbench: {HINT}", file=sys.stderr)
            raise typer.Exit(status()) from None
        # Commands of ours raise typer.Exit; this is code of the user's, whose status says nothing of the command.
        except BaseException as error:
            if isinstance(error, Exception) or passes(error):
                raise
            raise foreign("the command", error) from error

    shared: dict[str, tuple[Any, Any]] = {"verbose": (Verbose, False), "allow_import": (AllowImport, None)}
    hints = get_type_hints(command, include_extras=True) | {name: hint for name, (hint, _) in shared.items()}
    own = [each.replace(annotation=hints[name]) for name, each in inspect.signature(command).parameters.items()]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, (hint, default) in shared.items()
    ]
    with_shared.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    with_shared.__annotations__ = hints
    return with_shared


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
for command in (
    init,
    list_,
    compare,
    train,
    adopt,
    quantize,
    run,
    accept,
    merge,
    gates,
    blame,
    inspect_,
    parity,
    export,
    report,
    comment,
    history,
    curves,
    ablate,
    sensitivity,
    search,
    doctor,
    schema,
):
    app.command(command.__name__.rstrip("_"))(_with_shared(command))


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"quantbench {quantbench.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
    verbose: Verbose = False,
    allow_import: AllowImport = None,
) -> None:
    """Test-driven benchmark and regression suite for neural-network quantization."""


def _show_warning(usual: Callable[..., None], message: Warning | str, *where: Any) -> None:
    """Shows a hint about a file of the user in one line, without its place in our code."""
    if isinstance(message, OldWordWarning | SharedLayerWarning | FormLeftOutWarning):
        print(f"quantbench: {message}", file=sys.stderr)
    else:
        usual(message, *where)


def _once(show: Callable[..., None]) -> Callable[..., None]:
    """Shows each warning once in the life of the process, however many experiments or places it comes from."""
    seen: set[tuple[type[Warning], str]] = set()

    def shown(message: Warning, category: type[Warning], *where: Any) -> None:
        key = category, message_of(message)
        if key not in seen:
            seen.add(key)
            show(message, category, *where)

    return shown


def main() -> None:
    """Runs the command line; a mistake of the user's, and whatever is raised, ends with its line and status 2.

    Where standard output cannot be written, that is said, and a command that did all else ends with status 1.
    """
    refuse_exits()
    open_all()
    try:
        _run()
    except SystemExit as ended:
        sys.exit(ended.code or int(_is_output_lost()))
    if _is_output_lost():
        sys.exit(1)


def _is_output_lost(end: str = "") -> bool:
    """Writes what is left of standard output; says so where that is impossible."""
    if lost := close_output(end):
        print(f"quantbench: standard output: cannot be written ({lost.strerror})", file=sys.stderr)
    return lost is not None


def _run() -> None:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _once(functools.partial(_show_warning, warnings.showwarning))
            app()
    except QuantbenchError as error:
        _end(error, str(error))
    except OSError as error:
        # Of a file that could not be moved into its place the second name is the place.
        place = error.filename2 or error.filename
        if not place and _is_output_lost("\n"):
            sys.exit(1)
        _end(error, f"{place}: {error.strerror}; name another place" if place else str(foreign("the command", error)))
    except Exception as error:
        _end(error, str(foreign("the command", error)))


def _end(error: Exception, line: str) -> NoReturn:
    if is_verbose():
        print(traceback_of(error), file=sys.stderr)
    print(f"quantbench: {line}", file=sys.stderr)
    sys.exit(2)
