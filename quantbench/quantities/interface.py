"""A quantity: one thing that is measured of an experiment, that a gate may bound, and that a table may show."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from quantbench.foreign import Guarded
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.errors import MeasurementError
    from quantbench.experiment.question import Question
    from quantbench.experiment.run import Run
    from quantbench.records.base import Part

M = TypeVar("M")


@dataclass(frozen=True)
class Column(Generic[M]):
    """A column of the results table.

    Attributes:
        header: its title.
        cell: the quantity's part of a record → text; called only where the part was measured.
        of_reference: whether it says anything of the reference itself, which a ratio to the reference does not.
        everywhere: it stands in every table, also where none of its records has the part.

    Example:
        >>> column = Column("file MB", lambda files: f"{files['megabytes']:.1f}")
        >>> column.cell({"megabytes": 3.52})
        '3.5'
    """

    header: str
    cell: Callable[[M], str]
    of_reference: bool = True
    everywhere: bool = True


class Quantity(Guarded, ABC, Generic[M]):
    """One thing that is measured; `M` is the type of what `measure` gives.

    An instance is an entry of the table `registry.QUANTITIES`, or an entry point of the group `quantbench.quantities`.
    Its module imports nothing heavy, since reading a configuration imports it: torch belongs into `measure`.

    Attributes:
        name: of the gate or the claim, and of the verdict.
        part: key of what is measured, in a run and in its record; several quantities may judge the same part.
        record: model of that part of a record; None where no record holds it.
        bound: annotation of the bound in `gates`; None for a claim that needs no bound and is always made.
        smaller_is_looser: whether a smaller bound lets more pass, as one on a ratio does, or a larger one, as one on a
            drop; None where neither is known, so that any other bound counts as looser.
        default: the bound where the configuration sets none, so that it is always judged; None: not judged then.
        by_interval: whether samples decide, so that it shares the false alarms of a session.
        timed: whether it is judged by timings, which parallel workers cannot take.
        needs_all: whether all test samples are needed, so that no verdict of its experiment comes after a part of them.
        needed_to_accept: where it fails, nothing of the experiment is accepted: the next run would find something else.
        columns: of the results table. A gate that has any is measured where no bound is set, too.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import Field
        >>> from quantbench.records.base import Part
        >>> from quantbench.stats.verdicts import at_most
        >>> class Files(Part):
        ...     megabytes: float
        >>> class FileSize(Quantity[Files]):
        ...     name, part, record = "file_size_mb", "files", Files
        ...     bound = Annotated[float, Field(gt=0)]
        ...     columns = (Column("file MB", lambda files: f"{files.megabytes:.1f}"),)
        ...     def measure(self, run):
        ...         return Files(megabytes=run.artifact.size_bytes / 1e6)
        ...     def judge(self, run, measured, bound):
        ...         size = measured.megabytes
        ...         return at_most(self.name, size, None, bound, 1, f"{size:.1f} MB", " MB")
        >>> FileSize().judge(None, Files(megabytes=3.5), 3.0).outcome.value
        'FAIL'
    """

    guarded = frozenset({
        "measure", "judge", "question", "bound_of", "is_looser", "unmeasured", "why_not", "applies", "further",
        "accept",
    })  # fmt: skip
    name: ClassVar[str]
    part: ClassVar[str]
    record: ClassVar[type[Part] | None] = None
    bound: ClassVar[Any] = None
    smaller_is_looser: ClassVar[bool | None] = None
    default: ClassVar[Any] = None
    by_interval: ClassVar[bool] = False
    timed: ClassVar[bool] = False
    needs_all: ClassVar[bool] = False
    needed_to_accept: ClassVar[bool] = False
    columns: ClassVar[tuple[Column[Any], ...]] = ()

    def _called(self, method: str) -> str:
        return f"quantity '{self.name}': {method}"

    @abstractmethod
    def measure(self, run: Run) -> M:
        """Measures the part; called once a run, by `Run.measured`.

        Raises:
            MeasurementError: if this machine cannot say.
        """

    @abstractmethod
    def judge(self, run: Run, measured: M, bound: Any) -> Verdict:
        """The verdict on what was measured.

        Args:
            run: the experiment's.
            measured: what `measure` gave.
            bound: as the gate sets it for this machine; None where the quantity needs none.
        """

    def question(self, run: Run, bound: Any) -> Question | None:
        """The question that samples, looked at in random order, may decide before the last; None where they do not.

        Args:
            run: the experiment's.
            bound: as of `judge`.
        """
        return None

    def bound_of(self, experiment: Experiment) -> Any:
        """The bound that the experiment is held to, in the form of JSON; None where there is none."""
        return experiment.config.gates.bounds.get(self.name, self.default)

    def is_looser(self, bound: Any, accepted: Any) -> bool:
        """True if a bound lets something pass that the accepted one does not; none at all lets everything pass."""
        if bound is None or self.smaller_is_looser is None:
            return bool(bound != accepted)
        return bool(bound < accepted if self.smaller_is_looser else bound > accepted)

    def unmeasured(self, run: Run, bound: Any, error: MeasurementError) -> Verdict:
        """The verdict where `measure` raised that error: never a pass, never a skip."""
        figure = f"{bound:g}" if isinstance(bound, int | float) else f"{bound}"
        required = "no bound is set" if bound is None else f"bound {figure}"
        return Verdict(self.name, Outcome.INCONCLUSIVE, None, None, bound, 0, str(error), required)

    def why_not(self, experiment: Experiment) -> str | None:
        """Reason why the quantity cannot be measured of an experiment, and what to do; None where it can."""
        return None

    def applies(self, experiment: Experiment) -> bool:
        """True if the quantity can be measured of an experiment."""
        return self.why_not(experiment) is None

    def further(self, experiment: Experiment) -> str:
        """Arguments of `quantbench` that look further into a verdict."""
        return f"run {shlex.quote(experiment.id)} --json record.json"

    def accept(self, experiment: Experiment) -> str:
        """Instruction that accepts what was found."""
        if self.bound is None:
            return NOTHING_TO_ACCEPT
        from quantbench.golden.acceptance import accept_gates_command

        place = f"experiments.{experiment.name}.gates.{self.name} in {experiment.workload.path}"
        return f"change {place}, then {accept_gates_command(experiment.id)}"


NOTHING_TO_ACCEPT = "nothing to accept: no bound is set"
