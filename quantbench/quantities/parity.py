"""The accuracy that is lost against another experiment of the workload: the same recipe through another backend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.config.parity import GATE, KEY
from quantbench.errors import MeasurementError, QuantbenchError
from quantbench.quantities.accuracy_drop import judge_drop
from quantbench.quantities.bounds import PercentagePoints
from quantbench.quantities.interface import Quantity
from quantbench.quantities.of_task import needs_bits
from quantbench.records.parity import Parity as Found
from quantbench.stats.verdicts import Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run


def _named(bound: Any) -> Any:
    """A bound alone says of no experiment what it may lose against."""
    if isinstance(bound, dict):
        return bound
    raise PydanticCustomError("parity", f"{GATE} needs the experiment to compare with; set {KEY} beside gates")


# The other experiment → the bound.
ParityBound = Annotated[
    dict[str, PercentagePoints], Field(min_length=1, max_length=1), BeforeValidator(_named, json_schema_input_type=dict)
]


class Parity(Quantity[Found]):
    """Largest accepted drop against the experiment that `parity_with` names, percentage points on the same samples."""

    name = GATE
    part = "parity"
    record = Found
    bound: ClassVar[Any] = ParityBound
    by_interval = True
    needs_all = True

    def is_looser(self, bound: Any, accepted: Any) -> bool:
        """True if it may lose more, or against another experiment."""
        if bound is None or accepted is None:
            return accepted is not None
        return any(other not in bound or bound[other] > value for other, value in accepted.items())

    def why_not(self, experiment: Experiment) -> str | None:
        """Only an experiment that names another one is compared with it, by answers that are right or wrong."""
        if no_bits := needs_bits(experiment):
            return no_bits
        return None if experiment.config.gates.bounds.get(GATE) else f"no other experiment is named; set {KEY}"

    def measure(self, run: Run) -> Found:
        """Both on the test split.

        Raises:
            MeasurementError: if the other cannot be made, loaded or evaluated.
        """
        from quantbench.experiment.accuracy import ACCURACY_LEVEL, paired_accuracy
        from quantbench.experiment.clusters import Grouping

        name = next(iter(self.bound_of(run.experiment)))
        # An error of its own is one of this experiment, whatever becomes of the other.
        own = run.evaluation
        if run.twin is None:
            raise MeasurementError(f"nothing gives the run of '{name}'; measure it in a session")
        try:
            other = run.twin(name)
            before = other.evaluation
        except QuantbenchError as error:
            raise MeasurementError(f"'{name}', which it is compared with, cannot be measured: {error}") from error
        accuracy = paired_accuracy(before, own, None, Grouping.of(run, ACCURACY_LEVEL))
        return Found(other=name, backend=other.experiment.backend.name, accuracy=accuracy)

    def judge(self, run: Run, measured: Found, bound: Any) -> Verdict:
        """By Tango's interval."""
        largest = self.bound_of(run.experiment)[measured.other]
        verdict = judge_drop(run, measured.accuracy, largest, self.name)
        against = f"against '{measured.other}' ({measured.backend})"
        return replace(
            verdict, measured=f"{verdict.measured} {against}", requirement=f"{verdict.requirement} {against}"
        )

    def unmeasured(self, run: Run, bound: Any, error: MeasurementError) -> Verdict:
        """See `Quantity.unmeasured`."""
        ((other, largest),) = self.bound_of(run.experiment).items()
        verdict = super().unmeasured(run, largest, error)
        return replace(verdict, requirement=f"at most {largest:g} pp against '{other}'")


PARITY = Parity()
