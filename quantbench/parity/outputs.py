"""Outputs of several models on the same samples, in one pass of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np

from quantbench.arrays import Outputs
from quantbench.backends.interface import Predictor
from quantbench.errors import MeasurementError
from quantbench.experiment.output_errors import sample_errors
from quantbench.experiment.outputs import told_forms
from quantbench.experiment.workload import OpenWorkload
from quantbench.records.parity import Logits


class _Sums:
    """Differences from the base, batch by batch."""

    def __init__(self) -> None:
        self.largest = self.squares = self.range = 0.0
        self.elements = 0
        self.note, self.refused = "", ""

    def add(self, opened: OpenWorkload, base: Outputs, other: Outputs) -> None:
        try:
            found = sample_errors(opened.task, base, other)
        except MeasurementError as error:
            self.refused = str(error)
            return
        self.largest = max(self.largest, float(found.largest.max()))
        self.squares += float(found.noise.sum())
        self.elements += found.elements * len(found.noise)
        self.range = max(self.range, *(float(np.abs(each).max(initial=0.0)) for each in base.values()))
        self.note = self.note or "; ".join(told_forms(opened.task, base, other))

    def logits(self) -> Logits:
        rms = min(sqrt(self.squares / max(self.elements, 1)), self.largest)
        return Logits(largest=self.largest, rms=rms, range=self.range, note=self.note)


def compared_outputs(opened: OpenWorkload, base: Predictor, others: Mapping[str, Predictor]) -> dict[str, Logits | str]:
    """Differences of the outputs of each model from the base's, on the test split.

    Args:
        opened: the workload.
        base: loaded.
        others: loaded, by name.

    Returns:
        By name; the reason where the outputs of both cannot be paired.
    """
    sums = {name: _Sums() for name in others}
    for inputs in opened.splits.test.batches(opened.workload.config.evaluation.batch_size):
        expected = opened.task.chosen(base(inputs), len(next(iter(inputs.values()))))
        for name, predictor in others.items():
            if not sums[name].refused:
                sums[name].add(opened, expected, predictor(inputs))
    return {name: each.refused or each.logits() for name, each in sums.items()}
