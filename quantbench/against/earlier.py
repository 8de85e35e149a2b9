"""An experiment against its golden, a record, or a revision: what changed, and what that did to its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.against.changed import Changes, changes_of
from quantbench.against.comparison import Against
from quantbench.backends.entry import describe_entry
from quantbench.errors import ConfigError, GoldenError
from quantbench.experiment.result import RunEvidence, inputs_of, timing_machine
from quantbench.experiment.run import Run
from quantbench.files import sha256_of_file
from quantbench.golden.checkpoints import CHECKPOINTS
from quantbench.golden.documents import differences
from quantbench.golden.results import RESULTS
from quantbench.measure.environment import environment
from quantbench.quantities.accuracy_vs_accepted import circumstances, date_of
from quantbench.recipes.spec import describe
from quantbench.records.base import unpack_bits
from quantbench.records.changes import ChangesRecord, LayerChange
from quantbench.records.run import RunRecord

# What a golden says of the whole configuration, whose parts it does not tell.
INPUTS = {"config": "the configuration", "baseline": "the reference", "weights": "the weights",
          "calibration": "the calibration samples", "test": "the test samples"}  # fmt: skip
NO_VALUES = "values of the file, such as scales, are not in {}; --against REVISION compares them"


@dataclass(frozen=True)
class Flips:
    """Answers that changed.

    Attributes:
        n: samples; 0 where the earlier answers are of others.
        lost: that were better before.
        gained: the other way round.
    """

    n: int = 0
    lost: int = 0
    gained: int = 0

    @classmethod
    def of(cls, before: NDArray[np.float64], now: NDArray[np.float64], higher_is_better: bool = True) -> Flips:
        """From scores of the same samples, `[n]` or `[n, k]`."""
        if before.shape != now.shape:
            return cls()
        if before.ndim == 2 and before.shape[1] > 1:
            return cls(len(now), int((before != now).any(axis=1).sum()), 0)
        better = int((now > before).sum()), int((now < before).sum())
        gained, lost = better if higher_is_better else better[::-1]
        return cls(len(now), lost, gained)


def since_revision(run: Run, against: Against, command: str) -> ChangesRecord:
    """Changes since a revision, layer by layer.

    Raises:
        ConfigError: if the revision does not have the experiment, it could not be made, or cannot be run here.
    """
    id_, name = run.experiment.id, against.base.name
    made = against.whole.made.get(id_)
    if made is None:
        reason = against.whole.problems.get(id_, "it has no such experiment")
        raise ConfigError(f"{id_}: {against.revision.name} gives nothing to compare with: {reason}")
    before = against.before(run, made)
    if isinstance(before, str):
        raise ConfigError(f"{id_}: {before}")
    if made.own_code:
        opened = Changes(0, 0, unknown=f"the earlier file needs its own modules ({', '.join(made.own_code)})")
    else:
        opened = changes_of(run, made.artifact, before)
    flips = Flips.of(before.statistics, run.evaluation.statistics, run.opened.task.higher_is_better)
    return ChangesRecord(
        experiment=id_,
        against=name,
        **vars(flips),
        layers=[
            LayerChange(layer=each.name, words=each.words, back=each.back, refused=each.refused)
            for each in opened.layers
        ],
        is_ranked=opened.all_back is not None,
        all_back=opened.all_back,
        left_out=opened.left_out,
        entries=list(opened.unlike),
        unknown=opened.unknown,
        configured=against.changed(run, made),
        command=command,
    )


def since_golden(run: Run, command: str) -> ChangesRecord:
    """Changes since the experiment was accepted, as far as its goldens hold them.

    Raises:
        GoldenError: if nothing was accepted.
    """
    id_, golden, evidence = run.experiment.id, run.settings.golden, RunEvidence(run)
    accepted, checkpoint = RESULTS.read(golden, id_), CHECKPOINTS.accepted(evidence)
    if accepted is None:
        raise GoldenError(f"{id_}: nothing of it was ever accepted in {golden}; name a record or a revision instead")
    names = set(inputs_of(run).differing(accepted.inputs))
    found = circumstances(run, accepted)
    flips = Flips()
    if "test" not in names:
        then = accepted.bits.astype(float) if accepted.scores is None else accepted.statistics
        now = run.evaluation.scores if accepted.scores is None else _rounded(run)
        flips = Flips.of(then, now, run.opened.task.higher_is_better)
    return ChangesRecord(
        experiment=id_,
        against=f"what was accepted on {date_of(accepted)}",
        **vars(flips),
        entries=[] if checkpoint is None else CHECKPOINTS.compare(checkpoint, CHECKPOINTS.document(evidence)),
        unknown=NO_VALUES.format("a golden"),
        configured=[words for name, words in INPUTS.items() if name in names],
        circumstances=[line for line in found if line not in names],
        command=command,
    )


def since_record(run: Run, records: Sequence[RunRecord], path: Path, command: str) -> ChangesRecord:
    """Changes since a record was written.

    Raises:
        ConfigError: if the file has no record of the experiment.
    """
    id_ = run.experiment.id
    record = next((each for each in records if each.experiment == id_), None)
    if record is None:
        held = ", ".join(each.experiment for each in records[:4])
        raise ConfigError(f"--against {path}: has no record of {id_}; it has: {held}")
    checkpoint, entries, unknown = record.checkpoint, list[str](), NO_VALUES.format("a record")
    if checkpoint is not None:
        description = run.backend.describe(run.artifact)
        before, now = (
            {key: describe_entry(entry) for key, entry in keys.items()} for keys in (checkpoint.keys, description.keys)
        )
        entries = [line.replace(" / ", ".") for line in differences(before, now)]
        if checkpoint.sha256 == sha256_of_file(run.artifact.path):
            unknown = ""
    changed = differences(record.recipe, describe(run.experiment.recipe))
    configured = [f"recipe.{line.replace(' / ', '.')}" for line in changed]
    here = inputs_of(run)
    configured += ["the reference"] if here.baseline != record.baseline_sha256 else []
    same = here.test == record.test_sha256
    configured += [] if same else ["the test samples"]
    return ChangesRecord(
        experiment=id_,
        against=f"{path}",
        **vars(_flips_of(run, record) if same else Flips()),
        entries=entries,
        unknown=unknown,
        configured=configured,
        circumstances=_circumstances(run, record),
        command=command,
    )


def _flips_of(run: Run, record: RunRecord) -> Flips:
    """Flips since a record; none where it is of a part of the samples, or holds no answers."""
    accuracy, score = record.accuracy, record.score
    if accuracy is not None and run.opened.task.is_binary and accuracy.n == len(run.opened.splits.test):
        return Flips.of(unpack_bits(accuracy.quantized_correct, accuracy.n).astype(float), run.evaluation.scores)
    if score is not None and not run.opened.task.is_binary and score.n == len(run.opened.splits.test):
        from quantbench.records.scores import unpack_scores

        then = unpack_scores(score.candidate_scores, score.n)
        return Flips.of(then, _rounded(run), run.opened.task.higher_is_better)
    return Flips()


def _rounded(run: Run) -> NDArray[np.float64]:
    """Scores as records and goldens hold them."""
    from quantbench.records.scores import rounded

    return rounded(run.evaluation.scores)


def _circumstances(run: Run, record: RunRecord) -> list[str]:
    then, now = record.environment, environment()
    before = {**then.versions, "Python": then.python, "processor": then.processor, "instructions": " ".join(then.isa)}
    after = {**now.versions, "Python": now.python, "processor": now.processor, "instructions": " ".join(now.isa)}
    before["engine"], after["engine"] = record.engine, timing_machine(run).engine
    return [f"{name} ({before.get(name, '–')} → {value})" for name, value in after.items() if before.get(name) != value]
