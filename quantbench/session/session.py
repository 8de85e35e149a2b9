"""One run over many experiments: it opens, times, judges, withdraws and accepts. Whoever shows it decides nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from quantbench.against.comparison import Against
from quantbench.config.schema import Experiment
from quantbench.data.source import DOWNLOAD_VARIABLE
from quantbench.errors import ForeignError, QuantbenchError, named
from quantbench.experiment.run import Run
from quantbench.experiment.runs import Runs
from quantbench.foreign import calling, traceback_of
from quantbench.golden.results import PREDICTIONS, SCORES
from quantbench.jobs.surroundings import restored
from quantbench.measure.load import Moment, disturbances, moment, usable_cores
from quantbench.progress import progress
from quantbench.quantities.accuracy_vs_accepted import change_of_behaviour
from quantbench.quantities.judging import explain, explain_briefly, judge, judged_of, measure, quantities
from quantbench.quantities.speed import questions_of, withdraw
from quantbench.records.run import ExperimentError, NotRun, RunRecord
from quantbench.registry import QUANTITIES
from quantbench.session.absence import (
    ABSENT,
    OPTIONAL_HINT,
    Absence,
    check_libraries,
    is_error,
    optional_sentences,
    with_hint,
)
from quantbench.session.acceptance import Acceptances, Accepting
from quantbench.session.blaming import SECONDS, Blaming
from quantbench.session.records import checked, in_order
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome, Verdict


@dataclass(frozen=True)
class Options:
    """Options of a session.

    Attributes:
        strict: INCONCLUSIVE fails.
        real_data: missing data sets are downloaded; data that stays absent is an error.
        untimed: why nothing is timed; empty where timing is possible.
        accepting: which facts become goldens.
        reason: why, for their history.
        blame_s: seconds for the layer to blame where a gate on accuracy fails; 0 looks for none.
    """

    strict: bool = False
    real_data: bool = False
    untimed: str = ""
    accepting: Accepting = Accepting.NOTHING
    reason: str = ""
    blame_s: float = SECONDS


@dataclass(frozen=True)
class Decision:
    """A verdict as it is shown.

    Attributes:
        verdict: on one quantity of one experiment.
        message: the words for it.
        fails: FAIL, or INCONCLUSIVE where that fails.
        behaviour: the words for predictions that flipped although nothing else changed; empty if none did.
    """

    experiment: str
    verdict: Verdict
    message: str
    fails: bool
    behaviour: str = ""

    @property
    def is_inconclusive(self) -> bool:
        """The verdict is neither PASS nor FAIL."""
        return self.verdict.outcome is Outcome.INCONCLUSIVE

    @property
    def lacks_baseline(self) -> bool:
        """No speed-up was accepted for this machine, so that there is nothing to compare with."""
        return self.verdict.change is Change.NO_BASELINE


@dataclass
class Session:
    """One run over many experiments.

    Attributes:
        runs: opens each workload and runs each experiment once.
        options: how.
        to_time: experiments whose forwards are still to be timed, in the order of the plan.
        not_run: experiments whose data, or a library of theirs, is not on this machine → why.
        broken: a line for each error that a claim ended with, once → its traceback.
        lost: of these, lines about what the end of the session could not do, which no claim has told.
        lines: those that the end of the session prints.
        behaviour: the words for predictions that flipped although nothing else changed.
        repeats: a line for each split that holds a sample more than once.
    """

    runs: Runs
    options: Options = field(default_factory=Options)
    to_time: list[Experiment] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    lost: dict[str, None] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    behaviour: list[str] = field(default_factory=list)
    repeats: dict[str, None] = field(default_factory=dict)
    _unmeasured: list[Decision] = field(default_factory=list)
    _left_out: dict[str, Experiment] = field(default_factory=dict)
    _errors: dict[tuple[str, str], None] = field(default_factory=dict)
    _timed_between: tuple[Moment, Moment] | None = None

    def __post_init__(self) -> None:
        self.acceptances = Acceptances(self.options.accepting, self.options.reason)
        self.blaming = Blaming(self.options.blame_s)
        if self.accepts:
            # What is accepted is of all samples.
            self.runs.settings = replace(self.runs.settings, sequential=False)

    @property
    def accepts(self) -> bool:
        """Some of what is found becomes a golden."""
        return self.options.accepting is not Accepting.NOTHING

    def open(self, experiment: Experiment) -> Run:
        """Makes data, and trains where that was asked for.

        Raises:
            DataMissingError: if its data is not on this machine; noted for the end.
            NotInstalledError: if an optional library that it needs is not; noted too.
            QuantbenchError: if data or weights are broken; noted too.
        """
        with self.noting(experiment, "opening it"), _downloads(self.options.real_data):
            run = self.runs.run(experiment)
            check_libraries(run)
            self._note_repeats(run)
            if run.settings.retrain:
                run.candidate  # noqa: B018
        return run

    def _note_repeats(self, run: Run) -> None:
        """Notes what is known of repeats: of a split that is decoded as it is used, once it was measured on."""
        lines = run.opened.splits.repeats
        self.repeats.update(dict.fromkeys(f"{run.experiment.workload.name}: {line}" for line in lines))

    def decide(self, run: Run, quantity: str) -> Decision | None:
        """Measures and judges a quantity of an experiment that was opened.

        Returns:
            None if what was found is accepted at the end of the session, and so has nothing to be compared with.

        Raises:
            QuantbenchError: if it cannot be measured; noted for the end.
        """
        with self.noting(run.experiment, f"measuring {quantity}"):
            if QUANTITIES.get(quantity, run.experiment.where("gates")).timed:
                self._time(run)
            if self.acceptances.takes(run, quantity):
                return None
            behaviour = change_of_behaviour(run) if quantity in (PREDICTIONS, SCORES) else None
            decision = self.decision(run, self._blamed(run, judge(run, quantity)), behaviour or "")
        if behaviour:
            self.behaviour.append(behaviour)
        return decision

    def _blamed(self, run: Run, verdict: Verdict) -> Verdict:
        """The verdict with the layer to blame, where it fails."""
        sentence = self.blaming.sentence(run, verdict)
        return run.add_verdict(replace(verdict, blame=sentence)) if sentence else verdict

    def make(self, run: Run, quantity: str) -> Decision | None:
        """Judges a quantity; where it needs a bound and the experiment sets none, measures it for the table.

        Raises:
            QuantbenchError: if it cannot be measured; noted for the end.
        """
        entry = QUANTITIES.get(quantity, run.experiment.where("gates"))
        if entry in judged_of(run.experiment):
            return self.decide(run, quantity)
        return self.show(run, entry.part)

    def show(self, run: Run, part: str) -> Decision | None:
        """Measures a part of the record that no gate bounds.

        Returns:
            None, or INCONCLUSIVE if there is nothing to show.

        Raises:
            QuantbenchError: if it cannot be measured; noted for the end.
        """
        with self.noting(run.experiment, f"measuring '{part}'"):
            if any(each.timed for each in quantities() if each.part == part):
                self._time(run)
            verdict = measure(run, part)
        if verdict is None:
            return None
        decision = self.decision(run, verdict)
        self._unmeasured.append(decision)
        return decision

    def decision(self, run: Run, verdict: Verdict, behaviour: str = "") -> Decision:
        """A verdict as it is shown."""
        self._note_repeats(run)
        fails = verdict.outcome is Outcome.FAIL or (self.options.strict and verdict.outcome is Outcome.INCONCLUSIVE)
        try:
            message = explain(run.experiment, verdict)
        except ForeignError as error:
            self._lose(run.experiment, error)
            message = explain_briefly(run.experiment, verdict)
        return Decision(run.experiment.id, verdict, message, fails, behaviour)

    def compare(self, run: Run, against: Against) -> None:
        """Compares an experiment that was opened with another revision's.

        Raises:
            QuantbenchError: if that is impossible; noted for the end.
        """
        with self.noting(run.experiment, "comparing it with the base"):
            run.candidate  # noqa: B018 — whatever is wrong with it is told as its own claims tell it
            against.compare(run, self.options.untimed)

    def load(self, run: Run) -> None:
        """Loads what is timed, to see that it can be.

        Raises:
            QuantbenchError: if that is impossible; noted for the end.
        """
        with self.noting(run.experiment, "loading what is timed"):
            run.check_forwards()

    def time(self, run: Run) -> None:
        """Times the run's forwards once a session, where timing is possible.

        The first run to be timed waits for all others: a control that strays voids every verdict on speed, and a
        verdict that was shown cannot be unsaid.

        Raises:
            QuantbenchError: if they cannot be timed; noted for the end.
        """
        with self.noting(run.experiment, "timing"):
            self._time(run)

    def _time(self, run: Run) -> None:
        if self.options.untimed:
            run.leave_untimed(self.options.untimed)
            return
        waiting, self.to_time = self.to_time, []
        began = moment()
        with progress("timing") as show:
            for i, experiment in enumerate(waiting):
                show.update(i, len(waiting), experiment.id)
                # Whatever is wrong with it is said by its own claim, which asks again.
                with suppress(QuantbenchError), restored(), calling("timing"):
                    other = self.open(experiment)
                    if other.latency is None:
                        other.time_forwards(questions_of(other, self.accepts))
                        self._timed_between = began, moment()
        if run.latency is None:
            run.time_forwards(questions_of(run, self.accepts))
            self._timed_between = self._timed_between or (began, moment())

    def finish(self, is_cut_short: bool = False) -> bool:
        """Withdraws what a noisy machine made worthless and accepts what was noted.

        A control that strayed stops the acceptance of speed-ups alone: no other fact depends on a quiet machine.

        Args:
            is_cut_short: the session ended before all its claims were made.

        Returns:
            Whether the session may still succeed.
        """
        for run in self.runs.by_id.values():
            # Only now, since the control of a later experiment may have strayed.
            with self.losing(run.experiment, "withdrawing verdicts on speed"):
                self.lines += withdraw(run)
        strayed = self.runs.failed_controls
        self.lines += [f"{id_}: the A/A control strayed: {control}" for id_, control in strayed.items()]
        if not self.accepts:
            return not (self.lost or (strayed and self.options.strict))
        if is_cut_short:
            self.lines.append("nothing is accepted: the run was cut short")
            return False
        is_written = self.acceptances.write("the machine is too noisy; update on a quiet one" if strayed else "")
        self.lines += self.acceptances.lines
        return is_written and not self.lost

    def decisions(self) -> list[Decision]:
        """Every verdict that stands, by experiment."""
        judged = [self.decision(run, verdict) for run in self.runs.by_id.values() for verdict in run.verdicts.values()]
        return [*judged, *self._unmeasured]

    def records(self, command: str, experiments: Sequence[str] = ()) -> list[RunRecord]:
        """Records of the experiments of which anything was measured; one that cannot be made is left out and noted.

        Args:
            command: noted in each.
            experiments: ids of all that are configured, in order.
        """
        found: list[RunRecord] = []
        for run in self.runs.by_id.values():
            if run.results:
                with self.losing(run.experiment, "its record, which is left out,"):
                    found.append(checked(run.record(command)))
        return in_order(found, experiments)

    def not_run_list(self) -> list[NotRun]:
        """Experiments whose data, or a library of theirs, is not on this machine."""
        return [NotRun(experiment=id_, reason=reason) for id_, reason in self.not_run.items()]

    def errors(self) -> list[ExperimentError]:
        """Errors of experiments whose data is on this machine."""
        return [ExperimentError(experiment=id_, reason=line) for id_, line in self._errors if id_ not in self.not_run]

    def sentences(self) -> list[str]:
        """Sentences about the session as a whole."""
        return [
            *self._machine_sentences(),
            self.runs.settings.family.sentence(),
            *self.runs.control_sentences(),
            *self.runs.form_sentences(),
            *self.runs.warnings(),
            *self.repeats,
            *optional_sentences(self._left_out.values(), self._left_out),
        ]

    def _machine_sentences(self) -> list[str]:
        """A sentence about what disturbed the timings; none on a quiet machine."""
        if self._timed_between is None:
            return []
        found = disturbances(*self._timed_between, usable_cores())
        return [f"the machine disturbed its timings: {'; '.join(found)}"] if found else []

    def must_run(self, experiment: Experiment, error: Absence) -> bool:
        """Tells whether it is an error that something is absent: `is_error`, and with `real_data` always."""
        return self.options.real_data or is_error(experiment, error, self.options.strict)

    def _lose(self, experiment: Experiment, error: QuantbenchError) -> None:
        self._note(experiment, error)
        self.lost[named(experiment.id, error)] = None

    @contextmanager
    def losing(self, experiment: Experiment, what: str) -> Iterator[None]:
        """Notes what the session cannot do with one experiment, and goes on with the others."""
        try:
            with calling("putting back what it changed"), restored(), calling(what):
                yield
        except QuantbenchError as error:
            self._lose(experiment, error)

    def _note(self, experiment: Experiment, error: QuantbenchError, more: str = "") -> None:
        line = named(experiment.id, f"{error}{more}")
        self.broken.setdefault(line, traceback_of(error))
        self._errors[experiment.id, line.removeprefix(f"{experiment.id}: ")] = None

    @contextmanager
    def noting(self, experiment: Experiment, what: str) -> Iterator[None]:
        """Notes for the end whatever code of one experiment raises, and leaves the others' surroundings as they were.

        Args:
            experiment: whose code runs.
            what: is done, the subject of the sentence where the place of an error says no more.

        Raises:
            QuantbenchError: the error in one line.
        """
        try:
            # The innermost first, since an exception may refuse to go through `restored`.
            with calling("putting back what it changed"), restored(), calling(what):
                yield
        except ABSENT as error:
            self.not_run[experiment.id] = str(error)
            if not self.must_run(experiment, error):
                self._left_out[experiment.id] = experiment
                raise
            hint = "" if self.options.real_data else OPTIONAL_HINT
            self._note(experiment, error, hint)
            raise with_hint(error, hint) from None
        except QuantbenchError as error:
            self._note(experiment, error)
            raise


@contextmanager
def _downloads(allowed: bool) -> Iterator[None]:
    """Lets data sets be downloaded meanwhile."""
    before = os.environ.get(DOWNLOAD_VARIABLE)
    if allowed:
        os.environ[DOWNLOAD_VARIABLE] = "1"
    try:
        yield
    finally:
        if allowed and before is None:
            os.environ.pop(DOWNLOAD_VARIABLE, None)
