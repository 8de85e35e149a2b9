"""`quantbench merge`: records of all shards of a run as one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Golden

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.records.run import RecordFile


def merge(
    shards: Annotated[list[Path], typer.Argument(help="Files written by --shard I/N --json, one of each shard.")],
    json: Annotated[Path, typer.Option(help="Write the merged records to this file.")],
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    strict_verdicts: Annotated[
        bool, typer.Option("--strict-verdicts", help="INCONCLUSIVE or not judged fails.")
    ] = False,
) -> None:
    """Put the shards of a run together and judge the whole: a shard that is missing or there twice is an error.

    Exit status: 0 all gates hold, 1 a gate failed, was loosened or judged by another bound, 2 something could not be
    measured or the shards are not one run.
    """
    import shutil

    from quantbench.config.reading import load_experiments
    from quantbench.files import printable
    from quantbench.report.documents import check_place, read_file, write_records
    from quantbench.report.tables import error_lines, terminal_table
    from quantbench.session.merging import machine_lines, merged_shards, unjudged_lines

    check_place(json, read=shards)
    found = merged_shards([(path, read_file(path)) for path in shards])
    configured = load_experiments(configs)
    premises = list(dict.fromkeys([*found.premises, *_audit(found, configured, configs, golden)]))
    unjudged = unjudged_lines(found.records, configured)
    write_records(json, found.records, found.not_run, found.errors, premises=premises, base=found.base)
    width = shutil.get_terminal_size((160, 24)).columns
    print(terminal_table(found.records, found.not_run, width, sys.stdout.isatty(), found.errors), end="")
    for line in [*machine_lines(found.records), *unjudged, *premises, *error_lines(found.errors)]:
        print(f"quantbench: {printable(line)}", file=sys.stderr)
    raise typer.Exit(_status(found, premises, strict_verdicts, bool(unjudged)))


def _audit(found: RecordFile, configured: list[Experiment], configs: Path, golden: Path) -> list[str]:
    """Checks of the whole: orphans, experiments that no shard was to measure, and gates that are not the shards'.

    Raises:
        QuantbenchError: if a golden is an orphan, or the configuration is not that of the shards.
    """
    from quantbench.errors import ConfigError
    from quantbench.session.audit import check_orphans
    from quantbench.session.gates import loosened
    from quantbench.session.merging import rebound_lines

    check_orphans(golden, configured, configs)
    measured = {each.experiment for part in (found.records, found.not_run, found.errors) for each in part}
    if unknown := sorted(measured - {each.id for each in configured}):
        raise ConfigError(
            f"{unknown[0]}: is in a shard, but not in {configs}; merge with the revision that was measured"
        )
    return [
        *loosened(golden, configured, [each for each in configured if each.id in measured]),
        *rebound_lines(found.records, configured),
    ]


def _status(found: RecordFile, premises: list[str], is_strict: bool, is_partial: bool) -> int:
    from quantbench.stats.verdicts import Outcome

    outcomes = {verdict.outcome for record in found.records for verdict in record.verdicts}
    if found.errors or not found.records:
        return 2
    is_failed = Outcome.FAIL in outcomes or (is_strict and (is_partial or Outcome.INCONCLUSIVE in outcomes))
    return int(is_failed or bool(premises))
