"""The suite run on the project in miniature, in this process, as `pytest bench` runs it."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_timings import Machine

import quantbench

# pytester's runs forget every module that they were the first to import, which registries and pickles do not survive.
for module in pkgutil.walk_packages(quantbench.__path__, "quantbench."):
    importlib.import_module(module.name)
# So they would import these anew, run after run, and some of them refuse that.
for name in ("numpy.fft", "rich.console", "rich.table", "scipy.optimize", "scipy.stats", "torchvision.datasets"):
    importlib.import_module(name)

BENCH = Path(__file__).parents[2] / "bench"
TESTS = Path(__file__).parents[1]
# Without hypothesis's plugin, whose summary imports all of hypothesis anew in each run.
ADDOPTS = "--import-mode=importlib --strict-markers -p no:cacheprovider -p no:hypothesispytest"
# Plugins that users run beside ours; only tests/plugin/test_beside_other_plugins.py does.
OTHERS = " -p no:randomly -p no:timeout -p no:rerunfailures -p no:pytest_cov"
# The plugin is loaded already, by the run that these runs are tests of.
QUIET = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
INI = f"[pytest]\naddopts = {ADDOPTS}{OTHERS}\npythonpath = {TESTS}\nfilterwarnings = {QUIET}\n"
Bench = Callable[..., pytest.RunResult]
# With 150 samples even no flip at all leaves room for a loss of 2.5 pp.
LENIENT = "latency: {batch_size: 4, runtimes: [], rounds: 12}\n  regression: {accuracy_pp: 3.0, speedup: 0.9}"
REASON = "as it was trained"


# What it is does not change, and pytest-benchmark starts a program in each run to ask.
ARCHITECTURE = platform.architecture()


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "architecture", lambda: ARCHITECTURE)


@pytest.fixture
def bench(pytester: pytest.Pytester, project) -> Bench:
    """Runs `pytest bench` with more arguments in the project's folder."""
    return _bench_of(pytester, project)


@pytest.fixture
def chain_bench(pytester: pytest.Pytester, chain) -> Bench:
    """The same in the folder of the project whose layers are searched."""
    return _bench_of(pytester, chain)


@pytest.fixture
def bench_here(pytester: pytest.Pytester) -> Bench:
    """The same in a folder of its own, which the test fills."""
    return _bench_of(pytester, SimpleNamespace(root=pytester.path))


def _bench_of(pytester: pytest.Pytester, project) -> Bench:
    add_claims(project)
    return lambda *args: pytester.runpytest_inprocess("bench", *args)


def add_claims(project) -> None:
    """Gives a project the folder of claims and pytest's settings."""
    shutil.copytree(BENCH, project.root / "bench", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (project.root / "pytest.ini").write_text(INI)


@pytest.fixture(scope="session")
def accepted_golden(trained_project, made_once) -> Path:
    """Made once: a folder of goldens in which checkpoints and results of the post-training experiments are accepted."""
    return made_once("accepted", lambda root: _accept(root, trained_project)) / "golden"


def _accept(root: Path, project) -> None:
    from accepting import accept, accept_checkpoint

    from quantbench.config.reading import load_experiments
    from quantbench.experiment import run as runner
    from quantbench.experiment.runs import Runs
    from quantbench.measure import reload
    from quantbench.quantities.speed import questions_of

    golden = root / "golden"
    shutil.copytree(project.golden, golden)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTBENCH_DATA", str(project.root / "data"))
        # Its own, since every test's project is a copy of the trained one, which must not know these checkpoints.
        patch.setenv("QUANTBENCH_CACHE", str(root / "cache"))
        patch.setattr(runner, "time_forwards", Machine().time_forwards)
        patch.setattr(runner, "quiet_process", contextlib.nullcontext)
        patch.setattr(reload, "in_fresh_process", Machine.in_this_process)
        runs = Runs(runner.Settings(golden))
        for experiment in load_experiments(project.configs):
            if experiment.name != "qat_int8":
                run = runs.run(experiment)
                accept_checkpoint(run, REASON)
                run.time_forwards(questions_of(run, to_accept=True))
                accept(run, REASON, predictions=True, speed=True)


@pytest.fixture
def accepted(accepted_golden: Path, bench: Bench, project) -> Bench:
    """`bench` where checkpoints and results of the post-training experiments are accepted."""
    add_accepted(project, accepted_golden)
    return bench


@pytest.fixture(scope="session")
def prepared() -> Callable[..., None]:
    """`prepared(project, golden)` gives a project its folder of claims and these accepted goldens."""

    def prepare(project, golden: Path) -> None:
        add_claims(project)
        add_accepted(project, golden)

    return prepare


def add_accepted(project, golden: Path) -> None:
    """Gives a project these goldens, and bounds of regression that they hold."""
    shutil.copytree(golden, project.golden, dirs_exist_ok=True)
    project.edit("latency: {batch_size: 4, runtimes: [], rounds: 12}", LENIENT)
    accept_configured(project)


def accept_configured(project) -> None:
    """Accepts the gates that the project's file sets."""
    from quantbench.config.reading import load_experiments
    from quantbench.session.gates import accept_gates

    accept_gates(project.golden, load_experiments(project.configs), REASON)
