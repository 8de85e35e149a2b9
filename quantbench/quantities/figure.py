"""Gates on the figure of a task itself, made from the table of tasks: a floor, or a ceiling where less is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import FiniteFloat

from quantbench.experiment.question import Question
from quantbench.quantities.accuracy_drop import ACCURACY_DROP, strict_level
from quantbench.quantities.interface import Quantity
from quantbench.quantities.looking import Shown, by_looks, interval_of, last_text, verdict_of
from quantbench.quantities.of_task import task_of
from quantbench.quantities.score_drop import SCORE_DROP, shown, too_few
from quantbench.records.clusters import Clustered
from quantbench.records.run import Accuracy
from quantbench.records.scores import Limits, Score
from quantbench.registry import FLOORS, TASKS
from quantbench.stats.early_verdict import Side
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import Outcome, Verdict, at_least, at_most

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run
    from quantbench.stats.sampled_mean import MeanSequence
    from quantbench.tasks.interface import Task


class Figure(Quantity[Any]):
    """Smallest accepted figure of the candidate, or the largest where less is better, in the task's unit.

    Shares of 0 and 1 scores are in per cent.

    Args:
        gate: its name.
        task: the only one that it is of; None for those of other modules.
    """

    by_interval = True
    bound = FiniteFloat

    def __init__(self, gate: str, task: str | None) -> None:
        self.name, self.task = gate, task  # type: ignore[misc]  # one class for the whole table
        self.is_binary = gate == FLOORS["top1"]
        if task is not None:
            own: Task = TASKS.create(task, TASKS.group, {} if task != "function" else {"function": "a:b"})
            self.is_binary = own.is_binary
            self.smaller_is_looser = own.higher_is_better  # type: ignore[misc]
        like: Quantity[Any] = ACCURACY_DROP if self.is_binary else SCORE_DROP
        self.part, self.record = like.part, like.record  # type: ignore[misc]
        self._like = like

    def why_not(self, experiment: Experiment) -> str | None:
        """A task has the gate of its own name alone."""
        name, task = experiment.workload.config.task.name, task_of(experiment)
        if (own := gate_of(name, task)) == self.name:
            bound = self.bound_of(experiment)
            return None if bound is None else self._senseless(bound, task)
        return f"the figure of task '{name}' is another; gate {own}, in {_unit(task)}"

    def _senseless(self, bound: float, task: Task) -> str | None:
        """Reason why a bound would hold of any model, or of none, as one in another unit does."""
        if self.is_binary:
            is_share = 0 < bound <= 1
            return f"is in per cent, and {bound:g} % would hold nothing; write {100 * bound:g}" if is_share else None
        low, high = task.range
        if (low is None or bound >= low) and (high is None or bound <= high):
            return None
        limits = f"{'no limit' if low is None else f'{low:g}'} to {'no limit' if high is None else f'{high:g}'}"
        return f"{task.unit} goes from {limits}, so that a bound of {bound:g} would tell nothing; write it in that unit"

    def measure(self, run: Run) -> Any:
        """Both models on the test split."""
        return self._like.measure(run)

    def question(self, run: Run, bound: Any) -> Question | None:
        """The candidate's own mean score; None of a task whose figure is no mean within a range."""
        task = run.opened.task
        low, high = task.range
        if not task.is_mean or low is None or high is None:
            return None
        # No distance is expected: a floor lies where somebody needs it.
        least = bound / 100 if self.is_binary else bound
        return Question(least, lambda *each: each[-1].scores, (low, high), 0.0, task.higher_is_better)

    def judge(self, run: Run, measured: Accuracy | Score, bound: float) -> Verdict:
        """By the figure's own interval: Wilson's of a share, otherwise the one that fits the task."""
        if (decided := by_looks(run, self.name)) is not None:
            return self._decided(run, measured, bound, decided)
        if isinstance(measured, Accuracy):
            return self._of_share(run, measured, bound)
        s, judge = measured, at_least if measured.higher_is_better else at_most
        beyond = "below the floor" if s.higher_is_better else "above the ceiling"
        text = f"{s.candidate:.4g} {shown(s.candidate_interval)} ({evidence_of_figure(s)})"
        text += power_text(s.candidate_interval, s.level, beyond, "") + last_text(run, s.level)
        if s.candidate_interval is None or s.candidate_strict is None:
            required = f"at {'least' if s.higher_is_better else 'most'} {bound:g} {s.unit}"
            text = f"{text}; {too_few(s)}"
            return Verdict(self.name, Outcome.INCONCLUSIVE, s.candidate, None, bound, s.n, text, required)
        own, strict = Interval(*s.candidate_interval, s.level), Interval(*s.candidate_strict, s.strict_level)
        return judge(self.name, s.candidate, own, bound, s.n, text, f" {s.unit}", strict)

    def _decided(self, run: Run, measured: Accuracy | Score, bound: float, decided: MeanSequence) -> Verdict:
        from quantbench.experiment.accuracy import ACCURACY_LEVEL

        scale, unit = (100.0, " %") if self.is_binary else (1.0, f" {run.opened.task.unit}")
        own, n = interval_of(decided, ACCURACY_LEVEL, scale), measured.n
        of = "" if measured.samples is None else measured.samples.text()
        value = scale * decided.mean
        text = f"{value:.4g}{unit} [{own.low:.4g}, {own.high:.4g}] (n={n:,}{of})"
        passes = Side.ABOVE if run.opened.task.higher_is_better else Side.AT_MOST
        return verdict_of(self.name, decided, passes, value, Shown(own, bound, n, text, unit))

    def _of_share(self, run: Run, a: Accuracy, bound: float) -> Verdict:
        from quantbench.stats.power import least_shortfall
        from quantbench.stats.proportions import wilson_interval

        share, (low, high) = 100 * a.quantized, (100 * each for each in a.quantized_interval)
        level = strict_level(run, a.level)
        wider = wilson_interval(round(a.quantized * a.n), a.n, level)
        strict = Interval(100 * wider.low, 100 * wider.high, level)
        if a.clustered is not None:
            return self._of_clusters(a, a.clustered, share, bound)
        text = f"{share:.2f} % [{low:.2f}, {high:.2f}] (n={a.n:,})"
        if (least := least_shortfall(bound / 100, a.n, a.level)) is not None:
            text += f"; one {100 * least:.2f} pp below the floor would be detected (power 80 %)"
        text += last_text(run, a.level)
        return at_least(self.name, share, Interval(low, high, a.level), bound, a.n, text, " %", strict)

    def _of_clusters(self, a: Accuracy, found: Clustered, share: float, bound: float) -> Verdict:
        """By the interval of whole groups."""
        own, strict = _percent(found.quantized_interval), _percent(found.quantized_strict)
        text = f"{share:.2f} % {shown(own, '.2f')} (n={a.n:,} in {found.clusters:,} clusters)"
        text += power_text(own, a.level, "below the floor", " pp")
        if own is None or strict is None:
            text = f"{text}; so few clusters tell no interval; measure on more"
            return Verdict(self.name, Outcome.INCONCLUSIVE, share, None, bound, a.n, text, f"at least {bound:g} %")
        limits = Interval(*own, a.level), Interval(*strict, found.strict_level)
        return at_least(self.name, share, limits[0], bound, a.n, text, " %", limits[1])


def power_text(limits: Limits | None, level: float, beyond: str, unit: str) -> str:
    """Words about the least distance beyond a bound that so many samples could detect; empty where nothing tells.

    Args:
        limits: interval of the figure.
        level: of the interval.
        beyond: the bound, in words.
        unit: of the figure.
    """
    from quantbench.stats.power import error_of, least_change

    if limits is None or not limits[0] < limits[1]:
        return ""
    least = least_change(error_of(*limits, level), level)
    return f"; one {least:.2g}{unit} {beyond} would be detected (power 80 %)"


def _percent(limits: Limits | None) -> Limits | None:
    return None if limits is None else (100 * limits[0], 100 * limits[1])


def evidence_of_figure(score: Score) -> str:
    """Samples behind a figure, and its unit."""
    clusters = "" if score.clusters is None else f" in {score.clusters:,} clusters"
    return f"{score.unit}, n={score.n:,}{clusters}"


def gate_of(name: str, task: Task) -> str:
    """The gate on the figure of a task."""
    if name in FLOORS:
        return FLOORS[name]
    return FLOORS["top1"] if task.is_binary else FLOORS["function"]


def _unit(task: Task) -> str:
    return "per cent" if task.is_binary else task.unit


# One for each name of the table of gates, in which several tasks may share one.
GATES = {gate: Figure(gate, next(name for name, own in FLOORS.items() if own == gate)) for gate in FLOORS.values()}


def __getattr__(name: str) -> Figure:
    """The gate of that name, for the table of quantities."""
    if name in GATES:
        return GATES[name]
    raise AttributeError(name)
