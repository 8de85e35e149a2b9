"""Several experiments in one go, outside pytest: one that cannot be measured loses nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quantbench.config import Experiment
from quantbench.errors import DataMissingError, QuantbenchError
from quantbench.judging import explain, measure_and_judge
from quantbench.progress import progress
from quantbench.records import NotRun, RunRecord
from quantbench.runner import Session
from quantbench.stats.verdicts import Outcome


@dataclass
class SuiteResult:
    """What became of the experiments.

    Attributes:
        records: of those that were measured.
        not_run: of those whose data is not on this machine.
        broken: a line for each that could not be measured.
        told: the words for every verdict that is not PASS.
        outcomes: every verdict's outcome.
    """

    records: list[RunRecord] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    outcomes: set[Outcome] = field(default_factory=set)


def run_suite(session: Session, experiments: Sequence[Experiment], command: str) -> SuiteResult:
    """Measures and judges each experiment in turn.

    Args:
        session: shares baselines and data among them.
        experiments: in the order they are run.
        command: noted in every record.
    """
    result = SuiteResult()
    with progress("measuring") as show:
        for i, experiment in enumerate(experiments):
            show.update(i, len(experiments), experiment.id)
            run = session.run(experiment)
            try:
                verdicts = measure_and_judge(run)
            except DataMissingError as error:
                result.not_run.append(NotRun(experiment=experiment.id, reason=str(error)))
            except QuantbenchError as error:
                result.broken.append(f"{experiment.id}: {error}")
            else:
                result.records.append(run.record(command))
                result.outcomes |= {verdict.outcome for verdict in verdicts}
                result.told += [explain(experiment, v) for v in verdicts if v.outcome is not Outcome.PASS]
    return result
