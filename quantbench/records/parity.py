"""Part of a run's record: the experiment against another one of its workload, on the same samples."""

from __future__ import annotations

from quantbench.records.base import Part
from quantbench.records.parts import Accuracy


class Parity(Part):
    """An experiment against another one.

    Attributes:
        other: name of the other experiment.
        backend: of the other.
        accuracy: of both on the same samples; its `fp32` is the other's.
    """

    other: str
    backend: str
    accuracy: Accuracy

    def impossible(self) -> str | None:
        """See `Record.impossible`."""
        return self.accuracy.impossible()
