"""A verdict after a part of the test samples: they are looked at in random order until every gate is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantbench.experiment.question import Question
from quantbench.stats.early_verdict import Side
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from quantbench.experiment.run import Run
    from quantbench.experiment.sampling import Sampling
    from quantbench.measure.evaluation import Evaluation
    from quantbench.measure.gradual import Positions
    from quantbench.quantities.interface import Quantity
    from quantbench.stats.sampled_mean import MeanSequence
    from quantbench.tasks.interface import Task

# The claim that looks at more samples of a class.
CLASSES = "answered_classes"


def loss_question(task: Task, bound: float) -> Question | None:
    """The question after a loss against the reference; None of a task whose figure is no mean within a range.

    Args:
        task: that scores.
        bound: largest loss, in the unit of a score.
    """
    return loss_against(task, bound, lambda _, before: before)


def loss_against(
    task: Task, bound: float, then: Callable[[Positions, NDArray[np.float64]], NDArray[np.float64]]
) -> Question | None:
    """The same against other scores.

    Args:
        task: that scores.
        bound: largest loss, in the unit of a score.
        then: positions and scores of the reference → the scores that are compared with, `[n]`.
    """
    low, high = task.range
    if not task.is_mean or low is None or high is None:
        return None
    sign = 1.0 if task.higher_is_better else -1.0

    def values(positions: Positions, before: Evaluation, after: Evaluation) -> NDArray[np.float64]:
        losses: NDArray[np.float64] = sign * (then(positions, before.scores) - after.scores)
        return losses

    return Question(bound, values, (low - high, high - low), abs(bound))


def sampled(run: Run) -> Sampling | None:
    """Samples that the run's figures are judged on, looked at when first asked for; None where all are, as ever."""
    if run.sampling is None and _is_asked(run):
        run.sampling = _looked_at(run)
        run.notes.append(run.sampling.text)
    return run.sampling


def _is_asked(run: Run) -> bool:
    from quantbench.experiment.looking import is_asked

    return is_asked(run)


def by_looks(run: Run, gate: str) -> MeanSequence | None:
    """The sequence that decided a gate; None where none did, so that an interval of all samples does."""
    sequence = None if run.sampling is None else run.sampling.looks.get(gate)
    return None if sequence is None or sequence.side is Side.OPEN else sequence


def interval_of(sequence: MeanSequence, own: float, scale: float = 1.0) -> Interval:
    """Limits that a sequence tells, of a gate that is judged by an interval at that level.

    Args:
        sequence: of the gate.
        own: level of the interval of all samples.
        scale: of the figure that is shown: 100 where it is in percentage points.
    """
    from quantbench.experiment.accuracy import sequence_interval

    found = sequence_interval(sequence, own)
    return Interval(scale * found.low, scale * found.high, found.level)


def verdict_of(gate: str, sequence: MeanSequence, passes: Side, estimate: float, shown: Shown) -> Verdict:
    """The verdict that a sequence decided.

    Args:
        gate: its name.
        sequence: that is decided.
        passes: the side of the bound on which the gate holds.
        estimate: of the samples that were looked at.
        shown: the rest of the verdict.
    """
    outcome = Outcome.PASS if sequence.side is passes else Outcome.FAIL
    required = f"at {'most' if passes is Side.AT_MOST else 'least'} {shown.bound:g}{shown.unit}"
    measured = f"{shown.measured}{decided_text(sequence)}"
    return Verdict(gate, outcome, estimate, shown.interval, shown.bound, shown.n, measured, required)


@dataclass(frozen=True)
class Shown:
    """The parts of a verdict beside its outcome.

    Attributes:
        interval: that the sequence tells.
        bound: of the gate.
        n: samples that were looked at.
        measured: the estimate as text.
        unit: of the bound.
    """

    interval: Interval
    bound: float
    n: int
    measured: str
    unit: str


def decided_text(sequence: MeanSequence) -> str:
    """Words about the samples that decided."""
    return f"; decided after {sequence.decided_at:,} samples in random order"


def last_text(run: Run, level: float) -> str:
    """Words about an interval of all samples that has only what looks before the last left of the error."""
    if run.sampling is None or not run.sampling.looks:
        return ""
    return f"; looks before the last sample spent a part of the error, so that it is judged at {100 * level:g} %"


def why_all(run: Run) -> str | None:
    """Reason why all samples are needed whatever the first of them say; None where a part may decide."""
    from quantbench.experiment.clusters import clusters_of

    task = run.opened.task
    name = run.experiment.workload.config.task.name
    if not task.is_mean:
        return f"the figure of task '{name}' is no mean of its samples' scores"
    if None in task.range:
        return f"the scores of task '{name}' have no range, without which no part of them tells the others"
    if clusters_of(run) is not None:
        return "its samples come in groups, and are no independent ones"
    if needed := [each.name for each in _made_of(run) if each.needs_all]:
        return f"{', '.join(needed)} need{'s' if len(needed) == 1 else ''} all of them"
    return None


def _made_of(run: Run) -> list[Quantity[Any]]:
    """Quantities that are measured of the experiment."""
    from quantbench.quantities.judging import judged_of, shown_of

    return [*judged_of(run.experiment), *shown_of(run.experiment)]


def _questions(run: Run) -> dict[str, Question]:
    from quantbench.measure.environment import environment
    from quantbench.quantities.judging import judged_of

    found: dict[str, Question] = {}
    for each in judged_of(run.experiment):
        bound = run.experiment.config.gates.bound(each.name, environment().isa)
        question = each.question(run, each.default if bound is None else bound)
        if question is not None:
            found[each.name] = question
    return found


def _looked_at(run: Run) -> Sampling:
    from quantbench.experiment.looking import Looking, whole

    run.baseline.keeps_files = True
    if "evaluation" in vars(run):
        return whole(run, "they had been evaluated")
    if (why := why_all(run)) is not None:
        return whole(run, f"needed from the start: {why}")
    if not (questions := _questions(run)):
        return whole(run, "needed from the start: no gate is set that a part decides")
    loss = loss_question(run.opened.task, 0.0)
    if loss is None:
        raise TypeError("a task without a range is not looked at in part")
    with_classes = CLASSES in {each.name for each in _made_of(run)}
    return Looking(run, questions, loss, with_classes).made()
