"""Accepted results: `golden/results/<workload>/<experiment>.json`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from quantbench.errors import GoldenError
from quantbench.golden.acceptance import accept_command
from quantbench.golden.accepted import OLDER_VERSIONS, SCHEMA_VERSION, AcceptedResult, AcceptedSpeedup
from quantbench.golden.interface import Evidence, OnRequest
from quantbench.golden.result_changes import changes_of
from quantbench.records.base import read_json
from quantbench.records.classes import unpack_answers
from quantbench.strict_json import read_json_value

# A record of 10,000 samples takes 4 KB; anything this large is not one.
MAX_GOLDEN_BYTES = 1 << 24
PREDICTIONS, SCORES, SPEED = "accuracy_vs_accepted", "score_vs_accepted", "speedup_vs_accepted"


class Results(OnRequest[AcceptedResult]):
    """Correctness or score of each test sample, the figures beside them, and the speed-up on each class of machine.

    Compared across engines, so that an experiment has one result only.
    """

    folder = "results"
    claims = (PREDICTIONS, SCORES, SPEED)
    parts = ("accuracy", "score", "classes", "size", "coverage")
    history_tells_changes = True

    def read(self, golden: Path, name: str) -> AcceptedResult | None:
        """The accepted result, or None if none was accepted.

        Raises:
            GoldenError: if the file is damaged, edited by hand, of another schema or of another experiment.
        """
        path = self.path(golden, name)
        if not path.exists():
            return None
        advice = f"restore it from version control, or remove it and accept again: {accept_command(name)}"
        _check_outline(path, advice)
        result = read_json(AcceptedResult, path, GoldenError, advice)
        if result.experiment != name:
            raise GoldenError(f"{path}: experiment: is '{result.experiment}', which does not belong here; {advice}")
        _check_bits(path, result, advice)
        return result

    def document(self, run: Evidence, claims: Collection[str], before: AcceptedResult | None) -> AcceptedResult:
        """The predictions of the run, or those accepted before, with the speed-ups that can still be compared.

        Raises:
            GoldenError: if a speed-up alone is to be accepted where nothing was before.
        """
        id_, is_whole = run.experiment.id, bool({PREDICTIONS, SCORES} & set(claims))
        if before is None and not is_whole:
            raise GoldenError(f"{id_}: no accepted result to add a speed-up to; accept it whole: {accept_command(id_)}")
        after = _predictions(run) if before is None or is_whole else before
        return after.model_copy(update={"speedups": _speedups(run, before, after, SPEED in claims)})

    def compare(self, before: AcceptedResult | None, after: AcceptedResult) -> list[str]:
        """Figures, flipped predictions, machine, versions, inputs and speed-ups that changed, as `name: old → new`."""
        return changes_of(before, after)

    def content(self, fact: AcceptedResult) -> dict[str, Any]:
        """The result as JSON, without its history."""
        # Absent in files of before, which keep their bytes.
        absent = {name for name in ("correct", "scores", "task", "answers") if getattr(fact, name) is None}
        return fact.model_dump(mode="json", exclude={"history", *absent})

    def report(self, path: Path, before: AcceptedResult | None, after: AcceptedResult, changes: list[str]) -> str:  # noqa: ARG002
        """Every change, also of a first acceptance."""
        head = f"{path}: accepted for the first time:" if before is None else f"{path}: updated, old → new:"
        return "\n".join([head, *(f"    {line}" for line in changes)])

    def lacking(self, run: Evidence, claims: Collection[str]) -> dict[str, str]:
        """The speed-up, where nothing was timed."""
        if SPEED not in claims or run.latency is not None:
            return {}
        return {SPEED: f"{run.experiment.id}: no speed-up is accepted: {run.not_timed}"}


def _predictions(run: Evidence) -> AcceptedResult:
    size = run.measured("size")
    n, kept, figures = _kept(run)
    metrics = {**figures, "size_ratio": size.ratio, "quantized_bytes": float(size.quantized_bytes)}
    if (coverage := run.measured("coverage")) is not None:
        metrics["int8_share"] = coverage.int8_share
    return AcceptedResult(
        experiment=run.experiment.id,
        machine=run.machine,
        versions=dict(run.versions),
        inputs=run.inputs,
        n=n,
        **kept,
        answers=None if (classes := run.measured("classes")) is None else classes.quantized_answers,
        metrics={name: round(value, 6) for name, value in metrics.items()},
    )


def _kept(run: Evidence) -> tuple[int, dict[str, Any], dict[str, float]]:
    """Samples, what is kept of each, and figures beside it.

    Raises:
        GoldenError: if it would be too large, or is of a part of the test samples.
    """
    for part in ("accuracy", "score"):
        if (found := run.measured(part)) is not None and found.samples is not None and found.samples.is_part:
            raise GoldenError(
                f"{run.experiment.id}: {found.n:,} of {found.samples.total:,} test samples were looked at; what is "
                "accepted is of all of them: run again with --full"
            )
    if (accuracy := run.measured("accuracy")) is not None:
        figures = {"accuracy": accuracy.quantized, "fp32_accuracy": accuracy.fp32, "drop_pp": accuracy.drop_pp}
        return accuracy.n, {"correct": accuracy.quantized_correct}, figures
    score = run.measured("score")
    if len(score.candidate_scores) > MAX_GOLDEN_BYTES // 2:
        raise GoldenError(
            f"{run.experiment.id}: what task '{score.task}' keeps of {score.n:,} samples takes "
            f"{len(score.candidate_scores):,} bytes; at most {MAX_GOLDEN_BYTES // 2:,} are accepted: judge fewer "
            "samples"
        )
    figures = {"score": score.candidate, "reference_score": score.reference, "score_drop": score.drop}
    return score.n, {"scores": score.candidate_scores, "task": score.task}, figures


def _speedups(
    run: Evidence, before: AcceptedResult | None, after: AcceptedResult, speed: bool
) -> list[AcceptedSpeedup]:
    """Those that are still comparable, with this run's in place of the one of its class."""
    # A speed-up alone may have been accepted where data differs from that of the result.
    comparable = (after.inputs, run.inputs)
    kept = [each for each in before.speedups if each.inputs in comparable] if before else []
    latency = run.latency
    if not speed or latency is None:
        return kept
    own = AcceptedSpeedup(
        machine=run.timing_machine,
        batch_size=latency.batch_size,
        rounds=latency.rounds,
        level=latency.level,
        speedup=latency.speedup,
        speedup_interval=latency.speedup_interval,
        inputs=run.inputs,
    )
    return [each for each in kept if each.machine != own.machine] + [own]


def _check_outline(path: Path, advice: str) -> None:
    """First of all, since another schema makes every other message beside the point."""
    if path.stat().st_size > MAX_GOLDEN_BYTES:
        raise GoldenError(f"{path}: larger than {MAX_GOLDEN_BYTES} bytes, which no accepted result is; {advice}")
    try:
        content = read_json_value(path)
    except (ValueError, OSError):
        return  # refused by the reader of the whole file
    if not isinstance(content, dict):
        return
    # By type too: to pydantic a text "2" and a 2.0 are numbers, to Python True is 1.
    version = content.get("schema_version")
    if type(version) is not int or version not in (SCHEMA_VERSION, *OLDER_VERSIONS):
        stated = "is missing" if version is None else f"is {version!r:.40}"
        raise GoldenError(
            f"{path}: schema_version: {stated}, but this quantbench reads {SCHEMA_VERSION}; install the version "
            f"that wrote it, or {advice}"
        )


def _check_bits(path: Path, result: AcceptedResult, advice: str) -> None:
    if result.correct is None:
        _check_scores(path, result, advice)
        return
    try:
        accuracy = float(result.bits.mean())
    except ValueError as error:
        raise GoldenError(f"{path}: correct: {error}; {advice}") from None
    if result.answers is not None:
        _check_answers(path, result, advice)
    stated = result.metrics.get("accuracy")
    if stated is None:
        raise GoldenError(f"{path}: metrics.accuracy: is missing, but its bits say {accuracy:g}; {advice}")
    if abs(stated - accuracy) > 0.5 / result.n:
        raise GoldenError(f"{path}: metrics.accuracy: is {stated:g}, but its bits say {accuracy:g}; {advice}")
    _check_metrics(path, result.metrics, advice)


def _check_scores(path: Path, result: AcceptedResult, advice: str) -> None:
    if result.scores is None:
        raise GoldenError(f"{path}: correct: Field required, or scores of another task; {advice}")
    try:
        _ = result.statistics
    except ValueError as error:
        raise GoldenError(f"{path}: scores: {error}; {advice}") from None
    if result.task is None:
        raise GoldenError(f"{path}: task: is missing, but there are scores of one; {advice}")
    if result.answers is not None:
        _check_answers(path, result, advice)
    _check_metrics(path, result.metrics, advice)


def _check_metrics(path: Path, metrics: Mapping[str, float], advice: str) -> None:
    """Refuses figures beside the bits that no model has."""
    for name in ("fp32_accuracy", "int8_share"):
        if not 0 <= metrics.get(name, 0.0) <= 1:
            raise GoldenError(f"{path}: metrics.{name}: is {metrics[name]:g}, which is no share; {advice}")
    for name in ("size_ratio", "quantized_bytes"):
        if not metrics.get(name, 1.0) > 0:
            raise GoldenError(f"{path}: metrics.{name}: is {metrics[name]:g}; {advice}")


def _check_answers(path: Path, result: AcceptedResult, advice: str) -> None:
    try:
        unpack_answers(result.answers or "", result.n)
    except ValueError as error:
        raise GoldenError(f"{path}: answers: {error}; {advice}") from None


RESULTS = Results()
