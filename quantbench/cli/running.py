"""`quantbench run`: a session over experiments, shown whole at its end."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden, NoBlame, RealData, Sequential, is_verbose
from quantbench.errors import ConfigError, QuantbenchError
from quantbench.foreign import calling, traceback_of
from quantbench.stopping import status

if TYPE_CHECKING:
    from quantbench.against.comparison import Against
    from quantbench.config.schema import Experiment
    from quantbench.experiment.runs import Runs
    from quantbench.records.run import ShardFacts
    from quantbench.session.plan import Plan
    from quantbench.session.result import SessionResult
    from quantbench.session.session import Options

EXPERIMENT_HELP = "An experiment's id, or a glob such as 'cifar_cnn_*/ptq_*'; default: all."


def run(
    experiment: Annotated[str, typer.Argument(help=EXPERIMENT_HELP)] = "*",
    json: Annotated[Path | None, typer.Option(help="Write the records to this file.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
    strict_verdicts: Annotated[bool, typer.Option("--strict-verdicts", help="INCONCLUSIVE fails.")] = False,
    no_blame: NoBlame = False,
    sequential: Sequential = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Measure this part alone, such as 2/8; then quantbench merge.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Measure this git revision as well, and compare with it: origin/main."),
    ] = None,
) -> None:
    """Measure experiments, judge all their gates and print the table.

    Exit status: 0 all gates hold, 1 a gate failed or a result could not be written, 2 something could not be measured
    at all, 130 interrupted (143 by SIGTERM) with what was found until then.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.report.documents import check_place
    from quantbench.session.audit import check_orphans
    from quantbench.session.blaming import SECONDS
    from quantbench.session.plan import Plan
    from quantbench.session.revision import revision
    from quantbench.session.session import Options
    from quantbench.session.shard import Shard
    from quantbench.stats.multiplicity import Family

    if json:
        check_place(json)
    configured = load_experiments(configs)
    chosen = select(configured, experiment)
    part = Shard.read(shard) if shard else None
    own = part.of(chosen) if part else chosen
    check_orphans(golden, configured, configs)
    # All parts share the false alarms of the run, so that each is judged as the whole would be.
    gates = Plan.of_experiments(chosen).family.gates
    if against is not None:
        if sequential:
            raise ConfigError("--against compares all test samples; leave --sequential out")
        gates, sequential = gates + len(chosen), False
    runs = Runs(Settings(golden, engine, family=Family(gates), sequential=sequential))
    options = Options(strict=strict_verdicts, real_data=real_data, blame_s=0.0 if no_blame else SECONDS)
    if part:
        print(f"quantbench: {part.sentence(chosen)}", file=sys.stderr)
    before = revision(chosen, golden) if part else {}
    facts = (lambda: part.facts(chosen, before)) if part else None
    plan = Plan.of_experiments(own)
    if against is None:
        raise typer.Exit(show_session(runs, plan, options, configured, json, shard=facts))
    from quantbench.against.comparison import against as measured_against

    with measured_against(against, own, configured, configs, golden, engine) as base:
        raise typer.Exit(show_session(runs, plan, options, configured, json, shard=facts, against=base))


def show_session(
    runs: Runs,
    plan: Plan,
    options: Options,
    configured: Sequence[Experiment],
    json: Path | None,
    accepted: Callable[[Sequence[str]], Sequence[str]] = tuple,
    shard: Callable[[], ShardFacts] | None = None,
    against: Against | None = None,
) -> int:
    """Makes the claims of a plan, shows what was found, and gives the exit status.

    Args:
        runs: of the session.
        plan: its claims.
        options: how.
        configured: every experiment there is.
        json: file for the records.
        accepted: chooses the lines about what was accepted that are shown.
        shard: tells at the end which part of a run it is; None for the whole.
        against: a revision that is compared with; None for none.

    Raises:
        QuantbenchError: if something could not be measured at all.
    """
    from quantbench.session.acceptance import Accepting
    from quantbench.session.result import Status, run_session

    result = run_session(runs, plan, shlex.join(["quantbench", *sys.argv[1:]]), options, configured, against)
    broken, unwritten = _write_all(result, json, shard)
    _tell(result, unwritten)
    if options.accepting is not Accepting.NOTHING:
        print("\n".join(accepted(result.lines)) or "nothing to accept: all of it is what was accepted")
    if result.interrupted:
        print("\n".join(f"quantbench: {line}" for line in [*broken, result.interrupted]), file=sys.stderr)
        raise typer.Exit(status())
    if broken or result.status is Status.BROKEN:
        absent = "the data, or a library, is not on this machine"
        raise QuantbenchError("\n".join(broken or [f"nothing was measured: {absent}"]))
    return result.status or (Status.FAILED if unwritten else Status.PASSED)


def _write_all(
    result: SessionResult, json: Path | None, shard: Callable[[], ShardFacts] | None
) -> tuple[list[str], list[str]]:
    """Shows the table and writes summary and records, each whatever becomes of the others.

    Returns:
        Lines about what is broken, and about what could not be written.
    """
    from quantbench.report.documents import write_records
    from quantbench.report.tables import broken_cells

    steps: dict[str, Callable[[], None]] = {
        "showing the table": lambda: _show(result) if result.records or not result.interrupted else None,
        "the step summary": lambda: _summarize(result),
    }
    if json:
        steps[f"--json {json}: writing the records"] = lambda: write_records(
            json,
            result.records,
            result.not_run,
            result.errors,
            shard() if shard else None,
            result.premises,
            result.base,
        )
    broken, unwritten = [*result.broken, *broken_cells(result.records)], list[str]()
    for what, step in steps.items():
        try:
            with calling(what):
                step()
        except QuantbenchError as error:
            (unwritten if isinstance(error.__cause__, OSError) else broken).append(str(error))
            result.tracebacks.append(traceback_of(error))
    return broken, unwritten


def _tell(result: SessionResult, unwritten: list[str]) -> None:
    """Messages of the run, and what could not be written, on standard error."""
    from quantbench.report.tables import without_baseline

    for text in [*result.messages, *without_baseline(result.without_baseline)]:
        print(text, file=sys.stderr)
    if is_verbose():
        for text in result.tracebacks:
            print(text, file=sys.stderr)
    for text in unwritten:
        print(f"quantbench: {text}", file=sys.stderr)


def _show(result: SessionResult) -> None:
    """The table and what is said of the whole on standard output."""
    from quantbench.report.against import against_text
    from quantbench.report.sensitivity import sensitivity_text
    from quantbench.report.tables import terminal_table

    width = shutil.get_terminal_size((160, 24)).columns
    print(terminal_table(result.records, result.not_run, width, sys.stdout.isatty(), result.errors), end="")
    for sentence in result.sentences:
        print(sentence)
    if result.base:
        print(f"\n{against_text(result.base, result.records)}", end="")
    if text := sensitivity_text(result.records):
        print(f"\n{text}", end="")
    # Now, so that a full disk is told of the table.
    sys.stdout.flush()


def _summarize(result: SessionResult) -> None:
    from quantbench.report.step_summary import append_step_summary

    append_step_summary(result.records, result.not_run, result.sentences, result.errors)
