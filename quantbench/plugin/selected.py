"""Options that leave tests out: those that a user typed, and those that settings add to every run."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
from collections.abc import Sequence

import pytest

# Options that leave tests out, with a value and without: of pytest, of pytest-benchmark, and of pytest-split and
# pytest-shard, which spread one run over several machines.
WITH_VALUE = ("-k", "-m", "--deselect", "--ignore", "--ignore-glob", "--maxfail", "--group", "--shard-id")
WITHOUT = (
    "--lf", "--last-failed", "--sw", "--stepwise", "--sw-skip", "--stepwise-skip", "--benchmark-only",
    "--benchmark-skip", "-x", "--exitfirst",
)  # fmt: skip


def typed(config: pytest.Config) -> list[str]:
    """Selecting options of the command line, as it was typed; empty for a run of all tests."""
    found = selecting(config.invocation_params.args)
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        found += [argument for argument in config.args if not _is_whole(config, argument)]
    return found


def set_up(config: pytest.Config) -> list[str]:
    """Selecting options of settings: `addopts` and `testpaths` of the project, and `PYTEST_ADDOPTS`."""
    addopts = [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    found = [f"addopts: {option}" for option in selecting(addopts)]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        found += [f"testpaths: {argument}" for argument in config.args if not _is_whole(config, argument)]
    return found


def is_whole(config: pytest.Config) -> bool:
    """True if whole folders or packages were collected, so that a test that is not there is missing."""
    return not config.getoption("lf", False) and all(_is_whole(config, argument) for argument in config.args)


def selecting(arguments: Sequence[str]) -> list[str]:
    """The options among arguments that leave tests out, with their values."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in WITH_VALUE:
        parser.add_argument(option, action="append", default=[], dest=option)
    for option in WITHOUT:
        parser.add_argument(option, action="store_true", dest=option)
    # Of short options that are typed as one, the last may select.
    for option in ("-v", "-q", "-s", "-l"):
        parser.add_argument(option, action="count")
    given = vars(parser.parse_known_args(list(map(str, arguments)))[0])
    # `-k ""` selects nothing.
    valued = [f"{option} {shlex.quote(value)}" for option in WITH_VALUE for value in given[option] if value]
    return valued + [option for option in WITHOUT if given[option]]


def _is_whole(config: pytest.Config, argument: str) -> bool:
    if "::" in argument:
        return False
    if (config.invocation_params.dir / argument).is_dir():
        return True
    if not config.getoption("pyargs", False):
        return False
    try:
        found = importlib.util.find_spec(argument)
    except (ImportError, ValueError):
        return False
    return found is not None and found.submodule_search_locations is not None
