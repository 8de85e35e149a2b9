"""The share of a model's multiply-accumulates that ran as int8 kernels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from quantbench.errors import MeasurementError, NoEvidenceError, QuantizationError
from quantbench.quantities.bounds import Share
from quantbench.quantities.interface import Column, Quantity
from quantbench.recipes.spec import Function, leaves_fp32
from quantbench.records.run import CoverageFacts
from quantbench.stats.verdicts import Verdict, at_least, no_evidence

if TYPE_CHECKING:
    from quantbench.backends.interface import Coverage
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
    columns = (
        Column(
            "int8 share", lambda c: "not known" if c.uncounted or c.unknown_layers else f"{100 * c.int8_share:.1f} %"
        ),
    )

    def measure(self, run: Run) -> CoverageFacts:
        """Multiply-accumulates of one sample, by the kernels that ran.

        Raises:
            NoEvidenceError: if the backend does not tell.
            MeasurementError: if no operator was seen that multiplies, or might.
            QuantizationError: if nothing was quantized, by the kernels and by the size of the file.
        """
        coverage = run.baseline.per_sample(run.kernels)
        if coverage is None:
            raise NoEvidenceError(
                f"backend '{run.backend.name}' does not tell which kernels ran; what is not known to be int8 is not "
                "called so"
            )
        _check_quantized(run, coverage)
        uncounted = list(coverage.uncounted)
        return CoverageFacts(**asdict(coverage) | {"uncounted": uncounted}, int8_share=coverage.int8_share)

    def judge(self, run: Run, measured: CoverageFacts, bound: float) -> Verdict:
        """Exact, with the layers that did not run as int8; no verdict where some work could not be counted."""
        c = measured
        work = c.int8_macs + c.float_macs + sum(c.unknown_layers.values())
        text = f"{c.int8_share:.4f} ({c.int8_macs:,} of {work:,} multiply-accumulates)"
        if c.float_layers:
            text += f"; in floating point: {_largest(c.float_layers)}"
        if c.unknown_layers:
            text += f"; in a precision that the runtime does not tell: {_largest(c.unknown_layers)}"
        if c.uncounted:
            text += f"; not counted: {', '.join(c.uncounted[:SHOWN_LAYERS])}"
        if not _is_told(c):
            return no_evidence(self.name, bound, text)
        return at_least(self.name, c.int8_share, None, bound, 1, text, "")

    def unmeasured(self, run: Run, bound: float, error: MeasurementError) -> Verdict:
        """A model in which nothing multiplies is a mistake, and not a lack of evidence."""
        if not isinstance(error, NoEvidenceError):
            raise error
        return super().unmeasured(run, bound, error)


INT8_SHARE = Int8Share()


def _is_told(found: Coverage | CoverageFacts) -> bool:
    """True if the precision of all work is known."""
    return not found.uncounted and not found.unknown_layers


def _check_quantized(run: Run, coverage: Coverage) -> None:
    """Raises where a recipe that quantizes left both the kernels and the file as they were."""
    before, after = run.counterpart.size_bytes, run.artifact.size_bytes
    if leaves_fp32(run.experiment.recipe) or coverage.int8_macs or not _is_told(coverage) or after < before:
        return
    # Weights that a function of the user's rounded in floating point are a simulation, and it may be judged.
    if isinstance(run.experiment.recipe, Function) and run.artifact.sha256 != run.counterpart.artifact.sha256:
        return
    # Of a tiny model the names and lengths in a file weigh more than its values do.
    if run.backend.describe(run.artifact).payload_bytes < run.counterpart.payload_bytes:
        return
    raise QuantizationError(
        f"nothing was quantized: the file is not smaller ({before:,} → {after:,} bytes), and every kernel computes in "
        f"floating point ({_largest(coverage.float_layers)}); take a recipe for layers that the model has"
    )


def _largest(layers: dict[str, int]) -> str:
    worst = sorted(layers.items(), key=lambda item: -item[1])[:SHOWN_LAYERS]
    return ", ".join(f"{name} ({macs:,})" for name, macs in worst)
