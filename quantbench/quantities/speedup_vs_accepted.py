"""The speed-up over the accepted one, within one class of machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantbench.quantities.interface import Quantity
from quantbench.quantities.speedup import SpeedupOverFp32
from quantbench.records.run import Latency
from quantbench.stats.intervals import Interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.verdicts import Outcome, Verdict, of_change

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.errors import MeasurementError
    from quantbench.experiment.run import Run


class SpeedupVsAccepted(SpeedupOverFp32):
    """The speed-up is no worse than the accepted one."""

    name = "speedup_vs_accepted"
    bound = None
    smaller_is_looser = False
    columns = ()

    def bound_of(self, experiment: Experiment) -> float:
        """The margin of the workload."""
        return experiment.workload.config.regression.speedup

    def is_looser(self, bound: Any, accepted: Any) -> bool:
        """As of any quantity with one bound for all machines."""
        return Quantity.is_looser(self, bound, accepted)

    def judge(self, run: Run, measured: Latency, bound: Any) -> Verdict:
        """By the interval of the ratio of both, and a margin."""
        from quantbench.experiment.result import accepted_speedup, margin_of, no_accepted_speedup
        from quantbench.golden.acceptance import accept_command
        from quantbench.golden.results import RESULTS
        from quantbench.quantities.speed import judged, shown, speedup_of
        from quantbench.stats.speed import Speedup, speed_loss

        accepted = RESULTS.read(run.settings.golden, run.experiment.id)
        found = accepted_speedup(run, accepted)
        if found is None:
            reason = f"{speedup_of(measured).estimate:.3f}×, but {no_accepted_speedup(run, accepted)}"
            # Where nothing was accepted, a speed-up alone cannot be.
            command = accept_command(run.experiment.id, speed_only=accepted is not None)
            return replace(self._undecided(run, reason), change=Change.NO_BASELINE, accept=command)
        before = Speedup(found.speedup, Interval(*found.speedup_interval, found.level))
        margin = margin_of(run).speedup

        def judge(now: Speedup) -> Verdict:
            loss, ratio = speed_loss(now, before), now.estimate / before.estimate
            words = f"{ratio:.3f} [{1 - loss.high:.3f}, {1 - loss.low:.3f}] of the accepted {before.estimate:.3f}×"
            change, n = change_of(loss, margin), measured.rounds
            text = f"{words}: {shown(measured)}"
            return of_change(self.name, change, 1 - ratio, loss, margin, n, text, _requirement(run))

        return judged(run, measured, judge)

    def unmeasured(self, run: Run, bound: Any, error: MeasurementError) -> Verdict:
        """Nothing to compare, unless the accepted result is damaged, which is an error."""
        from quantbench.golden.results import RESULTS

        RESULTS.read(run.settings.golden, run.experiment.id)
        return self._undecided(run, str(error))

    def _undecided(self, run: Run, reason: str) -> Verdict:
        outcome, change = Outcome.INCONCLUSIVE, Change.INCONCLUSIVE
        return Verdict(self.name, outcome, None, None, None, 0, reason, _requirement(run), change)

    def accept(self, experiment: Experiment) -> str:
        """The command that accepts the speed-up, and leaves predictions alone."""
        from quantbench.golden.acceptance import accept_command

        return accept_command(experiment.id, speed_only=True)


SPEEDUP_VS_ACCEPTED = SpeedupVsAccepted()


def _requirement(run: Run) -> str:
    from quantbench.experiment.result import margin_of

    return f"at most {100 * margin_of(run).speedup:g} % of the accepted speed-up lost"
