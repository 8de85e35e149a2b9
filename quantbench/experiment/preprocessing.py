"""Other ways to prepare samples, tried where a model made elsewhere answers at chance: one of them may be its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.data.source import Normalization
from quantbench.errors import QuantbenchError
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.stats.answers import uninformative_accuracy
from quantbench.stats.proportions import wilson_interval

# Samples of each trial; of two ways the better one must be sure to be better than no model.
TRIED = 256
# Of each trial of statistics that were guessed, which every such comparison pays for.
TRIED_OF_GUESS = 64
# Mean and standard deviation of values in 0..1, as the field's training scripts use them.
STATISTICS = {
    "ImageNet's statistics": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's statistics": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "values in 0..1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "values in -1..1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "bytes as they are": ((0.0, 0.0, 0.0), (0.00392157, 0.00392157, 0.00392157)),
}
# Of pictures: grey, and red, green and blue.
CHANNELS = (1, 3)
LAYOUTS = ("nhwc", "nchw")


@dataclass(frozen=True)
class Trial:
    """One way to prepare samples.

    Attributes:
        words: what to set.
        normalization: of the samples.
        backend: that loads the file.
    """

    words: str
    normalization: Normalization
    backend: BackendSpec


def preprocessed_otherwise(
    opened: OpenWorkload, artifact: Artifact, beyond: float = 0.0, is_guess: bool = False
) -> str | None:
    """The way to prepare samples with which a file is surely more accurate than no model, in words; None if none is.

    Args:
        opened: the workload, whose own way is at chance, or hardly better.
        artifact: the file.
        beyond: an accuracy that it must surely exceed, too, 0..1.
        is_guess: try statistics alone, on few samples.
    """
    split, task = opened.splits.test, opened.task
    if not task.has_answers or not len(split):
        return None
    n = TRIED_OF_GUESS if is_guess else TRIED
    rows = np.arange(len(split))[:: max(1, len(split) // n)][:n]
    few = replace(split, indices=rows if split.indices is None else split.indices[rows])
    blank = max(uninformative_accuracy(np.array(few.labels), len(opened.splits.classes)), beyond)
    best: tuple[float, Trial] | None = None
    for trial in _trials(few.normalization, artifact, layouts=() if is_guess else LAYOUTS):
        try:
            predictor = trial.backend.create().load(replace(artifact, backend=trial.backend), 1)
            found: Evaluation = evaluate(predictor, replace(few, normalization=trial.normalization), task)
        except QuantbenchError:
            # Not every way fits the file, and none of them decides anything: what is looked for is a hint.
            continue
        right = int(found.correct.sum())
        if wilson_interval(right, len(rows)).low > blank and (best is None or found.accuracy > best[0]):
            best = found.accuracy, trial
    if best is None:
        return None
    return f"with {best[1].words} it is {100 * best[0]:.1f} % (n={len(rows):,})"


def _trials(norm: Normalization, artifact: Artifact, layouts: Sequence[str]) -> list[Trial]:
    """Every way beside the workload's own."""
    spec = artifact.backend
    found = []
    channels = len(norm.mean)
    for name, (means, stds) in STATISTICS.items() if channels in CHANNELS else ():
        mean, std = means[:channels], stds[:channels]
        words = f"{name} (data: mean={list(mean)}, std={list(std)})"
        found.append(Trial(words, replace(norm, mean=mean, std=std), spec))
    for layout in layouts:
        other = replace(spec, params={**spec.params, "layout": layout})
        found.append(Trial(f"layout={layout} (reference.backend)", norm, other))
    return found
