"""Errors of a candidate's outputs against the reference's on the same samples, for which no label is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Outputs
from quantbench.errors import MeasurementError, NoEvidenceError
from quantbench.experiment.outputs import PROBABILITIES, SIGMOIDS, form_of
from quantbench.experiment.reference_outputs import reference_outputs
from quantbench.records.outputs import Agreement, Estimate, OutputErrors
from quantbench.stats.bootstrap import FEWEST, log_ratio_interval, mean_interval
from quantbench.stats.intervals import Interval
from quantbench.stats.proportions import wilson_interval
from quantbench.tasks.interface import Task
from quantbench.torch_process import get_threads

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

Floats = NDArray[np.float64]
LEVEL = 0.95
# Kinds of numpy's types that have real values.
REAL = "fiub"
# Of the outputs of reference and candidate, as `form_of` tells them.
Forms = tuple[str | None, str | None]
# Decibels of a factor of e in power.
DB_PER_NEPER = 10 / np.log(10)


def agreement(run: Run) -> Agreement:
    """Answers of both models on the test split.

    Raises:
        NoEvidenceError: if the task's outputs name no classes.
    """
    before, after = run.reference_evaluation.answers, run.evaluation.answers
    if before is None or after is None:
        raise NoEvidenceError(f"task '{run.experiment.workload.config.task.name}' gives samples no class")
    n, same = len(before), int((before == after).sum())
    interval = wilson_interval(same, n, LEVEL)
    return Agreement(n=n, same=same, interval=(interval.low, interval.high), level=LEVEL)


@dataclass(frozen=True)
class SampleErrors:
    """Per sample, `[n]` each.

    Attributes:
        signal: sum of squares of the reference's outputs.
        noise: sum of squares of the differences.
        cosine: between both.
        largest: absolute difference.
        kl: nats; None where outputs name no classes.
        elements: outputs of one sample.
    """

    signal: Floats
    noise: Floats
    cosine: Floats
    largest: Floats
    kl: Floats | None
    elements: int


def sample_errors(task: Task, reference: Outputs, candidate: Outputs, forms: Forms | None = None) -> SampleErrors:
    """Errors of one batch.

    Args:
        task: that says whether outputs name classes.
        reference: its outputs; each `[n, …]`.
        candidate: its outputs, of the same samples.
        forms: of the outputs of both, where more samples than these tell them.

    Raises:
        MeasurementError: if the outputs of both cannot be paired, or are no finite real numbers.

    Example:
        >>> from quantbench.tasks.top1 import Top1
        >>> pair = {"output": np.array([[3.0, 4.0]])}, {"output": np.array([[3.0, 4.5]])}
        >>> sample_errors(Top1(), *pair).noise.tolist()
        [0.25]
    """
    n = len(next(iter(reference.values())))
    pair = task.chosen(reference, n), task.chosen(candidate, n)
    first, second = (np.concatenate([_flat(each) for each in arrays], axis=1) for arrays in _paired(*pair))
    _check_numbers(first, second)
    difference = second - first
    # Squares beyond float64 are refused once all are summed.
    with np.errstate(over="ignore", invalid="ignore"):
        signal, noise = (first**2).sum(axis=1), (difference**2).sum(axis=1)
        norms = np.sqrt(signal * (second**2).sum(axis=1))
        # Two vectors without length are the same; one without has no direction in common with the other.
        alone = np.where(noise == 0, 1.0, 0.0)
        cosine = np.divide((first * second).sum(axis=1), norms, out=alone, where=norms > 0)
    kl = _divergence(*pair, forms or _forms(task, *pair)) if task.has_answers else None
    return SampleErrors(signal, noise, np.clip(cosine, -1, 1), np.abs(difference).max(axis=1), kl, first.shape[1])


def output_errors(run: Run) -> OutputErrors:
    """Errors on the whole test split, in one pass of both models.

    Raises:
        MeasurementError: if the outputs of both cannot be paired.
    """
    parts = list(_passes(run))
    signal, noise, cosine, largest = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("signal", "noise", "cosine", "largest")
    )
    divergences = [part.kl for part in parts if part.kl is not None]
    kl = np.concatenate(divergences) if divergences else None
    return _summed(
        SampleErrors(signal, noise, cosine, largest, kl, parts[0].elements), run.settings.family.level(LEVEL)
    )


def _summed(found: SampleErrors, strict_level: float) -> OutputErrors:
    differs, power, noise = bool(found.largest.max() > 0), float(found.signal.sum()), float(found.noise.sum())
    if differs and not power > 0:
        raise MeasurementError("every output of the reference is 0, so that there is no signal to compare noise with")
    if not power < inf or (differs and not 0 < noise < inf):
        raise MeasurementError("the squares of the outputs are beyond the range of float64; scale the outputs")

    def ratio(level: float) -> Interval:
        return log_ratio_interval(found.signal, found.noise, level)

    def mean(values: Floats) -> Estimate:
        return _estimate(len(values), float(values.mean()), lambda level: mean_interval(values, level), strict_level)

    sqnr = float(np.log(power / noise)) if differs else 0.0
    return OutputErrors(
        n=len(found.noise),
        elements=found.elements,
        sqnr_db=_estimate(len(found.noise), sqnr, ratio, strict_level, DB_PER_NEPER) if differs else None,
        cosine=mean(found.cosine),
        kl_nats=None if found.kl is None else mean(found.kl),
        max_abs_error=float(found.largest.max()),
        worst=int(found.largest.argmax()),
        level=LEVEL,
        strict_level=strict_level,
    )


def _estimate(
    n: int, value: float, at: Callable[[float], Interval], strict_level: float, unit: float = 1.0
) -> Estimate:
    if n < FEWEST:
        return Estimate(value=unit * value, interval=None, strict=None)
    own = at(LEVEL)
    strict = own if strict_level == LEVEL else at(strict_level)
    interval, wider = (
        (unit * min(each.low, value), unit * max(each.high, value)) if isfinite(each.high - each.low) else None
        for each in (own, strict)
    )
    return Estimate(value=unit * value, interval=interval, strict=wider)


def _passes(run: Run) -> Iterator[SampleErrors]:
    # Both were evaluated first, which refuses what is not finite and a reference that is not its card's.
    _ = run.reference_evaluation, run.evaluation
    opened, threads = run.opened, get_threads()
    reference, candidate = run.baseline.loaded(threads), run.loaded(threads)
    # Once for all batches: in one of few samples logits may look like probabilities.
    forms = _forms(opened.task, run.baseline.probe, run.candidate.probe)
    batches = opened.splits.test.batches(opened.workload.config.evaluation.batch_size)
    kept = reference_outputs(opened, run.baseline.artifact, reference, run.baseline.keeps_files)
    for inputs, before in zip(batches, kept, strict=True):
        yield sample_errors(opened.task, before, candidate(inputs), forms)


def _check_numbers(reference: Floats, candidate: Floats) -> None:
    """Refuses outputs that no figure can be of: NaN is neither the same as anything nor another."""
    for who, array in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(array).all():
            raise MeasurementError(
                f"the outputs of the {who} are NaN or infinite, and were not when they were scored; seed whatever it "
                "draws at random"
            )
    if reference.shape[1] == 0:
        raise MeasurementError("the outputs of both models are empty; name another output (backend: {output: …})")


def _flat(array: NDArray[Any]) -> Floats:
    if array.dtype.kind not in REAL:
        raise MeasurementError(f"outputs of type {array.dtype} are no real numbers; give real ones")
    return np.asarray(array, dtype=np.float64).reshape(len(array), -1)


def _paired(reference: Outputs, candidate: Outputs) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Outputs of the same name, or the only one of each."""
    if len(reference) == len(candidate) == 1:
        pairs = [(*reference.values(), *candidate.values())]
    elif reference.keys() == candidate.keys():
        pairs = [(reference[name], candidate[name]) for name in reference]
    else:
        names = " and ".join(str(sorted(each)) for each in (reference, candidate))
        raise MeasurementError(f"the outputs of both models have other names: {names}; give them the same ones")
    for one, other in pairs:
        if one.shape != other.shape:
            raise MeasurementError(f"the reference gives {list(one.shape)} and the candidate {list(other.shape)}")
    return [one for one, _ in pairs], [other for _, other in pairs]


def _forms(task: Task, reference: Outputs, candidate: Outputs) -> Forms:
    return form_of(task, reference), form_of(task, candidate)


def _divergence(reference: Outputs, candidate: Outputs, forms: Forms) -> Floats | None:
    """KL(reference ‖ candidate) of the classes, nats per sample; None where an output is no distribution over them."""
    if None in forms or SIGMOIDS in forms:
        return None
    (first,), (second,) = reference.values(), candidate.values()
    p, q = _log_probabilities(first, forms[0]), _log_probabilities(second, forms[1])
    # Rounding may leave a little less than nothing.
    divergence: Floats = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)
    return divergence


def _log_probabilities(values: NDArray[Any], form: str | None) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if form == PROBABILITIES:
        # What a format of 8 bits rounds to 0 is not known; the least it can hold beside it.
        values = np.log(np.maximum(values, np.finfo(np.float32).tiny))
    # Probabilities too: rounded one by one they add up to more or less than 1, which would pass for a divergence.
    values = values - values.max(axis=1, keepdims=True)
    values = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return np.asarray(values, dtype=np.float64)
