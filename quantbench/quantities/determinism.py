"""The experiment quantized once more, in a fresh process: the same bits come out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from quantbench.quantities.interface import Quantity
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.repetition import Repetition
    from quantbench.experiment.run import Run


class Determinism(Quantity["Repetition"]):
    """The same bytes and logits when a fresh process quantizes again."""

    name = "determinism"
    part = "repetition"
    needed_to_accept = True

    def measure(self, run: Run) -> Repetition:
        """Converts a second time, in a fresh process."""
        from quantbench.experiment.artifact import build_from_files
        from quantbench.experiment.repetition import staleness

        # The first time comes first: it may train, or refuse what cannot be quantized at all.
        first = run.candidate
        second = run.repetitions.of(run, run.settings.golden)
        stale = staleness(first, second, partial(build_from_files, run.opened, run.experiment, run.backend))
        return replace(second, stale=stale)

    def judge(self, run: Run, measured: Repetition, bound: Any) -> Verdict:
        """Exact."""
        from quantbench.experiment.repetition import differences

        found = differences(run.candidate, measured)
        outcome = Outcome.FAIL if found else Outcome.PASS
        text = "; ".join([measured.stale] * bool(measured.stale) + found) or "bit-identical"
        accept = "not needed: run again, and the code of now quantizes anew" if measured.stale else ""
        return Verdict(self.name, outcome, None, None, None, 1, text, "the same bits, quantized again", accept=accept)

    def accept(self, experiment: Experiment) -> str:
        """Nothing can be."""
        return (
            "not possible: no result can be compared with one that changes by itself; seed whatever the "
            "model or its data draws at random (docs/determinism.md)"
        )


DETERMINISM = Determinism()
