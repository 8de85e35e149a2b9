"""Two models on the same samples: before and after quantizing, or before and after quantizing further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.errors import GoldenError
from quantbench.experiment.soundness import soundness
from quantbench.golden.baselines import load_card
from quantbench.measure.evaluation import Evaluation
from quantbench.records.base import pack_bits
from quantbench.records.run import Accuracy
from quantbench.stats.early_verdict import risk_of_looks
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.power import least_drop
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.sampled_mean import MeanSequence

if TYPE_CHECKING:
    from quantbench.experiment.clusters import Grouping
    from quantbench.experiment.run import Run
    from quantbench.experiment.sampling import Sampling
    from quantbench.records.clusters import Clustered

ACCURACY_LEVEL = 0.95
# Key of a card's `training`: weights of an accuracy that takes no model were adopted on request.
ACCEPTED_ACCURACY = "accepted_accuracy"


def check_informative(run: Run) -> None:
    """Refuses to accept an accuracy that takes no model, unless the reference was adopted with such a one.

    Raises:
        GoldenError: if giving every sample one class may be as accurate.
    """
    doubt = soundness(run.opened, run.evaluation).doubt
    if doubt and not _is_accepted(run):
        raise GoldenError(f"{run.experiment.id}: nothing is accepted: {doubt}")


def _is_accepted(run: Run) -> bool:
    """True if the reference's weights were adopted although their accuracy takes no model."""
    if run.opened.workload.config.reference is not None:
        return False
    card = load_card(run.opened.weights_path, run.opened.train_command)
    return bool(card.training.get(ACCEPTED_ACCURACY))


def paired_accuracy(
    before: Evaluation, after: Evaluation, sampling: Sampling | None = None, grouping: Grouping | None = None
) -> Accuracy:
    """Accuracy of both, and what is lost, with intervals at `ACCURACY_LEVEL`.

    Args:
        before: the reference.
        after: the candidate, on the same samples.
        sampling: how these were come by, where they may be fewer than all; of a part of them the interval of what is
            lost is that of the sequence.
        grouping: of samples in groups, which are resampled as wholes; None where they are independent.
    """
    outcomes = PairedOutcomes.from_correct(before.correct, after.correct)
    level = ACCURACY_LEVEL if sampling is None else sampling.level(ACCURACY_LEVEL)
    interval = tango_interval(outcomes, level)
    if sampling is not None and sampling.is_part and sampling.loss is not None:
        interval = sequence_interval(sampling.loss, ACCURACY_LEVEL)
        level = interval.level
    clustered = None if grouping is None else grouping.clustered(before, after, interval)
    own = wilson_interval(int(after.correct.sum()), outcomes.n, level)
    return Accuracy(
        n=outcomes.n,
        fp32=before.accuracy,
        quantized=after.accuracy,
        lost=outcomes.lost,
        gained=outcomes.gained,
        drop_pp=100 * outcomes.drop,
        drop_interval_pp=(100 * interval.low, 100 * interval.high) if clustered is None else _interval_pp(clustered),
        level=level,
        quantized_interval=(own.low, own.high),
        fp32_correct=pack_bits(before.correct),
        quantized_correct=pack_bits(after.correct),
        detectable_pp=_detectable_pp(outcomes, level, clustered),
        samples=None if sampling is None else sampling.record,
        clustered=clustered,
    )


def _detectable_pp(outcomes: PairedOutcomes, level: float, clustered: Clustered | None) -> float | None:
    """The least drop that would be detected; None of groups that tell no interval, which detect none."""
    if clustered is None:
        return 100 * least_drop(outcomes, level)
    return None if clustered.interval_pp is None else 100 * clustered.scale() * least_drop(outcomes, level)


def _interval_pp(clustered: Clustered) -> tuple[float, float]:
    return clustered.interval_pp or (-100.0, 100.0)


def sequence_interval(sequence: MeanSequence, level: float) -> Interval:
    """Limits that a sequence tells, of a gate that is judged by an interval at that level; its own is higher."""
    risk = risk_of_looks(level)
    return Interval(*sequence.interval(risk), 1 - 2 * risk)
