"""One evaluation loop: a predictor over a split, keeping the score of every sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT, Inputs, Outputs
from quantbench.backends.interface import Predictor
from quantbench.config.schema import EvaluationConfig
from quantbench.data.splits import Split
from quantbench.errors import EvaluationError
from quantbench.foreign import about
from quantbench.tasks.interface import Task
from quantbench.tasks.top1 import Top1

EVALUATION_BATCH = EvaluationConfig().batch_size
TOP1 = Top1()


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on a split.

    Attributes:
        scores: `[n]` float64, one per sample.
        loss: mean loss; None for a task without one.
        answers: `[n]` int64, the class that each sample was given; None for a task without classes.
    """

    scores: NDArray[np.float64]
    loss: float | None
    answers: NDArray[np.int64] | None = None

    @property
    def correct(self) -> NDArray[np.bool_]:
        """`[n]` bool, of scores that are 0 or 1.

        Raises:
            EvaluationError: if some score is neither.
        """
        correct: NDArray[np.bool_] = self.scores == 1.0
        if not (correct | (self.scores == 0.0)).all():
            raise EvaluationError("scores between 0 and 1 are no predictions that are right or wrong; compare scores")
        return correct

    @property
    def accuracy(self) -> float:
        """Mean score; of scores that are 0 or 1 the share of correct samples, 0..1."""
        return float(self.scores.mean())


def evaluate(predictor: Predictor, split: Split, task: Task = TOP1, batch_size: int = EVALUATION_BATCH) -> Evaluation:
    """Runs a model over a split.

    Args:
        predictor: normalized `[n, channels, …]` float32 → what the task scores.
        split: the samples.
        task: outputs and labels → scores.
        batch_size: samples per forward.

    Raises:
        EvaluationError: if an output is NaN or infinite, or of no form that the task can score.

    Example:
        >>> from quantbench.backends.module import ModulePredictor
        >>> from quantbench.data.cache import CachedSide
        >>> from quantbench.data.source import Normalization
        >>> images, labels = np.array([[[[0]]], [[[255]]]], np.uint8), np.array([0, 1])
        >>> side = CachedSide(images, labels, digests=np.zeros((2, 16), np.uint8))
        >>> split = Split("test", side, None, Normalization(255.0, mean=(0.0,), std=(1.0,)))
        >>> model = ModulePredictor(lambda x: x.flatten(1) * x.new_tensor([-1.0, 1.0]))
        >>> evaluate(model, split).accuracy
        1.0
    """
    labels = np.array(split.labels)
    batches: list[Outputs] = []
    seen = 0
    for inputs in inputs_of(split, batch_size):
        n = len(inputs[INPUT])
        with about(f"samples {seen:,} to {seen + n - 1:,} of split '{split.name}'"):
            outputs = predictor(inputs)
            task.check(outputs, n, labels)
        batches.append(outputs)
        seen += n
    # Judged all at once: done batch by batch, it would cost a small int8 model several per cent of its time.
    whole = {name: np.concatenate([each[name] for each in batches]) for name in batches[0]}
    _check_finite(whole, split, task)
    scores = task.scores(whole, labels)
    _check_scores(scores, task, len(labels))
    return Evaluation(scores, task.loss(whole, labels), task.answers(whole))


def inputs_of(split: Split, batch_size: int, limit: int | None = None) -> Iterator[Inputs]:
    """Batches of a split as predictors take them: `{"input": [≤ batch_size, channels, …]}`, never augmented."""
    for batch in split.batches(batch_size, limit):
        yield {INPUT: batch.numpy()}


def _check_scores(scores: object, task: Task, n: int) -> None:
    """Refuses scores that are not one finite number for each sample."""
    who = f"task {type(task).__name__}: scores gave"
    if not isinstance(scores, np.ndarray) or scores.shape != (n,) or scores.dtype.kind not in "fiub":
        found = f"{scores.dtype} {list(scores.shape)}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise EvaluationError(f"task {type(task).__name__}: scores gave {found} for {n:,} samples; return [{n}]")
    if not np.isfinite(scores).all():
        raise EvaluationError(
            f"{who} NaN or infinity for sample {int(np.isfinite(scores).argmin()):,}; give each sample a finite score"
        )


def _check_finite(outputs: Outputs, split: Split, task: Task) -> None:
    for array in outputs.values():
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            first = int(finite.argmin())
            raise EvaluationError(
                f"the model's {task.outputs_name} are not finite for {int((~finite).sum()):,} of {len(split):,} "
                f"samples of '{split.name}', the first being {split.path_of(first) or f'sample {first}'}; look at its "
                "weights, scales and inputs before trusting any figure of it"
            )
