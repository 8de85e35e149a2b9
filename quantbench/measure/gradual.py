"""Evaluation of some samples of a split at a time, in a random order that the hash of its samples fixes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.interface import Predictor
from quantbench.data.splits import Split
from quantbench.measure.evaluation import Evaluation, evaluate
from quantbench.tasks.interface import Task

Positions = NDArray[np.int64]


def random_order(split: Split) -> Positions:
    """All positions of a split, in the same random order wherever it has the same samples.

    By the generator whose numbers no version of numpy changes.
    """
    seed = np.frombuffer(bytes.fromhex(split.sha256), dtype=">u4").astype(np.uint32)
    return np.random.RandomState(seed).permutation(len(split)).astype(np.int64)


def evaluate_at(predictor: Predictor, split: Split, positions: Positions, task: Task, batch_size: int) -> Evaluation:
    """A model on some samples, in the order of their positions.

    Args:
        predictor: of the model.
        split: the samples.
        positions: `[n]`, of the split.
        task: outputs and labels → scores.
        batch_size: samples per forward.

    Raises:
        EvaluationError: as `evaluate`.
    """
    whole = split.settled()
    indices = positions if whole.indices is None else whole.indices[positions]
    return evaluate(predictor, Split(split.name, split.side, indices, split.normalization), task, batch_size)


def rows_of(evaluation: Evaluation, positions: Positions) -> Evaluation:
    """Those samples of an evaluation; without its loss, which is of all of them."""
    answers = evaluation.answers
    return Evaluation(evaluation.scores[positions], None, None if answers is None else answers[positions])


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of different samples as one; without a loss."""
    answers = [part.answers for part in parts if part.answers is not None]
    scores = np.concatenate([part.scores for part in parts])
    return Evaluation(scores, None, np.concatenate(answers) if len(answers) == len(parts) else None)
