"""The premises of a session: goldens that nobody looks at, and places where nothing may be accepted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from quantbench.config.schema import Experiment
from quantbench.errors import GoldenError
from quantbench.golden.audit import orphans

# Files that are named; the rest is counted.
SHOWN = 4


def check_may_accept(option: str) -> None:
    """Refuses to accept anything in CI.

    Raises:
        GoldenError: naming the option.
    """
    if os.environ.get("CI"):
        raise GoldenError(
            f"{option} is refused because CI is set: a gate must not accept what it checks; update on a developer's "
            "machine and commit the golden"
        )


def check_orphans(golden: Path, configured: Iterable[Experiment], configs: Path) -> None:
    """Refuses goldens that no configured experiment claims, whatever part of the experiments was selected.

    Raises:
        GoldenError: naming them.
    """
    if found := orphans(golden, configured):
        raise GoldenError(f"orphan golden, claimed by no experiment in {configs}: {_named(found)}; remove it")


def _named(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + more
