"""One kind of golden: where its files lie, which claims check them, and what is accepted of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from quantbench.config.schema import Experiment
from quantbench.golden.circumstances import Inputs, MachineClass
from quantbench.records.run import Latency

# The engine whose goldens carry no suffix; other engines choose other observers and so have goldens of their own.
DEFAULT_ENGINE = "x86"
# Of backends with one family of kernels, whose goldens carry none either.
NO_ENGINE = "none"
# Lines of a difference that are shown; the rest is counted.
SHOWN_LINES = 24

G = TypeVar("G")


class Evidence(Protocol):
    """A run as a kind of golden sees it.

    Attributes:
        golden: folder of all goldens.
        observers: names and parameters of the observers that chose the scales.
        inputs: hashes of all that the run computes from.
        versions: of everything that computes.
        machine: the class of this machine, with the threads that it computes with.
        timing_machine: the same with the threads that forwards are timed with.
        latency: what was timed, or None if nothing was.
        not_timed: why nothing was timed, where nothing was.
    """

    @property
    def experiment(self) -> Experiment: ...
    @property
    def golden(self) -> Path: ...
    @property
    def engine(self) -> str: ...
    @property
    def observers(self) -> Any: ...
    @property
    def inputs(self) -> Inputs: ...
    @property
    def versions(self) -> Mapping[str, str]: ...
    @property
    def machine(self) -> MachineClass: ...
    @property
    def timing_machine(self) -> MachineClass: ...
    @property
    def latency(self) -> Latency | None: ...
    @property
    def not_timed(self) -> str: ...

    def measured(self, part: str) -> Any:
        """A part of the run's record, such as `accuracy`, measured now where it was not yet; None without evidence."""


class Kind(ABC, Generic[G]):
    """A kind of golden: one file below `golden/<folder>/` for each fact.

    Attributes:
        folder: below the folder of all goldens.
        claims: names of the claims that check such a fact; none where it is checked whenever it is loaded.
        by_engine: there may be one for each quantized engine.
    """

    folder: ClassVar[str]
    claims: ClassVar[tuple[str, ...]] = ()
    by_engine: ClassVar[bool] = False

    def name(self, experiment: str, engine: str) -> str:
        """The file's path below the folder, without its suffix; of the default engine it is the experiment's id."""
        return f"{experiment}@{engine}" if self.by_engine and engine not in (DEFAULT_ENGINE, NO_ENGINE) else experiment

    def path(self, golden: Path, name: str) -> Path:
        """The file of that name."""
        return golden / self.folder / f"{name}.json"

    def place(self, run: Evidence) -> Path:
        """The file of what is accepted of a run."""
        return self.path(run.golden, self.name(run.experiment.id, run.engine))

    def accepted(self, run: Evidence) -> G | None:
        """Accepted fact of a run's experiment, read as by `read`."""
        return self.read(run.golden, self.name(run.experiment.id, run.engine))

    def files(self, golden: Path) -> list[tuple[str, Path]]:
        """Every file with the id of its experiment."""
        folder = golden / self.folder
        names = [(path.relative_to(folder).with_suffix("").as_posix(), path) for path in sorted(folder.rglob("*.json"))]
        return [(name.partition("@")[0] if self.by_engine else name, path) for name, path in names]

    def is_claimed_by(self, experiment: Experiment) -> bool:  # noqa: ARG002
        """Tells whether the experiment has such a fact; any experiment has, unless its kind says otherwise."""
        return True

    @abstractmethod
    def read(self, golden: Path, name: str) -> G | None:
        """The accepted fact, or None if none was accepted.

        Raises:
            QuantbenchError: if the file is damaged, with the file, what is wrong and what to do.
        """


class OnRequest(Kind[G]):
    """A kind of which facts are accepted of a run, when a user asks for it.

    Attributes:
        parts: of a run's record that the fact is made of.
        history_tells_changes: an entry of the history holds old → new beside date and reason.
    """

    parts: ClassVar[tuple[str, ...]] = ()
    history_tells_changes: ClassVar[bool] = False

    @abstractmethod
    def document(self, run: Evidence, claims: Collection[str], before: G | None) -> G:
        """The fact that would be accepted.

        Args:
            run: with all parts measured.
            claims: those whose facts are accepted, out of the kind's.
            before: what was accepted so far.

        Raises:
            GoldenError: if these claims alone cannot be accepted.
        """

    @abstractmethod
    def compare(self, before: G | None, after: G) -> list[str]:
        """Differences, as `name: old → new`."""

    @abstractmethod
    def content(self, fact: G) -> dict[str, Any]:
        """The fact as JSON, without its history."""

    def outline(self, fact: G) -> str:  # noqa: ARG002
        """End of the line that reports a first acceptance."""
        return ""

    def report(self, path: Path, before: G | None, after: G, changes: list[str]) -> str:
        """The lines that an acceptance prints."""
        if before is None:
            return f"{path}: accepted for the first time{self.outline(after)}"
        return f"{path}: updated, old → new:\n{shortened(changes)}"

    def lacking(self, run: Evidence, claims: Collection[str]) -> dict[str, str]:  # noqa: ARG002
        """Claims of which the run has nothing to accept, each with the line that says why."""
        return {}


def shortened(lines: list[str]) -> str:
    """The first lines, indented, and how many more there are."""
    more = [f"… and {len(lines) - SHOWN_LINES} more"] if len(lines) > SHOWN_LINES else []
    return "\n".join(f"    {line}" for line in lines[:SHOWN_LINES] + more)
