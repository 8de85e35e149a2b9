"""The share of a model's multiply-accumulates that ran as int8 kernels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from quantbench.errors import MeasurementError, NoEvidenceError
from quantbench.quantities.bounds import Share
from quantbench.quantities.interface import Column, Quantity
from quantbench.records.run import CoverageFacts
from quantbench.stats.verdicts import Verdict, at_least

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

# Layers that are named; the largest.
SHOWN_LAYERS = 5


class Int8Share(Quantity[CoverageFacts]):
    """Smallest accepted share of multiply-accumulates that ran as int8 kernels."""

    name = "int8_share"
    part = "coverage"
    record = CoverageFacts
    bound = Share
    smaller_is_looser = True
    columns = (Column("int8 share", lambda c: f"{100 * c.int8_share:.1f} %"),)

    def measure(self, run: Run) -> CoverageFacts:
        """Multiply-accumulates of one sample, by the kernels that ran.

        Raises:
            NoEvidenceError: if the backend does not tell.
            MeasurementError: if no multiplying operator was seen at all.
        """
        from quantbench.experiment.artifact import one_sample

        coverage = run.backend.kernels(run.artifact, one_sample(run.opened))
        if coverage is None:
            raise NoEvidenceError(
                f"backend '{run.backend.name}' does not tell which kernels ran; what is not known to be int8 is not "
                "called so"
            )
        return CoverageFacts(**asdict(coverage), int8_share=coverage.int8_share)

    def judge(self, run: Run, measured: CoverageFacts, bound: float) -> Verdict:
        """Exact, with the layers that did not run as int8."""
        c = measured
        text = f"{c.int8_share:.4f} ({c.int8_macs:,} of {c.int8_macs + c.float_macs:,} multiply-accumulates)"
        if c.float_layers:
            worst = sorted(c.float_layers.items(), key=lambda item: -item[1])[:SHOWN_LAYERS]
            text += "; in floating point: " + ", ".join(f"{name} ({macs:,})" for name, macs in worst)
        return at_least(self.name, c.int8_share, None, bound, 1, text, "")

    def unmeasured(self, run: Run, bound: float, error: MeasurementError) -> Verdict:
        """A model in which nothing multiplies is a mistake, and not a lack of evidence."""
        if not isinstance(error, NoEvidenceError):
            raise error
        return super().unmeasured(run, bound, error)


INT8_SHARE = Int8Share()
