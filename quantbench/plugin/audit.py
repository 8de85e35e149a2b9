"""Checks that end a run before it starts: goldens and claims that are missing, and updates that may not be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from quantbench.plugin.claimed import claim_of
from quantbench.plugin.looked_at import Claimed, planned_claims, shown
from quantbench.plugin.options import by_either_name, is_update, option, spelled
from quantbench.plugin.selected import OF_RUNS, in_settings, is_whole
from quantbench.plugin.state import State

# Plugins that claims are made with → an option of each.
PLUGINS = {"pytest-benchmark (benchmark)": "benchmark_disable", "syrupy": "update_snapshots"}


def audit(config: pytest.Config, state: State, claims: list[pytest.Item]) -> str | None:
    """Reason why the run may not go on, or None.

    Args:
        config: of the run.
        state: of the run.
        claims: every collected test about experiments, before `-k` and `-m` leave any out.
    """
    if state.mistake:
        return state.mistake
    if line := _missing_plugins(config):
        return line
    from quantbench.errors import QuantbenchError
    from quantbench.session.audit import check_orphans

    if line := _selecting_settings(config):
        return line
    try:
        if is_update(config):
            _check_update(config)
        check_orphans(state.folder("golden"), state.experiments, state.folder("configs"))
    except QuantbenchError as error:
        return str(error)
    if line := _xfailed(claims):
        return line
    # A file that cannot be collected is told by its own error.
    return None if state.has_collection_errors else _uncollected(config, planned_claims(state.selected), claims)


def _missing_plugins(config: pytest.Config) -> str | None:
    """Line about plugins of pytest that claims are made with, and that are switched off; None where there are none."""
    found = [name for name, option in PLUGINS.items() if not hasattr(config.option, option)]
    if not found:
        return None
    return (
        f"claims need {' and '.join(found)}, which this run does not load; take -p no:… and "
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD out of the command line, addopts and the environment"
    )


def _selecting_settings(config: pytest.Config) -> str | None:
    """Line about settings by which every run leaves experiments out, or runs nothing; None without such."""
    found = [given for given in in_settings(config) if given.split()[0] in by_either_name(config, OF_RUNS)]
    if not found:
        return None
    return f"settings leave experiments or claims out of every run (addopts: {', '.join(found)}); type that instead"


def _check_update(config: pytest.Config) -> None:
    """Refuses to accept anything that this run was not asked for in full."""
    from quantbench.errors import ConfigError
    from quantbench.session.audit import check_may_accept

    update, experiment, reason = (spelled(config, name) for name in ("--update-golden", "--experiment", "--reason"))
    check_may_accept(update)
    if hasattr(config, "workerinput") or config.getoption("numprocesses", None):
        raise ConfigError(f"{update}: parallel workers cannot time what is accepted; drop -n")
    if not option(config, "experiment"):
        raise ConfigError(
            f"{update}: name what is accepted: {experiment} ID, several times or as a glob; '*' is everything"
        )
    if not (option(config, "reason") or "").strip():
        raise ConfigError(f'{update}: say why, for the history of the golden: {reason} "…"')


def _uncollected(config: pytest.Config, planned: Iterable[Claimed], claims: Iterable[pytest.Item]) -> str | None:
    """Line about claims that no test of a run of whole folders makes; None where there are none.

    Args:
        config: of the run.
        planned: claims that the selected experiments ask for.
        claims: every collected test about experiments, before `-k` and `-m` leave any out.
    """
    claims = list(claims)
    if not is_whole(config, [item.path for item in claims]):
        return None
    found = {claim_of(item) for item in claims if not _is_skipped(item)}
    missing = [claim for claim in planned if claim not in found]
    if not missing:
        return None
    return (
        f"claims that no test of this run makes, because a test file is missing or a mark skips its tests: "
        f"{shown(missing)}; bring the tests back, run those of the package beside yours (--pyargs quantbench.claims), "
        "or import all of them: from quantbench.claims import *"
    )


def _xfailed(claims: Iterable[pytest.Item]) -> str | None:
    """Line about claims that are marked as expected to fail; None where there are none."""
    found = [item.nodeid for item in claims if item.get_closest_marker("xfail") is not None]
    if not found:
        return None
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"{found[0]}{more}: xfail on a claim is refused, since it would turn a FAIL into a pass; loosen the gate and "
        "accept that with a reason, or take the experiment out"
    )


def _is_skipped(item: pytest.Item) -> bool:
    """True if a mark skips the test. Conditions in quotes are left to pytest, which alone can evaluate them."""
    conditions: list[Any] = [condition for mark in item.iter_markers("skipif") for condition in mark.args]
    return item.get_closest_marker("skip") is not None or any(
        bool(condition) for condition in conditions if not isinstance(condition, str)
    )
