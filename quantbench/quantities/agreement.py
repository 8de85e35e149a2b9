"""The share of samples that the candidate answers as the reference does, for which no label is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantbench.quantities.bounds import Share
from quantbench.quantities.interface import Quantity
from quantbench.records.outputs import Agreement as Found
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Verdict, at_least

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run


class Agreement(Quantity[Found]):
    """Smallest accepted share of samples with the same answer; by Wilson's interval."""

    name = "agreement"
    part = "agreement"
    record = Found
    bound = Share
    needs_all = True
    smaller_is_looser = True
    by_interval = True

    def why_not(self, experiment: Experiment) -> str | None:
        """Only a task whose outputs name classes has answers to compare."""
        from quantbench.registry import TASKS

        task = experiment.workload.config.task
        if TASKS.create(task.name, experiment.workload.where("task"), task.params).has_answers:
            return None
        return f"task '{task.name}' gives samples no class; gate another quantity, such as sqnr_db"

    def measure(self, run: Run) -> Found:
        """Answers of both models on the test split."""
        from quantbench.experiment.output_errors import agreement

        return agreement(run)

    def judge(self, run: Run, measured: Found, bound: float) -> Verdict:
        """At least the bound, of all samples that the test split stands for."""
        from quantbench.stats.proportions import wilson_interval

        own = Interval(*measured.interval, measured.level)
        strict = wilson_interval(measured.same, measured.n, run.settings.family.level(measured.level))
        share = measured.same / measured.n
        text = f"{share:.4f} [{own.low:.4f}, {own.high:.4f}] (n={measured.n:,}: {measured.n - measured.same} differ)"
        return at_least(self.name, share, own, bound, measured.n, text, "", strict)


AGREEMENT = Agreement()
