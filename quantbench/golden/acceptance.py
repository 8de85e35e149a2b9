"""Acceptance of a run's facts, the same for every kind of golden."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from quantbench.config.selection import claims_command, has_claims_folder
from quantbench.golden.history import write_golden
from quantbench.golden.interface import Evidence, OnRequest


@dataclass(frozen=True)
class Accepted:
    """Outcome of an acceptance.

    Attributes:
        lines: what was accepted, old → new, and what could not be; none where nothing changed.
        is_any: some of what was asked for could be accepted.
    """

    lines: list[str]
    is_any: bool


def accept(
    kind: OnRequest[Any], run: Evidence, claims: Collection[str], reason: str, today: datetime.date | None = None
) -> Accepted:
    """Makes what a run found the accepted fact of its kind; exactly this experiment's file is written.

    Args:
        kind: of the fact.
        run: what is accepted; parts that were not measured yet are measured now.
        claims: those whose facts are accepted, out of the kind's.
        reason: kept in the history.
        today: date for the history.

    Raises:
        QuantbenchError: if the file there is damaged or cannot be written, or these claims alone cannot be accepted.
    """
    before = kind.accepted(run)
    after = kind.document(run, claims, before)
    changes, lacking = kind.compare(before, after), kind.lacking(run, claims)
    lines = []
    if before is None or changes:
        path = kind.place(run)
        write_golden(path, kind.content(after), reason, changes if kind.history_tells_changes else None, today)
        lines.append(kind.report(path, before, after, changes))
    return Accepted([*lines, *lacking.values()], any(claim not in lacking for claim in claims))


def accept_gates_command(experiment: str) -> str:
    """The command that accepts the gates of an experiment as they are configured.

    Args:
        experiment: its id, or a glob.
    """
    return f'quantbench gates {shlex.quote(experiment)} --accept --reason "…"'


def accept_command(experiment: str, speed_only: bool = False) -> str:
    """The command that accepts what a run of the experiment finds.

    Args:
        experiment: its id.
        speed_only: a speed-up is added to an accepted result that stays as it is otherwise.
    """
    if not has_claims_folder():
        only = " --speed-only" if speed_only else ""
        return f'quantbench accept {shlex.quote(experiment)}{only} --reason "…"'
    only = " -m latency" if speed_only else ""
    return f'{claims_command()} --experiment {shlex.quote(experiment)}{only} --update-golden --reason "…"'
