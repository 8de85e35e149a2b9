"""Options that leave tests out: those that a user typed, and those that settings add to every run."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from quantbench.plugin.options import by_either_name

# Options that leave tests out, with a value and without: of pytest, of pytest-benchmark, and of pytest-split and
# pytest-shard, which spread one run over several machines.
WITH_VALUE = ("-k", "-m", "--deselect", "--ignore", "--ignore-glob", "--maxfail", "--group", "--shard-id")
WITHOUT = (
    "--lf", "--last-failed", "--sw", "--stepwise", "--sw-skip", "--stepwise-skip", "--benchmark-only",
    "--benchmark-skip", "-x", "--exitfirst",
)  # fmt: skip

# Options that leave claims about speed without a verdict, since nothing is timed → whether they take a value: of
# pytest-benchmark, and of pytest-xdist.
DISABLING = {"--benchmark-disable": False}
PARALLEL = {"-n": True, "--numprocesses": True, "--dist": True, "--tx": True}

# Of settings: options that leave experiments out of every run, or run nothing at all → whether they take a value.
OF_RUNS = {"--experiment": True, "--shard": True, "--co": False, "--collect-only": False, "--collectonly": False}
# Of settings: options by which pytest shows something and runs no test, for some of them before it collects any.
SHOWING = dict.fromkeys(
    (
        "--fixtures", "--funcargs", "--fixtures-per-test", "--markers", "--help", "-h", "--version", "-V",
        "--setup-plan", "--setup-only", "--setuponly", "--cache-show",
    ),
    False,
)  # fmt: skip


def typed(config: pytest.Config) -> list[str]:
    """Selecting options of the command line, as it was typed; empty for a run of all tests."""
    found = selecting(config.invocation_params.args)
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        found += [argument for argument in config.args if not _is_whole(config, argument)]
    return found


def in_settings(config: pytest.Config) -> list[str]:
    """Selecting options of `addopts` and `PYTEST_ADDOPTS`, those that select experiments too."""
    return selecting(_settings(config), by_either_name(config, OF_RUNS))


def showing(config: pytest.Config) -> list[str]:
    """Options of `addopts` and `PYTEST_ADDOPTS` by which no test of any run runs."""
    return given(_settings(config), SHOWING)


def untimed_by(config: pytest.Config) -> tuple[list[str], list[str]]:
    """Options by which nothing is timed in this run: those of the command line, and those of settings.

    One that the command line takes back, as `--benchmark-enable` does, is none. What neither sets was set by code.
    """
    asked: dict[str, bool] = {}
    if is_disabled(config):
        asked |= DISABLING
    if config.getoption("dist", "no") != "no":
        asked |= PARALLEL
    if not asked:
        return [], []
    if by_user := given(config.invocation_params.args, asked):
        return by_user, []
    found = [f"addopts: {option}" for option in given(_settings(config), asked)]
    return [], found or [f"a conftest.py or plugin: {next(iter(asked))}"]


def is_disabled(config: pytest.Config) -> bool:
    """True if pytest-benchmark is asked not to time anything."""
    return bool(config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False))


def set_up(config: pytest.Config) -> list[str]:
    """Selecting options of settings: `addopts` and `testpaths` of the project, and `PYTEST_ADDOPTS`."""
    found = [f"addopts: {option}" for option in in_settings(config)]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        found += [f"testpaths: {argument}" for argument in config.args if not _is_whole(config, argument)]
    return found


def is_whole(config: pytest.Config, claims: Iterable[Path]) -> bool:
    """True if a whole folder or package with claims was collected, so that a test that is not there is missing.

    Args:
        config: of the run.
        claims: files of the tests that make claims.
    """
    if config.getoption("lf", False):
        return False
    files = list(claims)
    return any(
        any(path.is_relative_to(folder) for path in files)
        for argument in config.args
        if (folder := _folder(config, argument)) is not None
    )


def selecting(arguments: Sequence[str], more: Mapping[str, bool] = MappingProxyType({})) -> list[str]:
    """The options among arguments that leave tests out, with their values.

    Args:
        arguments: as typed.
        more: options that are looked for too → whether they take a value.
    """
    return given(arguments, {**dict.fromkeys(WITH_VALUE, True), **dict.fromkeys(WITHOUT, False), **more})


def _settings(config: pytest.Config) -> list[str]:
    return [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]


def given(arguments: Sequence[str], options: Mapping[str, bool]) -> list[str]:
    """The options among arguments, with their values.

    Args:
        arguments: as typed.
        options: those that are looked for → whether they take a value.
    """
    with_value = [option for option, has_value in options.items() if has_value]
    without = [option for option, has_value in options.items() if not has_value]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in with_value:
        parser.add_argument(option, action="append", default=[], dest=option)
    for option in without:
        parser.add_argument(option, action="store_true", dest=option)
    # Of short options that are typed as one, the last may be looked for.
    for option in ("-v", "-q", "-s", "-l"):
        parser.add_argument(option, action="count")
    found = vars(parser.parse_known_args(list(map(str, arguments)))[0])
    # `-k ""` selects nothing.
    valued = [f"{option} {shlex.quote(value)}" for option in with_value for value in found[option] if value]
    return valued + [option for option in without if found[option]]


def _is_whole(config: pytest.Config, argument: str) -> bool:
    return _folder(config, argument) is not None


def _folder(config: pytest.Config, argument: str) -> Path | None:
    """The whole folder or package that an argument names; None for a part of one."""
    if "::" in argument:
        return None
    if (folder := (config.invocation_params.dir / argument).resolve()).is_dir():
        return folder
    if not config.getoption("pyargs", False):
        return None
    try:
        found = importlib.util.find_spec(argument)
    except (ImportError, ValueError):
        return None
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]).resolve() if places else None
