"""`quantbench accept`: what experiments are found to be becomes what later runs are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Engine, Golden, RealData
from quantbench.errors import ConfigError

SPEED_HELP = "Add the speed on this class of machine to what was accepted, which stays as it is."


def accept(
    experiment: Annotated[str, typer.Argument(help="An experiment's id, or a glob; '*' is all.")],
    reason: Annotated[str, typer.Option(help="Why, for the history of the golden.")] = "",
    speed_only: Annotated[bool, typer.Option("--speed-only", help=SPEED_HELP)] = False,
    json: Annotated[Path | None, typer.Option(help="Write the records to this file.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Measure experiments and accept what is found: checkpoints, results, speeds and gates, old → new.

    What `pytest --update-golden` does. Refused where CI is set. What fails a gate is not accepted.

    Exit status: 0 all of it was accepted, 1 some was not, 2 something could not be measured at all.
    """
    from quantbench.cli.running import show_session
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.report.documents import check_place
    from quantbench.session.acceptance import Accepting
    from quantbench.session.audit import check_may_accept, check_orphans
    from quantbench.session.plan import Plan
    from quantbench.session.session import Options

    check_may_accept("quantbench accept")
    if not reason.strip():
        raise ConfigError('--reason: say why, for the history of the golden: --reason "…"')
    if json:
        check_place(json)
    configured = load_experiments(configs)
    chosen = select(configured, experiment)
    check_orphans(golden, configured, configs)
    plan = Plan.of_experiments(chosen)
    if speed_only:
        plan = Plan(tuple(claim for claim in plan.claims if claim.is_timed))
    runs = Runs(Settings(golden, engine, family=plan.family))
    options = Options(real_data=real_data, accepting=Accepting.ALL, reason=reason)
    raise typer.Exit(show_session(runs, plan, options, configured, json))
