"""Runs in which no test makes a claim, although they were asked for claims."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantbench.plugin.options import by_either_name, root_folder
from quantbench.plugin.selected import given, showing, typed

# Where claims lie by custom, and what they are imported from.
CLAIMS_FOLDER, CLAIMS_MODULE = "bench", "quantbench.claims"
# Of which a file that makes claims holds one: their module, or a fixture that makes them.
CLAIM_WORDS = re.compile(
    r"\bquantbench\.claims\b|\bcheck_(gate|claim|verdict|measured|quantity|accepted|search|golden)\b"
)
# Holds the accepted gates below the folder of goldens.
GATES_FILE = "gates.json"
# Options of ours, of no use in a run without claims → whether they take a value.
OPTIONS = {
    "--experiment": True, "--update-golden": False, "--reason": True, "--strict-verdicts": False, "--real-data": False,
    "--retrain": False, "--amp": False, "--json": True, "--engine": True,
}  # fmt: skip
MEND = f"bring the tests of claims back, or import all of them: from {CLAIMS_MODULE} import *"


def no_claim_at_all(config: pytest.Config, golden: Path, configs: Path) -> str | None:
    """Line about a run that makes no claim, although experiments were accepted and claims were asked for; else None.

    They were asked for by an option of ours, by a folder `bench/` that is run, or by a file that is run as a part of
    a whole folder, and that imports the claims.

    Args:
        config: of the run.
        golden: folder of goldens.
        configs: folder of workload files.
    """
    accepted = golden / GATES_FILE
    if (
        configs.is_dir()
        and (options := given(config.invocation_params.args, by_either_name(config, OPTIONS)))
        and not _is_repeated(config)
    ):
        return f"no test of this run makes a claim, which {' '.join(options)} asks for; {MEND}"
    if typed(config) or not accepted.is_file():
        return None
    run = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    claims = (root_folder(config) / CLAIMS_FOLDER).resolve()
    if claims.is_dir() and any(claims.is_relative_to(folder) for folder in run):
        return (
            f"no test of this run makes a claim, although {accepted} holds accepted experiments; bring the "
            f"tests of {CLAIMS_FOLDER}/ back, or import all of them: from {CLAIMS_MODULE} import *"
        )
    ignored = config.getini("norecursedirs")
    file = next((path for folder in run for path in _python_files(folder, ignored) if _imports_claims(path)), None)
    if file is None:
        return None
    return (
        f"no test of this run makes a claim, although {accepted} holds accepted experiments and {_short(file)} imports "
        "claims; something keeps pytest from collecting that file: python_files, collect_ignore or a hook"
    )


def nothing_runs(config: pytest.Config, golden: Path, configs: Path) -> str | None:
    """Line about settings by which a project with experiments runs no test, and succeeds; None without such.

    Args:
        config: of the run, before anything is collected.
        golden: folder of goldens.
        configs: folder of workload files.
    """
    if not (options := showing(config)) or not (configs.is_dir() or (golden / GATES_FILE).is_file()):
        return None
    return f"settings keep every run from running tests (addopts: {', '.join(options)}); type that instead"


def uncollected_file(config: pytest.Config, report: pytest.CollectReport) -> str | None:
    """Line about a file of claims that cannot be collected; None of a file of other tests.

    Args:
        config: of the run.
        report: of a collection that failed.
    """
    path = config.rootpath / report.nodeid.partition("::")[0]
    try:
        is_ours = path.is_file() and bool(CLAIM_WORDS.search(path.read_text("utf-8", "replace")))
    except OSError:
        return None
    if not is_ours:
        return None
    causes = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    cause = f": {causes[-1]}" if causes else ""
    return f"{report.nodeid}: cannot be collected{cause}; none of its claims is made: mend the file"


def _is_repeated(config: pytest.Config) -> bool:
    """True if pytest collects only what failed before."""
    return bool(config.getoption("lf", False))


def _python_files(folder: Path, ignored: list[str]) -> Iterator[Path]:
    """Every Python file below a folder, but for those in folders that pytest never looks into."""
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in sorted(folders)
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored)
            and not (Path(place) / name / "pyvenv.cfg").exists()
        ]
        yield from (Path(place) / name for name in sorted(files) if name.endswith(".py"))


def _imports_claims(path: Path) -> bool:
    """True if the file imports every test of a module of claims, as the files of `bench/` do."""
    try:
        text = path.read_text(encoding="utf-8")
        statements = ast.parse(text).body if CLAIMS_MODULE in text else []
    # Not readable, or no Python of this version: pytest could not collect it either.
    except (OSError, ValueError, SyntaxError, RecursionError):
        return False
    return any(
        isinstance(each, ast.ImportFrom)
        and f"{each.module}.".startswith(f"{CLAIMS_MODULE}.")
        and each.names[0].name == "*"
        for each in statements
    )


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
