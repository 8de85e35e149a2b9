"""Options of the suite, and what is wrong with them before anything is collected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

# Options of the suite by their short names → what argparse is told of them. Each is registered by its long name,
# `--quantbench-json` for `--json`, of which nobody else has one; the short one is read as that where nothing else in
# the run, such as a user's conftest.py, has an option of its name.
OPTIONS: dict[str, dict[str, Any]] = {
    "--configs": {"metavar": "DIR", "help": "folder of workload files (default: configs/ in the root folder)"},
    "--golden": {"metavar": "DIR", "help": "folder of goldens and baselines (default: golden/ in the root folder)"},
    "--experiment": {
        "action": "append", "default": [], "metavar": "ID",
        "help": "run only this experiment: an exact id or a glob; may be given several times",
    },
    "--update-golden": {
        "action": "store_true",
        "help": "accept what is found of the experiments named by --experiment; needs --reason; refused when CI is set",
    },
    "--reason": {"metavar": "TEXT", "help": "why a golden is updated, kept in its history"},
    "--strict-verdicts": {"action": "store_true", "help": "INCONCLUSIVE fails"},
    "--sequential": {
        "action": "store_true",
        "help": "look at test samples in random order until every gate is decided (default: of more than 20,000)",
    },
    "--full": {"action": "store_true", "help": "judge by all test samples, however many there are"},
    "--real-data": {"action": "store_true", "help": "download missing data sets, and fail where data stays absent"},
    "--retrain": {"action": "store_true", "help": "train quantization-aware experiments for real"},
    "--amp": {"action": "store_true", "help": "with --retrain: train in bf16 (torch.autocast)"},
    "--shard": {
        "metavar": "I/N", "help": "run this part of the experiments alone, such as 2/8; then quantbench merge",
    },
    "--json": {"metavar": "FILE", "help": "write the records of the run to FILE"},
    "--plots": {"metavar": "DIR", "help": "folder of the bar chart of layers (default: out/ in the root folder)"},
    "--allow-import": {
        "action": "append", "default": [], "metavar": "MODULE",
        "help": "let workload files name this module, or those of this folder, outside of the project",
    },
    "--no-blame": {"action": "store_true", "help": "look for no layer to blame where a gate on accuracy fails"},
    "--engine": {"metavar": "NAME", "help": "quantized engine (default: x86 on x86-64, qnnpack on Arm)"},
}  # fmt: skip
# Default folders in the root folder.
FOLDERS = ("configs", "golden")
# Short names that something else has in this run.
TAKEN = pytest.StashKey[frozenset[str]]()


def long_name(short: str) -> str:
    """The name that an option always has.

    Example:
        >>> long_name("--json")
        '--quantbench-json'
    """
    return f"--quantbench-{short.removeprefix('--')}"


def option(config: pytest.Config, name: str) -> Any:
    """The value of an option of the suite, by its short name without hyphens in front: `update-golden`."""
    return config.getoption(_dest(f"--{name}"))


def root_folder(config: pytest.Config) -> Path:
    """Folder of the project: pytest's root folder, or the current one where that alone has our folders.

    Without a settings file pytest's root is what all paths on the command line have in common, values of options
    included: `--json /tmp/records.json`, once there is such a file, makes it `/`.
    """
    root, here = config.rootpath, config.invocation_params.dir
    return here if not _has_ours(root) and _has_ours(here) else root


def _has_ours(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in FOLDERS)


def spelled(config: pytest.Config, short: str) -> str:
    """The name by which an option can be given in this run: the short one, unless something else has it."""
    return long_name(short) if short in config.stash.get(TAKEN, frozenset()) else short


def by_either_name(config: pytest.Config, options: Mapping[str, bool]) -> dict[str, bool]:
    """Options of the suite, by both names that they have in this run → whether they take a value.

    Args:
        config: of the run.
        options: by their short names.
    """
    ours = {name: has_value for name, has_value in options.items() if name in OPTIONS}
    spelled_out = {long_name(name): has_value for name, has_value in ours.items()}
    taken = config.stash.get(TAKEN, frozenset())
    return {name: has_value for name, has_value in options.items() if name not in taken} | spelled_out


def add_options(parser: pytest.Parser) -> None:
    """Adds the suite's own options to pytest's, by their long names."""
    about = "quantization benchmarks (--quantbench-json is --json too, where that is free)"
    group = parser.getgroup("quantbench", about)
    for short, attributes in OPTIONS.items():
        group.addoption(long_name(short), dest=_dest(short), **attributes)


def read_short_names(args: list[str], parser: pytest.Parser) -> frozenset[str]:
    """Replaces short names of our options by their long ones, in place, but for those that something else has.

    Args:
        args: of the command line, those of settings before them.
        parser: with the options of all that is loaded so far.

    Returns:
        The short names that something else has.
    """
    taken = frozenset(OPTIONS) & _names(parser)
    for i, argument in enumerate(map(os.fspath, args)):
        if argument == "--":
            break
        name, equals, value = argument.partition("=")
        if name in OPTIONS and name not in taken:
            args[i] = f"{long_name(name)}{equals}{value}"
    return taken


def _names(parser: pytest.Parser) -> frozenset[str]:
    """Names of every option that is registered. pytest tells them by no public means."""
    groups = [*getattr(parser, "_groups", ()), getattr(parser, "_anonymous", None)]
    return frozenset(name for group in groups if group for each in group.options for name in each.names())


def _dest(short: str) -> str:
    return long_name(short).removeprefix("--").replace("-", "_")


def add_markers(config: pytest.Config) -> None:
    """Says which markers a claim may carry."""
    for marker in (
        "gate(name): the claim is parametrized by the experiments that set this gate",
        "ungated(name): the test is parametrized by those that do not set this gate",
        "claim(name): the claim, of a quantity without a gate, is about these experiments",
        "searched: the test is parametrized by the experiments that ask for a search",
        "latency: measures time; never under parallel workers",
    ):
        config.addinivalue_line("markers", marker)


def check_options(config: pytest.Config) -> None:
    """Refuses options that contradict each other or name a place that cannot be written.

    Raises:
        pytest.UsageError: in one line.
    """
    if (path := option(config, "json")) and not hasattr(config, "workerinput"):
        from quantbench.errors import ConfigError
        from quantbench.report.documents import check_place

        try:
            check_place(Path(path))
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
    if (plots := option(config, "plots")) and Path(plots).exists() and not Path(plots).is_dir():
        name = spelled(config, "--plots")
        raise pytest.UsageError(f"{name} {plots}: is no folder; name one, which is made where there is none")
    if option(config, "retrain") and config.getoption("numprocesses", None):
        raise pytest.UsageError(f"{spelled(config, '--retrain')}: two workers would train the same weights; drop -n")
    if option(config, "full") and option(config, "sequential"):
        full, sequential = spelled(config, "--full"), spelled(config, "--sequential")
        raise pytest.UsageError(
            f"{full} asks for all test samples, {sequential} for as few as decide; drop one of them"
        )
    if option(config, "sequential") and (is_update(config) or option(config, "update-golden")):
        sequential = spelled(config, "--sequential")
        raise pytest.UsageError(f"{sequential}: what is accepted is of all test samples; drop it")
    if option(config, "amp") and not option(config, "retrain"):
        retrain, amp = spelled(config, "--retrain"), spelled(config, "--amp")
        raise pytest.UsageError(f"{amp}: is how {retrain} trains; add {retrain}, or drop {amp}")


def is_update(config: pytest.Config) -> bool:
    """True if what is found becomes what is accepted, by our option or by syrupy's."""
    options = vars(config.option)
    # Not there where syrupy is switched off.
    return bool(options.get("update_snapshots") or options.get("update_new_snapshots_only"))
