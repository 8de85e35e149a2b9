"""Several experiments in one go, outside pytest: one that cannot be measured loses nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quantbench.config.schema import Experiment
from quantbench.errors import DataMissingError, QuantbenchError
from quantbench.experiment.run import Session
from quantbench.progress import progress
from quantbench.quantities.accuracy_vs_accepted import change_of_behaviour
from quantbench.quantities.judging import explain, measure_and_judge
from quantbench.quantities.speed import withdraw
from quantbench.records.run import NotRun, RunRecord
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome


@dataclass
class SuiteResult:
    """What became of the experiments.

    Attributes:
        records: of those that were measured.
        not_run: of those whose data is not on this machine.
        broken: a line for each that could not be measured.
        told: the words for every verdict that is not PASS.
        without_baseline: of experiments without an accepted speed-up for this machine, the id and the same words.
        outcomes: every verdict's outcome.
        sentences: about the run as a whole; none where nothing was measured.
    """

    records: list[RunRecord] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    without_baseline: list[tuple[str, str]] = field(default_factory=list)
    outcomes: set[Outcome] = field(default_factory=set)
    sentences: list[str] = field(default_factory=list)


def run_suite(session: Session, experiments: Sequence[Experiment], command: str) -> SuiteResult:
    """Measures and judges each experiment in turn.

    Args:
        session: shares baselines and data among them.
        experiments: in the order they are run.
        command: noted in every record.
    """
    result, measured = SuiteResult(), []
    with progress("measuring") as show:
        for i, experiment in enumerate(experiments):
            show.update(i, len(experiments), experiment.id)
            run = session.run(experiment)
            try:
                measure_and_judge(run)
            except DataMissingError as error:
                result.not_run.append(NotRun(experiment=experiment.id, reason=str(error)))
            except QuantbenchError as error:
                result.broken.append(f"{experiment.id}: {error}")
            else:
                measured.append(run)
    for run in measured:
        # Only now, since the control of a later experiment may have strayed.
        withdraw(run)
        result.records.append(run.record(command))
        verdicts = run.verdicts.values()
        result.outcomes |= {verdict.outcome for verdict in verdicts}
        for verdict in verdicts:
            told = explain(run.experiment, verdict)
            if verdict.change is Change.NO_BASELINE:
                result.without_baseline.append((run.experiment.id, told))
            elif verdict.outcome is not Outcome.PASS:
                result.told.append(told)
        if (text := change_of_behaviour(run)) is not None:
            result.told.append(text)
    if measured:
        result.sentences = [session.settings.family.sentence(), *session.control_sentences()]
    return result
