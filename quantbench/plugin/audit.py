"""Checks that end a run before it starts: goldens that nothing checks, and updates that may not be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from quantbench.plugin.claimed import FIXTURE, judged_quantity
from quantbench.plugin.options import is_update
from quantbench.plugin.state import State

# Goldens that are named; the rest is counted.
SHOWN = 4


def audit(config: pytest.Config, state: State, claims: list[pytest.Item]) -> str | None:
    """Reason why the run may not go on, or None.

    Args:
        config: of the run.
        state: of the run.
        claims: every collected test about experiments, before `-k` and `-m` leave any out.
    """
    return state.mistake or _refusal(config) or _orphans(state) or _unchecked(config, state, claims)


def _refusal(config: pytest.Config) -> str | None:
    """Reason why nothing may be accepted as this run was asked for."""
    if not is_update(config):
        return None
    if os.environ.get("CI"):
        return (
            "--update-golden is refused because CI is set: a gate must not accept what it checks; update on a "
            "developer's machine and commit the golden"
        )
    if hasattr(config, "workerinput") or config.getoption("numprocesses", None):
        return "--update-golden: parallel workers cannot time what is accepted; drop -n"
    if not config.getoption("experiment"):
        return "--update-golden: name what is accepted: --experiment ID, several times or as a glob; '*' is everything"
    if not (config.getoption("reason") or "").strip():
        return '--update-golden: say why, for the history of the golden: --reason "…"'
    return None


def _orphans(state: State) -> str | None:
    """Goldens that no experiment claims, whatever part of the suite was selected."""
    from quantbench.golden.audit import orphans

    found = orphans(state.folder("golden"), state.experiments)
    if not found:
        return None
    return f"orphan golden, claimed by no experiment in {state.folder('configs')}: {_named(found)}; remove it"


def _unchecked(config: pytest.Config, state: State, claims: list[pytest.Item]) -> str | None:
    """Goldens of configured experiments that no collected test looks at, in a run of whole folders."""
    if not _is_whole(config):
        return None
    from quantbench.golden.audit import unchecked

    found = unchecked(state.folder("golden"), state.selected, _checked(claims))
    if not found:
        return None
    return (
        f"golden that no test of this run checks, because its test file was deleted or its test is skipped: "
        f"{_named(found)}; bring the test back, or remove the golden"
    )


def _is_whole(config: pytest.Config) -> bool:
    """True if whole folders were collected, so that a test that is not there is missing."""
    if config.getoption("lf", False):
        return False
    return all("::" not in argument and (config.invocation_params.dir / argument).is_dir() for argument in config.args)


def _checked(claims: Iterable[pytest.Item]) -> dict[str, set[str]]:
    """Claim → ids of the experiments that tests make it about, skipped ones left out."""
    checked: dict[str, set[str]] = {}
    for item in claims:
        experiment = item.callspec.params[FIXTURE]  # type: ignore[attr-defined]
        if experiment is not None and not _is_skipped(item) and (claim := judged_quantity(item)) is not None:
            checked.setdefault(claim, set()).add(experiment.id)
    return checked


def _is_skipped(item: pytest.Item) -> bool:
    """True if a mark skips the test. Conditions in quotes are left to pytest, which alone can evaluate them."""
    conditions = [condition for mark in item.iter_markers("skipif") for condition in mark.args]
    return item.get_closest_marker("skip") is not None or any(
        bool(condition) for condition in conditions if not isinstance(condition, str)
    )


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(map(str, paths[:SHOWN])) + more
