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
        """Exact: every difference from the golden is listed."""
        from quantbench.experiment.result import RunEvidence
        from quantbench.golden.checkpoints import CHECKPOINTS
        from quantbench.golden.gates import missing_golden
        from quantbench.golden.interface import shortened

        evidence = RunEvidence(run)
        accepted = CHECKPOINTS.accepted(evidence)
        if accepted is None:
            name = CHECKPOINTS.name(run.experiment.id, run.engine)
            words, others = f"no golden {name}.json was ever accepted", dict(CHECKPOINTS.files(evidence.golden))
            path, id_ = CHECKPOINTS.place(evidence), run.experiment.id
            outcome, text = Outcome.FAIL, missing_golden(evidence.golden, id_, words, path, id_ in others)
        elif changed := CHECKPOINTS.compare(accepted, CHECKPOINTS.document(evidence)):
            outcome, text = Outcome.FAIL, f"{len(changed)} difference(s), old → new:\n{shortened(changed)}"
        else:
            outcome, text = Outcome.PASS, "as accepted"
        return Verdict(self.name, outcome, None, None, None, 1, text, "the accepted checkpoint golden")

    def accept(self, experiment: Experiment) -> str:
        """The command that updates the golden."""
        from quantbench.golden.acceptance import accept_command

        return accept_command(experiment.id)


CHECKPOINT = Checkpoint()
