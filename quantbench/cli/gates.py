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
    from quantbench.session.audit import check_may_accept
    from quantbench.session.gates import accept_gates, gone, loosened

    configured, pattern = load_experiments(configs), experiment or "*"
    forgotten = gone(golden, configured, pattern)
    chosen = [] if forgotten == [pattern] else select(configured, pattern)
    if accept:
        check_may_accept("--accept")
        if experiment is None or not reason.strip():
            raise ConfigError('--accept: name the experiments ("*" is all) and say why: --reason "…"')
        lines = accept_gates(golden, chosen, reason, forgotten)
        print("\n".join(lines) if lines else "nothing to accept: these are the accepted gates")
        return
    looser = loosened(golden, configured, chosen)
    print("\n".join(looser) if looser else f"{len(chosen)} experiment(s): no accepted gate is gone or looser")
    raise typer.Exit(1 if looser else 0)
