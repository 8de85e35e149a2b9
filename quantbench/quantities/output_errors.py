"""Errors of the candidate's outputs against the reference's, for which no label is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from quantbench.quantities.bounds import Positive
from quantbench.quantities.interface import Quantity
from quantbench.records.outputs import Estimate
from quantbench.records.outputs import OutputErrors as Found
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, Verdict, at_least, at_most

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run

Cosine = Annotated[float, Field(gt=-1, le=1)]


class OutputFigure(Quantity[Found]):
    """One figure of the errors; all of them are measured in one pass of both models.

    Attributes:
        unit: of the figure, as it follows a number.
        digits: format of the figure.
    """

    part = "outputs"
    record = Found
    bound: ClassVar[Any] = Positive
    by_interval = True
    needs_all = True
    unit, digits = "", ".3g"

    def measure(self, run: Run) -> Found:
        """Both models on the test split, element by element."""
        from quantbench.experiment.output_errors import output_errors

        return output_errors(run)

    def figure(self, measured: Found) -> Estimate | None:
        """The figure of all samples; None where there is none."""
        raise NotImplementedError

    def without_figure(self, measured: Found) -> tuple[Outcome, str]:
        """Outcome and its reason where there is no figure."""
        raise NotImplementedError

    def judge(self, run: Run, measured: Found, bound: float) -> Verdict:
        """The bound against the figure's interval."""
        n, required = measured.n, f"at {'least' if self.smaller_is_looser else 'most'} {bound:g}{self.unit}"
        if (found := self.figure(measured)) is None:
            outcome, text = self.without_figure(measured)
            return Verdict(self.name, outcome, None, None, bound, n, text, required)
        value = f"{found.value:{self.digits}}{self.unit}"
        if found.interval is None or found.strict is None:
            few = "of which too few differ" if n >= _fewest() else "which are too few"
            text = f"{value} (n={n:,}), {few} to tell an interval; gate max_abs_error, or measure more"
            return Verdict(self.name, Outcome.INCONCLUSIVE, found.value, None, bound, n, text, required)
        own, strict = Interval(*found.interval, measured.level), Interval(*found.strict, measured.strict_level)
        text = f"{value} [{own.low:{self.digits}}, {own.high:{self.digits}}] (n={n:,})"
        judge = at_least if self.smaller_is_looser else at_most
        return judge(self.name, found.value, own, bound, n, text, self.unit, strict)


def _fewest() -> int:
    from quantbench.stats.bootstrap import FEWEST

    return FEWEST


class Sqnr(OutputFigure):
    """Smallest accepted signal-to-quantization-noise ratio, dB: power of the reference's outputs over the error's."""

    name = "sqnr_db"
    smaller_is_looser = True
    unit, digits = " dB", ".2f"

    def figure(self, measured: Found) -> Estimate | None:
        """See `OutputFigure.figure`."""
        return measured.sqnr_db

    def without_figure(self, measured: Found) -> tuple[Outcome, str]:
        """Outputs without any error reach every bound, where there are enough of them."""
        text = f"no error at all in {measured.elements:,} outputs of each sample (n={measured.n:,})"
        if measured.n < _fewest():
            return Outcome.INCONCLUSIVE, f"{text}, which are too few; gate max_abs_error, or measure more"
        return Outcome.PASS, text


class MeanCosine(OutputFigure):
    """Smallest accepted mean cosine between outputs; it sees no wrong scale, for which `sqnr_db` is there."""

    name = "cosine"
    bound: ClassVar[Any] = Cosine
    smaller_is_looser = True
    digits = ".6f"

    def figure(self, measured: Found) -> Estimate | None:
        """See `OutputFigure.figure`."""
        return measured.cosine


class Divergence(OutputFigure):
    """Largest accepted mean Kullback–Leibler divergence of the candidate's classes from the reference's, nats."""

    name = "kl_nats"
    smaller_is_looser = False
    unit = " nats"

    def why_not(self, experiment: Experiment) -> str | None:
        """Only a task whose outputs name classes has a distribution over them."""
        from quantbench.quantities.agreement import AGREEMENT

        return AGREEMENT.why_not(experiment)

    def figure(self, measured: Found) -> Estimate | None:
        """See `OutputFigure.figure`."""
        return measured.kl_nats

    def without_figure(self, measured: Found) -> tuple[Outcome, str]:
        """Other outputs are no distribution."""
        return Outcome.INCONCLUSIVE, (
            "the outputs are no logits or probabilities [n, classes]; values from 0 to 1 that do not add up to 1, as "
            "of sigmoids, are no distribution over classes"
        )


class MaxAbsError(OutputFigure):
    """Largest accepted difference of any output of any test sample; of these samples alone, so without an interval."""

    name = "max_abs_error"
    smaller_is_looser = False
    by_interval = False

    def judge(self, run: Run, measured: Found, bound: float) -> Verdict:
        """At most the bound, exactly."""
        found = measured.max_abs_error
        where = run.opened.splits.test.named(measured.worst)
        text = f"{found:.4g} of sample {where} (n={measured.n:,}, {measured.elements:,} outputs each)"
        return at_most(self.name, found, None, bound, measured.n, text, "")


SQNR, COSINE, KL, MAX_ABS_ERROR = Sqnr(), MeanCosine(), Divergence(), MaxAbsError()
