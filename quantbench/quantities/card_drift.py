"""The distance between the accuracy measured here and the one on the baseline's card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from quantbench.quantities.accuracy_drop import AccuracyDrop
from quantbench.quantities.of_task import needs_bits
from quantbench.records.run import Accuracy
from quantbench.stats.verdicts import Verdict, at_most, no_evidence

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run


class CardDrift(AccuracyDrop):
    """For the baseline: largest accepted distance of its accuracy from its card's, percentage points."""

    name = "card_drift_pp"
    bound = Annotated[float, Field(ge=0)]
    by_interval = False
    needs_all = True
    columns = ()

    def why_not(self, experiment: Experiment) -> str | None:
        """A file made elsewhere has no card."""
        if experiment.workload.config.reference is None:
            return needs_bits(experiment)
        return "the reference is a file, which has no card; remove this gate, or adopt weights (workload.baseline)"

    def judge(self, run: Run, measured: Accuracy, bound: float) -> Verdict:
        """Exact, on the same samples."""
        from quantbench.experiment.workload import changed_splits
        from quantbench.golden.baselines import load_card

        # Measured before, since that refuses weights that were made for other data.
        here, n = measured.quantized, measured.n
        card = load_card(run.opened.weights_path, run.opened.train_command)
        if "test" in changed_splits(card, run.opened.splits):
            return no_evidence(self.name, bound, "the card was measured on samples made on another platform")
        drift = 100 * abs(here - card.figure)
        text = f"{drift:.2f} pp (card {100 * card.figure:.2f} %, here {100 * here:.2f} %, n={n:,})"
        return at_most(self.name, drift, None, bound, n, text, " pp")


CARD_DRIFT = CardDrift()
