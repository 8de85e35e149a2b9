"""Results of a run by part of the record, each measured once, and verdicts by quantity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quantbench.errors import NoEvidenceError
from quantbench.records.base import Part
from quantbench.records.run import Accuracy, CheckpointFacts, CoverageFacts, Latency, Memory, Score, Size, part_models
from quantbench.registry import QUANTITIES
from quantbench.stats.verdicts import Verdict


@dataclass(kw_only=True)
class Results:
    """Results and verdicts so far; `measured` and `add_verdict` fill it, and nobody else.

    Attributes:
        results: what was measured, by `Quantity.part`.
        verdicts: by quantity.
    """

    results: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def measured(self, part: str) -> Any:
        """Result of a quantity, measured when first asked for.

        Args:
            part: `Quantity.part` of a quantity of the table, such as `accuracy`.

        Raises:
            MeasurementError: if this machine cannot say.
        """
        if part not in self.results:
            quantity = next(quantity for quantity in QUANTITIES.all() if quantity.part == part)
            run: Any = self  # a `Run`, which derives from this class
            self.results[part] = quantity.measure(run)
        return self.results[part]

    @property
    def accuracy(self) -> Accuracy:
        """Both models on the same samples."""
        found: Accuracy = self.measured("accuracy")
        return found

    @property
    def score(self) -> Score:
        """The same of a task whose scores are not 0 and 1."""
        found: Score = self.measured("score")
        return found

    @property
    def size(self) -> Size:
        """Bytes of both files."""
        found: Size = self.measured("size")
        return found

    @property
    def memory(self) -> Memory:
        """Peak resident memory of one forward of either model."""
        found: Memory = self.measured("memory")
        return found

    @property
    def coverage(self) -> CoverageFacts | None:
        """Multiply-accumulates by the kernels that ran; None where the backend does not tell."""
        try:
            found: CoverageFacts = self.measured("coverage")
        except NoEvidenceError:
            return None
        return found

    @property
    def checkpoint(self) -> CheckpointFacts:
        """The file as a fresh process finds it."""
        found: CheckpointFacts = self.measured("checkpoint")
        return found

    @property
    def latency(self) -> Latency | None:
        """Timings, or None if nothing was timed."""
        found: Latency | None = self.results.get("latency")
        return found

    def add_verdict(self, verdict: Verdict) -> Verdict:
        """Adds a verdict to the record, in the place of an earlier one on the same quantity."""
        self.verdicts[verdict.quantity] = verdict
        return verdict

    @property
    def parts(self) -> dict[str, Part]:
        """Those results that a record holds."""
        return {part: found for part, found in self.results.items() if part in part_models()}
