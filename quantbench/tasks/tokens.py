"""Token models: logits over a vocabulary at each place of a sequence, and the token that belongs there."""

from __future__ import annotations

import numpy as np

from quantbench.arrays import Outputs
from quantbench.errors import EvaluationError
from quantbench.tasks.classes import cross_entropy, only
from quantbench.tasks.interface import Floats, Summed, Targets

# Places that do not count, as the field's libraries mask them.
MASKED = -100
PLACES = 1_024
FORM = "logits [n, places, vocabulary] or [n, classes]"


class Tokens(Summed):
    """A figure of the negative log-likelihood of all tokens. Statistics: a sample's sum of it, and its tokens.

    Logits at a place are of the target at the same place. Targets of −100 do not count.

    Attributes:
        name: of the task, for messages.
    """

    name: str
    higher_is_better = False
    outputs_name = "logits"

    def check(self, outputs: Outputs, n: int, targets: Targets) -> None:
        """See `Task.check`."""
        logits = only(outputs, FORM)
        places = list(targets.shape[1:])
        if targets.dtype.kind not in "iu" or targets.ndim not in (1, 2):
            raise EvaluationError(
                f"the targets are {targets.dtype} {list(targets.shape)}; task {self.name} takes integers [n, places] "
                "or [n]"
            )
        if logits.ndim != targets.ndim + 1 or [len(logits), *logits.shape[1:-1]] != [n, *places]:
            expected = ", ".join(map(str, [n, *places, "vocabulary"]))
            raise EvaluationError(f"the model gave {list(logits.shape)} for {n} samples; expected [{expected}]")
        counted = targets[targets != MASKED]
        if not counted.size:
            raise EvaluationError("every target is masked (-100); there is nothing to score")
        if counted.min() < 0 or counted.max() >= logits.shape[-1]:
            wrong = counted.min() if counted.min() < 0 else counted.max()
            raise EvaluationError(
                f"a target is {wrong}, but the model gave {logits.shape[-1]:,} logits; give tokens from 0, and -100 "
                "where none counts"
            )

    def statistics(self, outputs: Outputs, targets: Targets) -> Floats:
        """See `Task.statistics`: `[n, 2]`, nats and tokens."""
        logits, flat = np.asarray(only(outputs)), targets.reshape(-1)
        counts = flat != MASKED
        nats, places = np.zeros(len(flat)), np.flatnonzero(counts)
        rows_of = logits.reshape(-1, logits.shape[-1])
        # Some at a time, since float64 copies of all logits over a vocabulary would take several times their memory.
        for some in np.split(places, range(PLACES, len(places), PLACES)):
            nats[some] = cross_entropy(rows_of[some], flat[some])
        rows = (len(targets), -1)
        return np.stack([nats.reshape(rows).sum(axis=1), counts.reshape(rows).sum(axis=1)], axis=1).astype(np.float64)

    def chance(self, targets: Targets) -> float:
        """See `Task.chance`: the shares of all tokens, at every place."""
        counts = np.bincount(targets[targets != MASKED].reshape(-1)).astype(np.float64)
        shares = counts[counts > 0] / counts.sum()
        nats = float(-(shares * np.log(shares)).sum())
        return float(self.of_sums(np.array([nats, 1.0])))
