"""`quantbench gates`: the accepted gates against those that are configured, and acceptance of the latter."""

from __future__ import annotations

from typing import Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Golden
from quantbench.errors import ConfigError


def gates(
    experiment: Annotated[str | None, typer.Argument(help="An experiment's id, or a glob; default: all.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Make the configured gates the accepted ones.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
) -> None:
    """Compare the configured gates with the accepted ones, or accept them.

    Exit status: 0 none is gone or looser, 1 some are.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.golden.acceptance import accept_command
    from quantbench.golden.gates import accepted_gates
    from quantbench.session.audit import check_may_accept
    from quantbench.session.gates import accept_gates, gone, loosened

    configured, pattern = load_experiments(configs), experiment or "*"
    forgotten = gone(golden, configured, pattern)
    chosen = [] if forgotten == [pattern] else select(configured, pattern)
    if accept:
        check_may_accept("--accept")
        _check_accepted(experiment, reason)
        lines = accept_gates(golden, chosen, reason, forgotten)
        print("\n".join(lines) if lines else "nothing to accept: these are the accepted gates")
        return
    if looser := loosened(golden, configured, chosen):
        print("\n".join(looser))
    elif not accepted_gates(golden):
        first = accept_command(experiment or chosen[0].id)
        print(f"{len(chosen)} experiment(s): no gates are accepted yet; accept results and gates with: {first}")
    else:
        print(f"{len(chosen)} experiment(s): no accepted gate is gone or looser")
    raise typer.Exit(1 if looser else 0)


def _check_accepted(experiment: str | None, reason: str) -> None:
    """Refuses an acceptance that does not say of what and why.

    Raises:
        ConfigError: naming what is missing, and nothing else.
    """
    missing = ['name the experiments ("*" is all)'] if experiment is None else []
    missing += [] if reason.strip() else ['say why: --reason "…"']
    if missing:
        raise ConfigError(f"--accept: {' and '.join(missing)}")
