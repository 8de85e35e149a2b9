"""The checkpoint's keys, dtypes, shapes, schemes and observers against what was accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantbench.quantities.reload import Reload
from quantbench.records.run import CheckpointFacts
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run


class Checkpoint(Reload):
    """The checkpoint is the accepted one."""

    name = "checkpoint"

    def judge(self, run: Run, measured: CheckpointFacts, bound: Any) -> Verdict:
        """Exact: every difference from the golden is told."""
        from quantbench.golden.documents import differences, read_golden, shortened

        accepted = read_golden(run.settings.golden, run.golden_name)
        if accepted is None:
            outcome, text = Outcome.FAIL, f"no golden {run.golden_name}.json was ever accepted"
        elif changed := differences(accepted, run.golden_document()):
            outcome, text = Outcome.FAIL, f"{len(changed)} difference(s), old → new:\n{shortened(changed)}"
        else:
            outcome, text = Outcome.PASS, "as accepted"
        return Verdict(self.name, outcome, None, None, None, 1, text, "the accepted checkpoint golden")

    def accept(self, experiment: Experiment) -> str:
        """The command that updates the golden."""
        from quantbench.golden.results import accept_command

        return accept_command(experiment.id)


CHECKPOINT = Checkpoint()
