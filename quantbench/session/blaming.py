"""The layer to blame where a gate on accuracy fails: one sentence for its message, within a few seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from quantbench.errors import QuantbenchError
from quantbench.experiment.run import Run
from quantbench.foreign import calling
from quantbench.recipes.spec import leaves_fp32
from quantbench.records.blame import BlameRecord
from quantbench.stats.verdicts import Outcome, Verdict

# Quantities of what the task scores.
BLAMED = (
    "accuracy_drop_pp", "worst_class_drop_pp", "layer_drop_pp", "score_drop", "accuracy_vs_accepted",
    "score_vs_accepted",
)  # fmt: skip
SECONDS = 20.0


@dataclass
class Blaming:
    """Sentences of one session, each experiment looked into once.

    Attributes:
        seconds: for each; 0 looks into none.
        command: of the session.
        sentences: experiment → its sentence.
    """

    seconds: float = SECONDS
    command: str = ""
    sentences: dict[str, str] = field(default_factory=dict)

    def sentence(self, run: Run, verdict: Verdict) -> str:
        """The sentence for a verdict that fails; empty for one that asks for none.

        An error, or a budget that is used up, is said, and changes no verdict. No layer is to blame where nothing was
        compared, as where no result was ever accepted.
        """
        asks = verdict.outcome is Outcome.FAIL and verdict.quantity in BLAMED and verdict.estimate is not None
        if not asks or not self.seconds or leaves_fp32(run.experiment.recipe):
            return ""
        id_ = run.experiment.id
        if id_ not in self.sentences:
            try:
                self.sentences[id_] = look_into(run, self.command, self.seconds).sentence
            except QuantbenchError as error:
                self.sentences[id_] = f"no layer was looked into: {' '.join(str(error).split())}"
        return self.sentences[id_]


def look_into(run: Run, command: str, seconds: float | None) -> BlameRecord:
    """A blame of one run.

    Raises:
        QuantbenchError: if it cannot be made, whatever is raised.
    """
    from quantbench.blame.blame import blamed
    from quantbench.blame.budget import Budget

    with calling("looking for the layer to blame"):
        return blamed(run, command, Budget(seconds))
