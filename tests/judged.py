"""An experiment judged whole in tests, without a session."""

from __future__ import annotations

from quantbench.experiment.run import Run
from quantbench.quantities.judging import judge, judged_of, measure, shown_of
from quantbench.quantities.speed import questions_of
from quantbench.stats.verdicts import Verdict


def measure_and_judge(run: Run) -> list[Verdict]:
    """Every claim about an experiment and each gate that it sets; what has no bound is measured for the table."""
    run.time_forwards(questions_of(run))
    for quantity in judged_of(run.experiment):
        judge(run, quantity.name)
    for quantity in shown_of(run.experiment):
        measure(run, quantity.part)
    return list(run.verdicts.values())
