"""One pass of a candidate over the test samples in random order, which ends once every gate is decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.experiment.accuracy import ACCURACY_LEVEL
from quantbench.experiment.question import Question
from quantbench.experiment.sampling import Sampling
from quantbench.foreign import about
from quantbench.measure.evaluation import Evaluation
from quantbench.measure.gradual import Positions, evaluate_at, joined, random_order, rows_of
from quantbench.stats.early_verdict import Side
from quantbench.stats.sampled_mean import chunk_of
from quantbench.torch_process import get_threads

if TYPE_CHECKING:
    from quantbench.experiment.run import Run

# Test samples beyond which a verdict may come before the last one, where nothing says otherwise.
LARGE = 20_000
NOTHING: Positions = np.zeros(0, np.int64)
# The loss where no gate asks for it, and the gates that do.
LOSS, DROPS = "", ("accuracy_drop_pp", "score_drop")
# Why it ends: before the last sample, and at it for the sake of classes.
DECIDED, BY_CLASSES = "every gate was decided", "some class may be the answer to any sample"


class Looking:
    """The pass.

    Args:
        run: of the experiment.
        questions: gate → what it asks.
        loss: what is lost, where no gate asks for it.
        with_classes: look, at last, at as many samples as tell which classes the candidate answers of all.
    """

    def __init__(self, run: Run, questions: Mapping[str, Question], loss: Question, with_classes: bool) -> None:
        self._run, self._with_classes = run, with_classes
        self._questions = {LOSS: loss, **questions}
        self._test = run.opened.splits.test.settled()
        self._reference = run.reference_evaluation
        self._order = random_order(self._test)
        self._batch_size = run.experiment.workload.config.evaluation.batch_size
        levels = ACCURACY_LEVEL, run.settings.family.level(ACCURACY_LEVEL)
        sequences = {name: each.sequence(len(self._order), *levels) for name, each in self._questions.items()}
        self._sequences, self._looks = sequences, {name: sequences[name] for name in questions}
        self._loss = next((sequences[name] for name in DROPS if name in questions), sequences[LOSS])
        self._predictor = run.loaded(get_threads())
        self._parts: list[Evaluation] = []

    def made(self) -> Sampling:
        """Looks until every gate is decided, or at all samples.

        Raises:
            EvaluationError: as `evaluate`.
        """
        total, start, others = len(self._order), 0, None
        step = chunk_of(total, self._batch_size)
        while start < total and others is None:
            stop = min(start + step, total)
            self._look(self._order[start:stop])
            start = stop
            if start < total and not self._open:
                others = self._others(self._order[:start])
        self._run.note_outputs(self._predictor)
        after = joined(self._parts)
        if others is None:
            return self._all(after)
        seen = self._order[:start]
        before = rows_of(self._reference, seen)
        pairs = None if not len(others[0]) else (others[0], rows_of(self._reference, others[0]), others[1])
        return Sampling(seen, before, after, total, DECIDED, self._looks, self._loss, pairs)

    @property
    def _open(self) -> list[str]:
        """Gates that are not decided."""
        return [name for name, each in self._looks.items() if each.side is Side.OPEN]

    def _all(self, after: Evaluation) -> Sampling:
        """All samples, in their own order."""
        own = np.argsort(self._order)
        found = rows_of(after, own)
        # So that whoever asks for all of them evaluates nothing again.
        self._run.evaluation = found
        why = f"not decided before the last: {', '.join(self._open)}" if self._open else BY_CLASSES
        return Sampling(self._order[own], self._reference, found, len(own), why, self._looks, self._loss)

    def _evaluated(self, positions: Positions) -> Evaluation:
        with about("the quantized model"):
            return evaluate_at(self._predictor, self._test, positions, self._run.opened.task, self._batch_size)

    def _look(self, positions: Positions) -> None:
        before, after = rows_of(self._reference, positions), self._evaluated(positions)
        self._parts.append(after)
        for name, question in self._questions.items():
            self._sequences[name].add(question.values(positions, before, after))

    def _others(self, seen: Positions) -> tuple[Positions, Evaluation] | None:
        """More samples, of the classes that were not answered yet: as many as tell whether they are answered at all.

        Returns:
            None where only all samples tell.
        """
        reference, labels, parts = self._reference.answers, self._test.labels, list(self._parts)
        if not self._with_classes or reference is None:
            return NOTHING, Evaluation(np.zeros(0), None, NOTHING)
        positions = seen
        while len(gone := _not_answered(labels, reference, positions, joined(parts).answers)):
            is_left = np.isin(labels, gone) | np.isin(reference, gone)
            is_left[positions] = False
            more = self._order[is_left[self._order]][: self._batch_size]
            if not len(more):
                break
            parts.append(self._evaluated(more))
            positions = np.concatenate([positions, more])
        # One that the reference never answers rightly may be the answer to any sample.
        if len(np.setdiff1d(gone, reference[reference == labels])):
            return None
        found = parts[len(self._parts) :]
        return positions[len(seen) :], joined(found) if found else Evaluation(np.zeros(0), None, NOTHING)


def _not_answered(
    labels: NDArray[Any], reference: NDArray[np.int64], seen: Positions, answers: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Classes that the reference answers, or answers rightly, and the candidate, on the samples seen, does not."""
    own = NOTHING if answers is None else answers
    rightly = own[own == labels[seen]] if len(own) else own
    never = np.setdiff1d(reference, own)
    return np.union1d(never, np.setdiff1d(reference[reference == labels], rightly))


def is_asked(run: Run) -> bool:
    """True if a verdict may come before the last sample: by an option, by the workload, or since its set is large."""
    given = run.settings.sequential
    if given is not None:
        return given
    configured = run.experiment.workload.config.evaluation.sequential
    if configured is not None:
        return configured
    test = run.opened.splits.test
    # Without decoding what is decoded as it is used.
    return len(test.side if test.indices is None else test.indices) > LARGE


def whole(run: Run, why: str) -> Sampling:
    """All samples at once."""
    before, after = run.reference_evaluation, run.evaluation
    n = len(after.scores)
    return Sampling(np.arange(n), before, after, n, why)
