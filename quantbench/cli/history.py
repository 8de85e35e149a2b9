"""`quantbench history`: figures of accepted results and of records through time."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import GOLDEN

if TYPE_CHECKING:
    from quantbench.records.trend import Observation


def history(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of goldens or of records, and files of records.", show_default=str(GOLDEN)),
    ] = None,
    experiment: Annotated[str, typer.Option(help="An experiment's id, or a glob.")] = "*",
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.")] = None,
) -> None:
    """Show each quantity through time, with intervals and changes of machine and version; nothing is judged by it."""
    from quantbench.errors import ConfigError
    from quantbench.files import write_text
    from quantbench.registry import unknown_name
    from quantbench.report.history import history_text, series_of
    from quantbench.report.html.history import history_page
    from quantbench.report.html.place import check_page

    if html:
        check_page(html)
    observations, notes = _read(sources or [GOLDEN])
    known = list(dict.fromkeys(each.experiment for each in observations))
    chosen = [each for each in observations if fnmatch.fnmatchcase(each.experiment, experiment)]
    if observations and not chosen:
        raise ConfigError(unknown_name("experiment", experiment, known))
    found = series_of(chosen)
    if html:
        write_text(html, history_page(found, notes))
        print(html)
    else:
        print(history_text(found), end="")
    for note in notes:
        print(f"quantbench: {note}", file=sys.stderr)


def _read(sources: list[Path]) -> tuple[list[Observation], list[str]]:
    from quantbench.errors import ConfigError
    from quantbench.golden.gates import FILE_NAME as GATES
    from quantbench.golden.timeline import timeline
    from quantbench.report.history import of_records

    observations, notes = list["Observation"](), list[str]()
    for source in sources:
        if (source / "results").is_dir():
            found = timeline(source)
            observations += found.observations
            notes += found.notes
            if not found.is_of_git:
                notes.append(f"{source}: no commits of it are here, so that the histories within its files are shown")
        elif source.is_dir():
            files = sorted(path for path in source.glob("*.json") if path.name != GATES)
            if not files:
                raise ConfigError(
                    f"{source}: holds neither results/ of goldens nor *.json of records; name another folder"
                )
            observations += of_records(files)
        elif not source.exists() and source.suffix != ".json":
            raise ConfigError(
                f"{source}: no such file or folder; name goldens or records, or accept a result first: quantbench "
                "accept ID --reason …"
            )
        else:
            observations += of_records([source])
    return observations, notes
