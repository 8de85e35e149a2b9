"""Coverage of the package by its tests: lines and branches of workers, and a run that fails below the bound."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EARLY = """\
import functools

@functools.cache
def told(loud):
    if loud:
        return "loud"
    return "quiet"
"""
LATE = """\
def sign(x):
    if x < 0:
        return -1
    return 1

def is_positive(x):
    if x > 0:
        positive = True
    return positive
"""
TEST = """\
from made import early, late

def test_it():
    assert early.told(True) == "loud"
    assert late.sign(1) == 1
    assert late.is_positive(1)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of three modules, of which pytest imports one before the tests, and a test imports two."""
    folder = tmp_path / "made"
    folder.mkdir()
    for name, text in {"__init__": "", "early": EARLY, "late": LATE, "unseen": "A = 1\nB = 2\n"}.items():
        (folder / f"{name}.py").write_text(text)
    (tmp_path / "test_made.py").write_text(TEST)
    return tmp_path


def run(root: Path, settings: str) -> subprocess.CompletedProcess[str]:
    """Its test by one worker; a process of its own, since two of them cannot measure one process."""
    (root / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\n[tool.slipcover]\n{settings}\n")
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "160"}
    environ["PYTHONPATH"] = os.pathsep.join([str(root), str(Path(__file__).parent), environ.get("PYTHONPATH", "")])
    plugins = ["-p", "xdist.plugin", "-p", "package_coverage", "-p", "made.early"]
    command = [sys.executable, "-m", "pytest", "-n", "1", "--package-coverage", "made", *plugins]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)


def test_lines_and_branches_of_workers_are_shown_and_too_few_fail_the_run(package: Path):
    ended = run(package, "fail-under = 70")
    rows = dict(re.findall(r"^made/(\w+)\.py +(\d.*?) *$", ended.stdout, re.MULTILINE))
    told = {name: re.split(r"  +", row, maxsplit=6) for name, row in rows.items()}
    # Lines, those missed, branches, those missed, percent of branches and of both, places of what was missed.
    assert told["early"] == ["6", "1", "2", "1", "50", "75", "7"]
    assert told["late"] == ["8", "1", "4", "2", "50", "75", "3, 7->9"]
    assert told["unseen"][:4] == ["2", "2", "0", "0"]
    assert "lines: 75.00 % of 16, branches: 50.00 % of 6 – less than 70 % of branches" in ended.stdout
    assert "1 passed" in ended.stdout
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED


def test_what_is_excluded_need_not_run(package: Path):
    ended = run(package, 'fail-under = 100\nexclude-also = ["^(def|class|A|B) ?", "^@"]')
    assert "100.00 % of" in ended.stdout
    assert "less than" not in ended.stdout
    assert ended.returncode == pytest.ExitCode.OK
