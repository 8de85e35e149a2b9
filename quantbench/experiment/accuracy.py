"""Two models on the same samples: before and after quantizing, or before and after quantizing further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.errors import GoldenError
from quantbench.experiment.soundness import soundness
from quantbench.golden.baselines import load_card
from quantbench.measure.evaluation import Evaluation
from quantbench.records.base import pack_bits
from quantbench.records.run import Accuracy
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.power import least_drop
from quantbench.stats.proportions import wilson_interval

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

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
        detectable_pp=100 * least_drop(outcomes, ACCURACY_LEVEL),
    )
