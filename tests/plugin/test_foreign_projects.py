"""A project that has quantbench installed and does not use it notices nothing, even with namesakes of its own."""

import subprocess
import sys

import pytest

CONFTEST = """\
import sys

import pytest


@pytest.fixture
def experiment_run():
    return "mine"


@pytest.fixture
def gate(request):
    return "open"


def pytest_unconfigure():
    ours = {"quantbench.config.schema", "quantbench.records.base"}
    heavy = sorted(({"torch", "numpy", "pydantic"} | ours) & set(sys.modules))
    print(f"imported: {heavy}")
"""
TESTS = """\
def test_own_fixtures(experiment_run, gate):
    assert (experiment_run, gate) == ("mine", "open")


def test_own_snapshot(snapshot):
    assert {"a": 1} == snapshot
"""


@pytest.fixture
def foreign(tmp_path):
    """A folder with tests, and no `configs/`."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    # Without the plugins of others that import something heavy themselves, or tell a seed that differs.
    addopts = "-p no:cacheprovider -p no:hypothesispytest -p no:randomly -p no:pytest_cov"
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = {addopts}\n")
    return folder


def run(folder, *args, plugin=True):
    load = () if plugin else ("-p", "no:quantbench.plugin")
    command = [sys.executable, "-m", "pytest", "-q", *load, *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_foreign_project_runs_as_without_the_plugin_and_imports_nothing_heavy(foreign, monkeypatch):
    monkeypatch.setenv("CI", "1")
    assert run(foreign, "--snapshot-update").returncode == 0
    result = run(foreign)
    assert result.returncode == 0
    assert "2 passed" in result.stdout
    assert "imported: []" in result.stdout
    assert result.stdout.splitlines()[:2] == run(foreign, plugin=False).stdout.splitlines()[:2]


def test_an_extension_of_our_fixture_is_still_parametrized(bench, project):
    (project.root / "bench" / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef experiment_run(experiment_run):\n    return experiment_run\n"
    )
    result = bench("--collect-only", "-q")
    assert result.ret == 0
    assert sum("[tiny/" in line for line in result.outlines) == 49


def test_a_namesake_of_our_fixture_is_left_alone_in_process_too(bench, project):
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.root / "bench" / "test_own.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef experiment_run():\n    return 1\n\n"
        "def test_own(experiment_run):\n    assert experiment_run == 1\n"
    )
    project.config.write_text("workload: [")
    result = bench(
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:randomly",
        "bench/test_own.py",
        "-k",
        "own",
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR, "the other tests of the folder are about experiments"
    for claims in set((project.root / "bench").glob("test_*.py")) - {project.root / "bench" / "test_own.py"}:
        claims.unlink()
    assert bench("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:randomly").ret == 0
