"""One evaluation loop: a predictor over a split, keeping the score of every sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Predictor
from quantbench.config.schema import EvaluationConfig
from quantbench.data.splits import Split
from quantbench.errors import EvaluationError
from quantbench.foreign import about
from quantbench.measure.scored import check_figure, check_halves, check_scores
from quantbench.tasks.interface import Task
from quantbench.tasks.top1 import Top1

EVALUATION_BATCH = EvaluationConfig().batch_size
# Outputs that are kept before they are judged; those of 50,000 samples and 1,000 classes would take 200 MB, and their
# loss three times that in float64.
JUDGED_BYTES = 16 << 20
TOP1 = Top1()


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on a split.

    Attributes:
        scores: `[n]` float64, one per sample; `[n, k]` statistics of a task whose figure is no mean of scores.
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
        if correct.ndim != 1 or not (correct | (self.scores == 0.0)).all():
            raise EvaluationError("scores between 0 and 1 are no predictions that are right or wrong; compare scores")
        return correct

    @property
    def accuracy(self) -> float:
        """Mean score; of scores that are 0 or 1 the share of correct samples, 0..1."""
        return float(self.scores.mean())

    @property
    def statistics(self) -> NDArray[np.float64]:
        """`[n, k]`, as the task made them; of a mean its scores, `[n, 1]`."""
        return self.scores if self.scores.ndim == 2 else self.scores[:, None]


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
    # Of all samples, also those that repeat others and are left out once all are decoded.
    targets = np.array(split.side.labels if split.indices is None else split.side.labels[split.indices])
    parts: list[_Judged] = []
    waiting, n_bytes = _Outputs(), 0
    for inputs, positions in split.passes(batch_size):
        n = len(positions)
        with about(f"samples {waiting.seen:,} to {waiting.seen + n - 1:,} of split '{split.name}'"):
            outputs = task.chosen(predictor(inputs), n)
            task.check(outputs, n, targets)
            if not waiting.seen:
                check_halves(task, outputs, np.array(split.side.labels[positions]))
        waiting.add(outputs, positions)
        n_bytes += sum(array.nbytes for array in outputs.values())
        if n_bytes >= JUDGED_BYTES:
            parts.append(_judged(waiting, split, task))
            n_bytes = 0
    if waiting.positions or not parts:
        parts.append(_judged(waiting, split, task))
    found = _joined(parts)
    if not task.is_mean:
        check_figure(task, found.statistics)
    return found


@dataclass
class _Outputs:
    """Outputs that wait to be judged, with the positions of their samples in the side.

    Attributes:
        seen: samples of the whole pass.
    """

    batches: list[Outputs] = field(default_factory=list)
    positions: list[NDArray[np.int64]] = field(default_factory=list)
    seen: int = 0

    def add(self, outputs: Outputs, positions: NDArray[np.int64]) -> None:
        self.batches.append(outputs)
        self.positions.append(positions)
        self.seen += len(positions)

    def taken(self) -> tuple[Outputs, NDArray[np.int64]]:
        """All of them at once, which wait no longer."""
        whole = {name: np.concatenate([each[name] for each in self.batches]) for name in self.batches[0]}
        positions = np.concatenate(self.positions)
        self.batches, self.positions = [], []
        return whole, positions


# Scores, answers and mean loss of some samples, and how many those are.
_Judged = tuple[NDArray[np.float64], NDArray[np.int64] | None, float | None, int]


def _judged(waiting: _Outputs, split: Split, task: Task) -> _Judged:
    """Scores of what waits.

    All at once, up to `JUDGED_BYTES`: batch by batch, it would cost a small int8 model several per cent of its time.
    """
    whole, positions = waiting.taken()
    targets = np.array(split.side.labels[positions])
    _check_finite(whole, split, task, positions, waiting.seen)
    scores = task.scores(whole, targets) if task.is_mean else task.statistics(whole, targets)
    check_scores(scores, task, len(targets))
    return scores, task.answers(whole), task.loss(whole, targets), len(targets)


def _joined(parts: list[_Judged]) -> Evaluation:
    if len(parts) == 1:
        scores, answers, loss, _ = parts[0]
        return Evaluation(scores, loss, answers)
    losses = [(loss, n) for _, _, loss, n in parts if loss is not None]
    total = sum(n for _, n in losses)
    answered = [answers for _, answers, _, _ in parts if answers is not None]
    return Evaluation(
        np.concatenate([scores for scores, _, _, _ in parts]),
        sum(loss * n for loss, n in losses) / total if len(losses) == len(parts) else None,
        np.concatenate(answered) if len(answered) == len(parts) else None,
    )


def inputs_of(split: Split, batch_size: int, limit: int | None = None) -> Iterator[Inputs]:
    """Batches of a split as predictors take them: `{"input": [≤ batch_size, channels, …]}`, never augmented."""
    return split.batches(batch_size, limit)


def _check_finite(outputs: Outputs, split: Split, task: Task, positions: NDArray[np.int64], seen: int) -> None:
    for array in outputs.values():
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            first = int(finite.argmin())
            path = split.side.path_of(int(positions[first])) or f"sample {seen - len(positions) + first}"
            raise EvaluationError(
                f"the model's {task.outputs_name} are not finite for {int((~finite).sum()):,} of {seen:,} "
                f"samples of '{split.name}', the first being {path}; look at its "
                "weights, scales and inputs before trusting any figure of it"
            )
