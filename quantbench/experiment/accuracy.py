"""Two models on the same samples: before and after quantizing, or before and after quantizing further."""

from __future__ import annotations

from quantbench.measure.evaluation import Evaluation
from quantbench.records.base import pack_bits
from quantbench.records.run import Accuracy
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval

ACCURACY_LEVEL = 0.95


def paired_accuracy(before: Evaluation, after: Evaluation) -> Accuracy:
    """Accuracy of both, and what is lost, with intervals at `ACCURACY_LEVEL`."""
    outcomes = PairedOutcomes.from_correct(before.correct, after.correct)
    interval = tango_interval(outcomes, ACCURACY_LEVEL)
    own = wilson_interval(int(after.correct.sum()), outcomes.n, ACCURACY_LEVEL)
    return Accuracy(
        n=outcomes.n,
        fp32=before.accuracy,
        quantized=after.accuracy,
        lost=outcomes.lost,
        gained=outcomes.gained,
        drop_pp=100 * outcomes.drop,
        drop_interval_pp=(100 * interval.low, 100 * interval.high),
        level=ACCURACY_LEVEL,
        quantized_interval=(own.low, own.high),
        fp32_correct=pack_bits(before.correct),
        quantized_correct=pack_bits(after.correct),
    )
