"""Experiments of the working tree against those of a revision: on the same samples, and in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quantbench.against.answers import compared_answers
from quantbench.against.made import Job, Made, Whole, changed_inputs, facts_of, made_of
from quantbench.against.revision import Revision, checked_out
from quantbench.against.speed import SUBJECT, compared_speed
from quantbench.backends.entry import describe_entry
from quantbench.backends.interface import Description
from quantbench.config.schema import Experiment
from quantbench.errors import QuantbenchError
from quantbench.experiment.result import inputs_of
from quantbench.experiment.run import Run
from quantbench.foreign import calling
from quantbench.golden.documents import differences
from quantbench.measure.evaluation import Evaluation
from quantbench.quantities.speed import withdrawn
from quantbench.records.against import ACCURACY, SCORE, SPEED, Base, SinceBase
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome, Verdict
from quantbench.torch_process import get_threads

# Entries of files whose difference is told; the rest is counted.
SHOWN_KEYS = 24
# Verdicts of each experiment that samples decide, and that share the false alarms of the run.
BY_INTERVAL = 1


@dataclass
class Against:
    """A revision that the experiments of a run are compared with.

    Attributes:
        revision: its files.
        whole: its experiments.
        selected: ids of those that the run measures.
        configured: ids of all that the working tree has.
    """

    revision: Revision
    whole: Whole
    selected: Sequence[str]
    configured: Sequence[str]

    @property
    def base(self) -> Base:
        """The revision as a record tells of it."""
        revision, base = self.revision, self.whole.ids
        return Base(
            revision=revision.name,
            commit=revision.commit,
            notes=[*revision.notes, *self._shared()],
            base_only=[id_ for id_ in base if id_ not in self.configured],
            head_only=[id_ for id_ in self.selected if id_ not in base],
        )

    def _shared(self) -> list[str]:
        paths = dict.fromkeys(path for made in self.whole.made.values() for path in made.shared)
        return [f"{path} is not under version control at {self.revision.name}: both use the one here" for path in paths]

    def compare(self, run: Run, untimed: str = "") -> None:
        """Compares a run with its experiment at the revision; the verdicts are kept with the run.

        Args:
            run: of the working tree.
            untimed: why nothing is timed; empty where timing is possible.
        """
        id_ = run.experiment.id
        if id_ not in self.whole.ids:
            return
        made = self.whole.made.get(id_)
        if made is None:
            reason = self.whole.problems.get(id_, "it was not made")
            problem = f"{self.revision.name} gives nothing to compare with: {reason}"
            run.since_base = SinceBase(problem=problem)
            for name in (ACCURACY if run.opened.task.is_binary else SCORE, SPEED):
                run.add_verdict(undecided(name, problem, f"no worse than {self.revision.name}"))
            return
        changed = self._changed(run, made)
        keys = _keys(made.described, run.backend.describe(run.artifact))
        is_same = not made.own_code and _is_same(made, run)
        since = SinceBase(
            is_same=is_same, base_bytes=made.artifact.size_bytes, head_bytes=run.artifact.size_bytes, changed=changed,
            keys=keys[:SHOWN_KEYS], more_keys=max(0, len(keys) - SHOWN_KEYS),
        )  # fmt: skip
        figures, verdict = compared_answers(run, self._before(run, made, is_same), self.revision.name, changed, is_same)
        margin = f"workload.regression in {run.experiment.workload.path}"
        run.add_verdict(replace(verdict, accept=f"merge it, or widen the margin: {margin}"))
        speed, why, verdict = compared_speed(run, made, self.revision.name, is_same, untimed)
        run.add_verdict(replace(verdict, accept=f"merge it, or widen the margin: {margin}"))
        run.since_base = since.model_copy(update={"figures": figures, "speed": speed, "untimed": why})

    def withdraw(self, runs: Sequence[Run]) -> None:
        """Withdraws verdicts on speed that were found before an A/A control of the session failed."""
        for run in runs:
            verdict, control = run.verdicts.get(SPEED), run.failed_control
            is_timed = run.since_base is not None and run.since_base.speed is not None
            if control and verdict and is_timed and verdict.outcome is not Outcome.INCONCLUSIVE:
                run.add_verdict(withdrawn(verdict, control, SUBJECT))

    def _before(self, run: Run, made: Made, is_same: bool) -> Evaluation | str:
        """The base on the run's test samples; or why that is not known, in words."""
        if is_same:
            return run.evaluation
        if made.own_code:
            here, task = inputs_of(run), facts_of(run.experiment)["task"]
            if made.evaluation is None or made.inputs.test != here.test or made.facts["task"] != task:
                return (
                    f"the base can be loaded with its own modules alone ({', '.join(made.own_code)}), and was scored "
                    "on other samples, or by another task, than this run"
                )
            return made.evaluation
        try:
            with calling("the base's model"):
                return run.opened.evaluated(made.artifact.backend.create().load(made.artifact, get_threads()))
        except QuantbenchError as error:
            return f"the base's model cannot be run on this run's samples: {self.revision.told(error)}"

    @staticmethod
    def _changed(run: Run, made: Made) -> list[str]:
        told = [line.replace(" / ", ".") for line in differences(made.facts, facts_of(run.experiment))]
        own = [f"the module {name}" for name in made.own_code]
        return [*told, *changed_inputs(made.inputs, inputs_of(run)), *own]


def undecided(name: str, reason: str, requirement: str) -> Verdict:
    """The verdict where nothing can be compared: never a pass, never a skip."""
    return Verdict(name, Outcome.INCONCLUSIVE, None, None, None, 0, reason, requirement, Change.INCONCLUSIVE)


def _is_same(made: Made, run: Run) -> bool:
    """True for files that hold the same values, and that are loaded in the same way."""
    base, head = made.artifact, run.artifact
    if (base.backend.name, base.backend.params) != (head.backend.name, head.backend.params):
        return False
    if base.sha256 == head.sha256:
        return True
    before, after = made.described, run.backend.describe(head)
    return bool(before.digests) and (before.keys, before.digests, before.graph) == (
        after.keys, after.digests, after.graph,
    )  # fmt: skip


def _keys(base: Description, head: Description) -> list[str]:
    """Entries of the files that differ in dtype, shape or scheme, and what else differs of their structure."""
    before, after = (
        {
            **{key: describe_entry(entry) for key, entry in each.keys.items()},
            **({"graph": each.graph} if each.graph else {}),
        }
        for each in (base, head)
    )
    return differences(before, after)


@contextmanager
def against(
    name: str, experiments: Sequence[Experiment], configured: Sequence[Experiment], configs: Path, golden: Path,
    engine: str | None,
) -> Iterator[Against]:  # fmt: skip
    """A revision with its experiments made, for as long as they are compared with.

    Args:
        name: of the revision, as git reads it.
        experiments: that are compared.
        configured: all of the working tree.
        configs: folder of workload files.
        golden: folder of goldens.
        engine: see `Settings`.

    Raises:
        ConfigError: if there is no such revision, or its workload files cannot be read.
    """
    with checked_out(name) as revision:
        job = Job(revision, revision.counterpart(configs), revision.counterpart(golden), engine)
        ids = [each.id for each in experiments]
        whole = made_of(job, ids)
        yield Against(revision, whole, ids, [each.id for each in configured])
