"""Lines and branches of a package that tests run: `pytest --package-coverage=quantbench`.

Coverage by SlipCover: each line and branch of the package gets a probe when it is imported, and nothing else is slower,
where a tracer would follow every line of every library. Settings are those of `[tool.slipcover]` in pyproject.toml.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from io import StringIO
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from slipcover import Slipcover

# Times that a probe may be met before SlipCover rewrites the functions of all modules without those that were seen.
# It never does: the probes take less time than that, and a module may change while it is looked through.
NEVER = 2**31 - 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--package-coverage", metavar="FOLDER", help="report lines and branches of this package that ran")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Starts to measure, before other plugins and tests import the package."""
    if folder := config.getoption("package_coverage"):
        config.pluginmanager.register(Coverage(config, Path(folder).resolve()))


class Coverage:
    """What ran in this process and, in the controller of parallel workers, in all of them."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        import slipcover
        from slipcover.config import read_config

        self.settings = read_config(config.inipath)
        self.is_worker = hasattr(config, "workerinput")
        self.probes = slipcover.Slipcover(
            branch=True,
            d_miss_threshold=NEVER,
            # Modules that no test imports count, once.
            source=None if self.is_worker else [str(folder)],
            exclude_also=self.settings.get("exclude-also"),
        )
        self.found: dict[str, Any] = {}
        self.of_workers: list[dict[str, Any]] = []
        self.finder = Probed(self.probes, folder)
        # Before pytest's own, which rewrites assertions of plugins; a package has none.
        sys.meta_path.insert(0, self.finder)
        probe_imported(self.probes, folder)

    def pytest_testnodedown(self, node: Any) -> None:
        """Takes in what a worker tells at its end."""
        if coverage := getattr(node, "workeroutput", {}).get("package_coverage"):
            self.of_workers.append(json.loads(coverage))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tells the controller what ran, or, there, fails the run below the bound."""
        from slipcover import merge_coverage

        self.found = self.probes.get_coverage()
        if self.is_worker:
            session.config.workeroutput["package_coverage"] = json.dumps(self.found)
            return
        for coverage in self.of_workers:
            merge_coverage(self.found, coverage)
        if self.below and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Shows the files that did not run as a whole, and the sums."""
        from slipcover import print_coverage

        table = StringIO()
        print_coverage(self.found, outfile=table, skip_covered=True)
        terminalreporter.section("coverage")
        terminalreporter.write_line(table.getvalue().strip())
        sums = ", ".join(f"{name}: {share:.2f} % of {count}" for name, (share, count) in self.shares.items())
        verdict = f" – less than {self.bound} % of {' and of '.join(self.below)}" if self.below else ""
        terminalreporter.write_line(f"{sums}{verdict}", red=bool(self.below))

    def pytest_unconfigure(self) -> None:
        """Ends the measurement."""
        sys.meta_path.remove(self.finder)

    @property
    def bound(self) -> float:
        """Percent of lines, and of branches, that have to run."""
        return self.settings.get("fail-under", 0)

    @property
    def shares(self) -> dict[str, tuple[float, int]]:
        """Percent that ran, and how many there are, of lines and of branches."""
        summary = self.found["summary"]
        counts = {name: (summary[f"covered_{name}"], summary[f"missing_{name}"]) for name in ("lines", "branches")}
        return {
            name: (100 * ran / max(ran + missed, 1) if ran + missed else 100.0, ran + missed)
            for name, (ran, missed) in counts.items()
        }

    @property
    def below(self) -> list[str]:
        """Those of which too few ran."""
        return [name for name, (share, _) in self.shares.items() if share < self.bound]


class Probed(MetaPathFinder):
    """Finds modules of a package, and has them imported with probes."""

    def __init__(self, probes: Slipcover, folder: Path) -> None:
        self.probes, self.folder = probes, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python's own finder, which is asked where this finds nothing."""
        from slipcover.importer import SlipcoverLoader

        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(f"{self.folder.name}.") else None
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return None
        if not Path(spec.origin).resolve().is_relative_to(self.folder):
            return None
        spec.loader = SlipcoverLoader(self.probes, spec.loader, spec.origin)
        return spec


def probe_imported(probes: Slipcover, folder: Path) -> None:
    """Gives probes to functions of the package's modules that plugins imported before.

    Their own lines and those of their classes ran then.
    """
    from slipcover.branch import preinstrument
    from slipcover.slipcover import findlinestarts

    probed: dict[tuple[str, str, int], CodeType] = {}
    for path in {Path(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}:
        if path.suffix == ".py" and path.resolve().is_relative_to(folder):
            code = compile(preinstrument(ast.parse(path.read_bytes())), str(path), "exec")
            for part in _parts(code):
                if not part.co_flags & inspect.CO_OPTIMIZED:
                    probes.all_seen[str(path)].update(line for _, line in findlinestarts(part))
            probed |= {_place(part): part for part in _parts(probes.instrument(code))}
    for function in gc.get_objects():
        if type(function) is FunctionType and _place(function.__code__) in probed:
            function.__code__ = probed[_place(function.__code__)]


def _parts(code: CodeType) -> Iterator[CodeType]:
    """Code of a module and of all classes and functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno
